/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock connections, made and ended from both sides. Names in capitals are the reference's cases
 * (conformance.md). */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fake_io.h"
#include "support/vsock_rig.h"

#define PORT       80u
#define GUEST_PORT 1022u
#define SECOND_NS  1000000000ULL
#define EVENT_AT   (DEVICE_RIG_BUFFERS + (VRIG_QUEUE - 1) * (uint64_t)VRIG_SLOT_BYTES)

static struct vrig rig;
static struct vrig_packet packet;
static uint8_t bytes[1 << 16];

static void setup(void)
{
	vrig_init(&rig, 7);
	vrig_start(&rig, 32, 4096);
}

static void teardown(void)
{
	vrig_finish(&rig);
}

TestSuite(vsock, .init = setup, .fini = teardown, .timeout = 60);

static struct vrig_conn guest_conn(uint32_t host_port, uint32_t guest_port)
{
	return (struct vrig_conn){host_port, guest_port, VRIG_BUF_ALLOC, 0, -1, 0, 0};
}

static bool is_eof(int fd)
{
	return vrig_read(&rig, fd, bytes, sizeof(bytes)) == 0;
}

/* What the guest's REQUEST leads to. */
static uint16_t answer_to_request(const struct vrig_conn *c)
{
	vrig_op(&rig, c, VSOCK_OP_REQUEST, 0);
	cr_assert(vrig_take(&rig, &packet));
	return packet.h.op;
}

/* --- the client connects --- */

Test(vsock, ClientInitiatedConnect)
{
	struct vrig_conn c = vrig_client_connects(&rig, GUEST_PORT);

	cr_assert_geq(c.host_port, VSOCK_EPHEMERAL_FIRST);
	cr_assert_geq(c.fd, 0);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
}

Test(vsock, ClientConnectMultipleTimesSequentially)
{
	struct vrig_conn a = vrig_client_connects(&rig, GUEST_PORT), b;

	close(a.fd);
	vrig_expect(&rig, &a, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&rig, &a, VSOCK_OP_RST, 0);
	vrig_expect_none(&rig);
	b = vrig_client_connects(&rig, GUEST_PORT);
	cr_assert_eq(b.host_port, a.host_port + 1, "ports rotate");
	close(b.fd);
}

Test(vsock, ClientConnectMultipleTimesParallel)
{
	struct vrig_conn c[8];

	for (unsigned int i = 0; i < 8; i++) {
		c[i] = vrig_client_connects(&rig, GUEST_PORT);
		for (unsigned int j = 0; j < i; j++)
			cr_assert_neq(c[i].host_port, c[j].host_port);
	}
	for (unsigned int i = 0; i < 8; i++)
		close(c[i].fd);
}

static void connect_is_refused_by(uint16_t op, uint16_t answer)
{
	struct vrig_connect connect;
	struct vrig_conn c = guest_conn(0, GUEST_PORT);

	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	c.host_port = packet.h.src_port;
	vrig_op(&rig, &c, op, 0);
	vrig_run(&rig);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, -ECONNREFUSED);
	cr_assert_eq(connect.fd, -1);
	if (answer)
		vrig_expect(&rig, &c, answer, &packet);
	vrig_expect_none(&rig);
}

Test(vsock, ClientConnectionRefused)
{
	connect_is_refused_by(VSOCK_OP_RST, 0);
}

Test(vsock, any_other_op_refuses_a_connect)
{
	connect_is_refused_by(VSOCK_OP_SHUTDOWN, VSOCK_OP_RST);
	connect_is_refused_by(VSOCK_OP_RW, VSOCK_OP_RST);
	connect_is_refused_by(VSOCK_OP_REQUEST, VSOCK_OP_RST);
	connect_is_refused_by(VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_RST);
}

Test(vsock, connect_times_out_after_5_s)
{
	struct vrig_connect connect;

	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	fake_io_advance_ns(rig.reactor, VSOCK_ANSWER_NS - 1);
	cr_assert_not(connect.is_done);
	fake_io_advance_ns(rig.reactor, 1);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, -ETIMEDOUT);
	vrig_expect(&rig, NULL, VSOCK_OP_RST, &packet);
}

Test(vsock, connect_can_be_cancelled)
{
	struct vrig_connect connect;

	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	vsock_connect_cancel(&rig.vsock, &connect.base);
	vrig_expect(&rig, NULL, VSOCK_OP_RST, &packet);
	fake_io_advance_ns(rig.reactor, VSOCK_ANSWER_NS);
	cr_assert_not(connect.is_done);
}

Test(vsock_boot, connect_waits_for_the_driver)
{
	struct vrig_connect connect;
	struct vrig_conn c = guest_conn(0, GUEST_PORT);

	vrig_init(&rig, 1);
	vrig_connect_start(&rig, &connect, GUEST_PORT);
	fake_io_advance_ns(rig.reactor, 4 * SECOND_NS);
	/* A driver's first act is a reset. */
	virtio_device_reset(&rig.vsock.dev);
	vrig_start(&rig, 8, 4096);
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	c.host_port = packet.h.src_port;
	vrig_op(&rig, &c, VSOCK_OP_RESPONSE, 0);
	vrig_run(&rig);
	cr_assert(connect.is_done && connect.err == 0);
	close(connect.fd);
	vrig_finish(&rig);
}

Test(vsock_boot, connect_without_a_driver_times_out)
{
	struct vrig_connect connect;

	vrig_init(&rig, 1);
	vrig_connect_start(&rig, &connect, GUEST_PORT);
	fake_io_advance_ns(rig.reactor, VSOCK_ANSWER_NS);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, -ETIMEDOUT);
	vrig_start(&rig, 8, 4096);
	vrig_expect_none(&rig);
	vrig_finish(&rig);
}

Test(vsock_boot, response_before_the_request_refuses)
{
	struct vrig_connect connect;
	struct vrig_conn c = guest_conn(VSOCK_EPHEMERAL_FIRST, GUEST_PORT);

	vrig_init(&rig, 1);
	vrig_start(&rig, 0, 4096);
	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_RESPONSE, 0);
	vrig_run(&rig);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, -ECONNREFUSED);
	vrig_rx_add(&rig, 4);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	vrig_expect_none(&rig);
	vrig_finish(&rig);
}

Test(vsock, connect_is_refused_when_the_device_goes_away)
{
	struct vrig_connect connect;

	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_run(&rig);
	virtio_device_reset(&rig.vsock.dev);
	vrig_run(&rig);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, -ECONNREFUSED);
}

/* --- listeners --- */

Test(vsock, Listen)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	vrig_listen(&rig, PORT);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.accept_count, 1u);
	cr_assert_eq(rig.accepts[0].src_cid, VRIG_CID);
	cr_assert_eq(rig.accepts[0].src_port, GUEST_PORT);
	cr_assert_eq(rig.accepts[0].port, PORT);
	c.fd = vrig_answer(&rig, true);
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	cr_assert_eq(packet.h.buf_alloc, VSOCK_BUF_ALLOC);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	close(c.fd);
}

Test(vsock, NoListener)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST);
	vrig_listen(&rig, PORT);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
}

Test(vsock, ListenMultipleTimesDifferentHostPorts)
{
	struct vrig_conn a, b;

	vrig_listen(&rig, PORT);
	vrig_listen(&rig, PORT + 1);
	a = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	b = vrig_guest_connects(&rig, PORT + 1, GUEST_PORT);
	close(a.fd);
	close(b.fd);
}

Test(vsock, FailWhenListeningOnSameHostPort)
{
	vrig_listen(&rig, PORT);
	cr_assert_eq(vsock_listen(&rig.vsock, PORT, &rig.acceptor), -EADDRINUSE);
}

Test(vsock, closing_the_acceptor_ends_the_listener_only)
{
	struct vrig_conn c, d = guest_conn(PORT, GUEST_PORT + 1);
	struct vsock_acceptor other = {0};

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vsock_unlisten(&rig.vsock, PORT, &other);
	cr_assert_not_null(vsock_ports_listener(&rig.vsock.ports, PORT), "it is not this one's");
	vsock_unlisten(&rig.vsock, PORT, &rig.acceptor);
	cr_assert_eq(answer_to_request(&d), VSOCK_OP_RST);
	vrig_data(&rig, &c, "on", 2);
	cr_assert_eq(vrig_read(&rig, c.fd, bytes, 10), 2);
	vrig_listen(&rig, PORT);
	vrig_guest_connects(&rig, PORT, GUEST_PORT + 1);
	close(c.fd);
}

Test(vsock, closing_the_acceptor_refuses_what_it_has_not_answered)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	vrig_listen(&rig, PORT);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	vsock_unlisten(&rig.vsock, PORT, &rig.acceptor);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	/* The answer comes too late, and its socket is closed. */
	cr_assert(is_eof(vrig_answer(&rig, true)));
	vrig_expect_none(&rig);
}

Test(vsock, GuestConnectToInitialListener)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	cr_assert_eq(vsock_reserve(&rig.vsock, PORT), 0);
	cr_assert_eq(vsock_reserve(&rig.vsock, PORT), -EADDRINUSE);
	cr_assert_eq(vsock_listen(&rig.vsock, PORT, &rig.acceptor), -EADDRINUSE);
	cr_assert_eq(vsock_adopt(&rig.vsock, PORT + 1, &rig.acceptor), -ENOENT);
	cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "nobody is there to accept");
	cr_assert_eq(vsock_adopt(&rig.vsock, PORT, &rig.acceptor), 0);
	cr_assert_eq(vsock_adopt(&rig.vsock, PORT, &rig.acceptor), -EADDRINUSE);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT + 1);
	close(c.fd);
}

/* --- the guest connects --- */

Test(vsock, GuestInitiatedTwoIdenticalConnections)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert(is_eof(c.fd), "the live one is closed");
	cr_assert_eq(rig.accept_count, 0u);
	cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "in quarantine");
	fake_io_advance_ns(rig.reactor, VSOCK_QUARANTINE_NS);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
}

Test(vsock, GuestInitiatedReuseSamePortAfterCleanShutdown)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < 3; i++) {
		c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
		vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		cr_assert(is_eof(c.fd));
		close(c.fd);
	}
}

Test(vsock, GuestInitiatedMultiplexOverOneHostPort)
{
	struct vrig_conn c[4];

	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < 4; i++)
		c[i] = vrig_guest_connects(&rig, PORT, GUEST_PORT + i);
	for (unsigned int i = 0; i < 4; i++) {
		uint8_t byte = (uint8_t)('a' + i);

		vrig_data(&rig, &c[i], &byte, 1);
	}
	for (unsigned int i = 0; i < 4; i++) {
		cr_assert_eq(vrig_read(&rig, c[i].fd, bytes, 10), 1);
		cr_assert_eq(bytes[0], 'a' + i);
		close(c[i].fd);
	}
}

Test(vsock, GuestInitiatedConnectionRefused)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	vrig_listen(&rig, PORT);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	vrig_answer(&rig, false);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "in quarantine");
	cr_assert_eq(rig.accept_count, 0u, "which asks nobody");
}

Test(vsock, an_answer_that_is_no_stream_socket_refuses)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);
	int pair[2], pipes[2];

	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < 2; i++) {
		c.guest_port++;
		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		vrig_run(&rig);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
		cr_assert_eq(pipe(pipes), 0);
		vsock_accepted(
			&rig.vsock, &rig.accepts[--rig.accept_count], i ? pair[0] : pipes[0]);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		close(pair[1]);
		close(pipes[1]);
		close(i ? pipes[0] : pair[0]);
	}
}

Test(vsock, GuestInitiatedConnectionWrongCid)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = 5,
		.src_port = GUEST_PORT,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_REQUEST};

	vrig_listen(&rig, PORT);
	cr_assert(vrig_send(&rig, &h, NULL, 0));
	cr_assert(vrig_take(&rig, &packet));
	cr_assert_eq(packet.h.op, VSOCK_OP_RST);
	cr_assert_eq(packet.h.src_cid, 5u, "from where it was sent to");
	cr_assert_eq(packet.h.dst_cid, VRIG_CID);
	cr_assert_eq(packet.h.src_port, PORT);
	cr_assert_eq(packet.h.dst_port, GUEST_PORT);
	cr_assert_eq(rig.accept_count, 0u);
}

Test(vsock, shutdown_while_accepting_is_clean)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	vrig_listen(&rig, PORT);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	vrig_run(&rig);
	/* The same key at once; the first Accept's answer is not taken for the second's. */
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.accept_count, 2u);
	cr_assert(is_eof(vrig_answer(&rig, true)));
	c.fd = vrig_answer(&rig, true);
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	close(c.fd);
}

Test(vsock, any_other_op_while_accepting_closes_by_force)
{
	static const uint16_t ops[] = {VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE, VSOCK_OP_RW,
		VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_CREDIT_REQUEST};

	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct vrig_conn c = guest_conn(PORT, GUEST_PORT + i);

		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		vrig_op(&rig, &c, ops[i], 0);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		vrig_expect_none(&rig);
		cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "in quarantine");
	}
}

Test(vsock, header_split_over_descriptors)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = GUEST_PORT,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_REQUEST};

	vrig_listen(&rig, PORT);
	cr_assert(vrig_send_split(&rig, &h));
	vrig_run(&rig);
	cr_assert_eq(rig.accept_count, 1u);
	vrig_answer(&rig, false);
}

Test(vsock, chain_without_a_header_is_dropped_and_counted)
{
	struct vsock_figures figures;

	cr_assert(device_rig_offer(&rig.dev, VSOCK_TX, DEVICE_RIG_BUFFERS, 43, false));
	cr_assert(device_rig_offer(&rig.dev, VSOCK_TX, DEVICE_RIG_BUFFERS, 100, true));
	vrig_expect_none(&rig);
	vsock_figures(&rig.vsock, &figures);
	cr_assert_eq(figures.packets_dropped, 2u);
	cr_assert_eq(rig.vsock.dev.fault, VQ_OK);
}

/* --- the end --- */

Test(vsock, Reset)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	cr_assert(is_eof(c.fd));
	vrig_expect_none(&rig);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
	close(c.fd);
}

Test(vsock, GuestShutdownRead)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RCV);
	vrig_run(&rig);
	cr_assert_lt(send(c.fd, "x", 1, MSG_NOSIGNAL), 0);
	cr_assert_eq(errno, EPIPE);
	vrig_data(&rig, &c, "still", 5);
	cr_assert_eq(vrig_read(&rig, c.fd, bytes, 10), 5);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
}

Test(vsock, ShutdownWrite)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_data(&rig, &c, "last", 4);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	cr_assert_eq(vrig_read(&rig, c.fd, bytes, 10), 4);
	cr_assert(is_eof(c.fd));
	/* A half-close: the other direction goes on. */
	cr_assert_eq(send(c.fd, "reply", 5, 0), 5);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(memcmp(packet.data, "reply", 5), 0);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
}

Test(vsock, WriteAfterShutdown)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	vrig_run(&rig);
	fake_io_advance_ns(rig.reactor, VSOCK_LEEWAY_NS - 1);
	vrig_data(&rig, &c, "late", 4);
	vrig_expect_none(&rig);
	fake_io_advance_ns(rig.reactor, 1);
	vrig_data(&rig, &c, "later", 5);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert(is_eof(c.fd));
	close(c.fd);
}

Test(vsock, shutdown_bits_accumulate)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	vrig_expect_none(&rig);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_RCV);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	close(c.fd);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
}

Test(vsock, client_shutdown_of_writing_is_a_half_close)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	cr_assert_eq(send(c.fd, "end", 3, 0), 3);
	shutdown(c.fd, SHUT_WR);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_SEND);
	vrig_data(&rig, &c, "go on", 5);
	cr_assert_eq(vrig_read(&rig, c.fd, bytes, 10), 5);
	vrig_expect_none(&rig);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
}

Test(vsock, client_shutdown_of_reading_is_told)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	shutdown(c.fd, SHUT_RD);
	vrig_data(&rig, &c, "nobody reads", 12);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_RCV);
	cr_assert_eq(send(c.fd, "writes", 6, 0), 6);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	close(c.fd);
}

Test(vsock, client_close_drains_what_it_wrote)
{
	struct vrig_conn c;
	uint32_t total = 0;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	memset(bytes, 'z', sizeof(bytes));
	cr_assert_eq(send(c.fd, bytes, 30000, 0), 30000);
	close(c.fd);
	while (total < 30000) {
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
		total += packet.h.len;
	}
	cr_assert_eq(total, 30000u);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	vrig_data(&rig, &c, "crossing", 8);
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	vrig_expect_none(&rig);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
}

Test(vsock, client_close_without_an_answer_is_forced_after_5_s)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	fake_io_advance_ns(rig.reactor, VSOCK_ANSWER_NS - 1);
	vrig_expect_none(&rig);
	fake_io_advance_ns(rig.reactor, 1);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "in quarantine");
}

Test(vsock, shutdowns_that_cross_are_clean)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	vrig_guest_connects(&rig, PORT, GUEST_PORT);
}

Test(vsock, driver_reset_closes_connections_and_keeps_listeners)
{
	struct vrig_conn c, pending = guest_conn(PORT, GUEST_PORT + 9);

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	vrig_op(&rig, &pending, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	virtio_device_reset(&rig.vsock.dev);
	cr_assert(is_eof(c.fd));
	close(c.fd);
	cr_assert(is_eof(vrig_answer(&rig, true)));
	cr_assert_eq(rig.dev.resets_done, 1u);
	vrig_start(&rig, 8, 4096);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	close(c.fd);
}

/* --- spurious packets --- */

/* Of the guest's memory, where the last tx slot is, which nothing else uses by then. */
static const uint8_t *event_take(uint32_t *len_bytes)
{
	struct fake_used used;

	vrig_run(&rig);
	if (!fake_take(&rig.dev.queues[VSOCK_EVENT], &used))
		return NULL;
	*len_bytes = used.len_bytes;
	return device_rig_mem(&rig.dev, EVENT_AT, 4);
}

Test(vsock, TRANSPORT_RESET_after_a_restore)
{
	struct vrig_conn c;
	static const uint8_t zero[4];
	const uint8_t *event;
	uint32_t len;
	char byte;

	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	memset(device_rig_mem(&rig.dev, EVENT_AT, 4), 0xff, 4);
	cr_assert(device_rig_offer(&rig.dev, VSOCK_EVENT, EVENT_AT, 4, true));
	cr_assert_null(event_take(&len), "nothing has happened");
	vsock_restored(&rig.vsock);
	event = event_take(&len);
	cr_assert_not_null(event);
	cr_assert_eq(len, 4u);
	cr_assert_arr_eq(event, zero, 4);
	cr_assert_eq(vrig_read(&rig, c.fd, &byte, 1), 0);
	close(c.fd);
	vrig_expect_none(&rig); /* no RST: the event has said it */
	cr_assert_eq(rig.vsock.count, 0u);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	close(c.fd);
}

Test(vsock, TRANSPORT_RESET_waits_for_a_buffer)
{
	uint32_t len;

	vsock_restored(&rig.vsock);
	vrig_run(&rig);
	cr_assert(device_rig_offer(&rig.dev, VSOCK_EVENT, EVENT_AT, 3, true));
	cr_assert_not_null(event_take(&len));
	cr_assert_eq(len, 0u, "too small");
	cr_assert(device_rig_offer(&rig.dev, VSOCK_EVENT, EVENT_AT, 8, true));
	cr_assert(device_rig_offer(&rig.dev, VSOCK_EVENT, EVENT_AT, 8, true));
	cr_assert_not_null(event_take(&len));
	cr_assert_eq(len, 4u);
	cr_assert_null(event_take(&len), "once");
}

/* The guest has no buffers, and so many of its packets want an answer that the next ones wait. */
Test(vsock, a_restore_lets_go_on_what_waited_for_room)
{
	const struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_REQUEST};
	uint32_t *replies = &rig.vsock.replies_count;

	rig.rx_again = false;
	do {
		while (vrig_send(&rig, &h, NULL, 0))
			;
		vrig_run(&rig);
	} while (*replies < VSOCK_REPLIES_MAX);
	while (vrig_send(&rig, &h, NULL, 0))
		;
	vrig_run(&rig);
	cr_assert_eq(*replies, VSOCK_REPLIES_MAX);
	vsock_restored(&rig.vsock);
	cr_assert_eq(*replies, 0u);
	vrig_run(&rig);
	cr_assert_gt(*replies, 0u);
}

Test(vsock, NoResponseToSpuriousReset)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	cr_assert_not(vrig_take(&rig, &packet));
}

Test(vsock, NonResetSpuriousPacketsGetResetResponse)
{
	struct vrig_conn c = guest_conn(PORT, GUEST_PORT);

	for (uint16_t op = 0; op <= 9; op++) {
		if (op == VSOCK_OP_RST)
			continue;
		vrig_op(&rig, &c, op, 0);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	}
	cr_assert_not(vrig_take(&rig, &packet));
}

Test(vsock, UnsupportedSocketType)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = GUEST_PORT,
		.dst_port = PORT,
		.type = 7,
		.op = VSOCK_OP_REQUEST};

	vrig_listen(&rig, PORT);
	cr_assert(vrig_send(&rig, &h, NULL, 0));
	cr_assert(vrig_take(&rig, &packet));
	cr_assert_eq(packet.h.op, VSOCK_OP_RST);
	cr_assert_eq(packet.h.type, 7u);
	cr_assert_eq(rig.accept_count, 0u);
}

Test(vsock, unsound_packet_of_a_live_connection_closes_it)
{
	struct vrig_conn c;

	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < 3; i++) {
		c = vrig_guest_connects(&rig, PORT, GUEST_PORT + i);
		if (i == 0)
			vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, 4);
		else
			vrig_op(&rig, &c, i == 1 ? 8 : VSOCK_OP_RESPONSE, 0);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		cr_assert(is_eof(c.fd));
		cr_assert_eq(answer_to_request(&c), VSOCK_OP_RST, "in quarantine");
		close(c.fd);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock against guests and clients that want to do harm: floods, storms, garbage, leaks. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/queue_rig.h"
#include "support/vsock_rig.h"
#include "support/vsock_storm.h"

#define PORT 80u

static struct vrig rig;
static struct vrig_packet packet;

TestSuite(hostile_vsock, .timeout = 110);

static void start(unsigned int rx)
{
	vrig_init(&rig, 5);
	vrig_start(&rig, rx, 4096);
	vrig_listen(&rig, PORT);
}

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static struct vrig_conn conn_of(uint32_t guest_port)
{
	return (struct vrig_conn){PORT, guest_port, VRIG_BUF_ALLOC, 0, -1, 0, 0};
}

Test(hostile_vsock, ten_thousand_connections_leave_nothing)
{
	unsigned int files = open_files();
	struct vrig_conn c;
	char byte;

	start(16);
	for (uint32_t i = 0; i < 10000; i++) {
		c = vrig_guest_connects(&rig, PORT, 1 + i);
		vrig_data(&rig, &c, "x", 1);
		cr_assert_eq(vrig_read(&rig, c.fd, &byte, 1), 1);
		vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		close(c.fd);
	}
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
	cr_assert_eq(rig.vsock.pledged_bytes, 0u);
	cr_assert_eq(open_files(), files + 1, "guest memory");
	vrig_finish(&rig);
	cr_assert_eq(open_files(), files);
}

/* --- a thousand at once --- */

#define MANY 1000u

static int many_fds[MANY + 1];
static uint32_t many_sent[MANY + 1], many_got[MANY + 1];

static uint8_t pattern(uint32_t conn, uint32_t at)
{
	return (uint8_t)(conn * 31 + at * 7);
}

static void many_packets(void)
{
	while (vrig_take(&rig, &packet)) {
		uint32_t i = packet.h.dst_port;

		for (uint32_t j = 0; packet.h.op == VSOCK_OP_RW && j < packet.h.len; j++)
			cr_assert_eq(packet.data[j], pattern(i, many_got[i]++));
	}
}

static void many_connect(void)
{
	for (uint32_t i = 1; i <= MANY; i++) {
		struct vrig_conn c = conn_of(i);

		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		if (i % 25)
			continue;
		many_packets();
		while (rig.accept_count) {
			uint32_t port = rig.accepts[0].src_port;

			many_fds[port] = vrig_answer(&rig, true);
		}
		many_packets();
	}
}

static void many_exchange(uint32_t len)
{
	uint8_t data[256];

	for (uint32_t i = 1; i <= MANY; i++) {
		struct vrig_conn c = conn_of(i);

		for (uint32_t j = 0; j < len; j++)
			data[j] = pattern(i, many_sent[i] + j);
		many_sent[i] += len;
		cr_assert_eq(send(many_fds[i], data, len, 0), len);
		c.fwd_cnt = many_got[i];
		vrig_data(&rig, &c, data, len);
		if (i % 25 == 0)
			many_packets();
	}
	for (uint32_t i = 1; i <= MANY; i++) {
		cr_assert_eq(recv(many_fds[i], data, len, MSG_DONTWAIT), len);
		for (uint32_t j = 0; j < len; j++)
			cr_assert_eq(data[j], pattern(i, many_sent[i] - len + j));
	}
}

Test(hostile_vsock, a_thousand_connections_at_once)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 4 * MANY)
		cr_skip_test("too few descriptors are allowed");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	start(32);
	many_connect();
	cr_assert_eq(rig.vsock.table.count, MANY);
	for (unsigned int round = 0; round < 2; round++) {
		many_exchange(200);
		many_packets();
		for (uint32_t i = 1; i <= MANY; i++)
			cr_assert_eq(many_got[i], many_sent[i], "connection %u", i);
	}
	for (uint32_t i = 1; i <= MANY; i++)
		close(many_fds[i]);
	vrig_finish(&rig);
}

/* --- floods --- */

Test(hostile_vsock, flood_without_receive_buffers_stops_the_tx_queue)
{
	unsigned int sent = 0, answered = 0;

	start(0);
	for (unsigned int round = 0; round < 100; round++) {
		struct vsock_header h = {.src_cid = VRIG_CID,
			.dst_cid = VSOCK_CID_HOST,
			.src_port = round,
			.dst_port = PORT + 1,
			.type = VSOCK_TYPE_STREAM,
			.op = VSOCK_OP_REQUEST};

		while (vrig_send(&rig, &h, NULL, 0))
			sent++;
		vrig_run(&rig);
	}
	cr_assert_eq(rig.vsock.replies_count, VSOCK_REPLIES_MAX);
	cr_assert_eq(sent, VSOCK_REPLIES_MAX + VRIG_QUEUE, "all else waits in the queue");
	vrig_rx_add(&rig, 8);
	while (vrig_take(&rig, &packet)) {
		cr_assert_eq(packet.h.op, VSOCK_OP_RST);
		answered++;
	}
	cr_assert_eq(answered, sent, "and goes on when there are buffers");
	vrig_finish(&rig);
}

Test(hostile_vsock, more_connections_than_there_may_be)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_REQUEST};
	uint32_t resets = 0;

	start(32);
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX + 100; i++) {
		h.src_port = i;
		while (!vrig_send(&rig, &h, NULL, 0))
			while (vrig_take(&rig, &packet))
				resets += packet.h.op == VSOCK_OP_RST;
		/* Half of them are refused and rest, half never answered. */
		if (i % 2 && (vrig_run(&rig), rig.accept_count))
			vrig_answer(&rig, false);
		rig.accept_count = 0;
	}
	while (vrig_take(&rig, &packet))
		resets += packet.h.op == VSOCK_OP_RST;
	cr_assert_leq(rig.vsock.count + rig.vsock.ports.quarantine.count, VSOCK_CONNS_MAX);
	cr_assert_gt(rig.vsock.count, 1000u);
	cr_assert_gt(resets, 0u);
	vrig_finish(&rig);
}

Test(hostile_vsock, connections_beyond_the_share_of_files_are_refused)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_REQUEST};

	start(8);
	rig.vsock.conns_max = 2;
	for (h.src_port = 10; h.src_port < 12; h.src_port++)
		cr_assert(vrig_send(&rig, &h, NULL, 0));
	vrig_run(&rig);
	cr_assert_not(vrig_take(&rig, &packet), "the first two wait for their answer");
	cr_assert(vrig_send(&rig, &h, NULL, 0));
	vrig_run(&rig);
	cr_assert(vrig_take(&rig, &packet));
	cr_assert_eq(packet.h.op, VSOCK_OP_RST);
	cr_assert_eq(packet.h.dst_port, 12u);
	cr_assert_eq(rig.vsock.count, 2u);
	vrig_finish(&rig);
}

/* Every third is refused, and its key rests; nobody answers the others. */
static void ask_many(uint32_t count)
{
	for (uint32_t i = 1; i <= count; i++) {
		struct vrig_conn c = conn_of(i);

		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		vrig_run(&rig);
		cr_assert_eq(rig.accept_count, 1u);
		if (i % 3 == 0) {
			vrig_answer(&rig, false);
			vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		}
		rig.accept_count = 0;
	}
}

/* What a driver's reset ends it ends in parts, between which the reactor serves others. */
Test(hostile_vsock, a_reset_with_many_connections_takes_turns)
{
	const uint32_t *live = &rig.vsock.table.count, *rest = &rig.vsock.ports.quarantine.count;
	uint32_t before;
	struct vrig_conn c;

	start(32);
	ask_many(900);
	cr_assert(*live == 600 && *rest == 300);
	before = *live + *rest;
	virtio_device_reset(&rig.vsock.dev);
	cr_assert(rig.vsock.dev.resetting);
	while (rig.vsock.dev.resetting) {
		cr_assert_leq(before - *live - *rest, 128u);
		before = *live + *rest;
		cr_assert(fake_io_turn(rig.reactor));
	}
	cr_assert(*live == 0 && *rest == 0);
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
	vrig_start(&rig, 32, 4096);
	c = vrig_guest_connects(&rig, PORT, 3);
	close(c.fd);
	vrig_finish(&rig);
}

Test(hostile_vsock, flood_of_resets_gets_no_answer)
{
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_RST};
	struct vrig_conn c;
	char byte;

	start(8);
	c = vrig_guest_connects(&rig, PORT, 5);
	for (uint32_t i = 0; i < 20000; i++) {
		h.src_port = 6 + i % 100; /* beside the live connection */
		h.dst_port = i % 2 ? PORT : PORT + 1;
		while (!vrig_send(&rig, &h, NULL, 0))
			vrig_run(&rig);
	}
	vrig_expect_none(&rig);
	vrig_data(&rig, &c, "x", 1);
	cr_assert_eq(vrig_read(&rig, c.fd, &byte, 1), 1, "the others' RSTs are not its own");
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	vrig_expect_none(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
	cr_assert_eq(rig.vsock.ports.quarantine.count, 0u, "ended by its own side");
	close(c.fd);
	vrig_finish(&rig);
}

/* --- credit --- */

/* What the guest has told so far allows so many bytes in all; lies allow nothing. */
static uint32_t allowed_bytes(const struct vrig_conn *c, uint32_t got)
{
	return c->fwd_cnt <= got ? c->fwd_cnt + c->buf_alloc : 0;
}

Test(hostile_vsock, credit_is_obeyed_whatever_the_guest_tells)
{
	static char bytes[20000];
	struct vrig_conn c;
	uint64_t seed = 7;
	uint32_t got = 0, most = 0, lies = 0;

	start(16);
	c = vrig_guest_connects(&rig, PORT, 5);
	c.buf_alloc = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_run(&rig);
	cr_assert_eq(send(c.fd, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
	while (got < sizeof(bytes)) {
		uint32_t kind = (uint32_t)queue_rig_random(&seed) % 4, allowed;

		/* Shrinks, grows, is nothing, or is for more bytes than there were. */
		c.buf_alloc = kind ? (uint32_t)queue_rig_random(&seed) % 300 : 0;
		c.fwd_cnt = kind == 3 ? got + 1 + (uint32_t)queue_rig_random(&seed) : got;
		lies += c.fwd_cnt > got;
		allowed = allowed_bytes(&c, got);
		most = allowed > most ? allowed : most;
		vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
		while (vrig_take(&rig, &packet))
			if (packet.h.op == VSOCK_OP_RW)
				got += packet.h.len;
		cr_assert_leq(got, most, "%u bytes came, at most %u were allowed", got, most);
	}
	cr_assert_gt(lies, 10u);
	close(c.fd);
	vrig_finish(&rig);
}

/* --- storms --- */

Test(hostile_vsock, connection_storm_while_clients_are_killed)
{
	uint64_t seed = 99;

	start(32);
	for (uint32_t i = 0; i < 3000; i++) {
		struct vrig_conn c = conn_of(1 + i % 200);

		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		if (queue_rig_random(&seed) % 4)
			vrig_data(&rig, &c, "data", 4);
		while (queue_rig_random(&seed) % 2 && vrig_take(&rig, &packet))
			;
		while (rig.accept_count && queue_rig_random(&seed) % 3) {
			int fd = vrig_answer(&rig, queue_rig_random(&seed) % 8);

			if (fd < 0)
				continue;
			(void)!send(fd, "killed", 6, MSG_NOSIGNAL);
			close(fd);
		}
		if (i % 100 == 0)
			fake_io_advance_ns(rig.reactor, 3000000000ULL);
	}
	while (vrig_take(&rig, &packet))
		;
	fake_io_advance_ns(rig.reactor, VSOCK_ANSWER_NS + VSOCK_QUARANTINE_NS);
	while (rig.accept_count)
		vrig_answer(&rig, false);
	while (vrig_take(&rig, &packet))
		;
	cr_assert_eq(rig.vsock.count, 0u, "%u are left", rig.vsock.count);
	vrig_finish(&rig);
}

Test(hostile_vsock, random_guests_and_clients)
{
	uint8_t bytes[2048];
	uint64_t seed = 0x5eed;
	unsigned int files = open_files();

	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(queue_rig_random(&seed) >> 11);
		vsock_storm(bytes, sizeof(bytes));
	}
	cr_assert_eq(open_files(), files);
}

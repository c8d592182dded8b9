/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock data both ways: credit, slow clients, receive buffers of all kinds. Names in capitals are
 * the reference's cases (conformance.md). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/queue_rig.h"
#include "support/vsock_rig.h"

#define PORT       80u
#define GUEST_PORT 1022u

static struct vrig rig;
static struct vrig_packet packet;
static uint8_t bytes[1 << 16], got[1 << 16];
static int device_end; /* slow_client's; a number that is the device's own */

static void start_with(uint64_t features, uint64_t seed, unsigned int rx, uint32_t rx_bytes)
{
	vrig_init(&rig, seed);
	rig.features = features;
	vrig_start(&rig, rx, rx_bytes);
	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void start(uint64_t seed, unsigned int rx, uint32_t rx_bytes)
{
	start_with(0, seed, rx, rx_bytes);
}

static void setup(void)
{
	start(3, 32, 4096);
}

static void teardown(void)
{
	vrig_finish(&rig);
}

TestSuite(vsock_data, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(vsock_chains, .timeout = 60);

static void sock_buffer(int fd, int size_bytes)
{
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size_bytes, sizeof(size_bytes)), 0);
}

/* A connection whose client takes little at a time. */
static struct vrig_conn slow_client(uint32_t guest_port)
{
	struct vrig_conn c = {PORT, guest_port, VRIG_BUF_ALLOC, 0, -1, 0, 0};
	struct vsock_accept request;
	int pair[2];

	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.accept_count, 1u);
	request = rig.accepts[--rig.accept_count];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	device_end = pair[0];
	vsock_accepted(&rig.vsock, &request, pair[0]);
	c.fd = pair[1];
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	sock_buffer(pair[0], 4096);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	return c;
}

/* --- client → guest --- */

Test(vsock_data, Read)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	cr_assert_eq(send(c.fd, "hello", 5, 0), 5);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 5u);
	cr_assert_eq(memcmp(packet.data, "hello", 5), 0);
	cr_assert_eq(packet.h.flags, 0u);
	vrig_expect_none(&rig);
	close(c.fd);
}

Test(vsock_data, ReadChained)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	uint32_t total = 0;

	cr_assert_eq(send(c.fd, bytes, 60000, 0), 60000);
	while (total < 60000) {
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
		cr_assert_leq(packet.h.len, 4096u - VSOCK_HEADER_BYTES);
		memcpy(got + total, packet.data, packet.h.len);
		total += packet.h.len;
	}
	cr_assert_eq(memcmp(got, bytes, 60000), 0);
	vrig_expect_none(&rig);
	close(c.fd);
}

Test(vsock_data, ReadNoBuffer)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	c.buf_alloc = 2;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_run(&rig);
	cr_assert_eq(send(c.fd, "abcde", 5, 0), 5);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 2u);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_REQUEST, &packet);
	/* An answer without news is not asked again. */
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect_none(&rig);
	c.fwd_cnt = 2;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 2u);
	cr_assert_eq(memcmp(packet.data, "cd", 2), 0);
	c.buf_alloc = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_REQUEST, &packet);
	vrig_expect_none(&rig);
	c.buf_alloc = 100;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.data[0], 'e');
	close(c.fd);
}

Test(vsock_data, end_of_file_is_seen_without_credit)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	c.buf_alloc = 2;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_run(&rig);
	cr_assert_eq(send(c.fd, "ab", 2, 0), 2);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	close(c.fd);
	do
		cr_assert(vrig_take(&rig, &packet));
	while (packet.h.op == VSOCK_OP_CREDIT_REQUEST);
	cr_assert_eq(packet.h.op, VSOCK_OP_SHUTDOWN);
}

Test(vsock_data, ClientWriteWithInitialCredit)
{
	struct vrig_connect connect;
	struct vrig_conn c = {0, GUEST_PORT, 3, 0, -1, 0, 0};

	vrig_connect_start(&rig, &connect, GUEST_PORT);
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	c.host_port = packet.h.src_port;
	vrig_op(&rig, &c, VSOCK_OP_RESPONSE, 0);
	vrig_run(&rig);
	cr_assert_eq(send(connect.fd, "abcd", 4, 0), 4);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 3u, "as much as the RESPONSE allowed");
	close(connect.fd);
}

Test(vsock_data, credit_overflow_towards_the_guest)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	c.fwd_cnt = 1; /* of nothing that was sent */
	c.buf_alloc = UINT32_MAX;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_run(&rig);
	cr_assert_eq(send(c.fd, "x", 1, 0), 1);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_REQUEST, &packet);
	vrig_expect_none(&rig);
	c.fwd_cnt = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	close(c.fd);
}

Test(vsock_chains, control_goes_before_data)
{
	struct vrig_conn a, b = {PORT + 1, GUEST_PORT, 0, 0, -1, 0, 0};

	start(1, 8, 4096);
	a = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	rig.rx_again = false;
	cr_assert_eq(send(a.fd, bytes, 60000, 0), 60000);
	for (unsigned int i = 0; i < 8; i++)
		vrig_expect(&rig, &a, VSOCK_OP_RW, &packet);
	/* All buffers are used up, data and answers wait. */
	for (unsigned int i = 0; i < 5; i++)
		vrig_op(&rig, &b, VSOCK_OP_RW, 0);
	vrig_run(&rig);
	vrig_rx_add(&rig, 6);
	for (unsigned int i = 0; i < 5; i++)
		vrig_expect(&rig, &b, VSOCK_OP_RST, &packet);
	vrig_expect(&rig, &a, VSOCK_OP_RW, &packet);
	close(a.fd);
	vrig_finish(&rig);
}

Test(vsock_data, connections_with_data_take_turns)
{
	struct vrig_conn c[4];
	unsigned int packets[4] = {0};

	for (unsigned int i = 0; i < 4; i++) {
		c[i] = vrig_guest_connects(&rig, PORT, GUEST_PORT + i);
		c[i].buf_alloc = 1 << 20;
		vrig_op(&rig, &c[i], VSOCK_OP_CREDIT_UPDATE, 0);
	}
	vrig_run(&rig);
	for (unsigned int i = 0; i < 4; i++)
		cr_assert_eq(send(c[i].fd, bytes, 64000, MSG_DONTWAIT), 64000);
	for (unsigned int i = 0; i < 40; i++) {
		vrig_expect(&rig, NULL, VSOCK_OP_RW, &packet);
		packets[packet.h.dst_port - GUEST_PORT]++;
	}
	for (unsigned int i = 0; i < 4; i++) {
		cr_assert_geq(packets[i], 3u, "%u of 40 for connection %u", packets[i], i);
		close(c[i].fd);
	}
}

/* --- receive buffers --- */

Test(vsock_chains, SkipBadRxDescriptors)
{
	struct vrig_conn c = {PORT, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};

	start(1, 0, 43);
	vrig_op(&rig, &c, VSOCK_OP_RW, 0);
	vrig_op(&rig, &c, VSOCK_OP_RW, 0);
	rig.rx_again = false;
	vrig_rx_add(&rig, 2);
	cr_assert(device_rig_offer(&rig.dev, VSOCK_RX, DEVICE_RIG_BUFFERS, 4096, false));
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(vrig_take(&rig, &packet));
		cr_assert_eq(rig.used_bytes, 0u, "given back as it is");
	}
	rig.rx_bytes = 44;
	vrig_rx_add(&rig, 2);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(rig.vsock.dev.fault, VQ_OK);
	vrig_finish(&rig);
}

Test(vsock_chains, buffers_of_every_size_get_the_same_bytes)
{
	static const uint32_t sizes[] = {45, 60, 1000, 4096, 65536};

	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t total = 0, want = sizes[s] < 100 ? 500 : 60000;
		struct vrig_conn c;

		start(s + 1, 24, sizes[s]);
		c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
		cr_assert_eq(send(c.fd, bytes, want, 0), want);
		while (total < want) {
			vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
			memcpy(got + total, packet.data, packet.h.len);
			total += packet.h.len;
		}
		cr_assert_eq(memcmp(got, bytes, want), 0, "buffers of %u bytes", sizes[s]);
		close(c.fd);
		vrig_finish(&rig);
	}
}

Test(vsock_data, buffers_of_many_pieces)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	struct fake_driver *d = &rig.dev.queues[VSOCK_RX];
	uint64_t at = DEVICE_RIG_BUFFERS + 0x500000;
	const struct fake_buf bufs[5] = {{at, 1, true}, {at + 10, 42, true}, {at + 100, 3, true},
		{at + 200, 1, true}, {at + 300, 500, true}};
	struct fake_used used;
	uint8_t *mem = device_rig_mem(&rig.dev, at, 1000);

	/* All others are used up first. */
	rig.rx_again = false;
	for (unsigned int i = 0; i < 32; i++) {
		cr_assert_eq(send(c.fd, "x", 1, 0), 1);
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	}
	cr_assert_geq(fake_offer(d, bufs, 5, false), 0);
	device_rig_show(&rig.dev, VSOCK_RX);
	cr_assert_eq(send(c.fd, "0123456", 7, 0), 7);
	vrig_run(&rig);
	cr_assert(fake_take(d, &used));
	cr_assert_eq(used.len_bytes, 51u);
	cr_assert_eq(memcmp(mem + 101, "01", 2), 0);
	cr_assert_eq(mem[200], '2');
	cr_assert_eq(memcmp(mem + 300, "3456", 4), 0);
	close(c.fd);
}

/* --- guest → client --- */

Test(vsock_data, Write)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	vrig_data(&rig, &c, "hello", 5);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 100), 5);
	cr_assert_eq(memcmp(got, "hello", 5), 0);
	close(c.fd);
}

Test(vsock_data, WriteMultiple)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	for (unsigned int i = 0; i < 20; i++)
		vrig_data(&rig, &c, bytes + 100 * i, 100);
	vrig_data(&rig, &c, NULL, 0);
	cr_assert_eq(vrig_read(&rig, c.fd, got, sizeof(got)), 2000);
	cr_assert_eq(memcmp(got, bytes, 2000), 0);
	close(c.fd);
}

Test(vsock_data, packets_of_one_turn_leave_in_one_write)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	struct reactor_stats before, after;

	reactor_stats_read(rig.reactor, &before);
	for (unsigned int i = 0; i < 16; i++)
		vrig_data(&rig, &c, bytes + 100 * i, 100);
	vrig_run(&rig);
	reactor_stats_read(rig.reactor, &after);
	cr_assert_leq(after.sqes - before.sqes, 2u);
	cr_assert_eq(vrig_read(&rig, c.fd, got, sizeof(got)), 1600);
	close(c.fd);
}

Test(vsock_data, WriteUpdateCredit)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	uint32_t sent = 0;

	cr_assert_lt(c.buf_alloc, VSOCK_BUF_ALLOC, "or the guest makes use of all");
	while (sent < c.buf_alloc / 2 + 1) {
		vrig_data(&rig, &c, bytes, 32768);
		cr_assert_eq(vrig_read(&rig, c.fd, got, sizeof(got)), 32768);
		sent += 32768;
	}
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	cr_assert_eq(packet.h.fwd_cnt, sent);
	cr_assert_eq(packet.h.buf_alloc, VSOCK_BUF_ALLOC);
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	cr_assert_eq(packet.h.fwd_cnt, sent);
	close(c.fd);
}

Test(vsock_data, WriteMultipleConnections)
{
	struct vrig_conn a = slow_client(GUEST_PORT);
	struct vrig_conn b = vrig_guest_connects(&rig, PORT, GUEST_PORT + 1);

	/* The slow one does not stop the other. */
	for (unsigned int i = 0; i < 4; i++)
		vrig_data(&rig, &a, bytes, 60000);
	vrig_data(&rig, &b, "through", 7);
	cr_assert_eq(vrig_read(&rig, b.fd, got, 100), 7);
	close(a.fd);
	close(b.fd);
}

Test(vsock_data, WriteSocketFullReset)
{
	struct vrig_conn c = slow_client(GUEST_PORT);
	uint32_t sent = 0;

	/* Nothing is read, so it ends when the credit does: in the socket and kept. */
	for (;;) {
		vrig_data(&rig, &c, bytes, 32768);
		sent += 32768;
		vrig_run(&rig);
		if (rig.vsock.table.count == 0)
			break;
		cr_assert_lt(sent, 2 * VSOCK_BUF_ALLOC);
	}
	cr_assert_gt(sent, VSOCK_BUF_ALLOC);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	close(c.fd);
}

Test(vsock_data, SendCreditUpdateWhenSocketIsDrained)
{
	struct vrig_conn c = slow_client(GUEST_PORT);
	const uint32_t all = VSOCK_BUF_ALLOC;
	uint32_t total = 0, told;
	int n;

	for (unsigned int i = 0; i < all / 32768; i++) {
		vrig_data(&rig, &c, bytes + 1000 * i, 32768);
		vrig_run(&rig);
	}
	cr_assert_eq(rig.vsock.table.count, 1u);
	while (total < all && (n = vrig_read(&rig, c.fd, got, 1000)) > 0) {
		for (int i = 0; i < n; i++, total++)
			cr_assert_eq(got[i], bytes[1000 * (total / 32768) + total % 32768]);
	}
	cr_assert_eq(total, all);
	cr_assert(vrig_take(&rig, &packet));
	do {
		cr_assert_eq(packet.h.op, VSOCK_OP_CREDIT_UPDATE);
		told = packet.h.fwd_cnt;
	} while (vrig_take(&rig, &packet));
	cr_assert_leq(total - told, VSOCK_BUF_ALLOC / 2, "the guest knows of most of the room");
	close(c.fd);
}

Test(vsock_data, shutdown_delivers_what_is_kept)
{
	struct vrig_conn c = slow_client(GUEST_PORT);
	uint32_t total = 0;
	int n;

	for (unsigned int i = 0; i < 4; i++)
		vrig_data(&rig, &c, bytes, 32768);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	vrig_expect_none(&rig);
	/* The guest does not wait for a slow client; what it sent is delivered all the same. */
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	while ((n = vrig_read(&rig, c.fd, got, 5000)) > 0)
		total += (uint32_t)n;
	cr_assert_eq(n, 0);
	cr_assert_eq(total, 4u * 32768u);
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
	close(c.fd);
}

Test(vsock_data, client_that_closes_with_output_kept)
{
	struct vrig_conn c = slow_client(GUEST_PORT);

	for (unsigned int i = 0; i < 4; i++)
		vrig_data(&rig, &c, bytes, 32768);
	vrig_run(&rig);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	while (packet.h.flags != VSOCK_SHUTDOWN_BOTH)
		vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
}

Test(vsock_data, client_socket_that_does_not_block)
{
	struct vrig_conn c = slow_client(GUEST_PORT);
	uint32_t total = 0;

	/* The device's end is shared with the client, which plays with it. */
	cr_assert_eq(fcntl(device_end, F_SETFL, O_NONBLOCK), 0);
	for (unsigned int i = 0; i < 4; i++)
		vrig_data(&rig, &c, bytes, 32768);
	for (int n; (n = vrig_read(&rig, c.fd, got, 5000)) > 0;)
		total += (uint32_t)n;
	cr_assert_eq(total, 4u * 32768u);
	close(c.fd);
}

/* --- everything at once, in random order, with short transfers --- */

static void storm(uint64_t seed)
{
	struct fake_io_faults faults = {.short_percent = 30, .end_percent = 20};
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, (uint32_t)(GUEST_PORT + seed));
	uint32_t to_client = 0, at_client = 0, to_guest = 0, at_guest = 0;
	int n;

	fake_io_set_faults(rig.reactor, &faults);
	while (at_client < 50000 || at_guest < 50000) {
		uint32_t len = 1 + (uint32_t)(queue_rig_random(&seed) % 5000);

		if (to_client < 50000 && to_client - at_client < 60000) {
			len = len < 50000 - to_client ? len : 50000 - to_client;
			vrig_data(&rig, &c, bytes + to_client, len);
			to_client += len;
		}
		len = 1 + (uint32_t)(queue_rig_random(&seed) % 9000);
		len = len < 50000 - to_guest ? len : 50000 - to_guest;
		n = len ? (int)send(c.fd, bytes + to_guest, len, MSG_DONTWAIT) : 0;
		to_guest += n > 0 ? (uint32_t)n : 0;
		while ((n = vrig_read(&rig, c.fd, got, 3000)) > 0) {
			cr_assert_eq(memcmp(got, bytes + at_client, (size_t)n), 0);
			at_client += (uint32_t)n;
		}
		while (vrig_take(&rig, &packet)) {
			if (packet.h.op != VSOCK_OP_RW)
				continue;
			cr_assert_eq(memcmp(packet.data, bytes + at_guest, packet.h.len), 0);
			at_guest += packet.h.len;
			c.fwd_cnt += packet.h.len;
		}
		vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	}
	memset(&faults, 0, sizeof(faults));
	fake_io_set_faults(rig.reactor, &faults);
	close(c.fd);
}

Test(vsock_chains, every_byte_arrives_in_any_order_of_completions)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		start(seed, 16, seed % 2 ? 4096 : 700);
		storm(seed);
		vrig_finish(&rig);
	}
}

Test(vsock_chains, every_byte_arrives_over_every_kind_of_ring)
{
	static const uint64_t rings[] = {VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
		VIRTIO_F_RING_PACKED, VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX,
		VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC};

	for (unsigned int i = 0; i < ARRAY_SIZE(rings); i++) {
		start_with(rings[i], i + 100, 16, 4096);
		storm(i + 1);
		vrig_finish(&rig);
	}
}

Test(vsock_chains, in_order_is_not_offered)
{
	vrig_init(&rig, 1);
	cr_assert_not(device_rig_start(&rig.dev, VIRTIO_F_IN_ORDER, 16));
	vrig_finish(&rig);
}

/* --- resets of one queue --- */

static void queue_again(unsigned int q)
{
	virtio_queue_reset(&rig.dev.dev->queues[q]);
	vrig_run(&rig);
	cr_assert_not(rig.dev.dev->queues[q].resetting);
	memset(q == VSOCK_RX ? rig.rx_busy : rig.tx_busy, 0, sizeof(rig.rx_busy));
	device_rig_queue_on(&rig.dev, q, VRIG_QUEUE);
}

Test(vsock_chains, connections_survive_a_reset_of_each_queue)
{
	struct vrig_conn c;

	start_with(VIRTIO_F_RING_RESET, 1, 8, 4096);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	queue_again(VSOCK_RX);
	/* Waits for the new queue's buffers. */
	cr_assert_eq(send(c.fd, "to the guest", 12, 0), 12);
	vrig_run(&rig);
	vrig_rx_add(&rig, 8);
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(memcmp(packet.data, "to the guest", 12), 0);
	queue_again(VSOCK_TX);
	vrig_data(&rig, &c, "to the client", 13);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 100), 13);
	close(c.fd);
	vrig_finish(&rig);
}

Test(vsock_chains, a_reset_of_the_queue_under_a_transfer)
{
	struct vrig_conn c;
	uint64_t at;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		start_with(VIRTIO_F_RING_RESET, seed, 8, 4096);
		c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
		cr_assert_eq(send(c.fd, bytes, 20000, 0), 20000);
		vrig_data(&rig, &c, bytes, 20000);
		for (uint64_t turn = 0; turn < seed; turn++)
			fake_io_turn(rig.reactor);
		queue_again(VSOCK_RX);
		queue_again(VSOCK_TX);
		at = rig.vsock.figures.bytes_to_guest; /* those are in the old queue */
		vrig_rx_add(&rig, 8);
		/* What follows has no hole, or the connection is closed. */
		while (vrig_take(&rig, &packet) && packet.h.op != VSOCK_OP_RST) {
			cr_assert_eq(memcmp(packet.data, bytes + at, packet.h.len), 0);
			at += packet.h.len;
		}
		cr_assert(at == 20000 || packet.h.op == VSOCK_OP_RST);
		close(c.fd);
		vrig_finish(&rig);
	}
}

/* One buffer of megabytes, and credit for more: what is asked for in one read is a fair share. */
Test(vsock_chains, a_huge_buffer_is_not_filled_at_once)
{
	struct vrig_conn c;

	start(1, 2, 4096);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	rig.rx_again = false;
	c.buf_alloc = UINT32_MAX;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(send(c.fd, bytes, 3 * 4096, 0), 3 * 4096);
	for (unsigned int i = 0; i < 2; i++)
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert(device_rig_offer(&rig.dev, VSOCK_RX, DEVICE_RIG_BUFFERS, 8 << 20, true));
	rig.vsock.asked_bytes = 0;
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.asked_bytes, VIRTIO_BUDGET_BYTES);
	cr_assert_arr_eq(device_rig_mem(&rig.dev, DEVICE_RIG_BUFFERS + VSOCK_HEADER_BYTES, 4096),
		bytes + 2 * (4096 - VSOCK_HEADER_BYTES), 4096);
	close(c.fd);
	vrig_finish(&rig);
}

Test(vsock_data, client_that_closes_with_something_unread_without_credit)
{
	struct vrig_conn c = vrig_guest_connects(&rig, PORT, GUEST_PORT);

	c.buf_alloc = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_data(&rig, &c, "unread", 6);
	vrig_run(&rig);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
}

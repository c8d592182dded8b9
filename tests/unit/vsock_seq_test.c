/* SPDX-License-Identifier: Apache-2.0 */
/* SEQPACKET: messages both ways, of every size, with slow clients, few buffers and little credit.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "core/passrights.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"

#define PORT       80u
#define GUEST_PORT 1022u
#define EOM        VSOCK_SEQ_EOM

static struct vrig rig;
static struct vrig_packet packet;
static uint8_t bytes[1 << 19], got[1 << 19];

static void start(uint64_t features, unsigned int rx, uint32_t rx_bytes)
{
	vrig_init(&rig, 5);
	rig.features = features;
	vrig_start(&rig, rx, rx_bytes);
	vrig_listen(&rig, PORT);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void setup(void)
{
	start(VSOCK_F_SEQPACKET, 32, 4096);
}

static void teardown(void)
{
	vrig_finish(&rig);
}

TestSuite(vsock_seq, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(vsock_seq_start, .timeout = 60);

static struct vrig_conn connected(uint32_t guest_port)
{
	return vrig_guest_connects_as(&rig, PORT, guest_port, VSOCK_TYPE_SEQPACKET);
}

/* The guest reads a message of `len` bytes from bytes + at; true credit is given for it. */
static unsigned int guest_reads(struct vrig_conn *c, uint32_t at, uint32_t len)
{
	unsigned int packets = 0;
	uint32_t done = 0;

	do {
		vrig_expect(&rig, c, VSOCK_OP_RW, &packet);
		cr_assert_leq(packet.h.len, len - done);
		cr_assert_arr_eq(packet.data, bytes + at + done, packet.h.len);
		done += packet.h.len;
		packets++;
		cr_assert_eq(packet.h.flags, done == len ? EOM : 0u);
	} while (done < len);
	c->fwd_cnt += len;
	return packets;
}

static void client_writes(const struct vrig_conn *c, uint32_t at, uint32_t len)
{
	cr_assert_eq(
		send(c->fd, bytes + at, len, MSG_DONTWAIT), (ssize_t)len, "%s", strerror(errno));
}

static void client_reads(const struct vrig_conn *c, uint32_t at, uint32_t len)
{
	cr_assert_eq(vrig_read(&rig, c->fd, got, sizeof(got)), (int)len);
	cr_assert_arr_eq(got, bytes + at, len);
}

/* --- guest → client --- */

Test(vsock_seq, each_message_of_the_guest_is_a_record)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, bytes, 5, EOM);
	vrig_piece(&rig, &c, bytes + 5, 1, EOM | VSOCK_SEQ_EOR);
	vrig_piece(&rig, &c, bytes + 6, 4000, EOM);
	client_reads(&c, 0, 5);
	client_reads(&c, 5, 1);
	client_reads(&c, 6, 4000);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), -EAGAIN);
	close(c.fd);
}

Test(vsock_seq, a_message_of_many_packets_is_one_record)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, bytes, 100, 0);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), -EAGAIN, "it is not complete");
	vrig_piece(&rig, &c, bytes + 100, 3000, 0);
	vrig_piece(&rig, &c, bytes + 3100, 1, EOM);
	vrig_piece(&rig, &c, bytes + 3101, 7, 0);
	vrig_piece(&rig, &c, NULL, 0, EOM);
	client_reads(&c, 0, 3101);
	client_reads(&c, 3101, 7);
	close(c.fd);
}

Test(vsock_seq, an_empty_message_is_nothing)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, NULL, 0, EOM);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), -EAGAIN, "it would read as the end of file");
	vrig_piece(&rig, &c, bytes, 3, EOM);
	vrig_piece(&rig, &c, NULL, 0, EOM);
	client_reads(&c, 0, 3);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), -EAGAIN);
	close(c.fd);
}

/* Of lengths that go round the ring of what is kept, in every way. */
Test(vsock_seq, a_slow_client_gets_every_message_in_order)
{
	struct vrig_conn c = connected(GUEST_PORT);
	uint32_t lens[64], at = 0, read_at = 0;
	unsigned int first = 0, count = 0;

	for (unsigned int i = 0; i < 2000; i++) {
		uint32_t len = 1 + (i * 7919u) % (i % 3 ? 300 : 15000);

		if (at + len > sizeof(bytes) && !count)
			at = read_at = 0;
		while (count && (count == 12 || at + len > sizeof(bytes) || i % 5 == 0)) {
			client_reads(&c, read_at, lens[first % 64]);
			read_at += lens[first++ % 64];
			count--;
		}
		if (at + len > sizeof(bytes))
			at = read_at = 0;
		vrig_piece(&rig, &c, bytes + at, len / 2, 0);
		vrig_piece(&rig, &c, bytes + at + len / 2, len - len / 2, EOM);
		vrig_run(&rig);
		while (vrig_take(&rig, &packet))
			cr_assert_eq(packet.h.op, VSOCK_OP_CREDIT_UPDATE);
		lens[(first + count++) % 64] = len;
		at += len;
	}
	for (; count; count--) {
		client_reads(&c, read_at, lens[first % 64]);
		read_at += lens[first++ % 64];
	}
	close(c.fd);
}

Test(vsock_seq, a_message_of_all_the_credit_comes_as_one)
{
	struct vrig_conn c = connected(GUEST_PORT);
	uint32_t piece = VSOCK_BUF_ALLOC_SEQ / 8;

	for (unsigned int i = 0; i < 8; i++) {
		vrig_piece(&rig, &c, bytes + i * piece, piece, i == 7 ? EOM : 0);
		vrig_run(&rig);
	}
	client_reads(&c, 0, VSOCK_BUF_ALLOC_SEQ);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	cr_assert_eq(packet.h.fwd_cnt, VSOCK_BUF_ALLOC_SEQ);
	close(c.fd);
}

Test(vsock_seq, a_message_longer_than_the_credit_is_reset)
{
	struct vrig_conn c = connected(GUEST_PORT);
	uint32_t piece = VSOCK_BUF_ALLOC_SEQ / 8;

	for (unsigned int i = 0; i < 8; i++) {
		vrig_piece(&rig, &c, bytes, piece, 0);
		vrig_run(&rig);
	}
	vrig_expect_none(&rig);
	vrig_piece(&rig, &c, bytes, 1, EOM);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), 0, "nothing of it arrives");
	close(c.fd);
}

/* The guest sends the beginning of a message that needs all, when it believes that half is gone. */
Test(vsock_seq, credit_is_told_while_a_message_waits_for_its_end)
{
	struct vrig_conn c = connected(GUEST_PORT);
	uint32_t part = VSOCK_BUF_ALLOC_SEQ / 16;

	for (unsigned int i = 0; i < 7; i++) {
		vrig_piece(&rig, &c, bytes, part, EOM);
		client_reads(&c, 0, part);
	}
	vrig_expect_none(&rig);
	for (unsigned int i = 0; i < 9; i++)
		vrig_piece(&rig, &c, bytes + i * part, part, 0);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_UPDATE, &packet);
	cr_assert_eq(packet.h.fwd_cnt, 7 * part);
	for (unsigned int i = 9; i < 16; i++)
		vrig_piece(&rig, &c, bytes + i * part, part, i == 15 ? EOM : 0);
	client_reads(&c, 0, 16 * part);
	close(c.fd);
}

Test(vsock_seq, what_is_incomplete_at_the_end_is_dropped)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, bytes, 10, EOM);
	vrig_piece(&rig, &c, bytes, 10, 0);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	client_reads(&c, 0, 10);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), 0);
	close(c.fd);
}

Test(vsock_seq, half_closed_by_the_guest_it_still_receives)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, bytes, 10, EOM);
	vrig_op(&rig, &c, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	client_reads(&c, 0, 10);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), 0);
	client_writes(&c, 3, 30);
	guest_reads(&c, 3, 30);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
}

/* --- client → guest --- */

Test(vsock_seq, each_record_of_the_client_is_a_message)
{
	struct vrig_conn c = connected(GUEST_PORT);

	client_writes(&c, 0, 1);
	client_writes(&c, 1, 4000);
	client_writes(&c, 4001, 9000);
	cr_assert_eq(guest_reads(&c, 0, 1), 1u);
	cr_assert_eq(guest_reads(&c, 1, 4000), 1u);
	cr_assert_eq(guest_reads(&c, 4001, 9000), 3u);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
}

Test(vsock_seq, an_empty_record_is_not_the_end)
{
	struct vrig_conn c = connected(GUEST_PORT);

	cr_assert_eq(send(c.fd, bytes, 0, 0), 0);
	vrig_run(&rig);
	vrig_expect_none(&rig);
	client_writes(&c, 0, 4);
	guest_reads(&c, 0, 4);
	cr_assert_eq(send(c.fd, bytes, 0, 0), 0);
	client_writes(&c, 4, 4);
	cr_assert_eq(shutdown(c.fd, SHUT_WR), 0);
	guest_reads(&c, 4, 4);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_SEND);
	close(c.fd);
}

Test(vsock_seq, a_record_waits_for_credit_for_all_of_it)
{
	struct vrig_conn c = connected(GUEST_PORT);

	c.buf_alloc = 100;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	client_writes(&c, 0, 60);
	client_writes(&c, 60, 60);
	c.fwd_cnt = 0;
	guest_reads(&c, 0, 60);
	c.fwd_cnt = 0;
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_REQUEST, &packet);
	for (unsigned int i = 0; i < 3; i++) {
		vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
		vrig_run(&rig);
	}
	vrig_expect_none(&rig); /* nor is the question repeated for ever */
	c.fwd_cnt = 60;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	guest_reads(&c, 60, 60);
	close(c.fd);
}

Test(vsock_seq, a_record_that_never_fits_is_reset)
{
	struct vrig_conn c = connected(GUEST_PORT);

	c.buf_alloc = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	client_writes(&c, 0, 60);
	vrig_expect(&rig, &c, VSOCK_OP_CREDIT_REQUEST, &packet);
	vrig_expect_none(&rig); /* no room at all may be for now */
	c.buf_alloc = 59;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	close(c.fd);
}

static void few_buffers(unsigned int rx, uint32_t rx_bytes, uint32_t len, unsigned int packets)
{
	struct vrig_conn c;

	start(VSOCK_F_SEQPACKET, rx, rx_bytes);
	c = connected(GUEST_PORT);
	client_writes(&c, 9, len);
	client_writes(&c, 1, 10);
	cr_assert_eq(guest_reads(&c, 9, len), packets);
	guest_reads(&c, 1, 10);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	vrig_finish(&rig);
}

Test(vsock_seq_start, a_record_larger_than_all_buffers_comes_in_pieces)
{
	few_buffers(1, 144, 1000, 10);
	few_buffers(3, 144, 60000, 600);
	few_buffers(64, 144, 60000, 600);
	few_buffers(16, 4096, 50000, 13);
	few_buffers(1, 45, 3, 3);
}

/* The next packet with data; whose it is. */
static uint32_t data_packet(void)
{
	do
		cr_assert(vrig_take(&rig, &packet));
	while (packet.h.op != VSOCK_OP_RW);
	return packet.h.dst_port;
}

Test(vsock_seq_start, pieces_of_two_connections_one_after_the_other)
{
	struct vrig_conn c[3];
	uint32_t first, second;

	start(VSOCK_F_SEQPACKET, 2, 144);
	for (uint32_t i = 0; i < 3; i++)
		c[i] = connected(GUEST_PORT + i);
	for (uint32_t i = 0; i < 3; i++)
		client_writes(&c[i], i, 1000);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t whose = data_packet() - GUEST_PORT;

		cr_assert_eq(packet.data[0], bytes[whose]);
		for (unsigned int part = 1; part < 10; part++)
			vrig_expect(&rig, &c[whose], VSOCK_OP_RW, &packet);
		cr_assert_eq(packet.h.flags, EOM);
	}
	for (uint32_t i = 0; i < 3; i++)
		client_writes(&c[i], i, 1000);
	first = data_packet() - GUEST_PORT;
	second = (first + 1) % 3;
	/* One goes away with its message half delivered, another while it waits. */
	vrig_op(&rig, &c[first], VSOCK_OP_RST, 0);
	vrig_op(&rig, &c[second], VSOCK_OP_RST, 0);
	while (data_packet() == c[first].guest_port)
		;
	cr_assert_eq(packet.h.src_port, PORT);
	cr_assert_eq(packet.h.dst_port, c[(first + 2) % 3].guest_port);
	for (unsigned int part = 1; part < 10; part++)
		vrig_expect(&rig, &c[(first + 2) % 3], VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.flags, EOM);
	for (uint32_t i = 0; i < 3; i++)
		close(c[i].fd);
	vrig_finish(&rig);
}

/* The guest takes its credit back in the middle of a message, and gives it again. */
Test(vsock_seq_start, credit_shrinks_in_the_middle_of_a_record)
{
	struct vrig_conn c;

	start(VSOCK_F_SEQPACKET, 1, 144);
	c = connected(GUEST_PORT);
	client_writes(&c, 0, 1000);
	for (unsigned int i = 0; i < 3; i++)
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	c.buf_alloc = 0;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	vrig_run(&rig);
	do
		cr_assert(vrig_take(&rig, &packet));
	while (packet.h.op == VSOCK_OP_RW);
	cr_assert_eq(packet.h.op, VSOCK_OP_CREDIT_REQUEST);
	vrig_expect_none(&rig);
	c.buf_alloc = VRIG_BUF_ALLOC;
	vrig_op(&rig, &c, VSOCK_OP_CREDIT_UPDATE, 0);
	do
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	while (packet.h.flags != EOM);
	cr_assert_arr_eq(packet.data, bytes + 900, 100);
	close(c.fd);
	vrig_finish(&rig);
}

#define TALKERS 24u
#define LEN     60000u

/* All have something for the guest, which has room for all of it but no credit; then it gives it to
 * all at once. */
static void all_talk(struct vrig_conn *c, uint16_t type)
{
	start(VSOCK_F_SEQPACKET, 8, VRIG_SLOT_BYTES);
	for (uint32_t i = 0; i < TALKERS; i++) {
		c[i] = vrig_guest_connects_as(&rig, PORT, GUEST_PORT + i, type);
		c[i].buf_alloc = 0;
		vrig_op(&rig, &c[i], VSOCK_OP_CREDIT_UPDATE, 0);
		vrig_run(&rig);
		client_writes(&c[i], i, LEN);
		vrig_expect(&rig, &c[i], VSOCK_OP_CREDIT_REQUEST, &packet);
	}
	vrig_rx_add(&rig, TALKERS);
	for (uint32_t i = 0; i < TALKERS; i++) {
		c[i].buf_alloc = VRIG_SLOT_BYTES;
		vrig_op(&rig, &c[i], VSOCK_OP_CREDIT_UPDATE, 0);
	}
}

static void all_close(struct vrig_conn *c)
{
	for (uint32_t i = 0; i < TALKERS; i++)
		close(c[i].fd);
	vrig_finish(&rig);
}

Test(vsock_seq_start, a_turn_copies_no_more_messages_than_its_share)
{
	uint64_t *total = &rig.vsock.figures.bytes_to_guest, before, most = 0;
	struct vrig_conn c[TALKERS];

	all_talk(c, VSOCK_TYPE_SEQPACKET);
	do {
		before = *total;
		fake_io_turn(rig.reactor);
		most = *total - before > most ? *total - before : most;
	} while (*total < TALKERS * LEN);
	cr_assert_lt(most, VIRTIO_BUDGET_BYTES + LEN);
	all_close(c);
}

Test(vsock_seq_start, a_turn_reads_no_more_of_streams_than_its_share)
{
	uint64_t *total = &rig.vsock.figures.bytes_to_guest;
	struct vrig_conn c[TALKERS];
	unsigned int most = 0;

	all_talk(c, VSOCK_TYPE_STREAM);
	do {
		fake_io_turn(rig.reactor);
		most = rig.vsock.rx_ops_busy > most ? rig.vsock.rx_ops_busy : most;
	} while (*total < TALKERS * LEN);
	cr_assert_leq(most, VIRTIO_BUDGET_BYTES / (VRIG_SLOT_BYTES - VSOCK_HEADER_BYTES) + 1);
	all_close(c);
}

/* --- types --- */

Test(vsock_seq, the_type_of_the_clients_socket_must_be_the_guests)
{
	for (uint16_t type = VSOCK_TYPE_STREAM; type <= VSOCK_TYPE_SEQPACKET; type++) {
		struct vrig_conn c = {PORT, GUEST_PORT + type, VRIG_BUF_ALLOC, 0, -1, type, 0};
		struct vsock_accept request;
		int pair[2];

		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
		vrig_run(&rig);
		cr_assert_eq(rig.accept_count, 1u);
		request = rig.accepts[--rig.accept_count];
		cr_assert_eq(request.type, type);
		cr_assert_eq(
			socketpair(AF_UNIX,
				type == VSOCK_TYPE_STREAM ? SOCK_SEQPACKET : SOCK_STREAM, 0, pair),
			0);
		vsock_accepted(&rig.vsock, &request, pair[0]);
		vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
		cr_assert_eq(vrig_read(&rig, pair[1], got, 1), 0, "it is closed");
		close(pair[1]);
	}
}

static void refused_over(int family, uint16_t type)
{
	struct vrig_conn c = {PORT, GUEST_PORT + type, VRIG_BUF_ALLOC, 0, -1, type, 0};
	int fd = socket(family, type == VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM, 0);

	if (fd < 0)
		cr_skip_test("this kernel has no such sockets");
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.accept_count, 1u);
	vsock_accepted(&rig.vsock, &rig.accepts[--rig.accept_count], fd);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
}

/* Of a record that is there it says that it has 0 bytes. */
Test(vsock_seq, messages_only_over_unix_sockets)
{
	refused_over(AF_VSOCK, VSOCK_TYPE_SEQPACKET);
}

/* It could take as long to close as its sender likes. */
Test(vsock_seq, streams_only_over_unix_sockets)
{
	refused_over(AF_INET, VSOCK_TYPE_STREAM);
}

/* Closing a descriptor that came with a byte could take as long, too. */
Test(vsock_seq, nobody_can_send_descriptors)
{
	struct vrig_conn c = connected(GUEST_PORT);
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {bytes, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&msg);
	int on = 0;
	socklen_t len = sizeof(on);

	if (getsockopt(c.fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len))
		cr_skip_test("this kernel has no SO_PASSRIGHTS");
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &c.fd, sizeof(int));
	cr_assert_eq(sendmsg(c.fd, &msg, MSG_DONTWAIT), -1);
	cr_assert_eq(errno, EPERM);
	client_writes(&c, 0, 3);
	guest_reads(&c, 0, 3);
	close(c.fd);
}

Test(vsock_seq, a_packet_of_the_other_type_resets)
{
	struct vrig_conn c = connected(GUEST_PORT), stream = c;

	stream.type = VSOCK_TYPE_STREAM;
	vrig_data(&rig, &stream, bytes, 10);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(vrig_read(&rig, c.fd, got, 1), 0);
	close(c.fd);
}

Test(vsock_seq_start, refused_without_the_feature)
{
	struct vrig_conn c = {PORT, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, VSOCK_TYPE_SEQPACKET, 0};

	start(0, 8, 4096);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	cr_assert_eq(rig.accept_count, 0u);
	vrig_finish(&rig);
}

static int connect_result;

static void connect_ended(struct vsock_connect *connect, int err, uint32_t host_port, int fd)
{
	(void)connect;
	(void)host_port;
	cr_assert_eq(fd, -1);
	connect_result = err;
}

Test(vsock_seq_start, a_connect_has_the_type_of_its_socket)
{
	struct vsock_connect connect = {.done = connect_ended};
	struct vrig_conn c = {0, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, VSOCK_TYPE_SEQPACKET, 0};
	int pair[2];

	start(VSOCK_F_SEQPACKET, 8, 4096);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	connect_result = 1;
	cr_assert_eq(vsock_connect_over(&rig.vsock, GUEST_PORT, &connect, pair[0]), 0);
	cr_assert(vrig_take(&rig, &packet));
	cr_assert_eq(packet.h.op, VSOCK_OP_REQUEST);
	cr_assert_eq(packet.h.type, VSOCK_TYPE_SEQPACKET);
	c.host_port = packet.h.src_port;
	c.fd = pair[1];
	vrig_op(&rig, &c, VSOCK_OP_RESPONSE, 0);
	vrig_run(&rig);
	cr_assert_eq(connect_result, 0);
	client_writes(&c, 0, 10);
	client_writes(&c, 10, 20);
	guest_reads(&c, 0, 10);
	guest_reads(&c, 10, 20);
	close(c.fd);
	vrig_finish(&rig);
}

Test(vsock_seq_start, a_connect_of_messages_needs_a_driver_that_knows_them)
{
	struct vsock_connect connect = {.done = connect_ended};
	int pair[2];

	start(0, 8, 4096);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	connect_result = 1;
	cr_assert_eq(vsock_connect_over(&rig.vsock, GUEST_PORT, &connect, pair[0]), 0);
	vrig_expect_none(&rig);
	cr_assert_eq(connect_result, -ECONNREFUSED);
	close(pair[1]);
	vrig_finish(&rig);
}

/* --- ends --- */

Test(vsock_seq, a_client_that_goes_leaves_nothing)
{
	struct vrig_conn c = connected(GUEST_PORT);

	for (unsigned int i = 0; i < 40; i++) {
		vrig_piece(&rig, &c, bytes, 3000, EOM);
		vrig_run(&rig);
	}
	vrig_piece(&rig, &c, bytes, 300, 0);
	vrig_run(&rig);
	close(c.fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	vrig_run(&rig);
	cr_assert_eq(rig.vsock.count, 0u);
}

Test(vsock_seq, a_driver_reset_in_the_middle_of_a_message)
{
	struct vrig_conn c = connected(GUEST_PORT);

	vrig_piece(&rig, &c, bytes, 300, 0);
	client_writes(&c, 0, 60000);
	virtio_device_reset(&rig.vsock.dev);
	vrig_run(&rig);
	cr_assert_not(rig.vsock.dev.resetting);
	cr_assert_eq(rig.vsock.count, 0u);
	cr_assert_eq(fake_io_in_flight(rig.reactor, -1), 0u);
	cr_assert_leq(vrig_read(&rig, c.fd, got, 1), 0);
	close(c.fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Framing: chunks of every size, header rules, and which message descriptors belong to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/frame.h"
#include "support/message_gen.h"

static struct frame_header call_header(uint32_t size, uint32_t txid, uint8_t nfds)
{
	return (struct frame_header){.size = size, .txid = txid, .method = 1, .nfds = nfds};
}

/* Appends a message whose payload bytes are its txid. */
static uint32_t put_message(uint8_t *at, uint32_t size, uint32_t txid, uint8_t nfds)
{
	struct frame_header h = call_header(size, txid, nfds);

	frame_header_put(&h, at);
	memset(at + FRAME_HEADER_BYTES, (int)txid, size - FRAME_HEADER_BYTES);
	return size;
}

static int new_fd(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool fd_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void feed(struct frame_reader *r, const uint8_t *bytes, uint32_t len, const int *fds, int n)
{
	cr_assert_eq(frame_reader_push(r, bytes, len, fds, n), (int)len);
}

static void expect_violation(struct frame_reader *r, const char *text)
{
	struct frame f;
	struct diag d = {""};

	cr_assert_eq(frame_reader_next(r, &f, &d), -EPROTO);
	cr_assert(strstr(d.text, text), "\"%s\" does not say \"%s\"", d.text, text);
	/* It stays that way, and never touches the descriptors again. */
	cr_assert_eq(frame_reader_next(r, &f, &d), -EPROTO);
}

/* Feeds `len` bytes in pieces of `piece` and checks each message's content. */
static unsigned int read_in_pieces(const uint8_t *bytes, uint32_t len, uint32_t piece)
{
	struct frame_reader r;
	struct frame f;
	struct diag d;
	unsigned int messages = 0;
	uint32_t at = 0;

	frame_reader_init(&r);
	while (at < len) {
		uint32_t n = piece < len - at ? piece : len - at;
		int pushed = frame_reader_push(&r, bytes + at, n, NULL, 0), got;

		cr_assert_gt(pushed, 0);
		at += (uint32_t)pushed;
		while ((got = frame_reader_next(&r, &f, &d)) == 1) {
			messages++;
			cr_assert_eq(f.header.txid, messages);
			cr_assert_eq(f.payload_bytes, f.header.size - FRAME_HEADER_BYTES);
			for (uint32_t i = 0; i < f.payload_bytes; i++)
				cr_assert_eq(f.payload[i], (uint8_t)messages);
			frame_finish(&f);
		}
		cr_assert_eq(got, 0);
	}
	frame_reader_finish(&r);
	return messages;
}

Test(frame, whole_messages_from_pieces_of_any_size)
{
	static uint8_t bytes[80000];
	uint32_t len = 0;

	len += put_message(bytes + len, 16, 1, 0);
	len += put_message(bytes + len, 4096, 2, 0);
	len += put_message(bytes + len, 24, 3, 0);
	len += put_message(bytes + len, 4104, 4, 0);
	len += put_message(bytes + len, 16, 5, 0);
	for (uint32_t piece = 1; piece <= 100; piece++)
		cr_assert_eq(read_in_pieces(bytes, len, piece), 5);
	len += put_message(bytes + len, FRAME_SIZE_MAX, 6, 0);
	len += put_message(bytes + len, 16, 7, 0);
	for (uint32_t piece = 997; piece <= len; piece += 997)
		cr_assert_eq(read_in_pieces(bytes, len, piece), 7);
}

Test(frame, payloads_are_aligned_to_8)
{
	uint8_t bytes[256];
	struct frame_reader r;
	struct frame f;
	struct diag d;
	uint32_t len = 0;

	len += put_message(bytes, 24, 1, 0);
	len += put_message(bytes + len, 40, 2, 0);
	frame_reader_init(&r);
	feed(&r, bytes, 27, NULL, 0);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
	cr_assert_eq((uintptr_t)f.payload % 8, 0);
	feed(&r, bytes + 27, len - 27, NULL, 0);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
	cr_assert_eq((uintptr_t)f.payload % 8, 0);
	frame_reader_finish(&r);
}

Test(frame, each_bad_header_field_is_a_violation)
{
	static const struct {
		struct frame_header h;
		const char *text;
	} bad[] = {
		{{.size = 0, .txid = 1}, "size 0"},
		{{.size = 8, .txid = 1}, "size 8"},
		{{.size = 17, .txid = 1}, "size 17 is not a multiple of 8"},
		{{.size = 20, .txid = 1}, "size 20"},
		{{.size = 65544, .txid = 1}, "size 65544"},
		{{.size = 0xfffffff8, .txid = 1}, "size 4294967288"},
		{{.size = 16, .txid = 1, .flags = 8}, "reserved"},
		{{.size = 16, .txid = 1, .flags = 0x80}, "reserved"},
		{{.size = 16, .txid = 1, .flags = FRAME_ERROR}, "ERROR without REPLY"},
		{{.size = 16, .flags = FRAME_ERROR | FRAME_EVENT}, "ERROR without REPLY"},
		{{.size = 16, .flags = FRAME_REPLY | FRAME_EVENT}, "EVENT"},
		{{.size = 16, .flags = 7}, "EVENT"},
		{{.size = 16, .flags = FRAME_REPLY}, "txid"},
		{{.size = 16, .flags = FRAME_REPLY | FRAME_ERROR}, "txid"},
		{{.size = 16, .txid = 9, .flags = FRAME_EVENT}, "txid"},
		{{.size = 16, .txid = 1, .nfds = 5}, "nfds 5"},
		{{.size = 16, .txid = 1, .nfds = 255}, "nfds 255"},
		{{.size = 16, .txid = 1, .nfds = 1}, "nfds is 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t bytes[FRAME_HEADER_BYTES];
		struct frame_reader r;

		frame_header_put(&bad[i].h, bytes);
		frame_reader_init(&r);
		feed(&r, bytes, sizeof(bytes), NULL, 0);
		expect_violation(&r, bad[i].text);
		frame_reader_finish(&r);
	}
}

Test(frame, violation_names_the_txid_and_needs_no_payload)
{
	struct frame_header h = call_header(0x1001, 77, 0);
	uint8_t bytes[FRAME_HEADER_BYTES];
	struct frame_reader r;
	struct frame f;
	struct diag d;

	frame_header_put(&h, bytes);
	frame_reader_init(&r);
	feed(&r, bytes, 15, NULL, 0);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 0);
	feed(&r, bytes + 15, 1, NULL, 0);
	cr_assert_eq(frame_reader_next(&r, &f, &d), -EPROTO);
	cr_assert_eq(f.header.txid, 77);
	frame_reader_finish(&r);
}

/* One receive holds M1 (no descriptors), then M2 with them: as the kernel gives it. */
Test(frame, fds_belong_to_the_message_that_announces_them)
{
	uint8_t bytes[64];
	int fds[2] = {new_fd(), new_fd()};
	struct frame_reader r;
	struct frame f;
	struct diag d;
	uint32_t len = put_message(bytes, 16, 1, 0);

	len += put_message(bytes + len, 24, 2, 2);
	frame_reader_init(&r);
	feed(&r, bytes, len, fds, 2);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
	cr_assert_eq(f.header.txid, 1);
	cr_assert_eq(frame_take_fd(&f, 0), -1);
	frame_finish(&f);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
	cr_assert_eq(frame_take_fd(&f, 1), fds[1]);
	cr_assert_eq(frame_take_fd(&f, 1), -1);
	cr_assert_eq(frame_take_fd(&f, 2), -1);
	frame_finish(&f);
	cr_assert_not(fd_open(fds[0]));
	cr_assert(fd_open(fds[1]));
	close(fds[1]);
	frame_reader_finish(&r);
}

Test(frame, fds_wait_for_the_rest_of_a_split_header_and_payload)
{
	for (uint32_t split = 1; split < 40; split++) {
		uint8_t bytes[64];
		int fd = new_fd(), other = new_fd();
		struct frame_reader r;
		struct frame f;
		struct diag d;

		put_message(bytes, 40, 1, 1);
		put_message(bytes + 40, 16, 2, 1);
		frame_reader_init(&r);
		feed(&r, bytes, split, &fd, 1);
		cr_assert_eq(frame_reader_next(&r, &f, &d), 0);
		/* The rest comes together with the next message and its descriptor. */
		feed(&r, bytes + split, 56 - split, &other, 1);
		cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
		cr_assert_eq(frame_take_fd(&f, 0), fd);
		cr_assert_eq(frame_reader_next(&r, &f, &d), 1);
		cr_assert_eq(frame_take_fd(&f, 0), other);
		frame_reader_finish(&r);
		close(fd);
		close(other);
	}
}

Test(frame, fds_not_announced_are_a_violation_and_closed)
{
	uint8_t bytes[32];
	int fd = new_fd();
	struct frame_reader r;

	put_message(bytes, 32, 1, 0);
	frame_reader_init(&r);
	feed(&r, bytes, 32, &fd, 1);
	expect_violation(&r, "no message announces");
	cr_assert_not(fd_open(fd));
	frame_reader_finish(&r);
}

Test(frame, fds_not_on_the_first_byte_are_a_violation)
{
	for (uint32_t split = 1; split < 32; split++) {
		uint8_t bytes[32];
		int fd = new_fd();
		struct frame_reader r;
		struct frame f;
		struct diag d;
		int got;

		put_message(bytes, 32, 1, 1);
		frame_reader_init(&r);
		feed(&r, bytes, split, NULL, 0);
		got = frame_reader_next(&r, &f, &d);
		cr_assert_eq(got, split < 16 ? 0 : -EPROTO);
		feed(&r, bytes + split, 32 - split, &fd, 1);
		cr_assert_eq(frame_reader_next(&r, &f, &d), -EPROTO);
		cr_assert_not(fd_open(fd));
		frame_reader_finish(&r);
	}
}

Test(frame, another_number_of_fds_than_announced_is_a_violation)
{
	for (uint8_t announced = 0; announced <= 4; announced++) {
		for (int came = 0; came <= 4; came++) {
			uint8_t bytes[16];
			int fds[4];
			struct frame_reader r;
			struct frame f;
			struct diag d;
			int got;

			for (int i = 0; i < came; i++)
				fds[i] = new_fd();
			put_message(bytes, 16, 1, announced);
			frame_reader_init(&r);
			feed(&r, bytes, 16, fds, came);
			got = frame_reader_next(&r, &f, &d);
			cr_assert_eq(got, announced == came ? 1 : -EPROTO);
			frame_finish(&f);
			frame_reader_finish(&r);
			for (int i = 0; i < came; i++)
				cr_assert_not(fd_open(fds[i]));
		}
	}
}

/* A peer that sends descriptors with every byte must not make us hold more and more of them. */
Test(frame, fds_with_every_byte_end_the_stream_early)
{
	uint8_t bytes[4096];
	struct frame_reader r;
	struct frame f;
	struct diag d;
	int fds[8], count = 0, got = 0;

	put_message(bytes, 4096, 1, 1);
	frame_reader_init(&r);
	while (got == 0 && count < 8) {
		fds[count] = new_fd();
		feed(&r, bytes + count, 1, &fds[count], 1);
		count++;
		got = frame_reader_next(&r, &f, &d);
	}
	cr_assert_eq(got, -EPROTO);
	cr_assert_leq(count, 3);
	for (int i = 0; i < count; i++)
		cr_assert_not(fd_open(fds[i]));
	frame_reader_finish(&r);
}

Test(frame, undrained_reader_closes_fds_it_has_no_room_for)
{
	uint8_t bytes[48];
	int fds[3] = {new_fd(), new_fd(), new_fd()};
	struct frame_reader r;

	frame_reader_init(&r);
	for (uint32_t i = 0; i < 3; i++) {
		put_message(bytes, 16, i + 1, 1);
		feed(&r, bytes, 16, &fds[i], 1);
	}
	expect_violation(&r, "descriptors");
	for (int i = 0; i < 3; i++)
		cr_assert_not(fd_open(fds[i]));
	frame_reader_finish(&r);
}

Test(frame, cut_control_data_is_a_violation)
{
	uint8_t bytes[16];
	struct frame_reader r;

	put_message(bytes, 16, 1, 0);
	frame_reader_init(&r);
	feed(&r, bytes, 16, NULL, -EPROTO);
	expect_violation(&r, "more than 4");
	frame_reader_finish(&r);
}

Test(frame, finish_closes_what_is_pending)
{
	uint8_t bytes[32];
	int fd = new_fd(), early = new_fd();
	struct frame_reader r;
	struct frame f;
	struct diag d;

	put_message(bytes, 32, 1, 1);
	frame_reader_init(&r);
	feed(&r, bytes, 20, &fd, 1);
	cr_assert_eq(frame_reader_next(&r, &f, &d), 0);
	frame_reader_finish(&r);
	frame_reader_finish(&r);
	cr_assert_not(fd_open(fd));

	frame_reader_init(&r);
	feed(&r, bytes, 3, &early, 1);
	frame_reader_finish(&r);
	cr_assert_not(fd_open(early));
}

/* Sends `bytes` with descriptors, as a peer does. */
static void send_with_fds(int sock, void *bytes, size_t len, const int *fds, unsigned int count)
{
	struct iovec iov = {bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union frame_control control;

	frame_control_put(&msg, &control, fds, count);
	cr_assert_eq(sendmsg(sock, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static int receive(int sock, struct frame_reader *r, size_t at_most)
{
	struct iovec iov;
	union frame_control control;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int fds[FRAME_FDS_MAX], count;
	uint32_t room;
	uint8_t *at;
	ssize_t n;

	cr_assert_eq(frame_reader_space(r, &at, &room), 0);
	iov.iov_base = at;
	iov.iov_len = room < at_most ? room : at_most;
	n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return 0;
	count = frame_control_get(&msg, fds);
	frame_reader_commit(r, (uint32_t)n, fds, count);
	return (int)n;
}

/* What the kernel really does with descriptors between messages, for several sizes of receive. */
Test(frame, real_socket_keeps_fds_with_their_message)
{
	static const size_t sizes[] = {1, 7, 16, 40, 100, 4096};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint8_t bytes[256];
		int pair[2], memfd[2] = {new_fd(), new_fd()};
		unsigned int messages = 0;
		struct frame_reader r;
		struct frame f;
		struct diag d;
		uint32_t len;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		put_message(bytes, 16, 1, 0);
		send_with_fds(pair[0], bytes, 16, NULL, 0);
		len = put_message(bytes, 64, 2, 2);
		len += put_message(bytes + len, 16, 3, 0);
		send_with_fds(pair[0], bytes, len, memfd, 2);
		put_message(bytes, 24, 4, 1);
		send_with_fds(pair[0], bytes, 24, memfd, 1);

		frame_reader_init(&r);
		while (receive(pair[1], &r, sizes[s])) {
			int got;

			while ((got = frame_reader_next(&r, &f, &d)) == 1) {
				static const uint8_t nfds[] = {0, 2, 0, 1};

				cr_assert_lt(messages, 4);
				cr_assert_eq(f.header.nfds, nfds[messages]);
				messages++;
				frame_finish(&f);
			}
			cr_assert_eq(got, 0, "%s", d.text);
		}
		cr_assert_eq(messages, 4);
		frame_reader_finish(&r);
		close(pair[0]);
		close(pair[1]);
		close(memfd[0]);
		close(memfd[1]);
	}
}

Test(frame, real_socket_cuts_more_than_four_fds)
{
	uint8_t bytes[16], raw[CMSG_SPACE(sizeof(int) * 6)] = {0};
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = raw,
		.msg_controllen = sizeof(raw)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct frame_reader r;
	int pair[2], fd = new_fd();
	int lowest;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 6);
	for (int i = 0; i < 6; i++)
		memcpy(CMSG_DATA(c) + sizeof(int) * (size_t)i, &fd, sizeof(fd));
	put_message(bytes, 16, 1, 4);
	cr_assert_eq(sendmsg(pair[0], &msg, 0), 16);
	lowest = dup(fd);
	close(lowest);
	frame_reader_init(&r);
	cr_assert_eq(receive(pair[1], &r, 4096), 16);
	expect_violation(&r, "more than 4");
	cr_assert_not(fd_open(lowest), "a descriptor leaked");
	frame_reader_finish(&r);
	close(pair[0]);
	close(pair[1]);
	close(fd);
}

/* Random messages with descriptors, cut at random places as a kernel may cut them. */
Test(frame, random_streams_come_out_whole)
{
	static uint8_t bytes[1 << 16];
	static struct gen g;

	gen_init(&g, 20240517);
	for (int round = 0; round < 300; round++) {
		struct frame_reader r;
		struct frame f;
		struct diag d;
		unsigned int got_messages = 0, messages = 1 + gen_below(&g, 12);

		frame_reader_init(&r);
		for (unsigned int i = 1; i <= messages; i++) {
			uint32_t size = 16 + 8 * gen_below(&g, gen_below(&g, 8) ? 20 : 1200);
			uint8_t nfds = (uint8_t)(gen_below(&g, 3) ? 0 : gen_below(&g, 5));
			uint32_t at = 0;
			int fds[4], got;

			for (int k = 0; k < nfds; k++)
				fds[k] = new_fd();
			put_message(bytes, size, i, nfds);
			while (at < size) {
				uint32_t n = 1 + gen_below(&g, size - at);
				int pushed =
					frame_reader_push(&r, bytes + at, n, fds, at ? 0 : nfds);

				cr_assert_gt(pushed, 0);
				at += (uint32_t)pushed;
				while ((got = frame_reader_next(&r, &f, &d)) == 1) {
					got_messages++;
					cr_assert_eq(f.header.txid, got_messages);
					cr_assert_eq(f.header.nfds, nfds);
					for (unsigned int k = 0; k < nfds; k++)
						cr_assert_eq(f.fds[k], fds[k]);
					frame_finish(&f);
				}
				cr_assert_eq(got, 0, "%s", d.text);
			}
		}
		cr_assert_eq(got_messages, messages);
		frame_reader_finish(&r);
	}
}

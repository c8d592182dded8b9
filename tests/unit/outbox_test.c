/* SPDX-License-Identifier: Apache-2.0 */
/* The output queue: order, batching, and descriptors that ride on the right byte. */
#include "rpc/outbox.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void put(struct outbox *o, char fill, uint32_t len_bytes, const int *fds, unsigned int nfds)
{
	uint32_t room;
	uint8_t *at = outbox_reserve(o, len_bytes, nfds, &room);

	cr_assert_not_null(at);
	cr_assert_geq(room, len_bytes);
	memset(at, fill, len_bytes);
	outbox_commit(o, len_bytes, fds, nfds);
}

/* Bytes that the next sendmsg takes, at most `room` of them, copied to `to`. */
static uint32_t front(const struct outbox *o, char *to, uint32_t room, unsigned int *nfds)
{
	struct iovec iov[OUTBOX_IOV_MAX];
	const int *fds;
	unsigned int count = outbox_front(o, iov, &fds, nfds);
	uint32_t len = 0;

	for (unsigned int i = 0; i < count; i++) {
		cr_assert_leq(len + iov[i].iov_len, room);
		memcpy(to + len, iov[i].iov_base, iov[i].iov_len);
		len += (uint32_t)iov[i].iov_len;
	}
	return len;
}

static int open_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(outbox, keeps_the_order_whatever_is_sent_at_once)
{
	static char got[1 << 20];
	uint32_t len = 0, pieces[] = {1, 3999, 4000, 1, 7777, 123};
	struct outbox o;
	unsigned int nfds;
	static char all[1 << 20];
	uint32_t total = 0;

	outbox_init(&o);
	for (unsigned int i = 0; i < 200; i++) {
		uint32_t n = 8 * (1 + i * 37 % 700);

		put(&o, (char)i, n, NULL, 0);
		memset(all + total, (char)i, n);
		total += n;
	}
	cr_assert_eq(o.queued_bytes, total);
	for (unsigned int i = 0; o.queued_bytes; i++) {
		uint32_t there = front(&o, got + len, (uint32_t)sizeof(got) - len, &nfds);
		uint32_t take = pieces[i % 6] < there ? pieces[i % 6] : there;

		cr_assert_gt(take, 0);
		outbox_sent(&o, take);
		len += take;
	}
	cr_assert_eq(len, total);
	cr_assert_arr_eq(got, all, total);
	outbox_finish(&o);
}

Test(outbox, small_messages_go_together)
{
	struct outbox o;
	char got[4096];
	unsigned int nfds;

	outbox_init(&o);
	for (int i = 0; i < 50; i++)
		put(&o, 'a', 24, NULL, 0);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 50 * 24);
	outbox_finish(&o);
}

Test(outbox, descriptors_ride_on_the_first_byte_of_their_message)
{
	struct outbox o;
	char got[4096];
	unsigned int nfds;
	int fd = open_fd();

	outbox_init(&o);
	put(&o, 'a', 16, NULL, 0);
	put(&o, 'b', 24, &fd, 1);
	put(&o, 'c', 32, NULL, 0);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 16);
	cr_assert_eq(nfds, 0);
	outbox_sent(&o, 16);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 24 + 32);
	cr_assert_eq(nfds, 1);
	cr_assert(is_open(fd));
	outbox_sent(&o, 1);
	cr_assert_not(is_open(fd));
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 24 + 32 - 1);
	cr_assert_eq(nfds, 0);
	outbox_finish(&o);
}

Test(outbox, each_message_with_descriptors_begins_a_send)
{
	struct outbox o;
	char got[64];
	unsigned int nfds;

	outbox_init(&o);
	for (int i = 0; i < 3; i++) {
		int fds[2] = {open_fd(), open_fd()};

		put(&o, 'a', 16, fds, 2);
	}
	cr_assert_eq(o.queued_fds, 6);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(front(&o, got, sizeof(got), &nfds), 16);
		cr_assert_eq(nfds, 2);
		outbox_sent(&o, 1);
		cr_assert_eq(o.queued_fds, 4 - 2 * (unsigned int)i, "gone with the first byte");
		outbox_sent(&o, 15);
	}
	cr_assert_eq(o.queued_fds, 0);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 0);
	outbox_finish(&o);
}

Test(outbox, what_is_not_sent_is_closed_at_the_end)
{
	struct outbox o;
	int fd = open_fd();

	outbox_init(&o);
	put(&o, 'a', 16, &fd, 1);
	outbox_finish(&o);
	cr_assert_not(is_open(fd));
	outbox_finish(&o);
}

Test(outbox, room_that_was_reserved_in_vain_does_no_harm)
{
	struct outbox o;
	char got[8192];
	unsigned int nfds;
	uint32_t room;
	int fd = open_fd();

	outbox_init(&o);
	cr_assert_not_null(outbox_reserve(&o, 64, 0, &room));
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 0);
	cr_assert_not_null(outbox_reserve(&o, 5000, 0, &room)); /* the first was too small */
	put(&o, 'a', 5000, NULL, 0);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 5000);
	put(&o, 'b', 16, &fd, 1);
	outbox_sent(&o, 5000);
	cr_assert_eq(front(&o, got, sizeof(got), &nfds), 16);
	cr_assert_eq(nfds, 1);
	outbox_finish(&o);
}

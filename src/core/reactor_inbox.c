/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from other threads: a lock-free stack of many producers, reversed when it is drained,
 * and the wake of a reactor that sleeps.
 *
 * One word holds all of the state, so that no wake can be lost between a look and a sleep:
 *   NULL         empty, and the reactor will look again before it sleeps: no wake needed
 *   &asleep      empty, and the reactor sleeps (or is about to): who pushes onto this wakes it
 *   a message    not empty; whoever pushed onto &asleep has sent, or is sending, the wake */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/reactor_private.h"

#define MSG_CALL_TRIES 3

static struct reactor_msg asleep;

static void wake_by_eventfd(struct reactor *target)
{
	const uint64_t one = 1;

	/* The counter is never read, and 2^64 - 2 wakes do not happen: this cannot block. */
	ssize_t n = write(target->wake_fd, &one, sizeof(one));

	CHECK(n == sizeof(one));
}

/* The target has not begun, or has ended; either way it does not sleep. */
static bool target_is_over(int res)
{
	return res == -EBADFD || res == -EOWNERDEAD || res == -EBADF;
}

static void msg_prep(struct io_uring_sqe *sqe, struct reactor *target)
{
	sqe->opcode = IORING_OP_MSG_RING;
	sqe->fd = target->ring.ring_fd;
	sqe->addr = RING_MSG_DATA;
	sqe->off = (uintptr_t)&target->wake_msg; /* the target's completion */
}

static bool wake_by_call(struct reactor *target)
{
	struct io_uring_sqe sqe = {0};

	msg_prep(&sqe, target);
	for (int i = 0; i < MSG_CALL_TRIES; i++) {
		int err = io_uring_register((unsigned int)-1, RING_REGISTER_SEND_MSG_RING, &sqe, 1);

		if (err == 0 || target_is_over(err))
			return true;
	}
	return false;
}

static void peer_wake_failed(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct peer_wake *peer = container_of(op, struct peer_wake, op);

	(void)cqe_flags;
	/* Success is not reported at all. If the target is over, it must not even be looked at. */
	if (res < 0 && !target_is_over(res))
		wake_by_eventfd(peer->target);
}

/* The sender's own record of the target: it outlives a target that has gone. */
static struct peer_wake *peer_find(struct reactor *self, struct reactor *target)
{
	struct peer_wake *peer;

	for (uint32_t i = 0; i < self->peer_count; i++)
		if (self->peers[i].target == target)
			return &self->peers[i];
	if (self->peer_count == REACTOR_PEERS)
		return NULL;
	peer = &self->peers[self->peer_count++];
	*peer = (struct peer_wake){.op.done = peer_wake_failed, .target = target};
	return peer;
}

/* Goes out with the sender's turn. */
static bool wake_by_ring(struct reactor *self, struct reactor *target)
{
	struct peer_wake *peer = peer_find(self, target);
	struct io_uring_sqe *sqe;

	if (!peer)
		return false;
	sqe = ring_sqe(self);
	msg_prep(sqe, target);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uintptr_t)&peer->op;
	return true;
}

/* The one place where a sleeping reactor is woken; never fails. */
static void reactor_wake_up(struct reactor *target)
{
	struct reactor *self = reactor_current();

	if (target->wake == REACTOR_WAKE_MSG_RING && self && wake_by_ring(self, target))
		return;
	if (target->wake == REACTOR_WAKE_MSG_CALL && target->msg_call && wake_by_call(target))
		return;
	wake_by_eventfd(target);
}

static void wake_poll_arm(struct reactor *r)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	io_uring_prep_poll_multishot(sqe, r->wake_fd, POLLIN);
	sqe->user_data = (uintptr_t)&r->wake_poll;
	r->wake_armed = true;
}

static void wake_poll_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct reactor *r = container_of(op, struct reactor, wake_poll);

	if (res >= 0)
		STAT_ADD(r, wakes, 1);
	if (cqe_flags & IO_MORE)
		return;
	r->wake_armed = false;
	if (!r->ending)
		wake_poll_arm(r);
}

static void wake_msg_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct reactor *r = container_of(op, struct reactor, wake_msg);

	(void)res;
	(void)cqe_flags;
	STAT_ADD(r, wakes, 1);
}

static void silent_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	(void)op;
	(void)res;
	(void)cqe_flags;
}

void inbox_init(struct reactor *r)
{
	atomic_init(&r->inbox.head, NULL);
	atomic_init(&r->inbox.posting, 0);
	r->wake_msg.done = wake_msg_done;
	r->wake_poll.done = wake_poll_done;
	r->silent.done = silent_done;
}

void inbox_start(struct reactor *r)
{
	wake_poll_arm(r);
}

void inbox_end(struct reactor *r)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	r->ending = true;
	io_uring_prep_cancel64(sqe, (uintptr_t)&r->wake_poll, 0);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uintptr_t)&r->silent;
	while (r->wake_armed) {
		ring_wait(r, TIMER_HEAP_NEVER);
		ring_reap(r);
	}
	ring_flush(r);
}

void reactor_post(struct reactor *target, struct reactor_msg *msg)
{
	struct reactor_msg *old;

	/* Once the message is in, its receiver may end and free the reactor at any time. */
	atomic_fetch_add_explicit(&target->inbox.posting, 1, memory_order_relaxed);
	old = atomic_load_explicit(&target->inbox.head, memory_order_relaxed);
	do {
		msg->next = old;
	} while (!atomic_compare_exchange_weak_explicit(
		&target->inbox.head, &old, msg, memory_order_release, memory_order_relaxed));
	if (old == &asleep)
		reactor_wake_up(target);
	atomic_fetch_sub_explicit(&target->inbox.posting, 1, memory_order_release);
}

bool inbox_empty(const struct reactor *r)
{
	return atomic_load_explicit(&r->inbox.head, memory_order_relaxed) == NULL;
}

bool inbox_sleep(struct reactor *r)
{
	struct reactor_msg *empty = NULL;

	return atomic_compare_exchange_strong_explicit(
		&r->inbox.head, &empty, &asleep, memory_order_relaxed, memory_order_relaxed);
}

void inbox_awake(struct reactor *r)
{
	struct reactor_msg *sleeping = &asleep;

	atomic_compare_exchange_strong_explicit(
		&r->inbox.head, &sleeping, NULL, memory_order_relaxed, memory_order_relaxed);
}

void inbox_drain(struct reactor *r)
{
	struct reactor_msg *newest, *oldest = NULL;
	uint64_t count = 0;

	if (inbox_empty(r))
		return;
	newest = atomic_exchange_explicit(&r->inbox.head, NULL, memory_order_acquire);
	while (newest && newest != &asleep) {
		struct reactor_msg *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct reactor_msg *next = oldest->next;

		oldest->run(oldest);
		oldest = next;
		count++;
	}
	STAT_ADD(r, messages, count);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The ring at work: entries in, one io_uring_enter a turn, completions out. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/reactor_private.h"
#include "trace/probe.h"

#define NS_PER_S 1000000000ull

void ring_start(struct reactor *r)
{
	/* liburing 2.3 declares io_uring_enable_rings but does not export it. */
	int err = io_uring_register(
		(unsigned int)r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	CHECK(err == 0); /* it runs once, and this thread may submit from here on */
	/* Saves a file lookup in each enter; it works without as well. */
	if (io_uring_register_ring_fd(&r->ring) == 1)
		r->enter_flags |= IORING_ENTER_REGISTERED_RING;
}

void ring_end(struct reactor *r)
{
	if (!(r->enter_flags & IORING_ENTER_REGISTERED_RING))
		return;
	io_uring_unregister_ring_fd(&r->ring);
	r->enter_flags &= ~IORING_ENTER_REGISTERED_RING;
}

static uint32_t sq_pending(const struct reactor *r)
{
	return r->ring.sq.sqe_tail - io_uring_smp_load_acquire(r->ring.sq.khead);
}

static uint32_t sq_flags(const struct reactor *r)
{
	return IO_URING_READ_ONCE(*r->ring.sq.kflags);
}

static uint32_t cq_ready(const struct reactor *r)
{
	return io_uring_smp_load_acquire(r->ring.cq.ktail) - *r->ring.cq.khead;
}

static bool backlog_reserve(struct ring_backlog *b, uint32_t more)
{
	uint32_t room = b->room ? b->room : 256;
	struct io_uring_cqe *cqes;

	if (b->head > 0) {
		memmove(b->cqes, b->cqes + b->head, b->count * sizeof(*b->cqes));
		b->head = 0;
	}
	while (room - b->count < more)
		room *= 2;
	if (room == b->room)
		return true;
	cqes = realloc(b->cqes, room * sizeof(*cqes));
	if (!cqes)
		return false;
	b->cqes = cqes;
	b->room = room;
	return true;
}

static void cq_copy(struct reactor *r, struct io_uring_cqe *to, uint32_t count)
{
	struct io_uring_cq *cq = &r->ring.cq;
	uint32_t head = *cq->khead;

	for (uint32_t i = 0; i < count; i++)
		to[i] = cq->cqes[(head + i) & cq->ring_mask];
	io_uring_cq_advance(&r->ring, count);
}

/* Makes room in the CQ if what is about to be submitted might overflow it. Without memory nothing
 * moves; the kernel then keeps what does not fit, which is slow but loses nothing. */
static void cq_stash(struct reactor *r, uint32_t pending)
{
	uint32_t ready = cq_ready(r);

	if (ready + pending <= r->ring.cq.ring_entries || !backlog_reserve(&r->backlog, ready))
		return;
	cq_copy(r, r->backlog.cqes + r->backlog.head + r->backlog.count, ready);
	r->backlog.count += ready;
}

/* One io_uring_enter with all that is queued. Returns what the system call does. */
static int ring_enter(struct reactor *r, unsigned int min_complete, unsigned int flags,
	struct __kernel_timespec *timeout)
{
	struct io_uring_getevents_arg arg = {.ts = (uintptr_t)timeout};
	uint32_t pending = sq_pending(r);
	int ret;

	cq_stash(r, pending);
	r->ring.sq.sqe_head = r->ring.sq.sqe_tail;
	io_uring_smp_store_release(r->ring.sq.ktail, r->ring.sq.sqe_tail);
	flags |= r->enter_flags;
	if (timeout)
		ret = io_uring_enter2(r->ring.enter_ring_fd, pending, min_complete,
			flags | IORING_ENTER_EXT_ARG, (sigset_t *)&arg, sizeof(arg));
	else
		ret = io_uring_enter2(
			r->ring.enter_ring_fd, pending, min_complete, flags, NULL, _NSIG / 8);
	STAT_ADD(r, enters, 1);
	STAT_ADD(r, sqes, pending - sq_pending(r));
	CHECK(ret >= 0 || ret == -EINTR || ret == -ETIME || ret == -EAGAIN || ret == -EBUSY ||
		ret == -ENOMEM);
	return ret;
}

/* Submits everything now, in the middle of a turn. */
static void ring_submit(struct reactor *r)
{
	while (sq_pending(r) > 0) {
		int ret = ring_enter(r, 0, 0, NULL);

		if (ret >= 0 || ret == -EINTR)
			continue;
		/* Short of memory or of completion entries: let the kernel finish something. */
		cq_stash(r, r->ring.cq.ring_entries);
		ring_enter(r, 0, IORING_ENTER_GETEVENTS, NULL);
		sched_yield();
	}
}

struct io_uring_sqe *ring_sqe(struct reactor *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	if (!sqe) {
		ring_submit(r);
		sqe = io_uring_get_sqe(&r->ring);
		CHECK(sqe);
	}
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

void ring_flush(struct reactor *r)
{
	if (sq_pending(r) > 0 || (sq_flags(r) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0)
		ring_enter(r, 0, IORING_ENTER_GETEVENTS, NULL);
}

void ring_wait(struct reactor *r, uint64_t timeout_ns)
{
	struct __kernel_timespec ts;

	if (timeout_ns == 0) {
		ring_flush(r);
		return;
	}
	if (timeout_ns == TIMER_HEAP_NEVER) {
		ring_enter(r, 1, IORING_ENTER_GETEVENTS, NULL);
		return;
	}
	ts.tv_sec = (int64_t)(timeout_ns / NS_PER_S);
	ts.tv_nsec = (long long)(timeout_ns % NS_PER_S);
	ring_enter(r, 1, IORING_ENTER_GETEVENTS, &ts);
}

uint32_t ring_ready(const struct reactor *r)
{
	return r->backlog.count + cq_ready(r);
}

bool ring_has_events(const struct reactor *r)
{
	return ring_ready(r) > 0 ||
	       (sq_flags(r) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Copies the oldest completions into r->batch, at most `limit`; the CQ is free for new ones. */
static uint32_t batch_take(struct reactor *r, uint32_t limit)
{
	uint32_t count = limit < REACTOR_BATCH ? limit : REACTOR_BATCH;
	struct ring_backlog *b = &r->backlog;

	if (b->count == 0) {
		cq_copy(r, r->batch, count);
		return count;
	}
	if (count > b->count)
		count = b->count;
	memcpy(r->batch, b->cqes + b->head, count * sizeof(*b->cqes));
	b->count -= count;
	b->head = b->count ? b->head + count : 0;
	return count;
}

/* Ops that are the reactor's own are never marked in flight and do not count. */
static void op_complete(struct reactor *r, const struct io_uring_cqe *cqe)
{
	struct io_op *op = (struct io_op *)(uintptr_t)cqe->user_data;

	PROBE(completion, r->index, op, cqe->res, cqe->flags);
	if (op->in_flight && !(cqe->flags & IO_MORE)) {
		op->in_flight = false;
		r->in_flight--;
		r->on_workers -= op->on_worker;
	}
	op->done(op, cqe->res, cqe->flags);
}

uint32_t ring_reap(struct reactor *r)
{
	uint32_t batch = ring_ready(r), ready = batch;

	if (sq_flags(r) & IORING_SQ_CQ_OVERFLOW)
		STAT_ADD(r, overflows, 1);
	if (ready > r->stats.batch_max)
		STAT_SET(r, batch_max, ready);
	STAT_ADD(r, cqes, ready);
	/* What comes while these run is for the next turn, so that a turn ends. */
	while (ready > 0) {
		uint32_t count = batch_take(r, ready);

		for (uint32_t i = 0; i < count; i++)
			op_complete(r, &r->batch[i]);
		ready -= count;
	}
	return batch;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* wake: a thread that sleeps is woken and wakes the first one back; both pinned. The ways that a
 * reactor could be woken, bare, against the least that the kernel asks for (a futex); then the same
 * through the reactor itself. One time is a whole round trip: two wakes. */
#include "perf/bench_wake.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/rings.h"
#include "perf/usage.h"

#define TOKEN 1

/* One of the two threads. What a way does not use stays closed. */
struct side {
	struct io_uring ring; /* issued to by its own thread only */
	bool ring_open;
	int efd;                /* -1: none */
	uint64_t counter;       /* what a read of efd fills */
	_Atomic uint32_t calls; /* of the futex: incremented by the other side */
	uint32_t seen;
	_Atomic uint64_t syscalls; /* made by its own thread */
};

struct way {
	bool rings, eventfds;
	void (*start)(struct side *self); /* on the side's own thread, before anything else */
	void (*notify)(struct side *self, struct side *other);
	void (*wait)(struct side *self);
	int (*probe)(struct side *other); /* NULL: needs nothing special */
};

struct pair {
	const struct way *way;
	struct side near, far;
	pthread_t thread;
	pthread_barrier_t started;
	atomic_bool over;
	int cpu; /* of the far side */
};

static void made_one(struct side *s)
{
	atomic_fetch_add_explicit(&s->syscalls, 1, memory_order_relaxed);
}

/* --- a futex: the limit --- */

static void futex_notify(struct side *self, struct side *other)
{
	made_one(self);
	atomic_fetch_add(&other->calls, 1);
	syscall(SYS_futex, &other->calls, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void futex_wait(struct side *self)
{
	while (atomic_load(&self->calls) == self->seen) {
		made_one(self);
		syscall(SYS_futex, &self->calls, FUTEX_WAIT_PRIVATE, self->seen, NULL, NULL, 0);
	}
	self->seen++;
}

/* --- eventfds --- */

static void eventfd_notify(struct side *self, struct side *other)
{
	const uint64_t one = 1;

	made_one(self);
	CHECK(write(other->efd, &one, sizeof(one)) == sizeof(one));
}

static void eventfd_wait(struct side *self)
{
	made_one(self);
	CHECK(read(self->efd, &self->counter, sizeof(self->counter)) == sizeof(self->counter));
}

static void read_arm(struct side *self)
{
	struct io_uring_sqe *sqe = rings_sqe(&self->ring);

	io_uring_prep_read(sqe, self->efd, &self->counter, sizeof(self->counter), 0);
	sqe->user_data = TOKEN;
}

static bool wait_in_ring(struct side *self)
{
	bool ended;

	do
		made_one(self);
	while (!rings_wait(&self->ring, TOKEN, &ended));
	return ended;
}

/* Waits for the read and queues the next, which goes out with the next wait. */
static void read_wait(struct side *self)
{
	wait_in_ring(self);
	read_arm(self);
}

static void poll_arm(struct side *self)
{
	struct io_uring_sqe *sqe = rings_sqe(&self->ring);

	io_uring_prep_poll_multishot(sqe, self->efd, POLLIN);
	sqe->user_data = TOKEN;
}

static void poll_wait(struct side *self)
{
	if (wait_in_ring(self))
		poll_arm(self);
}

/* --- messages between rings --- */

static void call_notify(struct side *self, struct side *other)
{
	made_one(self);
	CHECK(rings_send_by_call(&other->ring, TOKEN) == 0);
}

static int call_probe(struct side *other)
{
	int err = rings_send_by_call(&other->ring, TOKEN);

	return err == -EBADFD ? 0 : err; /* the ring is still disabled: the call itself is known */
}

/* Queues the message; it goes out with the wait that follows, in one system call. */
static void ring_notify(struct side *self, struct side *other)
{
	rings_prep_send(&self->ring, &other->ring, TOKEN);
}

static void ring_wait(struct side *self)
{
	wait_in_ring(self);
}

/* --- the pair --- */

static int side_open(struct side *s, const struct way *way, struct diag *d)
{
	int err;

	s->efd = -1;
	if (way->rings) {
		err = rings_open(&s->ring, d);
		if (err)
			return err;
		s->ring_open = true;
	}
	if (way->eventfds) {
		s->efd = eventfd(0, EFD_CLOEXEC);
		if (s->efd < 0)
			return diag_errno(d, -errno, "eventfd");
	}
	return 0;
}

static void side_close(struct side *s)
{
	if (s->ring_open)
		io_uring_queue_exit(&s->ring);
	if (s->efd >= 0)
		close(s->efd);
}

static void side_start(struct side *s, const struct way *way)
{
	if (s->ring_open)
		rings_enable(&s->ring);
	if (way->start) {
		way->start(s);
		CHECK(io_uring_submit(&s->ring) >= 0);
	}
}

static void *far_main(void *arg)
{
	struct pair *p = arg;

	CHECK(bench_pin(p->cpu) == 0);
	side_start(&p->far, p->way);
	pthread_barrier_wait(&p->started);
	for (;;) {
		p->way->wait(&p->far);
		if (atomic_load(&p->over))
			return NULL;
		p->way->notify(&p->far, &p->near);
	}
}

static int pair_start(struct pair *p, struct diag *d)
{
	int err = p->way->probe ? p->way->probe(&p->far) : 0;

	if (err)
		return diag_errno(d, -ENOTSUP, "the kernel cannot send a message without a ring");
	pthread_barrier_init(&p->started, NULL, 2);
	err = -pthread_create(&p->thread, NULL, far_main, p);
	if (err) {
		pthread_barrier_destroy(&p->started);
		return diag_errno(d, err, "a thread");
	}
	side_start(&p->near, p->way);
	pthread_barrier_wait(&p->started);
	return 0;
}

static int pair_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct pair *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->way = v->arg;
	p->cpu = bench_cpu(o, 1);
	p->far.efd = -1;
	err = side_open(&p->near, p->way, d);
	if (!err)
		err = side_open(&p->far, p->way, d);
	if (!err)
		err = pair_start(p, d);
	if (err) {
		side_close(&p->near);
		side_close(&p->far);
		free(p);
		return err;
	}
	*state = p;
	return 0;
}

static uint64_t pair_syscalls(const struct pair *p)
{
	return atomic_load(&p->near.syscalls) + atomic_load(&p->far.syscalls);
}

static int pair_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct pair *p = state;
	struct usage usage = usage_read(pair_syscalls(p));
	uint64_t start;

	(void)d;
	do {
		start = bench_now(s);
		p->way->notify(&p->near, &p->far);
		p->way->wait(&p->near);
	} while (bench_record(s, start, bench_now(s)));
	usage_set(s, &usage, pair_syscalls(p));
	return 0;
}

static void pair_teardown(void *state)
{
	struct pair *p = state;

	atomic_store(&p->over, true);
	p->way->notify(&p->near, &p->far);
	if (p->way->notify == ring_notify)
		CHECK(io_uring_submit(&p->near.ring) >= 0);
	pthread_join(p->thread, NULL);
	pthread_barrier_destroy(&p->started);
	side_close(&p->near);
	side_close(&p->far);
	free(p);
}

static const struct way by_futex = {.notify = futex_notify, .wait = futex_wait};
static const struct way by_eventfd = {
	.eventfds = true, .notify = eventfd_notify, .wait = eventfd_wait};
static const struct way by_ring_read = {.rings = true,
	.eventfds = true,
	.start = read_arm,
	.notify = eventfd_notify,
	.wait = read_wait};
static const struct way by_ring_poll = {.rings = true,
	.eventfds = true,
	.start = poll_arm,
	.notify = eventfd_notify,
	.wait = poll_wait};
static const struct way by_message_call = {
	.rings = true, .notify = call_notify, .wait = ring_wait, .probe = call_probe};
static const struct way by_message_ring = {.rings = true, .notify = ring_notify, .wait = ring_wait};

#define PAIR .setup = pair_setup, .slice = pair_slice, .teardown = pair_teardown
#define REACTORS                                                                                   \
	.setup = wake_reactor_setup, .slice = wake_reactor_slice, .teardown = wake_reactor_teardown

static const struct bench_variant variants[] = {
	{.name = "futex", .role = BENCH_LIMIT, .arg = &by_futex, PAIR},
	{.name = "eventfd", .role = BENCH_PEER, .arg = &by_eventfd, PAIR},
	{.name = "eventfd, ring read", .arg = &by_ring_read, PAIR},
	{.name = "eventfd, ring poll", .arg = &by_ring_poll, PAIR},
	{.name = "message by call", .arg = &by_message_call, PAIR},
	{.name = "message by ring", .arg = &by_message_ring, PAIR},
	{.name = "reactors, eventfd", .arg = &wake_reactor_eventfd, REACTORS},
	{.name = "reactors, call", .arg = &wake_reactor_call, REACTORS},
	{.name = "reactors, ring", .arg = &wake_reactor_ring, REACTORS},
};

const struct bench bench_wake = {
	.name = "wake",
	.summary = "waking a sleeping thread on another core and being woken by it (round trip)",
	.variant = variants,
	.variants = ARRAY_SIZE(variants),
};

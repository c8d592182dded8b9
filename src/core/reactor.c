/* SPDX-License-Identifier: Apache-2.0 */
/* The reactor's life and its turns. */
#include "core/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/reactor_private.h"
#include "core/slice.h"
#include "trace/probe.h"

static _Thread_local struct reactor *current;

uint64_t reactor_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void stop_run(struct reactor_msg *msg)
{
	(void)msg; /* waking the reactor was all */
}

static int core_check(int core, struct diag *d)
{
	cpu_set_t allowed;

	if (core < 0)
		return 0;
	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return diag_errno(d, -errno, "sched_getaffinity");
	if (core >= CPU_SETSIZE || !CPU_ISSET((size_t)core, &allowed))
		return diag_fail(d, -EINVAL,
			"core %d is not among the %d CPUs that this process may use (see taskset "
			"-p and nproc)",
			core, CPU_COUNT(&allowed));
	return 0;
}

static void reactor_init(struct reactor *r, const struct reactor_params *p)
{
	memset(r, 0, sizeof(*r));
	r->index = p->index;
	r->core = p->core;
	r->wake = p->wake == REACTOR_WAKE_BEST ? REACTOR_WAKE_MSG_RING : p->wake;
	r->poll_max_ns = (uint64_t)p->poll_us * 1000;
	r->wake_fd = -1;
	r->ring.ring_fd = -1;
	r->stop_msg.run = stop_run;
	list_init(&r->tasks);
	list_init(&r->hooks);
	list_init(&r->pollers);
	inbox_init(r);
	jobs_init(r);
}

struct reactor *reactor_create(const struct reactor_params *p, struct diag *d)
{
	struct reactor *r;
	int err = core_check(p->core, d);

	if (err < 0)
		goto out;
	r = aligned_alloc(_Alignof(struct reactor), sizeof(*r));
	if (!r) {
		err = diag_errno(d, -ENOMEM, "a reactor");
		goto out;
	}
	reactor_init(r, p);
	err = ring_init(r, p, d);
	if (err == 0)
		return r;
	reactor_destroy(r);
out:
	errno = -err;
	return NULL;
}

void reactor_destroy(struct reactor *r)
{
	if (!r)
		return;
	CHECK(!atomic_load_explicit(&r->running, memory_order_acquire));
	/* Its last poster may still be on the way out of reactor_post. */
	while (atomic_load_explicit(&r->inbox.posting, memory_order_acquire) > 0)
		sched_yield();
	timer_heap_finish(&r->timers);
	ring_finish(r);
	pthread_cond_destroy(&r->jobs.queued_cond);
	pthread_mutex_destroy(&r->jobs.lock);
	free(r);
}

void reactor_stop(struct reactor *r)
{
	/* The message is embedded once, so only the first of many callers may post it. */
	if (!atomic_exchange_explicit(&r->stop, true, memory_order_acq_rel))
		reactor_post(r, &r->stop_msg);
}

bool reactor_is_current(const struct reactor *r)
{
	return current == r;
}

struct reactor *reactor_current(void)
{
	return current;
}

unsigned int reactor_index(const struct reactor *r)
{
	return r->index;
}

uint64_t reactor_now_ns(const struct reactor *r)
{
	CHECK(reactor_is_current(r));
	return r->now_ns;
}

void reactor_task_init(struct reactor_task *t, bool (*run)(struct reactor_task *))
{
	t->run = run;
	list_init(&t->link);
}

void reactor_defer(struct reactor *r, struct reactor_task *t)
{
	CHECK(reactor_is_current(r));
	if (list_empty(&t->link))
		list_add_tail(&r->tasks, &t->link);
}

void reactor_task_cancel(struct reactor_task *t)
{
	CHECK(list_empty(&t->link) || current);
	list_del(&t->link);
}

void reactor_at_turn_end(struct reactor *r, struct reactor_task *t)
{
	CHECK(reactor_is_current(r));
	if (list_empty(&t->link))
		list_add_tail(&r->hooks, &t->link);
}

static void tasks_run(struct reactor *r)
{
	struct list ready;
	uint64_t count = 0;

	list_take(&r->tasks, &ready); /* what is queued from here on is for the next turn */
	while (!list_empty(&ready)) {
		struct reactor_task *t = list_first(&ready, struct reactor_task, link);

		list_del(&t->link);
		count++;
		if (t->run(t))
			reactor_defer(r, t);
	}
	STAT_ADD(r, tasks, count);
}

static void hooks_run(struct reactor *r)
{
	struct list ready;

	list_take(&r->hooks, &ready);
	while (!list_empty(&ready)) {
		struct reactor_task *t = list_first(&ready, struct reactor_task, link);

		list_del(&t->link);
		t->run(t);
	}
}

static void timers_fire(struct reactor *r)
{
	struct reactor_timer *t;

	/* A timer started from here on is due after now_ns: this ends. */
	while ((t = timer_heap_pop_due(&r->timers, r->now_ns)) != NULL) {
		STAT_ADD(r, timers, 1);
		t->fire(t);
	}
}

static bool work_queued(const struct reactor *r)
{
	return !list_empty(&r->tasks) || !list_empty(&r->hooks) || ring_ready(r) > 0;
}

static void turn(struct reactor *r)
{
	uint32_t batch;

	poll_wait(r, work_queued(r));
	PROBE(turn_begin, r->index, ring_ready(r));
	r->now_ns = reactor_clock_ns();
	batch = ring_reap(r);
	inbox_drain(r);
	timers_fire(r);
	tasks_run(r);
	hooks_run(r);
	STAT_ADD(r, turns, 1);
	STAT_SET(r, in_flight, r->in_flight + r->jobs_out);
	PROBE(turn_end, r->index, batch, r->in_flight);
}

static bool turns_over(const struct reactor *r)
{
	return atomic_load_explicit(&r->stop, memory_order_acquire) && r->in_flight == 0 &&
	       r->jobs_out == 0 && !work_queued(r) && inbox_empty(r);
}

static void thread_pin(struct reactor *r)
{
	cpu_set_t one;

	CPU_ZERO(&r->jobs.affinity);
	sched_getaffinity(0, sizeof(r->jobs.affinity), &r->jobs.affinity);
	if (r->core < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)r->core, &one);
	/* The core was there at creation; if it has gone since, running unpinned is right. */
	sched_setaffinity(0, sizeof(one), &one);
}

static void thread_unpin(const struct reactor *r)
{
	if (r->core >= 0)
		sched_setaffinity(0, sizeof(r->jobs.affinity), &r->jobs.affinity);
}

void reactor_run(struct reactor *r)
{
	CHECK(!current);
	CHECK(!atomic_exchange_explicit(&r->running, true, memory_order_acq_rel));
	current = r;
	thread_pin(r);
	slice_short();
	r->now_ns = reactor_clock_ns();
	ring_start(r);
	inbox_start(r);
	while (!turns_over(r))
		turn(r);
	timer_heap_finish(&r->timers);
	jobs_finish(r);
	inbox_end(r);
	ring_end(r);
	slice_default();
	thread_unpin(r);
	current = NULL;
	atomic_store_explicit(&r->running, false, memory_order_release);
}

void reactor_stats_read(const struct reactor *r, struct reactor_stats *to)
{
	const struct reactor_stats *from = &r->stats;

#define STAT_COPY(field) to->field = __atomic_load_n(&from->field, __ATOMIC_RELAXED)
	STAT_COPY(turns);
	STAT_COPY(enters);
	STAT_COPY(sqes);
	STAT_COPY(cqes);
	STAT_COPY(messages);
	STAT_COPY(wakes);
	STAT_COPY(timers);
	STAT_COPY(tasks);
	STAT_COPY(polls);
	STAT_COPY(poll_hits);
	STAT_COPY(poll_pauses);
	STAT_COPY(overflows);
	STAT_COPY(in_flight);
	STAT_COPY(batch_max);
#undef STAT_COPY
}

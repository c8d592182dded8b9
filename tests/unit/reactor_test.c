/* SPDX-License-Identifier: Apache-2.0 */
/* The turns of a real reactor: stop, timers, tasks, hooks, pollers. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "core/check.h"
#include "core/reactor.h"
#include "support/run_reactor.h"

static void start_nothing(struct reactor *r, void *ctx)
{
	cr_assert(reactor_is_current(r));
	cr_assert_eq(reactor_current(), r);
	*(bool *)ctx = true;
	reactor_stop(r);
	reactor_stop(r);
}

Test(reactor, runs_and_stops)
{
	bool ran = false;
	struct reactor_stats stats;

	run_reactor(NULL, start_nothing, &ran, &stats);
	cr_assert(ran);
	cr_assert_null(reactor_current());
	cr_assert_eq(stats.messages, 2); /* the start and the stop, once */
	cr_assert_eq(stats.in_flight, 0);
}

Test(reactor, stopped_before_it_runs)
{
	struct reactor *r = run_reactor_create(&(struct reactor_params){.index = 7, .core = -1});

	cr_assert_eq(reactor_index(r), 7);
	cr_assert_not(reactor_is_current(r));
	reactor_stop(r);
	reactor_run(r);
	reactor_destroy(r);
	reactor_destroy(NULL);
}

Test(reactor, destroyed_without_running)
{
	reactor_destroy(run_reactor_create(NULL));
}

/* Our own bugs end the process: another thread's reactor is not to be touched. */
Test(reactor, verbs_are_for_its_own_thread, .signal = SIGABRT)
{
	struct reactor *r = run_reactor_create(NULL);
	struct reactor_timer t;

	reactor_timer_init(&t, NULL);
	reactor_timer_start(r, &t, 0);
}

struct timers {
	struct reactor *r;
	struct reactor_timer t[4];
	unsigned int order[8], fired;
	uint64_t start_ns, end_ns;
};

static void timers_note(struct timers *s, struct reactor_timer *t)
{
	cr_assert_not(reactor_timer_armed(t));
	s->order[s->fired++] = (unsigned int)(t - s->t);
}

static struct timers *timers_ctx; /* the one of the running test's process */

static void timer_fired(struct reactor_timer *t)
{
	timers_note(timers_ctx, t);
	if (timers_ctx->fired == 3)
		reactor_stop(timers_ctx->r);
}

static void start_timers(struct reactor *r, void *ctx)
{
	struct timers *s = timers_ctx = ctx;

	s->r = r;
	s->start_ns = reactor_now_ns(r);
	for (unsigned int i = 0; i < 4; i++)
		reactor_timer_init(&s->t[i], timer_fired);
	cr_assert_not(reactor_timer_armed(&s->t[0]));
	reactor_timer_start(r, &s->t[0], 3000000);
	reactor_timer_start(r, &s->t[1], 60000000000);
	reactor_timer_start(r, &s->t[2], 2000000);
	reactor_timer_start(r, &s->t[3], 500000);
	reactor_timer_start(r, &s->t[1], 1000000); /* moved to the front */
	reactor_timer_stop(r, &s->t[3]);
	reactor_timer_stop(r, &s->t[3]);
	cr_assert(reactor_timer_armed(&s->t[1]));
	cr_assert_not(reactor_timer_armed(&s->t[3]));
}

Test(reactor, timers_fire_in_order_not_early_and_can_move_and_stop)
{
	struct timers s = {0};
	struct reactor_stats stats;

	run_reactor(NULL, start_timers, &s, &stats);
	cr_assert_eq(s.fired, 3);
	cr_assert_eq(s.order[0], 1);
	cr_assert_eq(s.order[1], 2);
	cr_assert_eq(s.order[2], 0);
	cr_assert_eq(stats.timers, 3);
}

static void timer_again(struct reactor_timer *t)
{
	struct timers *s = timers_ctx;

	s->fired++;
	if (s->fired < 50)
		reactor_timer_start(s->r, t, 0);
	else
		reactor_stop(s->r);
	s->end_ns = reactor_now_ns(s->r);
}

static void start_timer_again(struct reactor *r, void *ctx)
{
	struct timers *s = timers_ctx = ctx;

	s->r = r;
	s->start_ns = reactor_now_ns(r);
	reactor_timer_init(&s->t[0], timer_again);
	reactor_timer_start(r, &s->t[0], 0);
}

Test(reactor, timer_of_no_delay_fires_once_a_turn)
{
	struct timers s = {0};
	struct reactor_stats stats;

	run_reactor(NULL, start_timer_again, &s, &stats);
	cr_assert_eq(s.fired, 50);
	cr_assert_geq(stats.turns, 50);
	cr_assert_gt(s.end_ns, s.start_ns);
}

static void start_timer_and_stop(struct reactor *r, void *ctx)
{
	struct timers *s = timers_ctx = ctx;

	reactor_timer_init(&s->t[0], timer_fired);
	reactor_timer_start(r, &s->t[0], UINT64_MAX);
	reactor_stop(r);
}

Test(reactor, drops_armed_timers_when_it_stops)
{
	struct timers s = {0};

	run_reactor(NULL, start_timer_and_stop, &s, NULL);
	cr_assert_eq(s.fired, 0);
	cr_assert_not(reactor_timer_armed(&s.t[0]));
}

#define ROUNDS 5

struct worker {
	struct reactor_task task;
	struct workers *all;
	char name;
	unsigned int left;
};

struct workers {
	struct reactor *r;
	struct worker w[3];
	struct reactor_task hook;
	char log[64];
	unsigned int len, hooks;
};

static bool worker_run(struct reactor_task *t)
{
	struct worker *w = container_of(t, struct worker, task);

	w->all->log[w->all->len++] = w->name;
	reactor_at_turn_end(w->all->r, &w->all->hook);
	return --w->left > 0;
}

static bool hook_run(struct reactor_task *t)
{
	struct workers *all = container_of(t, struct workers, hook);

	all->log[all->len++] = '|';
	all->hooks++;
	if (all->w[0].left + all->w[1].left == 0)
		reactor_stop(all->r);
	return true; /* ignored */
}

static void start_workers(struct reactor *r, void *ctx)
{
	struct workers *all = ctx;

	all->r = r;
	reactor_task_init(&all->hook, hook_run);
	for (unsigned int i = 0; i < 3; i++) {
		all->w[i].all = all;
		all->w[i].name = (char)('a' + i);
		reactor_task_init(&all->w[i].task, worker_run);
		reactor_defer(r, &all->w[i].task);
		reactor_defer(r, &all->w[i].task); /* queued once */
	}
	all->w[0].left = 3;
	all->w[1].left = 2;
	reactor_task_cancel(&all->w[2].task);
	reactor_task_cancel(&all->w[2].task);
}

Test(reactor, tasks_take_turns_and_hooks_end_them)
{
	struct workers all = {0};
	struct reactor_stats stats;

	run_reactor(NULL, start_workers, &all, &stats);
	cr_assert_str_eq(all.log, "ab|ab|a|");
	cr_assert_eq(all.hooks, 3);
	cr_assert_eq(stats.tasks, 5);
}

#define SOURCE_COLD_NS 30000000

struct source {
	struct reactor *r;
	struct reactor_poller poller;
	struct reactor_task task;
	struct reactor_timer timer;
	unsigned int polls, arms, disarms, handled, wanted;
	bool armed, hot;
	uint64_t poll_when_armed; /* `polls` when last armed: it must grow before the sleep */
};

static bool source_poll(struct reactor_poller *p)
{
	struct source *s = container_of(p, struct source, poller);

	s->polls++;
	if (!s->hot)
		return false;
	reactor_defer(s->r, &s->task);
	return true;
}

static void source_arm(struct reactor_poller *p)
{
	struct source *s = container_of(p, struct source, poller);

	s->arms++;
	s->armed = true;
	s->poll_when_armed = s->polls;
}

static void source_disarm(struct reactor_poller *p)
{
	struct source *s = container_of(p, struct source, poller);

	cr_assert(s->armed);
	s->disarms++;
	s->armed = false;
}

static bool source_handle(struct reactor_task *t)
{
	struct source *s = container_of(t, struct source, task);

	if (++s->handled < s->wanted)
		return false;
	s->hot = false;
	return false;
}

/* The source has been cold for long: the reactor must sleep, armed. On a busy machine it may take a
 * while until it is cold, or the last look; for ever only until the test's deadline. */
static void source_over(struct reactor_timer *t)
{
	struct source *s = container_of(t, struct source, timer);

	if (!s->armed) {
		reactor_timer_start(s->r, t, SOURCE_COLD_NS);
		return;
	}
	cr_assert_gt(s->polls, s->poll_when_armed);
	reactor_poller_remove(s->r, &s->poller);
	reactor_stop(s->r);
}

static void source_init(struct source *s, struct reactor *r)
{
	s->r = r;
	s->poller = (struct reactor_poller){
		.poll = source_poll, .arm = source_arm, .disarm = source_disarm};
}

static void start_source(struct reactor *r, void *ctx)
{
	struct source *s = ctx;

	source_init(s, r);
	reactor_task_init(&s->task, source_handle);
	reactor_timer_init(&s->timer, source_over);
	reactor_poller_add(r, &s->poller);
	reactor_timer_start(r, &s->timer, SOURCE_COLD_NS);
}

Test(reactor, polls_a_hot_source_and_arms_a_cold_one)
{
	struct reactor_params p = {.core = -1, .poll_us = 200};
	struct source s = {.hot = true, .wanted = 1000};
	struct reactor_stats stats;

	run_reactor(&p, start_source, &s, &stats);
	cr_assert_eq(s.handled, 1000);
	cr_assert_lt(s.arms, 1000, "armed %u times", s.arms);
	cr_assert_geq(stats.polls, 1000);
}

Test(reactor, cold_source_is_looked_at_once_and_then_left_armed)
{
	struct reactor_params p = {.core = -1, .poll_us = 0};
	struct source s = {.hot = false};

	run_reactor(&p, start_source, &s, NULL);
	cr_assert_eq(s.arms, 1);
	cr_assert_eq(s.polls, 1);
	cr_assert_eq(s.disarms, 0);
}

/* A thread on the reactor's own CPU that hardly ever sleeps and sends work all the time. */
struct neighbour {
	struct source source;
	struct reactor_msg msg;
	struct reactor_stats stats;
	pthread_t thread;
	int cpu;
	atomic_bool sent, over;
};

static void neighbour_work(struct reactor_msg *msg)
{
	struct neighbour *n = container_of(msg, struct neighbour, msg);

	reactor_stats_read(n->source.r, &n->stats);
	if (n->stats.poll_pauses >= 2 && !atomic_exchange(&n->over, true)) {
		reactor_poller_remove(n->source.r, &n->source.poller);
		reactor_stop(n->source.r);
	}
	atomic_store(&n->sent, false);
}

static void cpu_pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void *neighbour_main(void *arg)
{
	struct neighbour *n = arg;

	cpu_pin(n->cpu);
	while (!atomic_load(&n->over)) {
		for (unsigned int i = 0; i < 20000; i++)
			__builtin_ia32_pause();
		if (!atomic_load(&n->over) && !atomic_exchange(&n->sent, true))
			reactor_post(n->source.r, &n->msg);
	}
	return NULL;
}

static void start_neighbour(struct reactor *r, void *ctx)
{
	struct neighbour *n = ctx;

	source_init(&n->source, r);
	reactor_poller_add(r, &n->source.poller);
	n->msg.run = neighbour_work;
	cr_assert_eq(pthread_create(&n->thread, NULL, neighbour_main, n), 0);
}

Test(reactor, stops_polling_where_others_need_the_cpu)
{
	struct neighbour n = {.cpu = sched_getcpu()};
	struct reactor_params p = {.core = n.cpu, .poll_us = 10000};
	struct reactor_stats stats;

	run_reactor(&p, start_neighbour, &n, &stats);
	pthread_join(n.thread, NULL);
	cr_assert_geq(stats.poll_pauses, 2);
	cr_assert_gt(n.source.arms, 0);
}

/* A helper thread that works, perhaps on the reactor's CPU, until the reactor has woken so often.
 */
#define BYSTANDER_WAKES 10
#define BYSTANDER_NS    50000

struct bystander {
	struct source source;
	struct reactor_job job;
	sem_t enough;
	unsigned int wakes, polls_before, polls_after;
};

static void bystander_work(struct reactor_job *job)
{
	struct bystander *b = container_of(job, struct bystander, job);

	while (sem_wait(&b->enough) != 0)
		continue;
}

static void bystander_done(struct reactor_job *job)
{
	struct bystander *b = container_of(job, struct bystander, job);

	reactor_poller_remove(b->source.r, &b->source.poller);
	reactor_stop(b->source.r);
}

static void bystander_wake(struct reactor_timer *t)
{
	struct bystander *b = container_of(t, struct bystander, source.timer);

	if (++b->wakes < BYSTANDER_WAKES) {
		reactor_timer_start(b->source.r, t, BYSTANDER_NS);
		return;
	}
	b->polls_after = b->source.polls;
	cr_assert_eq(sem_post(&b->enough), 0);
}

static bool bystander_handle(struct reactor_task *t)
{
	struct bystander *b = container_of(t, struct bystander, source.task);

	if (++b->source.handled < b->source.wanted)
		return false;
	b->source.hot = false;
	b->polls_before = b->source.polls;
	reactor_offload(b->source.r, &b->job);
	reactor_timer_start(b->source.r, &b->source.timer, BYSTANDER_NS);
	return false;
}

static void start_bystander(struct reactor *r, void *ctx)
{
	struct bystander *b = ctx;

	source_init(&b->source, r);
	b->job = (struct reactor_job){.work = bystander_work, .done = bystander_done};
	reactor_task_init(&b->source.task, bystander_handle);
	reactor_timer_init(&b->source.timer, bystander_wake);
	reactor_poller_add(r, &b->source.poller);
}

/* It looks once, before its first sleep, and sleeps from then on. */
Test(reactor, sleeps_while_others_work_for_it)
{
	struct reactor_params p = {.core = -1, .poll_us = 100000};
	struct bystander b = {.source = {.hot = true, .wanted = 1000}};

	cr_assert_eq(sem_init(&b.enough, 0, 0), 0);
	run_reactor(&p, start_bystander, &b, NULL);
	cr_assert_eq(b.wakes, BYSTANDER_WAKES);
	cr_assert_leq(b.polls_after - b.polls_before, 1);
	sem_destroy(&b.enough);
}

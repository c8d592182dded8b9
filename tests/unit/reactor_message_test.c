/* SPDX-License-Identifier: Apache-2.0 */
/* What crosses threads: messages, wakes of every kind, jobs, and sets of reactors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/reactor.h"
#include "support/run_reactor.h"

#define SENDERS  4u
#define MESSAGES 20000u

struct letter {
	struct reactor_msg msg;
	struct mailroom *room;
	unsigned int sender, number;
};

struct mailroom {
	struct reactor *r;
	unsigned int next[SENDERS], received;
	struct sender {
		pthread_t thread;
		struct mailroom *room;
		unsigned int index;
		struct letter *letters;
	} senders[SENDERS];
};

static void letter_run(struct reactor_msg *msg)
{
	struct letter *l = container_of(msg, struct letter, msg);
	struct mailroom *room = l->room;

	cr_assert(reactor_is_current(room->r));
	cr_assert_eq(l->number, room->next[l->sender]);
	room->next[l->sender]++;
	if (++room->received == SENDERS * MESSAGES)
		reactor_stop(room->r);
}

static void *sender_main(void *arg)
{
	struct sender *s = arg;

	for (unsigned int i = 0; i < MESSAGES; i++) {
		s->letters[i] = (struct letter){{letter_run, NULL}, s->room, s->index, i};
		reactor_post(s->room->r, &s->letters[i].msg);
		if (i % 64 == 0)
			sched_yield(); /* lets the receiver fall asleep now and then */
	}
	return NULL;
}

static void mailroom_test(enum reactor_wake wake, unsigned int poll_us)
{
	struct reactor_params p = {.core = -1, .wake = wake, .poll_us = poll_us};
	struct mailroom room = {.r = run_reactor_create(&p)};

	for (unsigned int i = 0; i < SENDERS; i++) {
		struct sender *s = &room.senders[i];

		s->room = &room;
		s->index = i;
		s->letters = calloc(MESSAGES, sizeof(*s->letters));
		cr_assert_eq(pthread_create(&s->thread, NULL, sender_main, s), 0);
	}
	reactor_run(room.r);
	for (unsigned int i = 0; i < SENDERS; i++) {
		cr_assert_eq(pthread_join(room.senders[i].thread, NULL), 0);
		cr_assert_eq(room.next[i], MESSAGES);
		free(room.senders[i].letters);
	}
	reactor_destroy(room.r);
}

Test(reactor_message, keeps_each_senders_order_and_loses_none)
{
	mailroom_test(REACTOR_WAKE_BEST, 0);
}

Test(reactor_message, the_same_by_message_call)
{
	mailroom_test(REACTOR_WAKE_MSG_CALL, 0);
}

Test(reactor_message, the_same_by_eventfd)
{
	mailroom_test(REACTOR_WAKE_EVENTFD, 0);
}

#define ROUND_TRIPS 5000u

struct court {
	struct reactor *side[2];
	struct reactor_msg ball;
	unsigned int hits;
	bool over;
};

static void ball_run(struct reactor_msg *msg)
{
	struct court *c = container_of(msg, struct court, ball);
	unsigned int here = reactor_is_current(c->side[1]);

	cr_assert(reactor_is_current(c->side[here]));
	if (++c->hits < 2 * ROUND_TRIPS) {
		reactor_post(c->side[!here], msg);
		return;
	}
	c->over = true;
	reactor_stop(c->side[0]);
	reactor_stop(c->side[1]);
}

static void court_test(enum reactor_wake wake)
{
	struct reactor_params p[2] = {
		{.index = 0, .core = -1, .wake = wake},
		{.index = 1, .core = -1, .wake = wake},
	};
	struct court c = {.ball.run = ball_run};
	struct diag d;

	cr_assert_eq(reactors_start(c.side, p, 2, &d), 0, "%s", d.text);
	reactor_post(c.side[1], &c.ball);
	reactor_run(c.side[0]);
	reactors_stop(c.side, 2);
	cr_assert(c.over);
	cr_assert_null(c.side[0]);
	cr_assert_null(c.side[1]);
}

Test(reactor_message, two_reactors_wake_each_other)
{
	court_test(REACTOR_WAKE_BEST);
}

Test(reactor_message, two_reactors_wake_each_other_by_message_call)
{
	court_test(REACTOR_WAKE_MSG_CALL);
}

Test(reactor_message, two_reactors_wake_each_other_by_eventfd)
{
	court_test(REACTOR_WAKE_EVENTFD);
}

static void *stopper_main(void *arg)
{
	reactor_stop(arg);
	return NULL;
}

Test(reactor_message, any_threads_may_stop_it)
{
	for (unsigned int i = 0; i < 50; i++) {
		struct reactor *r = run_reactor_create(NULL);
		pthread_t threads[2];

		for (unsigned int t = 0; t < 2; t++)
			cr_assert_eq(pthread_create(&threads[t], NULL, stopper_main, r), 0);
		reactor_run(r);
		for (unsigned int t = 0; t < 2; t++)
			pthread_join(threads[t], NULL);
		reactor_destroy(r);
	}
}

#define JOBS 200u

struct job {
	struct reactor_job job;
	struct office *office;
	unsigned int result;
};

struct office {
	struct reactor *r;
	struct job jobs[JOBS];
	unsigned int done;
};

static void job_work(struct reactor_job *job)
{
	struct job *j = container_of(job, struct job, job);
	sigset_t blocked;

	cr_assert_null(reactor_current());
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	cr_assert(sigismember(&blocked, SIGINT));
	j->result = (unsigned int)(j - j->office->jobs) + 1;
}

static void job_done(struct reactor_job *job)
{
	struct job *j = container_of(job, struct job, job);

	cr_assert(reactor_is_current(j->office->r));
	cr_assert_eq(j->result, (unsigned int)(j - j->office->jobs) + 1);
	j->office->done++;
}

/* Stops at once: the jobs are in flight and have to come home first. */
static void start_jobs(struct reactor *r, void *ctx)
{
	struct office *o = ctx;

	o->r = r;
	for (unsigned int i = 0; i < JOBS; i++) {
		o->jobs[i] = (struct job){.job = {.work = job_work, .done = job_done}, .office = o};
		reactor_offload(r, &o->jobs[i].job);
	}
	reactor_stop(r);
}

Test(reactor_message, jobs_run_elsewhere_and_come_home)
{
	struct office *o = calloc(1, sizeof(*o));

	run_reactor(NULL, start_jobs, o, NULL);
	cr_assert_eq(o->done, JOBS);
	free(o);
}

struct census {
	struct reactor *set[4];
	struct reactor_msg msgs[4];
	atomic_uint counted;
};

static struct census census;

static void census_run(struct reactor_msg *msg)
{
	unsigned int i = (unsigned int)(msg - census.msgs);

	cr_assert(reactor_is_current(census.set[i]));
	cr_assert_eq(reactor_index(reactor_current()), i);
	if (atomic_fetch_add(&census.counted, 1) == 3)
		reactor_stop(census.set[0]);
}

Test(reactor_message, a_set_runs_each_reactor_on_its_own_thread)
{
	struct reactor_params p[4];
	struct diag d;

	for (unsigned int i = 0; i < 4; i++)
		p[i] = (struct reactor_params){.index = i, .core = 0};
	cr_assert_eq(reactors_start(census.set, p, 4, &d), 0, "%s", d.text);
	for (unsigned int i = 0; i < 4; i++) {
		census.msgs[i].run = census_run;
		reactor_post(census.set[i], &census.msgs[i]);
	}
	reactor_run(census.set[0]);
	reactors_stop(census.set, 4);
	cr_assert_eq(atomic_load(&census.counted), 4);
}

Test(reactor_message, a_set_that_cannot_start_leaves_nothing)
{
	struct reactor_params p[2] = {{.core = -1}, {.core = 1 << 20}};
	struct reactor *set[2];
	struct diag d;

	cr_assert_eq(reactors_start(set, p, 2, &d), -EINVAL);
	cr_assert(strstr(d.text, "core 1048576"), "%s", d.text);
	cr_assert_null(set[0]);
	cr_assert_null(set[1]);
}

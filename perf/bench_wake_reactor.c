/* SPDX-License-Identifier: Apache-2.0 */
/* wake through the reactor: two reactors, pinned, post one message to and fro. The caller sleeps
 * meanwhile; the near reactor's thread takes the times. */
#include "perf/bench_wake.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/reactor.h"
#include "perf/usage.h"

const int wake_reactor_ring = REACTOR_WAKE_MSG_RING;
const int wake_reactor_call = REACTOR_WAKE_MSG_CALL;
const int wake_reactor_eventfd = REACTOR_WAKE_EVENTFD;

struct reactor_pair {
	struct reactor *near, *far;
	pthread_t near_thread, far_thread;
	struct reactor_msg start, ping, pong; /* in flight one at a time */
	struct bench_slice *slice;            /* the near reactor's while a slice runs */
	uint64_t start_ns;
	bool by_ring;
	sem_t done; /* the slice is over */
};

static void *reactor_main(void *arg)
{
	reactor_run(arg);
	return NULL;
}

static void ping_send(struct reactor_pair *p)
{
	p->start_ns = bench_now(p->slice);
	reactor_post(p->far, &p->ping);
}

/* near */
static void start_run(struct reactor_msg *msg)
{
	ping_send(container_of(msg, struct reactor_pair, start));
}

/* far */
static void ping_run(struct reactor_msg *msg)
{
	struct reactor_pair *p = container_of(msg, struct reactor_pair, ping);

	reactor_post(p->near, &p->pong);
}

/* near */
static void pong_run(struct reactor_msg *msg)
{
	struct reactor_pair *p = container_of(msg, struct reactor_pair, pong);

	if (bench_record(p->slice, p->start_ns, bench_now(p->slice)))
		ping_send(p);
	else
		sem_post(&p->done);
}

static struct reactor *reactor_open(
	const struct bench_options *o, unsigned int index, int wake, struct diag *d)
{
	struct reactor_params params = {
		.index = index,
		.core = bench_cpu(o, index),
		.wake = (enum reactor_wake)wake,
	};

	return reactor_create(&params, d);
}

static int threads_start(struct reactor_pair *p, struct diag *d)
{
	int err = pthread_create(&p->near_thread, NULL, reactor_main, p->near);

	if (err)
		return diag_errno(d, -err, "a thread");
	err = pthread_create(&p->far_thread, NULL, reactor_main, p->far);
	if (err) {
		reactor_stop(p->near);
		pthread_join(p->near_thread, NULL);
		return diag_errno(d, -err, "a thread");
	}
	return 0;
}

static void pair_free(struct reactor_pair *p)
{
	reactor_destroy(p->near);
	reactor_destroy(p->far);
	sem_destroy(&p->done);
	free(p);
}

int wake_reactor_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct reactor_pair *p = calloc(1, sizeof(*p));
	int wake = *(const int *)v->arg, err = 0;

	if (!p)
		return -ENOMEM;
	sem_init(&p->done, 0, 0);
	p->by_ring = wake == REACTOR_WAKE_MSG_RING;
	p->start.run = start_run;
	p->ping.run = ping_run;
	p->pong.run = pong_run;
	p->near = reactor_open(o, 0, wake, d);
	p->far = p->near ? reactor_open(o, 1, wake, d) : NULL;
	if (!p->far)
		err = -ENOTSUP; /* `d` names the reason */
	if (!err)
		err = threads_start(p, d);
	if (err) {
		pair_free(p);
		return err;
	}
	*state = p;
	return 0;
}

/* A message from the ring goes out with a turn; the other ways are a system call each. */
static uint64_t syscalls(const struct reactor_pair *p)
{
	struct reactor_stats near, far;

	reactor_stats_read(p->near, &near);
	reactor_stats_read(p->far, &far);
	return near.enters + far.enters + (p->by_ring ? 0 : near.wakes + far.wakes);
}

int wake_reactor_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct reactor_pair *p = state;
	struct usage usage = usage_read(syscalls(p));

	(void)d;
	p->slice = s;
	reactor_post(p->near, &p->start);
	while (sem_wait(&p->done))
		CHECK(errno == EINTR);
	usage_set(s, &usage, syscalls(p));
	return 0;
}

void wake_reactor_teardown(void *state)
{
	struct reactor_pair *p = state;

	reactor_stop(p->near);
	reactor_stop(p->far);
	pthread_join(p->near_thread, NULL);
	pthread_join(p->far_thread, NULL);
	pair_free(p);
}

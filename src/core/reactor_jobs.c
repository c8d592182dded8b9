/* SPDX-License-Identifier: Apache-2.0 */
/* Helper threads for host calls that may block: a few for each reactor, made when they are needed,
 * joined when it ends. */
#include <signal.h>
#include <stdlib.h>

#include "core/reactor_private.h"
#include "core/slice.h"

#define HELPER_STACK_BYTES (1u << 20)

void jobs_init(struct reactor *r)
{
	pthread_mutex_init(&r->jobs.lock, NULL);
	pthread_cond_init(&r->jobs.queued_cond, NULL);
}

static struct reactor_job *job_of(struct reactor_msg *msg)
{
	return container_of(msg, struct reactor_job, msg);
}

/* Under the lock. */
static void job_push(struct jobs *jobs, struct reactor_job *job)
{
	job->msg.next = NULL;
	if (jobs->head)
		jobs->tail->next = &job->msg;
	else
		jobs->head = &job->msg;
	jobs->tail = &job->msg;
	jobs->queued++;
}

/* Under the lock; there is one. */
static struct reactor_job *job_pop(struct jobs *jobs)
{
	struct reactor_job *job = job_of(jobs->head);

	jobs->head = jobs->head->next;
	jobs->queued--;
	return job;
}

static void job_returned(struct reactor_msg *msg)
{
	struct reactor_job *job = job_of(msg);

	job->home->jobs_out--;
	job->done(job);
}

static void *helper_main(void *arg)
{
	struct jobs *jobs = arg;

	pthread_setname_np(pthread_self(), "ringvisor-help");
	slice_default();
	pthread_mutex_lock(&jobs->lock);
	for (;;) {
		struct reactor_job *job;

		jobs->idle++;
		while (!jobs->head && !jobs->ending)
			pthread_cond_wait(&jobs->queued_cond, &jobs->lock);
		jobs->idle--;
		if (!jobs->head)
			break;
		job = job_pop(jobs);
		pthread_mutex_unlock(&jobs->lock);
		job->work(job);
		reactor_post(job->home, &job->msg);
		pthread_mutex_lock(&jobs->lock);
	}
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

/* Under the lock. Signals are for the threads that expect them; the reactor's core is for it. */
static bool helper_start(struct jobs *jobs)
{
	pthread_attr_t attr;
	sigset_t all;
	int err;

	sigfillset(&all);
	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setstacksize(&attr, HELPER_STACK_BYTES);
	pthread_attr_setsigmask_np(&attr, &all);
	pthread_attr_setaffinity_np(&attr, sizeof(jobs->affinity), &jobs->affinity);
	err = pthread_create(&jobs->thread[jobs->threads], &attr, helper_main, jobs);
	pthread_attr_destroy(&attr);
	if (err == 0)
		jobs->threads++;
	return err == 0;
}

void reactor_offload(struct reactor *r, struct reactor_job *job)
{
	struct jobs *jobs = &r->jobs;
	bool stranded;

	CHECK(reactor_is_current(r));
	job->home = r;
	job->msg.run = job_returned;
	r->jobs_out++;
	pthread_mutex_lock(&jobs->lock);
	job_push(jobs, job);
	if (jobs->queued > jobs->idle && jobs->threads < JOBS_THREADS)
		helper_start(jobs);
	stranded = jobs->threads == 0;
	if (stranded)
		job_pop(jobs);
	pthread_cond_signal(&jobs->queued_cond);
	pthread_mutex_unlock(&jobs->lock);
	if (stranded) {
		/* No thread to be had: slow, but the job is done. */
		job->work(job);
		reactor_post(r, &job->msg);
	}
}

void jobs_finish(struct reactor *r)
{
	struct jobs *jobs = &r->jobs;

	pthread_mutex_lock(&jobs->lock);
	jobs->ending = true;
	pthread_cond_broadcast(&jobs->queued_cond);
	pthread_mutex_unlock(&jobs->lock);
	for (uint32_t i = 0; i < jobs->threads; i++)
		pthread_join(jobs->thread[i], NULL);
	jobs->threads = 0;
}

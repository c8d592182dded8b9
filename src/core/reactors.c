/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon's reactors: the first on the caller's thread, each other on a thread of its own. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#ifdef RINGVISOR_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "core/reactor_private.h"

/* An arena of its own for the calling thread, so that no two reactors share a lock in the
 * allocator; the first reactor's thread already has the first arena. Without one all goes on as
 * before, in a shared arena. */
static void arena_own(void)
{
#ifdef RINGVISOR_JEMALLOC
	unsigned int arena;
	size_t size = sizeof(arena);

	if (mallctl("arenas.create", &arena, &size, NULL, 0) == 0)
		mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena));
#endif
}

static void *reactor_main(void *arg)
{
	struct reactor *r = arg;
	char name[16]; /* the kernel's limit */

	snprintf(name, sizeof(name), "reactor-%u", r->index % 1000);
	pthread_setname_np(pthread_self(), name);
	arena_own();
	reactor_run(r);
	return NULL;
}

/* Signals are for the first reactor's thread and for vCPUs. */
static int reactor_thread(struct reactor *r, struct diag *d)
{
	pthread_attr_t attr;
	sigset_t all;
	int err;

	sigfillset(&all);
	err = pthread_attr_init(&attr);
	if (err == 0) {
		pthread_attr_setsigmask_np(&attr, &all);
		err = pthread_create(&r->thread, &attr, reactor_main, r);
		pthread_attr_destroy(&attr);
	}
	r->threaded = err == 0;
	return err ? diag_errno(d, -err, "a thread for reactor %u", r->index) : 0;
}

int reactors_start(struct reactor **set, const struct reactor_params *params, unsigned int count,
	struct diag *d)
{
	int err = 0;

	for (unsigned int i = 0; i < count; i++)
		set[i] = NULL;
	for (unsigned int i = 0; i < count && err == 0; i++) {
		set[i] = reactor_create(&params[i], d);
		if (!set[i])
			err = -errno;
	}
	/* Threads last: nobody runs before the whole set can be posted to. */
	for (unsigned int i = 1; i < count && err == 0; i++)
		err = reactor_thread(set[i], d);
	if (err < 0)
		reactors_stop(set, count);
	return err;
}

void reactors_stop(struct reactor **set, unsigned int count)
{
	for (unsigned int i = 1; i < count; i++)
		if (set[i])
			reactor_stop(set[i]);
	for (unsigned int i = 1; i < count; i++)
		if (set[i] && set[i]->threaded)
			pthread_join(set[i]->thread, NULL);
	/* Only now: until the last has ended, any may have sent a wake to any other. */
	for (unsigned int i = 0; i < count; i++) {
		reactor_destroy(set[i]);
		set[i] = NULL;
	}
}

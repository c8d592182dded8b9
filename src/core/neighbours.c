/* SPDX-License-Identifier: Apache-2.0 */
/* Who of one process's guests can be reached by others. */
#include "core/neighbours.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/reactor.h"

struct neighbours {
	pthread_mutex_t lock;
	struct list members; /* struct neighbour; a daemon's guests are some hundreds at most */
};

struct neighbours *neighbours_create(void)
{
	struct neighbours *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	pthread_mutex_init(&all->lock, NULL);
	list_init(&all->members);
	return all;
}

void neighbours_destroy(struct neighbours *all)
{
	if (!all)
		return;
	CHECK(list_empty(&all->members));
	pthread_mutex_destroy(&all->lock);
	free(all);
}

/* With the lock held. */
static struct neighbour *member(struct neighbours *all, uint32_t cid)
{
	list_for_each_safe (l, &all->members) {
		struct neighbour *n = list_entry(l, struct neighbour, link);

		if (n->cid == cid)
			return n;
	}
	return NULL;
}

int neighbours_join(struct neighbours *all, struct neighbour *me, uint32_t cid, struct diag *d)
{
	bool taken;

	*me = (struct neighbour){.cid = cid};
	pthread_mutex_lock(&all->lock);
	taken = member(all, cid);
	if (!taken)
		list_add_tail(&all->members, &me->link);
	pthread_mutex_unlock(&all->lock);
	if (!taken)
		return 0;
	return diag_fail(d, -EADDRINUSE,
		"guest_cid %u: another guest that others can reach has it already; choose another",
		cid);
}

void neighbours_leave(struct neighbours *all, struct neighbour *me)
{
	pthread_mutex_lock(&all->lock);
	list_del(&me->link);
	pthread_mutex_unlock(&all->lock);
}

static void home_set(struct neighbours *all, struct neighbour *me, struct reactor *home)
{
	pthread_mutex_lock(&all->lock);
	me->home = home;
	pthread_mutex_unlock(&all->lock);
}

void neighbours_attach(struct neighbours *all, struct neighbour *me, struct reactor *home)
{
	CHECK(reactor_is_current(home));
	home_set(all, me, home);
}

void neighbours_detach(struct neighbours *all, struct neighbour *me)
{
	home_set(all, me, NULL);
}

struct reactor *neighbours_home(struct neighbours *all, uint32_t cid)
{
	struct reactor *home;
	struct neighbour *n;

	pthread_mutex_lock(&all->lock);
	n = member(all, cid);
	home = n ? n->home : NULL;
	pthread_mutex_unlock(&all->lock);
	return home;
}

struct neighbour *neighbours_find(struct neighbours *all, uint32_t cid, struct reactor *here)
{
	struct neighbour *n;

	CHECK(reactor_is_current(here));
	pthread_mutex_lock(&all->lock);
	n = member(all, cid);
	if (n && n->home != here)
		n = NULL;
	pthread_mutex_unlock(&all->lock);
	return n;
}

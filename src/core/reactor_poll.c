/* SPDX-License-Identifier: Apache-2.0 */
/* How a turn begins: submit, then poll while that pays, else sleep.
 *
 * The window is how long to poll before sleeping. It doubles when polling found work, or when the
 * sleep after it was so short that a longer window would have; it halves with every longer sleep.
 * An idle reactor's window is 0: it sleeps at once.
 *
 * While threads of the kernel or helper threads work for this reactor, it neither polls nor offers
 * its CPU: they may share it, and keep it for long once they have it; a reactor that sleeps gets it
 * back as soon as there is something to do.
 *
 * Between two looks the CPU is offered to others, so that polling costs a client or a vCPU that
 * shares it nothing. But who polls is not woken: if another thread had the CPU for long and work
 * had come meanwhile, a sleeping reactor would have been there earlier, and so polling pauses. */
#include <sched.h>

#include "core/reactor_private.h"

#define WINDOW_START_NS 4000u
#define WINDOW_MIN_NS   1000u
#define YIELD_LONG_NS   30000u /* a client's answer takes less, a guest's interrupt more */
#define PAUSE_MIN_NS    1000000u
#define PAUSE_MAX_NS    256000000u
#define HITS_MANY       64 /* delays that are as rare as this are worth it */

static void window_grow(struct reactor *r)
{
	uint64_t window_ns = r->poll_window_ns ? r->poll_window_ns * 2 : WINDOW_START_NS;

	if (r->poll_resume_ns && reactor_clock_ns() < r->poll_resume_ns)
		return;
	r->poll_resume_ns = 0;
	r->poll_window_ns = window_ns < r->poll_max_ns ? window_ns : r->poll_max_ns;
}

/* Longer each time, unless polling went well in between. */
static void window_pause(struct reactor *r, uint64_t now_ns)
{
	uint64_t pause_ns = r->poll_pause_ns * 2;

	if (!pause_ns || r->poll_hits_since >= HITS_MANY)
		pause_ns = PAUSE_MIN_NS;
	r->poll_pause_ns = pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS;
	r->poll_resume_ns = now_ns + r->poll_pause_ns;
	r->poll_window_ns = 0;
	r->poll_hits_since = 0;
	STAT_ADD(r, poll_pauses, 1);
}

static void window_shrink(struct reactor *r)
{
	r->poll_window_ns /= 2;
	if (r->poll_window_ns < WINDOW_MIN_NS)
		r->poll_window_ns = 0;
}

void reactor_poller_add(struct reactor *r, struct reactor_poller *p)
{
	CHECK(reactor_is_current(r));
	list_add_tail(&r->pollers, &p->link);
	r->pollers_armed = false; /* all are armed, and looked at, before the next sleep */
}

void reactor_poller_remove(struct reactor *r, struct reactor_poller *p)
{
	CHECK(reactor_is_current(r));
	list_del(&p->link);
}

/* Looks at every source once, so that none starves behind a busy one. */
static bool pollers_poll(struct reactor *r)
{
	bool found = false;

	if (list_empty(&r->pollers))
		return false;
	list_for_each_safe (pos, &r->pollers) {
		struct reactor_poller *p = list_entry(pos, struct reactor_poller, link);

		found |= p->poll(p);
	}
	STAT_ADD(r, polls, 1);
	return found;
}

static void pollers_disarm(struct reactor *r)
{
	if (!r->pollers_armed)
		return;
	r->pollers_armed = false;
	list_for_each_safe (pos, &r->pollers) {
		struct reactor_poller *p = list_entry(pos, struct reactor_poller, link);

		p->disarm(p);
	}
}

/* Notifications on; true if work came before they were. */
static bool pollers_arm(struct reactor *r)
{
	if (r->pollers_armed || list_empty(&r->pollers))
		return false;
	r->pollers_armed = true;
	list_for_each_safe (pos, &r->pollers) {
		struct reactor_poller *p = list_entry(pos, struct reactor_poller, link);

		p->arm(p);
	}
	if (!pollers_poll(r))
		return false;
	window_grow(r);
	return true;
}

/* Something is there to be done, which polling has found. */
static bool poll_look(struct reactor *r)
{
	if (!pollers_poll(r) && !ring_has_events(r) && inbox_empty(r))
		return false;
	STAT_ADD(r, poll_hits, 1);
	r->poll_hits_since++;
	return true;
}

static bool others_work(const struct reactor *r)
{
	return r->on_workers || r->jobs_out;
}

/* Polls for one window at most. True if there is something to do. */
static bool poll_spin(struct reactor *r)
{
	uint64_t before_ns, now_ns, end_ns, timer_ns = timer_heap_next_ns(&r->timers);

	if (list_empty(&r->pollers) || r->poll_window_ns == 0 || others_work(r))
		return false;
	pollers_disarm(r);
	ring_flush(r);
	before_ns = now_ns = reactor_clock_ns();
	end_ns = now_ns + r->poll_window_ns;
	for (;;) {
		if (poll_look(r)) {
			if (now_ns - before_ns > YIELD_LONG_NS)
				window_pause(r, now_ns);
			else
				window_grow(r);
			return true;
		}
		if (now_ns >= timer_ns)
			return true;
		if (now_ns >= end_ns)
			break;
		before_ns = now_ns;
		sched_yield();
		now_ns = reactor_clock_ns();
	}
	return false;
}

static void poll_sleep(struct reactor *r)
{
	uint64_t before_ns = reactor_clock_ns(), timer_ns = timer_heap_next_ns(&r->timers);
	uint64_t timeout_ns = TIMER_HEAP_NEVER;

	if (timer_ns != TIMER_HEAP_NEVER)
		timeout_ns = timer_ns > before_ns ? timer_ns - before_ns : 0;
	ring_wait(r, timeout_ns);
	if (list_empty(&r->pollers) || r->poll_max_ns == 0)
		return;
	if (ring_has_events(r) && reactor_clock_ns() - before_ns < r->poll_max_ns)
		window_grow(r);
	else
		window_shrink(r);
}

void poll_wait(struct reactor *r, bool work_queued)
{
	if (work_queued) {
		if (!r->pollers_armed)
			pollers_poll(r);
		ring_flush(r);
		/* Who got something from this turn may share our CPU: it reads while that is still
		 * in the cache, and not after all that is queued has been added. */
		if (!others_work(r))
			sched_yield();
		return;
	}
	if (poll_spin(r) || pollers_arm(r) || !inbox_sleep(r)) {
		ring_flush(r);
		return;
	}
	poll_sleep(r);
	inbox_awake(r);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A 4-ary heap of timers by deadline; each timer knows its place, so that stopping is O(log n). */
#ifndef CORE_TIMER_HEAP_H
#define CORE_TIMER_HEAP_H

#include <stdint.h>

#include "core/reactor.h"

/* One thread. A zeroed heap is empty; its timers belong to their owners. */
struct timer_heap {
	struct reactor_timer **slots;
	uint32_t count, room;
};

#define TIMER_HEAP_NEVER UINT64_MAX

/* timer_heap_set: arms the timer at deadline_ns, or moves it there if it is armed.
 * timer_heap_remove: disarms it; no-op if it is not armed. */
void timer_heap_set(struct timer_heap *h, struct reactor_timer *t, uint64_t deadline_ns);
void timer_heap_remove(struct timer_heap *h, struct reactor_timer *t);

/* timer_heap_next_ns: the earliest deadline; TIMER_HEAP_NEVER if there is none. */
uint64_t timer_heap_next_ns(const struct timer_heap *h);

/* timer_heap_pop_due: disarms and returns the timer with the earliest deadline if that is ≤ now_ns,
 * else NULL. Timers of equal deadlines come in no particular order. */
struct reactor_timer *timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns);

/* timer_heap_deadline_ns: now_ns + delay_ns, at least 1 ns later (so that a timer which starts
 * itself again fires no more than once a turn), never wrapping. */
uint64_t timer_heap_deadline_ns(uint64_t now_ns, uint64_t delay_ns);

/* timer_heap_finish: disarms all timers and frees the heap. */
void timer_heap_finish(struct timer_heap *h);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The 4-ary timer heap: shallower than a binary one, and a node's children share a cache line. */
#include "core/timer_heap.h"

#include <stdlib.h>

#include "core/check.h"

#define ARITY      4u
#define ROOM_START 32u

static void slot_put(struct timer_heap *h, uint32_t i, struct reactor_timer *t)
{
	h->slots[i] = t;
	t->heap_index = (int32_t)i;
}

static void sift_up(struct timer_heap *h, uint32_t i, struct reactor_timer *t)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / ARITY;

		if (h->slots[parent]->deadline_ns <= t->deadline_ns)
			break;
		slot_put(h, i, h->slots[parent]);
		i = parent;
	}
	slot_put(h, i, t);
}

static uint32_t earliest_child(const struct timer_heap *h, uint32_t i)
{
	uint32_t first = i * ARITY + 1, best = first;

	for (uint32_t c = first + 1; c < first + ARITY && c < h->count; c++)
		if (h->slots[c]->deadline_ns < h->slots[best]->deadline_ns)
			best = c;
	return best;
}

static void sift_down(struct timer_heap *h, uint32_t i, struct reactor_timer *t)
{
	while (i * ARITY + 1 < h->count) {
		uint32_t child = earliest_child(h, i);

		if (h->slots[child]->deadline_ns >= t->deadline_ns)
			break;
		slot_put(h, i, h->slots[child]);
		i = child;
	}
	slot_put(h, i, t);
}

/* Puts `t` at slot i or wherever its deadline wants it from there. */
static void slot_settle(struct timer_heap *h, uint32_t i, struct reactor_timer *t)
{
	if (i > 0 && h->slots[(i - 1) / ARITY]->deadline_ns > t->deadline_ns)
		sift_up(h, i, t);
	else
		sift_down(h, i, t);
}

static void heap_grow(struct timer_heap *h)
{
	uint32_t room = h->room ? h->room * 2 : ROOM_START;
	struct reactor_timer **slots = realloc(h->slots, room * sizeof(*slots));

	CHECK(slots); /* a timer's start cannot fail */
	h->slots = slots;
	h->room = room;
}

void timer_heap_set(struct timer_heap *h, struct reactor_timer *t, uint64_t deadline_ns)
{
	t->deadline_ns = deadline_ns;
	if (t->heap_index >= 0) {
		slot_settle(h, (uint32_t)t->heap_index, t);
		return;
	}
	if (h->count == h->room)
		heap_grow(h);
	sift_up(h, h->count++, t);
}

void timer_heap_remove(struct timer_heap *h, struct reactor_timer *t)
{
	struct reactor_timer *last;

	if (t->heap_index < 0)
		return;
	CHECK((uint32_t)t->heap_index < h->count && h->slots[t->heap_index] == t);
	last = h->slots[--h->count];
	if (last != t)
		slot_settle(h, (uint32_t)t->heap_index, last);
	t->heap_index = -1;
}

uint64_t timer_heap_next_ns(const struct timer_heap *h)
{
	return h->count > 0 ? h->slots[0]->deadline_ns : TIMER_HEAP_NEVER;
}

struct reactor_timer *timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns)
{
	struct reactor_timer *t;

	if (h->count == 0 || h->slots[0]->deadline_ns > now_ns)
		return NULL;
	t = h->slots[0];
	timer_heap_remove(h, t);
	return t;
}

uint64_t timer_heap_deadline_ns(uint64_t now_ns, uint64_t delay_ns)
{
	uint64_t deadline_ns;

	if (__builtin_add_overflow(now_ns, delay_ns > 0 ? delay_ns : 1, &deadline_ns))
		return TIMER_HEAP_NEVER;
	return deadline_ns;
}

void timer_heap_finish(struct timer_heap *h)
{
	for (uint32_t i = 0; i < h->count; i++)
		h->slots[i]->heap_index = -1;
	free(h->slots);
	*h = (struct timer_heap){0};
}

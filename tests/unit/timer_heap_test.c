/* SPDX-License-Identifier: Apache-2.0 */
/* The timer heap against a plain model: random arms, moves, stops and pops. */
#include <criterion/criterion.h>

#include "core/check.h"
#include "core/timer_heap.h"

#define TIMERS 200u
#define STEPS  200000u

struct model {
	struct timer_heap heap;
	struct reactor_timer timers[TIMERS];
	uint64_t deadline_ns[TIMERS]; /* TIMER_HEAP_NEVER: not armed */
	uint64_t now_ns, seed;
};

static uint64_t model_random(struct model *m)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return m->seed >> 33;
}

static uint64_t model_next(const struct model *m)
{
	uint64_t next_ns = TIMER_HEAP_NEVER;

	for (unsigned int i = 0; i < TIMERS; i++)
		if (m->deadline_ns[i] < next_ns)
			next_ns = m->deadline_ns[i];
	return next_ns;
}

static void step_set(struct model *m)
{
	unsigned int i = (unsigned int)(model_random(m) % TIMERS);
	uint64_t deadline_ns = m->now_ns + model_random(m) % 1000;

	timer_heap_set(&m->heap, &m->timers[i], deadline_ns);
	m->deadline_ns[i] = deadline_ns;
}

static void step_remove(struct model *m)
{
	unsigned int i = (unsigned int)(model_random(m) % TIMERS);

	timer_heap_remove(&m->heap, &m->timers[i]);
	m->deadline_ns[i] = TIMER_HEAP_NEVER;
}

static void step_pop(struct model *m)
{
	struct reactor_timer *t;

	m->now_ns += model_random(m) % 20;
	while ((t = timer_heap_pop_due(&m->heap, m->now_ns)) != NULL) {
		unsigned int i = (unsigned int)(t - m->timers);

		cr_assert_eq(m->deadline_ns[i], model_next(m));
		cr_assert_leq(m->deadline_ns[i], m->now_ns);
		m->deadline_ns[i] = TIMER_HEAP_NEVER;
	}
	cr_assert_gt(model_next(m), m->now_ns);
}

Test(timer_heap, does_what_a_plain_model_does)
{
	struct model m = {.seed = 42};

	for (unsigned int i = 0; i < TIMERS; i++) {
		reactor_timer_init(&m.timers[i], NULL);
		m.deadline_ns[i] = TIMER_HEAP_NEVER;
	}
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int i = step % TIMERS;
		uint64_t dice = model_random(&m) % 8;

		if (dice < 4)
			step_set(&m);
		else if (dice < 6)
			step_remove(&m);
		else
			step_pop(&m);
		cr_assert_eq(timer_heap_next_ns(&m.heap), model_next(&m));
		cr_assert_eq(
			reactor_timer_armed(&m.timers[i]), m.deadline_ns[i] != TIMER_HEAP_NEVER);
	}
	timer_heap_finish(&m.heap);
	for (unsigned int i = 0; i < TIMERS; i++)
		cr_assert_not(reactor_timer_armed(&m.timers[i]));
}

Test(timer_heap, deadlines_are_later_and_do_not_wrap)
{
	cr_assert_eq(timer_heap_deadline_ns(5, 0), 6);
	cr_assert_eq(timer_heap_deadline_ns(5, 7), 12);
	cr_assert_eq(timer_heap_deadline_ns(5, UINT64_MAX - 5), UINT64_MAX);
	cr_assert_eq(timer_heap_deadline_ns(6, UINT64_MAX - 5), TIMER_HEAP_NEVER);
	cr_assert_eq(timer_heap_deadline_ns(UINT64_MAX, UINT64_MAX), TIMER_HEAP_NEVER);
}

Test(timer_heap, a_timer_that_never_fires_can_be_armed)
{
	struct timer_heap h = {0};
	struct reactor_timer t;

	reactor_timer_init(&t, NULL);
	timer_heap_set(&h, &t, TIMER_HEAP_NEVER);
	cr_assert(reactor_timer_armed(&t));
	cr_assert_null(timer_heap_pop_due(&h, TIMER_HEAP_NEVER - 1));
	timer_heap_remove(&h, &t);
	cr_assert_not(reactor_timer_armed(&t));
	timer_heap_finish(&h);
}

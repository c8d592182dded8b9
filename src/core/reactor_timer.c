/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor's timers: the public face of its timer heap. */
#include "core/reactor_private.h"

void reactor_timer_init(struct reactor_timer *t, void (*fire)(struct reactor_timer *))
{
	*t = (struct reactor_timer){.fire = fire, .heap_index = -1};
}

void reactor_timer_start(struct reactor *r, struct reactor_timer *t, uint64_t delay_ns)
{
	CHECK(reactor_is_current(r));
	timer_heap_set(&r->timers, t, timer_heap_deadline_ns(r->now_ns, delay_ns));
}

void reactor_timer_stop(struct reactor *r, struct reactor_timer *t)
{
	CHECK(reactor_is_current(r));
	timer_heap_remove(&r->timers, t);
}

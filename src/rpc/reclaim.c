/* SPDX-License-Identifier: Apache-2.0 */
/* The reclaim policy at work: samples in, requests to balloons out. */
#include "rpc/reclaim.h"

#include <string.h>

#include "core/check.h"
#include "rpc/slots.h"

#define PAGE_BYTES 4096ULL

/* Soon after the trigger: the guests are asked how they are, and the pressure is read for the first
 * time; the step that follows knows both. */
#define FIRST_NS 1000000ULL

static void step_after(struct reclaim *r, uint64_t delay_ns)
{
	reactor_timer_start(r->slots->control, &r->timer, delay_ns);
}

static void timer_fired(struct reactor_timer *t)
{
	struct reclaim *r = container_of(t, struct reclaim, timer);

	pressure_read(&r->pressure);
}

static void pressure_rose(struct pressure *p)
{
	struct reclaim *r = container_of(p, struct reclaim, pressure);

	r->events++;
	if (r->active)
		return;
	r->active = true;
	r->read_ns = 0;
	step_after(r, FIRST_NS);
}

/* --- guests --- */

static void looked(struct slot_op *op)
{
	struct reclaim_slot *s = &op->slot->reclaim;

	s->looking = false;
	if (op->err) {
		*s = (struct reclaim_slot){.known = false};
		return;
	}
	if (!s->known || s->vmm_ns != op->vmm_ns)
		s->operator_ns = 0;
	else if (op->balloon.requests != s->figures.requests)
		s->operator_ns = reactor_now_ns(op->slots->control);
	s->known = true;
	s->vmm_ns = op->vmm_ns;
	s->figures = op->balloon;
}

static void guest_ask(struct slot *slot)
{
	if (!slot->reclaim.looking && slot->made)
		slot->reclaim.looking = slot_reclaim(slot, looked, NULL);
}

/* What the guest could do without: what it says is available, or else free. */
static uint64_t available_bytes(const struct balloon_figures *f, uint64_t now_ns)
{
	if (!f->statistics_ns || now_ns - f->statistics_ns > RECLAIM_STALE_NS)
		return RECLAIM_UNKNOWN;
	return f->available_bytes != BALLOON_STAT_NONE ? f->available_bytes : f->free_bytes;
}

static struct reclaim_guest guest_of(const struct reclaim_slot *s, uint64_t now_ns)
{
	const struct balloon_figures *f = &s->figures;

	return (struct reclaim_guest){
		.ram_bytes = f->ram_pages * PAGE_BYTES,
		.available_bytes = available_bytes(f, now_ns),
		.baseline_bytes = f->baseline_pages * PAGE_BYTES,
		.extra_bytes = f->reclaim_pages * PAGE_BYTES,
		.actual_bytes = f->actual_pages * PAGE_BYTES,
		.operator_ns = s->operator_ns,
	};
}

/* Once it has been looked at. One that does not answer is judged by what was last known. */
static bool takes_part(const struct slot *slot)
{
	return slot->made && slot->reclaim.known;
}

static bool step(struct reclaim *r, uint64_t now_ns, uint32_t ppm)
{
	struct reclaim_guest guests[SLOTS_MAX];
	unsigned int count = 0;
	bool more;

	list_for_each (l, &r->slots->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		if (takes_part(slot))
			guests[count++] = guest_of(&slot->reclaim, now_ns);
	}
	more = reclaim_step(&r->policy, now_ns, ppm, guests, count);
	count = 0;
	list_for_each (l, &r->slots->list) {
		struct slot *slot = list_entry(l, struct slot, link);

		if (takes_part(slot))
			slot->reclaim.target_pages =
				(uint32_t)(guests[count++].target_bytes / PAGE_BYTES);
		guest_ask(slot);
	}
	r->steps++;
	return more;
}

/* --- pressure --- */

/* As it is: what it has been asked for stands. */
static void guest_look(struct slot *slot)
{
	slot->reclaim.known = false;
	guest_ask(slot);
}

static void guests_look(struct reclaim *r)
{
	list_for_each (l, &r->slots->list)
		guest_look(list_entry(l, struct slot, link));
}

static void pressure_said(struct pressure *p, int err, uint64_t total_us)
{
	struct reclaim *r = container_of(p, struct reclaim, pressure);
	uint64_t now_ns = reactor_now_ns(r->slots->control), past_ns = now_ns - r->read_ns;

	if (!r->read_ns) {
		guests_look(r);
	} else if (past_ns >= RECLAIM_STEP_NS / 2) {
		/* A file that has gone says nothing: no pressure. */
		uint64_t waited_us = err || total_us < r->total_us ? 0 : total_us - r->total_us;
		uint64_t ppm = waited_us * 1000 * 1000000 / past_ns;

		r->last_ppm = ppm < 1000000 ? (uint32_t)ppm : 1000000;
		r->active = step(r, now_ns, r->last_ppm);
	}
	r->read_ns = now_ns;
	r->total_us = err ? 0 : total_us;
	if (r->active)
		step_after(r, RECLAIM_STEP_NS);
}

/* --- life --- */

static void pressure_over(struct pressure *p)
{
	struct reclaim *r = container_of(p, struct reclaim, pressure);

	if (r->ended)
		r->ended(r);
}

int reclaim_open(struct reclaim *r, struct diag *d)
{
	char path[PRESSURE_PATH_MAX];
	int err;

	memset(r, 0, sizeof(*r));
	r->pressure.rose = pressure_rose;
	r->pressure.said = pressure_said;
	r->pressure.ended = pressure_over;
	reactor_timer_init(&r->timer, timer_fired);
	err = pressure_find("", path, d);
	if (err)
		return err;
	err = pressure_open(&r->pressure, path, d);
	if (err)
		reclaim_close(r);
	return err;
}

void reclaim_close(struct reclaim *r)
{
	pressure_end(&r->pressure);
}

void reclaim_start(
	struct reclaim *r, struct slots *slots, void (*ended)(struct reclaim *r), void *ctx)
{
	r->slots = slots;
	r->ended = ended;
	r->ctx = ctx;
	pressure_start(&r->pressure, slots->control);
}

void reclaim_end(struct reclaim *r)
{
	reactor_timer_stop(r->slots->control, &r->timer);
	r->active = false;
	pressure_end(&r->pressure);
}

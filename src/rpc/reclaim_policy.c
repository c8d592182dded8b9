/* SPDX-License-Identifier: Apache-2.0 */
/* The reclaim policy's arithmetic. */
#include "rpc/reclaim_policy.h"

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* The most that this policy may ever have of the guest. */
static uint64_t extra_limit(const struct reclaim_guest *g)
{
	uint64_t floor = max_u64(g->ram_bytes / 4, RECLAIM_FLOOR_BYTES);
	uint64_t limit = less(less(g->ram_bytes, floor), g->baseline_bytes);

	/* Of a guest that says nothing: what hardly any would miss. */
	if (g->available_bytes == RECLAIM_UNKNOWN)
		limit = min_u64(limit, g->ram_bytes / 8);
	return limit;
}

static uint64_t keep(const struct reclaim_guest *g)
{
	return max_u64(g->ram_bytes / 16, RECLAIM_KEEP_BYTES);
}

/* What it was asked for and has not given yet is not there to be asked for again. */
static uint64_t owed(const struct reclaim_guest *g)
{
	return less(g->baseline_bytes + g->extra_bytes, g->actual_bytes);
}

static uint64_t spare(const struct reclaim_guest *g)
{
	uint64_t room = less(extra_limit(g), g->extra_bytes);

	if (g->available_bytes == RECLAIM_UNKNOWN)
		return room;
	return min_u64(room, less(less(g->available_bytes, keep(g)), owed(g)));
}

/* A guest that has become short itself gets back what it lacks, pressure or not. */
static uint64_t lacks(const struct reclaim_guest *g)
{
	return g->available_bytes == RECLAIM_UNKNOWN ? 0 : less(keep(g), g->available_bytes);
}

static bool left_alone(const struct reclaim_guest *g, uint64_t now_ns)
{
	return g->operator_ns && now_ns - g->operator_ns < RECLAIM_OPERATOR_NS;
}

static uint64_t grains(uint64_t bytes)
{
	return bytes / RECLAIM_GRAIN_BYTES * RECLAIM_GRAIN_BYTES;
}

static void guest_take(struct reclaim_guest *g, uint64_t now_ns)
{
	if (!lacks(g) && !left_alone(g, now_ns))
		g->target_bytes = grains(g->target_bytes + spare(g) / 4);
}

static void guest_return(struct reclaim_guest *g, uint64_t step_bytes)
{
	g->target_bytes = grains(min_u64(g->target_bytes, less(g->extra_bytes, step_bytes)));
}

static uint64_t largest_extra(const struct reclaim_guest *guests, unsigned int count)
{
	uint64_t largest = 0;

	for (unsigned int i = 0; i < count; i++)
		largest = max_u64(largest, guests[i].extra_bytes);
	return largest;
}

static void phase_choose(struct reclaim_policy *p, uint64_t now_ns, uint32_t pressure_ppm,
	const struct reclaim_guest *guests, unsigned int count)
{
	if (pressure_ppm >= RECLAIM_HIGH_PPM)
		p->phase = RECLAIM_TAKING;
	if (pressure_ppm >= RECLAIM_LOW_PPM)
		p->calm_ns = 0;
	else if (!p->calm_ns)
		p->calm_ns = now_ns;
	if (p->phase == RECLAIM_TAKING && p->calm_ns && now_ns - p->calm_ns >= RECLAIM_CALM_NS) {
		p->phase = RECLAIM_RETURNING;
		p->largest_bytes = largest_extra(guests, count);
	}
	if (p->phase == RECLAIM_RETURNING && !largest_extra(guests, count))
		p->phase = RECLAIM_IDLE;
}

bool reclaim_step(struct reclaim_policy *p, uint64_t now_ns, uint32_t pressure_ppm,
	struct reclaim_guest *guests, unsigned int count)
{
	phase_choose(p, now_ns, pressure_ppm, guests, count);
	for (unsigned int i = 0; i < count; i++) {
		struct reclaim_guest *g = &guests[i];

		g->target_bytes = grains(less(min_u64(g->extra_bytes, extra_limit(g)), lacks(g)));
		if (p->phase == RECLAIM_TAKING && pressure_ppm >= RECLAIM_HIGH_PPM)
			guest_take(g, now_ns);
		else if (p->phase == RECLAIM_RETURNING && pressure_ppm < RECLAIM_LOW_PPM)
			guest_return(g, max_u64(p->largest_bytes / 4, RECLAIM_GRAIN_BYTES));
	}
	return p->phase != RECLAIM_IDLE;
}

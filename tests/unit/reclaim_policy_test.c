/* SPDX-License-Identifier: Apache-2.0 */
/* The reclaim policy against a simulated host: guests that use some of their memory and cache with
 * the rest, and something else that needs memory for a while. */
#include "rpc/reclaim_policy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MIB    (1ULL << 20)
#define GUESTS 4u
#define S      1000000000ULL

/* What a guest really is; it follows a target within one step. */
struct sim_guest {
	uint64_t ram, used, baseline;
	bool silent;
};

static struct {
	struct sim_guest guest[GUESTS];
	struct reclaim_guest figures[GUESTS];
	struct reclaim_policy policy;
	uint64_t now_ns, host, other;
	bool active;
} sim;

static void setup(void)
{
	memset(&sim, 0, sizeof(sim));
	sim.now_ns = 1000 * S;
	sim.host = 4096 * MIB;
	for (unsigned int i = 0; i < GUESTS; i++)
		sim.guest[i] = (struct sim_guest){.ram = 1024 * MIB, .used = (i + 1) * 100 * MIB};
}

TestSuite(reclaim_policy, .init = setup);

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* All that a guest has is resident: its cache grows until it has filled it. */
static uint64_t resident(void)
{
	uint64_t bytes = sim.other;

	for (unsigned int i = 0; i < GUESTS; i++)
		bytes += sim.guest[i].ram - sim.figures[i].actual_bytes;
	return bytes;
}

/* A tenth of the host too much, and everybody waits half of the time. */
static uint32_t pressure(void)
{
	uint64_t ppm = less(resident(), sim.host) * 5000000 / sim.host;

	return ppm < 1000000 ? (uint32_t)ppm : 1000000;
}

static void look(unsigned int i)
{
	const struct sim_guest *g = &sim.guest[i];
	struct reclaim_guest *f = &sim.figures[i];

	f->ram_bytes = g->ram;
	f->baseline_bytes = g->baseline;
	f->extra_bytes = f->target_bytes;
	f->actual_bytes = g->baseline + f->target_bytes;
	f->available_bytes = g->silent ? RECLAIM_UNKNOWN : less(g->ram, g->used + f->actual_bytes);
}

static uint64_t target(unsigned int i)
{
	return sim.figures[i].target_bytes;
}

static uint64_t targets(void)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < GUESTS; i++)
		bytes += target(i);
	return bytes;
}

static void step_at(uint32_t ppm)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		look(i);
	sim.now_ns += RECLAIM_STEP_NS;
	sim.active = reclaim_step(&sim.policy, sim.now_ns, ppm, sim.figures, GUESTS);
}

static void steps(unsigned int count)
{
	while (count--) {
		for (unsigned int i = 0; i < GUESTS; i++)
			look(i);
		step_at(pressure());
	}
}

Test(reclaim_policy, without_pressure_nothing_is_asked)
{
	steps(100);
	cr_assert_eq(targets(), 0);
	cr_assert_not(sim.active);
}

Test(reclaim_policy, pressure_takes_until_it_has_passed_and_gives_back_after)
{
	unsigned int before;
	uint64_t held;

	sim.other = 1200 * MIB;
	steps(1);
	cr_assert(sim.active);
	steps(30);
	cr_assert_lt(pressure(), RECLAIM_HIGH_PPM, "%u", pressure());
	cr_assert_geq(targets(), 900 * MIB);
	sim.other = 0;
	step_at(RECLAIM_LOW_PPM);
	held = targets();
	for (before = 0; targets() >= held; before++)
		steps(1);
	cr_assert_geq(before, 15, "it may come again: %u", before);
	cr_assert_geq(targets(), held / 2, "step by step");
	steps(10);
	cr_assert_eq(targets(), 0);
	steps(1);
	cr_assert_not(sim.active, "at rest");
}

Test(reclaim_policy, by_share_of_what_each_could_spare)
{
	sim.other = 1200 * MIB;
	steps(1);
	/* 1024 MiB, less what is used, less a sixteenth that it keeps; a quarter of that. The
	 * floor is 256 MiB. */
	cr_assert_eq(target(0), (1024 - 256) / 4 * MIB);
	for (unsigned int i = 1; i < GUESTS; i++)
		cr_assert_eq(target(i), (1024 - 100 * (i + 1) - 64) / 4 * MIB, "%u", i);
}

Test(reclaim_policy, never_below_the_floor_however_long_it_lasts)
{
	sim.other = sim.host;
	sim.guest[3].ram = 100 * MIB;
	sim.guest[3].used = 10 * MIB;
	sim.guest[2].ram = 32 * MIB;
	sim.guest[2].used = 0;
	for (unsigned int i = 0; i < 500; i++) {
		steps(1);
		cr_assert_leq(target(0), 768 * MIB, "a quarter stays");
		cr_assert_leq(target(1), (1024 - 200 - 64) * MIB, "some stays available");
		cr_assert_eq(target(2), 0, "a small one has nothing to spare");
		cr_assert_leq(target(3), 36 * MIB, "64 MiB stay");
	}
	cr_assert_geq(target(0), 760 * MIB);
	cr_assert_geq(target(3), 30 * MIB);
}

Test(reclaim_policy, hysteresis)
{
	uint64_t held;

	step_at(RECLAIM_HIGH_PPM - 1);
	cr_assert_eq(targets(), 0, "not yet");
	step_at(RECLAIM_HIGH_PPM);
	held = targets();
	cr_assert_gt(held, 0);
	for (unsigned int i = 0; i < 100; i++) {
		step_at(i % 2 ? RECLAIM_HIGH_PPM - 1 : RECLAIM_LOW_PPM);
		cr_assert_eq(targets(), held, "neither more nor less");
	}
	for (unsigned int i = 0; i < 100; i++) {
		step_at(i % 14 ? 0 : RECLAIM_LOW_PPM);
		cr_assert_eq(targets(), held, "never calm for long enough");
	}
	for (unsigned int i = 0; i < 17; i++)
		step_at(0);
	cr_assert_lt(targets(), held);
	held = targets();
	step_at(RECLAIM_LOW_PPM);
	cr_assert_eq(targets(), held, "pressure again: no more is given back");
	step_at(RECLAIM_HIGH_PPM);
	cr_assert_gt(targets(), held);
}

Test(reclaim_policy, a_guest_that_gets_short_itself_gets_it_back_at_once)
{
	uint64_t before;

	sim.other = sim.host;
	steps(20);
	before = target(0);
	sim.guest[0].used += 500 * MIB;
	steps(1);
	cr_assert_leq(target(0), before - 64 * MIB);
	steps(40);
	cr_assert_geq(less(sim.guest[0].ram, sim.guest[0].used + target(0)), 63 * MIB);
	cr_assert_geq(target(1), 600 * MIB, "the others' stays");
}

Test(reclaim_policy, a_silent_guest_gives_an_eighth_at_most)
{
	sim.guest[1].silent = true;
	sim.other = sim.host;
	steps(100);
	cr_assert_leq(target(1), 128 * MIB);
	cr_assert_geq(target(1), 120 * MIB);
}

Test(reclaim_policy, a_clients_request_is_left_alone_and_returned_to)
{
	sim.guest[2].baseline = 300 * MIB;
	sim.figures[2].operator_ns = sim.now_ns;
	sim.other = sim.host;
	steps(29);
	cr_assert_eq(target(2), 0, "for a minute");
	cr_assert_gt(target(1), 0);
	steps(5);
	cr_assert_gt(target(2), 0, "besides what the client asked for");
	steps(200);
	cr_assert_leq(target(2), (768 - 300) * MIB, "the floor holds for both together");
	sim.other = 0;
	sim.guest[2].baseline = 2000 * MIB;
	steps(1);
	cr_assert_eq(target(2), 0, "a client may go below the floor; the policy adds nothing");
	steps(60);
	cr_assert_eq(targets(), 0);
}

/* What it has asked for and not got is not there to be asked for again. */
Test(reclaim_policy, a_guest_that_does_not_follow_is_not_asked_for_ever_more)
{
	for (unsigned int k = 0; k < 100; k++) {
		for (unsigned int i = 0; i < GUESTS; i++) {
			look(i);
			sim.figures[i].actual_bytes = 0;
			sim.figures[i].available_bytes = sim.guest[i].ram - sim.guest[i].used;
		}
		sim.now_ns += RECLAIM_STEP_NS;
		reclaim_step(&sim.policy, sim.now_ns, 1000000, sim.figures, GUESTS);
	}
	cr_assert_leq(target(0), 768 * MIB);
	cr_assert_leq(target(3), (1024 - 400 - 64) * MIB);
}

static void guest_random(struct sim_guest *g)
{
	g->ram = (1 + (uint64_t)rand() % 8192) * MIB;
	g->used = (uint64_t)rand() % (g->ram / MIB + 1) * MIB;
	g->baseline = rand() % 3 ? 0 : (uint64_t)rand() % (g->ram / MIB + 1) * MIB;
	g->silent = rand() % 4 == 0;
}

/* Whatever guests do and pressure does. */
Test(reclaim_policy, invariants_at_random)
{
	for (unsigned int seed = 1; seed <= 200; seed++) {
		srand(seed);
		setup();
		for (unsigned int i = 0; i < GUESTS; i++)
			guest_random(&sim.guest[i]);
		for (unsigned int k = 0; k < 200; k++) {
			uint32_t ppm = rand() % 3 ? (uint32_t)rand() % 1000001 : 0;

			if (rand() % 10 == 0)
				guest_random(&sim.guest[rand() % (int)GUESTS]);
			step_at(ppm);
			for (unsigned int i = 0; i < GUESTS; i++) {
				const struct reclaim_guest *g = &sim.figures[i];

				cr_assert_eq(g->target_bytes % RECLAIM_GRAIN_BYTES, 0);
				cr_assert(!g->target_bytes || g->baseline_bytes + g->target_bytes +
									      RECLAIM_FLOOR_BYTES <=
								      g->ram_bytes,
					"seed %u step %u guest %u", seed, k, i);
				cr_assert(ppm >= RECLAIM_HIGH_PPM ||
						  g->target_bytes <= g->extra_bytes,
					"more only under pressure");
			}
		}
		for (unsigned int k = 0; k < 200 && (sim.active || !k); k++)
			step_at(0);
		cr_assert_not(sim.active, "seed %u", seed);
		cr_assert_eq(targets(), 0);
	}
}

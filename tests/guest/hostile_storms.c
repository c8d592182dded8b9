/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile amounts and races: kicks, resets, wrapping indices, two CPUs on one queue. */
#include "clock.h"
#include "hostile.h"
#include "lib.h"
#include "shell.h"
#include "smp.h"
#include "virtio_common.h"

#define KICKS         2000
#define RESETS        50
#define STATUS_RESETS 200
#define WRAP_CHAINS   66000
#define FIGHT_US      20000
#define FIGHTS        10
#define FIGHT_KICKS   64 /* a kick in so many writes */
#define JOIN_US       10000000
#define QUIET_US      20000
#define SILENCE_BYTE  0x5a
#define TIMEOUT_US    10000000

static bool add_one(struct hostile *h, unsigned piece, uint32_t len_bytes)
{
	struct vring_segment segment = {(uint64_t)h->scratch + piece * PAGE_SIZE / 2, len_bytes};
	return vring_add(&h->queue->ring, &segment, h->reads, !h->reads, piece);
}

static bool kick_storm(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < KICKS; i++) {
		virtio_kick(h->queue);
		if (i % (KICKS / 4) == 0 && !hostile_round(h))
			return false;
	}
	return hostile_round(h);
}

static bool reset_storm(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < STATUS_RESETS; i++)
		mmio_write8(h->dev.common.address + COMMON_STATUS, i % 2 ? 0 : 1);
	return virtio_reset(&h->dev);
}

/* Whether the scratch stays as it is for a while. */
static bool scratch_is_quiet(struct hostile *h)
{
	memset(h->scratch, SILENCE_BYTE, HOSTILE_SCRATCH);
	clock_delay_us(QUIET_US);
	for (uint64_t i = 0; i < HOSTILE_SCRATCH; i++)
		if (((volatile uint8_t *)h->scratch)[i] != SILENCE_BYTE)
			return fail("the device wrote after its reset");
	return true;
}

/* A reset right behind a kick, with all chains out; once it is over the device must be quiet. */
static bool reset_in_flight(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < RESETS; i++) {
		for (unsigned piece = 0; vring_room(&h->queue->ring, 1) && piece < 16; piece++)
			if (!add_one(h, piece, h->reads ? 1 : PAGE_SIZE / 2))
				return fail("no room");
		vring_show(&h->queue->ring);
		virtio_kick(h->queue);
		clock_delay_us(i * 4);
		if (!hostile_stop(h) || (i % 10 == 0 && !scratch_is_quiet(h)) || !hostile_start(h))
			return false;
	}
	return hostile_round(h);
}

/* More chains than an index counts. */
static bool index_wraps(struct hostile *h, unsigned *outcome)
{
	unsigned added = 0, taken = 0;
	*outcome = OUTCOME_CHECKED;
	while (taken < WRAP_CHAINS) {
		uint64_t token;
		while (added < WRAP_CHAINS && vring_room(&h->queue->ring, 1)) {
			if (!add_one(h, added % 16, 1))
				return fail("no room");
			added++;
		}
		if (vring_show(&h->queue->ring))
			virtio_kick(h->queue);
		if (!virtio_wait(h->queue, TIMEOUT_US))
			return fail("stuck after %u chains", taken);
		while (vring_take(&h->queue->ring, &token, NULL))
			taken++;
	}
	return hostile_round(h);
}

/* Nonsense where the driver says when it wants interrupts; it does not want any. */
static bool event_nonsense(struct hostile *h, unsigned *outcome)
{
	static const uint16_t values[] = {0x7fff, 0x8000, 0xffff, 0x8010, 0};
	struct vring *ring = &h->queue->ring;
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		if (h->options.packed) {
			ring->driver[0] = values[i];
			ring->driver[1] = i % 2 ? 0xffff : 2;
		} else {
			ring->driver[0] = 0xffff;
			ring->driver[2 + ring->params.size] = values[i];
		}
		if (!hostile_round(h))
			return false;
	}
	return true;
}

/* --- garbage in the ring, by one CPU or two --- */

static struct fight {
	volatile struct vring_desc *desc;
	volatile uint16_t *driver;
	uint64_t doorbell, buffers, deadline;
	uint16_t size, index;
	bool packed;
} fight;

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Buffers lie in the scratch or nowhere, and are small: a mixture of two CPUs' fields as well. */
static uint64_t fight_run(uint64_t seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15UL + 1, turns = 0;
	while (rdtsc() < fight.deadline) {
		uint64_t r = random_next(&state);
		uint16_t i = (uint16_t)(r % fight.size);
		uint16_t flags = (uint16_t)(r >> 20 & 3);
		if (fight.packed)
			flags |= (uint16_t)(r >> 24 & (VRING_DESC_AVAIL | VRING_DESC_USED));
		fight.desc[i].address =
			r >> 60 ? fight.buffers + (r >> 40 & 0x3fff) : HOSTILE_FAR + (r >> 40);
		fight.desc[i].len_bytes = (uint32_t)(r >> 32 & 0xff);
		fight.desc[i].mid = fight.packed ? i : flags;
		fight.desc[i].tail = fight.packed ? flags : (uint16_t)(r >> 16 & 0xff) % fight.size;
		if (!fight.packed) {
			fight.driver[2 + (r >> 8 & 0xff) % fight.size] = i;
			fight.driver[1] += r >> 56 & 1;
		}
		if (++turns % FIGHT_KICKS == 0)
			mmio_write16(fight.doorbell, fight.index);
	}
	return turns;
}

/* Whatever comes of the queue, a reset must help; several times over. */
static bool fights(struct hostile *h, bool both)
{
	for (uint64_t round = 1; round <= FIGHTS; round++) {
		fight = (struct fight){
			.desc = h->queue->ring.desc,
			.driver = h->queue->ring.driver,
			.doorbell = h->queue->doorbell,
			.buffers = (uint64_t)h->scratch,
			.deadline = rdtsc() + FIGHT_US * clock_tsc_khz() / 1000,
			.size = h->queue->ring.params.size,
			.index = h->queue->index,
			.packed = h->options.packed,
		};
		if (both)
			cpu_run(1, fight_run, 2 * round);
		fight_run(2 * round + 1);
		if (both && !cpu_join(1, NULL, JOIN_US))
			return fail("CPU 1 does not come back");
		if (!hostile_stop(h) || !hostile_start(h) || !hostile_round(h))
			return false;
	}
	return true;
}

static bool garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return fights(h, false);
}

static bool two_cpus(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return fights(h, true);
}

const struct hostile_case hostile_storm_cases[] = {
	{"kick-storm", 0, OUTCOME_CHECKED, kick_storm},
	{"reset-storm", 0, OUTCOME_CHECKED, reset_storm},
	{"reset-in-flight", 0, OUTCOME_CHECKED, reset_in_flight},
	{"index-wraps", NEEDS_RNG, OUTCOME_CHECKED, index_wraps},
	{"event-nonsense", NEEDS_EVENT_IDX, OUTCOME_CHECKED, event_nonsense},
	{"garbage", 0, OUTCOME_CHECKED, garbage},
	{"two-cpus", NEEDS_TWO_CPUS, OUTCOME_CHECKED, two_cpus},
};
const unsigned hostile_storm_count = ARRAY_SIZE(hostile_storm_cases);

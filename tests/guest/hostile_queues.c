/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile queues: sizes and places that no ring may have (virtio 1.2 §2.6, §2.7, §2.8, §4.1.4.3).
 */
#include "hostile.h"
#include "lib.h"
#include "shell.h"
#include "virtio_common.h"

/* What is written to the registers of the queue under test. */
struct setup {
	uint16_t size;
	uint64_t desc, driver, device;
};

/* A device as far as FEATURES_OK, its other queues as they should be, and a ring for this one. */
static bool setup_begin(struct hostile *h, struct setup *setup)
{
	uint64_t features;
	if (!hostile_stop(h) || !virtio_option_features(&h->dev, &h->options, &features) ||
		!virtio_negotiate(&h->dev, features))
		return false;
	for (unsigned i = 0; i < h->queue_count; i++)
		if (&h->dev.queues[i] != h->queue && !virtio_queue_start(&h->dev, i, &h->options))
			return false;

	struct vring_params params = {
		.size = h->options.queue_size,
		.packed = h->options.packed,
		.event_idx = h->options.event_idx,
	};
	common_write16(&h->dev, COMMON_QUEUE_SELECT, (uint16_t)(h->queue - h->dev.queues));
	uint16_t max = common_read16(&h->dev, COMMON_QUEUE_SIZE);
	params.size = params.size < max ? params.size : max;
	if (!vring_init(&h->queue->ring, &params))
		return fail("no memory");
	*setup = (struct setup){
		.size = params.size,
		.desc = vring_desc_address(&h->queue->ring),
		.driver = vring_driver_address(&h->queue->ring),
		.device = vring_device_address(&h->queue->ring),
	};
	return true;
}

/*
 * Enables the queue, offers an ordinary chain in the ring (wherever the device believes it to be)
 * and kicks. The queue need not be usable, nor the device broken; but one of the two.
 */
static unsigned setup_try(struct hostile *h, const struct setup *setup)
{
	struct virtio_dev *dev = &h->dev;
	struct raw raw = {(uint64_t)h->scratch, 16, h->flags, 0};
	common_write16(dev, COMMON_QUEUE_SIZE, setup->size);
	common_write64(dev, COMMON_QUEUE_DESC, setup->desc);
	common_write64(dev, COMMON_QUEUE_DRIVER, setup->driver);
	common_write64(dev, COMMON_QUEUE_DEVICE, setup->device);
	common_write16(dev, COMMON_QUEUE_ENABLE, 1);
	bool enabled = common_read16(dev, COMMON_QUEUE_ENABLE);
	virtio_driver_ok(dev);
	hostile_offer(h, &raw, 1);
	unsigned outcome = hostile_outcome(h, OUTCOME_SILENT);
	if (outcome == OUTCOME_SILENT && !enabled)
		return OUTCOME_REFUSED;
	return outcome;
}

/* Tries `count` variations; all must end as the case allows, and the worst of them is told. */
static bool setups_try(struct hostile *h, unsigned *outcome, unsigned allows, unsigned count,
	void (*vary)(const struct hostile *h, struct setup *setup, unsigned i))
{
	for (unsigned i = 0; i < count; i++) {
		struct setup setup;
		if (!setup_begin(h, &setup))
			return false;
		vary(h, &setup, i);
		*outcome = setup_try(h, &setup);
		if (!(*outcome & allows))
			return fail("variation %u (size %u, rings 0x%lx 0x%lx 0x%lx): status 0x%x, "
				    "outcome %u",
				i, setup.size, setup.desc, setup.driver, setup.device,
				virtio_status(&h->dev), *outcome);
	}
	return true;
}

#define UNUSABLE (OUTCOME_BROKEN | OUTCOME_REFUSED | OUTCOME_SILENT)
#define WHATEVER (UNUSABLE | OUTCOME_EMPTY | OUTCOME_DONE)

static const uint16_t sizes_zero[] = {0};
static const uint16_t sizes_odd[] = {3, 6, 15};
static const uint16_t sizes_over[] = {0x7fff, 0x8000, 0x8001, 0xffff};

static void vary_size_zero(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	setup->size = sizes_zero[i];
}

static void vary_size_odd(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	setup->size = sizes_odd[i];
}

static void vary_size_over(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	setup->size = sizes_over[i];
}

static uint64_t *area(struct setup *setup, unsigned i)
{
	uint64_t *const areas[] = {&setup->desc, &setup->driver, &setup->device};
	return areas[i % ARRAY_SIZE(areas)];
}

static void vary_in_the_hole(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	*area(setup, i) = HOSTILE_HOLE;
}

static void vary_far_away(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	*area(setup, i) = i < 3 ? HOSTILE_FAR : UINT64_MAX - 63;
}

static void vary_in_a_bar(const struct hostile *h, struct setup *setup, unsigned i)
{
	*area(setup, i) = h->dev.common.address;
}

/* The last bytes of the highest RAM below 4 GiB, which are too few. */
static void vary_at_the_end(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	uint64_t end = hostile_ram_end();
	*area(setup, i) = i % 3 == 0 ? end - 16 : end - 4;
}

/* By the least that breaks the alignment of any area. */
static void vary_misaligned(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	*area(setup, i) += i < 3 ? 1 : 8 * (i == 3);
}

static void vary_overlapping(const struct hostile *h, struct setup *setup, unsigned i)
{
	(void)h;
	if (i == 0)
		setup->driver = setup->device = setup->desc;
	else if (i == 1)
		setup->device = setup->driver;
	else
		setup->driver = setup->desc + 16;
}

static bool size_zero(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, ARRAY_SIZE(sizes_zero), vary_size_zero);
}

static bool size_odd(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, ARRAY_SIZE(sizes_odd), vary_size_odd);
}

static bool size_over(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, ARRAY_SIZE(sizes_over), vary_size_over);
}

static bool rings_in_the_hole(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, 3, vary_in_the_hole);
}

static bool rings_far_away(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, 6, vary_far_away);
}

static bool rings_in_a_bar(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, 3, vary_in_a_bar);
}

static bool rings_at_the_end(struct hostile *h, unsigned *outcome)
{
	/* Packed: four bytes are enough for the second and third area. */
	return setups_try(h, outcome, UNUSABLE, h->options.packed ? 1 : 3, vary_at_the_end);
}

static bool rings_misaligned(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, UNUSABLE, 4, vary_misaligned);
}

static bool rings_overlapping(struct hostile *h, unsigned *outcome)
{
	return setups_try(h, outcome, WHATEVER, 3, vary_overlapping);
}

const struct hostile_case hostile_queue_cases[] = {
	{"size-zero", 0, UNUSABLE, size_zero},
	{"size-odd", NEEDS_SPLIT, UNUSABLE, size_odd},
	{"size-over", 0, UNUSABLE, size_over},
	{"rings-in-the-hole", 0, UNUSABLE, rings_in_the_hole},
	{"rings-far-away", 0, UNUSABLE, rings_far_away},
	{"rings-in-a-bar", 0, UNUSABLE, rings_in_a_bar},
	{"rings-at-the-end", 0, UNUSABLE, rings_at_the_end},
	{"rings-misaligned", 0, UNUSABLE, rings_misaligned},
	{"rings-overlapping", 0, WHATEVER, rings_overlapping},
};
const unsigned hostile_queue_count = ARRAY_SIZE(hostile_queue_cases);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that goes away under a queue: given to the balloon, or unplugged from virtio-mem. The
 * device may break, or go on with pages that are zero; the frame shows that a reset helps.
 */
#include "hostile.h"
#include "lib.h"
#include "memory_devices.h"
#include "shell.h"
#include "virtio_common.h"

#define PIECE 64

static bool offer_scratch(struct hostile *h)
{
	struct raw raw = {(uint64_t)h->scratch, PIECE, h->flags, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

/* The descriptors and both areas, in the middle of work. */
static bool ring_ballooned(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct vring *ring = &h->queue->ring;
	if (!hostile_round(h) || !balloon_take(ring->pages, ring->page_count))
		return false;
	virtio_kick(h->queue);
	return true;
}

/* A device that has not read anything yet meets zero pages, and then a chain in them. */
static bool ring_ballooned_fresh(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct vring *ring = &h->queue->ring;
	if (!balloon_take(ring->pages, ring->page_count))
		return false;
	virtio_kick(h->queue);
	return offer_scratch(h);
}

/* All chains out, then ring and buffers are gone while the device may be at work. */
static bool ring_ballooned_in_flight(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct vring *ring = &h->queue->ring;
	struct vring_segment segment = {(uint64_t)h->scratch, PAGE_SIZE};
	for (uint64_t i = 0; i < HOSTILE_SCRATCH / PAGE_SIZE && vring_room(ring, 1); i++) {
		segment.address = (uint64_t)h->scratch + i * PAGE_SIZE;
		vring_add(ring, &segment, h->reads, !h->reads, i);
	}
	if (vring_show(ring))
		virtio_kick(h->queue);
	return balloon_take(ring->pages, ring->page_count) &&
	       balloon_take(h->scratch, HOSTILE_SCRATCH / PAGE_SIZE);
}

static bool buffer_ballooned(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return balloon_take(h->scratch, HOSTILE_SCRATCH / PAGE_SIZE) && offer_scratch(h);
}

static bool table_ballooned(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint8_t *table = h->scratch + HOSTILE_SCRATCH / 2;
	struct raw raw[] = {{(uint64_t)h->scratch, PIECE, h->flags | VRING_DESC_NEXT, 1},
		{(uint64_t)h->scratch + PIECE, PIECE, h->flags, 0}};
	struct raw indirect = {
		(uint64_t)table, sizeof(struct vring_desc) * 2, VRING_DESC_INDIRECT, 0};
	hostile_table(h, table, raw, 2);
	if (!balloon_take(table, 1))
		return false;
	hostile_offer(h, &indirect, 1);
	return true;
}

/* The balloon's own queue, and the list of pages in it. */
static bool balloon_own_ring(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return balloon_take_own() && hostile_round(h);
}

/* --- virtio-mem --- */

/* A device whose queue under test lies at `to`; the ring's own book-keeping stays where it was. */
static bool ring_move(struct hostile *h, uint64_t to)
{
	struct vring *ring = &h->queue->ring;
	struct vring_params params = ring->params;
	uint64_t features;
	if (!hostile_stop(h) || !virtio_option_features(&h->dev, &h->options, &features) ||
		!virtio_negotiate(&h->dev, features))
		return false;
	for (unsigned i = 0; i < h->queue_count; i++)
		if (&h->dev.queues[i] != h->queue && !virtio_queue_start(&h->dev, i, &h->options))
			return false;
	if (!vring_init(ring, &params))
		return fail("no memory");
	uint64_t moved = to - (uint64_t)ring->pages;
	memset((void *)to, 0, ring->page_count * PAGE_SIZE);
	ring->desc = (volatile struct vring_desc *)((uint64_t)ring->desc + moved);
	ring->driver = (volatile uint16_t *)((uint64_t)ring->driver + moved);
	ring->device = (volatile uint16_t *)((uint64_t)ring->device + moved);
	common_write16(&h->dev, COMMON_QUEUE_SELECT, h->queue->index);
	common_write16(&h->dev, COMMON_QUEUE_SIZE, params.size);
	common_write64(&h->dev, COMMON_QUEUE_DESC, vring_desc_address(ring));
	common_write64(&h->dev, COMMON_QUEUE_DRIVER, vring_driver_address(ring));
	common_write64(&h->dev, COMMON_QUEUE_DEVICE, vring_device_address(ring));
	common_write16(&h->dev, COMMON_QUEUE_ENABLE, 1);
	virtio_driver_ok(&h->dev);
	return true;
}

/* The ring works in hot-plugged memory, which then goes. */
static bool ring_unplugged(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t start, len_bytes;
	if (!hotplug_block_plug(&start, &len_bytes))
		return false;
	bool ok = ring_move(h, start) && hostile_round(h);
	if (!hotplug_block_unplug() || !ok)
		return false;
	virtio_kick(h->queue);
	return true;
}

/* It goes while chains are out. */
static bool ring_unplugged_in_flight(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t start, len_bytes;
	if (!hotplug_block_plug(&start, &len_bytes))
		return false;
	bool ok = ring_move(h, start);
	struct vring_segment segment = {start + len_bytes / 2, PAGE_SIZE};
	while (ok && vring_room(&h->queue->ring, 1))
		vring_add(&h->queue->ring, &segment, h->reads, !h->reads, 1);
	vring_show(&h->queue->ring);
	virtio_kick(h->queue);
	ok = hotplug_block_unplug() && ok;
	virtio_kick(h->queue);
	return ok;
}

static bool buffer_unplugged(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t start, len_bytes;
	if (!hotplug_block_plug(&start, &len_bytes) || !hotplug_block_unplug())
		return false;
	struct raw raw = {start, PIECE, h->flags, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

/* The queue is set up where there is nothing. */
static bool ring_never_plugged(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t start, len_bytes;
	if (!hotplug_block_plug(&start, &len_bytes) || !hotplug_block_unplug() ||
		!ring_move(h, start))
		return false;
	virtio_kick(h->queue);
	return true;
}

const struct hostile_case hostile_memory_cases[] = {
	{"ring-ballooned", NEEDS_BALLOON, OUTCOME_ANY, ring_ballooned},
	{"ring-ballooned-fresh", NEEDS_BALLOON, OUTCOME_ANY, ring_ballooned_fresh},
	{"ring-ballooned-in-flight", NEEDS_BALLOON, OUTCOME_ANY, ring_ballooned_in_flight},
	{"buffer-ballooned", NEEDS_BALLOON, OUTCOME_ANY, buffer_ballooned},
	{"table-ballooned", NEEDS_BALLOON | NEEDS_INDIRECT, OUTCOME_ANY, table_ballooned},
	{"balloon-own-ring", NEEDS_BALLOON, OUTCOME_CHECKED, balloon_own_ring},
	{"ring-unplugged", NEEDS_MEM, OUTCOME_ANY, ring_unplugged},
	{"ring-unplugged-in-flight", NEEDS_MEM, OUTCOME_ANY, ring_unplugged_in_flight},
	{"buffer-unplugged", NEEDS_MEM, OUTCOME_NO_HARM, buffer_unplugged},
	{"ring-never-plugged", NEEDS_MEM, OUTCOME_ANY | OUTCOME_REFUSED, ring_never_plugged},
};
const unsigned hostile_memory_count = ARRAY_SIZE(hostile_memory_cases);

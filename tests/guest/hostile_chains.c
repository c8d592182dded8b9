/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile chains: descriptors, tables and indices that break the rules of virtio 1.2 §2.7, §2.8. */
#include "boot.h"
#include "hostile.h"
#include "layout.h"
#include "lib.h"
#include "shell.h"

#define NEXT  VRING_DESC_NEXT
#define WRITE VRING_DESC_WRITE
#define PIECE 16 /* bytes of an ordinary buffer */

static uint64_t at(const struct hostile *h, unsigned piece)
{
	return (uint64_t)h->scratch + piece * PIECE;
}

static bool offer_one(struct hostile *h, uint64_t address, uint32_t len_bytes)
{
	struct raw raw = {.address = address, .len_bytes = len_bytes, .flags = h->flags};
	hostile_offer(h, &raw, 1);
	return true;
}

/* --- single buffers --- */

static bool zero_length(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, at(h, 0), 0);
}

static bool zero_length_second(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw[] = {
		{at(h, 0), PIECE, h->flags | NEXT, 1},
		{at(h, 1), 0, h->flags, 0},
	};
	hostile_offer(h, raw, 2);
	return true;
}

static bool wrong_direction(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw = {at(h, 0), PIECE, h->flags ^ WRITE, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

static bool readable_after_writable(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw[] = {{at(h, 0), PIECE, WRITE | NEXT, 1}, {at(h, 1), PIECE, 0, 0}};
	hostile_offer(h, raw, 2);
	return true;
}

static bool address_wraps(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, UINT64_MAX - 15, 64);
}

static bool length_wraps(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, UINT64_MAX, UINT32_MAX);
}

static bool longest(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, at(h, 0), UINT32_MAX);
}

uint64_t hostile_ram_end(void)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t range_end = range->start + range->len;
		if (range->type == MEMORY_RAM && range_end <= 4 * GIB && range_end > end)
			end = range_end;
	}
	return end;
}

/* Past all memory if nothing follows the RAM: what firmware reserved behind it is skipped. */
static bool region_crossed(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t end = hostile_ram_end();
	return offer_one(h, end - 8, (uint32_t)(HOSTILE_HOLE - end));
}

static bool in_the_hole(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, HOSTILE_HOLE, 64);
}

static bool far_away(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, HOSTILE_FAR, 64);
}

static bool in_a_bar(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, h->dev.common.address, 32);
}

static bool on_a_doorbell(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, h->queue->doorbell, 2);
}

static bool in_the_ecam(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, h->dev.pci.config, 64);
}

static bool in_the_apic(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return offer_one(h, LAPIC_BASE + 0x300, 4);
}

/* --- chains --- */

static bool self_loop(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw = {at(h, 0), 1, h->flags | NEXT, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

static bool loop(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw[] = {
		{at(h, 0), 1, h->flags | NEXT, 1},
		{at(h, 1), 1, h->flags | NEXT, 2},
		{at(h, 2), 1, h->flags | NEXT, 0},
	};
	hostile_offer(h, raw, 3);
	return true;
}

static bool next_is(struct hostile *h, uint16_t next)
{
	struct raw raw = {at(h, 0), PIECE, h->flags | NEXT, next};
	hostile_offer(h, &raw, 1);
	return true;
}

static bool next_at_size(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return next_is(h, h->queue->ring.params.size);
}

static bool next_at_most(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return next_is(h, UINT16_MAX);
}

static bool head_is(struct hostile *h, uint16_t head)
{
	struct raw raw = {at(h, 0), PIECE, h->flags, 0};
	hostile_table(h, (uint8_t *)h->queue->ring.desc, &raw, 1);
	hostile_avail_put(h, 0, head);
	hostile_index_put(h, 1);
	virtio_kick(h->queue);
	return true;
}

static bool head_at_size(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return head_is(h, h->queue->ring.params.size);
}

static bool head_at_most(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return head_is(h, UINT16_MAX);
}

static bool id_at_most(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw = {at(h, 0), PIECE, h->flags, UINT16_MAX};
	hostile_offer(h, &raw, 1);
	return true;
}

/* Every descriptor of a packed ring has NEXT. */
static bool endless(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw[VRING_SEGMENTS_MAX];
	unsigned size = h->queue->ring.params.size;
	for (unsigned i = 0; i < size && i < ARRAY_SIZE(raw); i++)
		raw[i] = (struct raw){at(h, i), 1, h->flags | NEXT, 0};
	hostile_offer(h, raw, size);
	return true;
}

static bool index_jumps(struct hostile *h, uint16_t index)
{
	struct raw raw = {at(h, 0), PIECE, h->flags, 0};
	hostile_table(h, (uint8_t *)h->queue->ring.desc, &raw, 1);
	hostile_index_put(h, index);
	virtio_kick(h->queue);
	return true;
}

static bool index_over_size(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return index_jumps(h, (uint16_t)(h->queue->ring.params.size + 1));
}

static bool index_far(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return index_jumps(h, 0x8000);
}

static bool index_back(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return index_jumps(h, UINT16_MAX);
}

/* The same head, or id, twice at a time: a device that is done with the first may take it again. */
static bool head_twice(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw[] = {{at(h, 0), PIECE, h->flags, 0}, {at(h, 1), PIECE, h->flags, 0}};
	if (h->options.packed) {
		hostile_offer(h, raw, 2);
		return true;
	}
	hostile_table(h, (uint8_t *)h->queue->ring.desc, raw, 1);
	hostile_avail_put(h, 0, 0);
	hostile_avail_put(h, 1, 0);
	hostile_index_put(h, 2);
	virtio_kick(h->queue);
	return true;
}

#define SPLIT         NEEDS_SPLIT
#define PACKED        NEEDS_PACKED
#define HARMLESS      OUTCOME_NO_HARM
#define HARMLESS_DONE (OUTCOME_NO_HARM | OUTCOME_DONE)

const struct hostile_case hostile_chain_cases[] = {
	{"zero-length", 0, HARMLESS, zero_length},
	{"zero-length-second", 0, HARMLESS, zero_length_second},
	{"wrong-direction", 0, HARMLESS, wrong_direction},
	{"readable-after-writable", 0, HARMLESS, readable_after_writable},
	{"address-wraps", 0, HARMLESS, address_wraps},
	{"length-wraps", 0, HARMLESS, length_wraps},
	{"longest", 0, HARMLESS, longest},
	{"region-crossed", 0, HARMLESS, region_crossed},
	{"in-the-hole", 0, HARMLESS, in_the_hole},
	{"far-away", 0, HARMLESS, far_away},
	{"in-a-bar", 0, HARMLESS, in_a_bar},
	{"on-a-doorbell", 0, HARMLESS, on_a_doorbell},
	{"in-the-ecam", 0, HARMLESS, in_the_ecam},
	{"in-the-apic", 0, HARMLESS, in_the_apic},
	{"self-loop", SPLIT, HARMLESS, self_loop},
	{"loop", SPLIT, HARMLESS, loop},
	{"next-at-size", SPLIT, HARMLESS, next_at_size},
	{"next-at-most", SPLIT, HARMLESS, next_at_most},
	{"head-at-size", SPLIT, HARMLESS, head_at_size},
	{"head-at-most", SPLIT, HARMLESS, head_at_most},
	{"id-at-most", PACKED, HARMLESS_DONE, id_at_most}, /* §2.8.1 leaves ids to the driver */
	{"endless", PACKED, HARMLESS, endless},
	{"index-over-size", SPLIT, HARMLESS, index_over_size},
	{"index-far", SPLIT, HARMLESS, index_far},
	{"index-back", SPLIT, HARMLESS, index_back},
	{"head-twice", 0, HARMLESS_DONE, head_twice},
};
const unsigned hostile_chain_count = ARRAY_SIZE(hostile_chain_cases);

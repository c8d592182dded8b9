/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile indirect tables (virtio 1.2 §2.7.5.3, §2.8.7). */
#include "boot.h"
#include "hostile.h"
#include "lib.h"
#include "shell.h"

#define NEXT     VRING_DESC_NEXT
#define WRITE    VRING_DESC_WRITE
#define INDIRECT VRING_DESC_INDIRECT
#define PIECE    16 /* bytes of an ordinary buffer */

static uint64_t at(const struct hostile *h, unsigned piece)
{
	return (uint64_t)h->scratch + piece * PIECE;
}

/* Where tables are: away from the buffers. */
static uint8_t *table_of(const struct hostile *h)
{
	return h->scratch + HOSTILE_SCRATCH / 2;
}

static bool table_offer(struct hostile *h, const struct raw *entries, unsigned count,
	uint32_t len_bytes, uint16_t flags)
{
	struct raw raw = {(uint64_t)table_of(h), len_bytes, flags, 0};
	hostile_table(h, table_of(h), entries, count);
	hostile_offer(h, &raw, 1);
	return true;
}

static bool table_good(struct hostile *h, uint32_t len_bytes, uint16_t flags)
{
	struct raw entries[] = {{at(h, 0), PIECE, h->flags, 0}, {at(h, 1), PIECE, h->flags, 0}};
	return table_offer(h, entries, 2, len_bytes, flags);
}

static bool table_empty(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return table_good(h, 0, INDIRECT);
}

static bool table_odd(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return table_good(h, 24, INDIRECT);
}

static bool table_with_next(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw entry = {at(h, 0), PIECE, h->flags, 0};
	struct raw raw[] = {
		{(uint64_t)table_of(h), sizeof(struct vring_desc), INDIRECT | NEXT, 1},
		{at(h, 1), PIECE, h->flags, 0},
	};
	hostile_table(h, table_of(h), &entry, 1);
	hostile_offer(h, raw, 2);
	return true;
}

/* §2.7.5.3.2: the device must not care. */
static bool table_writable(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return table_good(h, sizeof(struct vring_desc), INDIRECT | WRITE);
}

static bool table_unnegotiated(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	return table_good(h, sizeof(struct vring_desc), INDIRECT);
}

static bool table_nested(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw inner = {at(h, 0), PIECE, h->flags, 0};
	uint8_t *second = table_of(h) + PAGE_SIZE;
	struct raw outer = {(uint64_t)second, sizeof(struct vring_desc), INDIRECT, 0};
	hostile_table(h, second, &inner, 1);
	return table_offer(h, &outer, 1, sizeof(struct vring_desc), INDIRECT);
}

static bool table_loop(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw entries[] = {
		{at(h, 0), 1, h->flags | NEXT, 1}, {at(h, 1), 1, h->flags | NEXT, 0}};
	return table_offer(h, entries, 2, sizeof(struct vring_desc) * 2, INDIRECT);
}

static bool table_next_range(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw entries[] = {
		{at(h, 0), PIECE, h->flags | NEXT, 2}, {at(h, 1), PIECE, h->flags, 0}};
	return table_offer(h, entries, 2, sizeof(struct vring_desc) * 2, INDIRECT);
}

static bool table_in_the_hole(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw = {HOSTILE_HOLE, sizeof(struct vring_desc), INDIRECT, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

static bool table_huge(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct raw raw = {(uint64_t)table_of(h), 0xfffffff0, INDIRECT, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

/* More entries than the queue has, all good: a device may take them or leave them. */
static bool table_long(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	unsigned count = HOSTILE_SCRATCH / 4 / sizeof(struct vring_desc);
	for (unsigned i = 0; i < count; i++) {
		struct raw raw = {at(h, i % 64), 1, h->flags, (uint16_t)(i + 1)};
		if (!h->options.packed && i + 1 < count)
			raw.flags |= NEXT;
		hostile_table(h, table_of(h) + i * sizeof(struct vring_desc), &raw, 1);
	}
	struct raw raw = {
		(uint64_t)table_of(h), count * (uint32_t)sizeof(struct vring_desc), INDIRECT, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

/* Over 4 GiB in one chain, of one piece of RAM again and again; readable, for its own good. */
static bool sum_over_4_gib(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	uint64_t start = (uint64_t)image_start, chunk = hostile_ram_end() - start;
	unsigned count = (unsigned)(4 * GIB / chunk + 1);
	if (count > HOSTILE_SCRATCH / 2 / sizeof(struct vring_desc))
		return fail("too little memory");
	for (unsigned i = 0; i < count; i++) {
		struct raw raw = {start, (uint32_t)chunk, 0, (uint16_t)(i + 1)};
		if (!h->options.packed && i + 1 < count)
			raw.flags |= NEXT;
		hostile_table(h, table_of(h) + i * sizeof(struct vring_desc), &raw, 1);
	}
	struct raw raw = {
		(uint64_t)table_of(h), count * (uint32_t)sizeof(struct vring_desc), INDIRECT, 0};
	hostile_offer(h, &raw, 1);
	return true;
}

#define SPLIT         NEEDS_SPLIT
#define TABLES        NEEDS_INDIRECT
#define HARMLESS      OUTCOME_NO_HARM
#define HARMLESS_DONE (OUTCOME_NO_HARM | OUTCOME_DONE)

const struct hostile_case hostile_table_cases[] = {
	{"table-empty", TABLES, HARMLESS, table_empty},
	{"table-odd", TABLES, HARMLESS, table_odd},
	{"table-with-next", TABLES, HARMLESS, table_with_next},
	{"table-writable", TABLES, HARMLESS_DONE, table_writable},
	{"table-unnegotiated", 0, HARMLESS, table_unnegotiated},
	{"table-nested", TABLES, HARMLESS, table_nested},
	{"table-loop", TABLES | SPLIT, HARMLESS, table_loop},
	{"table-next-range", TABLES | SPLIT, HARMLESS, table_next_range},
	{"table-in-the-hole", TABLES, HARMLESS, table_in_the_hole},
	{"table-huge", TABLES, HARMLESS, table_huge},
	{"table-long", TABLES, HARMLESS_DONE, table_long},
	{"sum-over-4-gib", TABLES, HARMLESS, sum_over_4_gib},
};
const unsigned hostile_table_count = ARRAY_SIZE(hostile_table_cases);

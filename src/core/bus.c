/* SPDX-License-Identifier: Apache-2.0 */
/* The port and memory buses of one guest: a sorted table of ranges each, looked up by bisection. */
#include "core/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUS_ROOM_FIRST 16

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
}

void bus_finish(struct bus *b)
{
	free(b->maps[BUS_PIO].ranges);
	free(b->maps[BUS_MMIO].ranges);
	bus_init(b);
}

static uint64_t range_last(const struct bus_range *r)
{
	return r->start + (r->len_bytes - 1);
}

/* The first range that starts above `addr`; map->count if none does. */
static unsigned int map_upper(const struct bus_map *map, uint64_t addr)
{
	unsigned int low = 0, high = map->count;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (map->ranges[mid]->start <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int map_grow(struct bus_map *map)
{
	unsigned int room = map->room ? map->room * 2 : BUS_ROOM_FIRST;
	struct bus_range **ranges;

	if (map->count < map->room)
		return 0;
	ranges = realloc(map->ranges, room * sizeof(struct bus_range *));
	if (!ranges)
		return -ENOMEM;
	map->ranges = ranges;
	map->room = room;
	return 0;
}

static int overlap_fail(
	const struct bus_range *range, const struct bus_range *other, struct diag *d)
{
	return diag_fail(d, -EEXIST, "%s at 0x%llx..0x%llx overlaps %s at 0x%llx..0x%llx",
		range->name, (unsigned long long)range->start,
		(unsigned long long)range_last(range), other->name,
		(unsigned long long)other->start, (unsigned long long)range_last(other));
}

int bus_add(struct bus *b, enum bus_kind kind, struct bus_range *range, struct diag *d)
{
	struct bus_map *map = &b->maps[kind];
	unsigned int at;

	if (!range->len_bytes || range->start > UINT64_MAX - (range->len_bytes - 1))
		return diag_fail(d, -EINVAL,
			"%s: 0x%llx bytes at 0x%llx are not a range of the bus", range->name,
			(unsigned long long)range->len_bytes, (unsigned long long)range->start);
	at = map_upper(map, range->start);
	if (at > 0 && range_last(map->ranges[at - 1]) >= range->start)
		return overlap_fail(range, map->ranges[at - 1], d);
	if (at < map->count && range_last(range) >= map->ranges[at]->start)
		return overlap_fail(range, map->ranges[at], d);
	if (map->count == BUS_RANGES_MAX)
		return diag_fail(d, -ENOSPC, "%s: the bus has %d ranges already, its limit",
			range->name, BUS_RANGES_MAX);
	if (map_grow(map))
		return diag_fail(d, -ENOMEM, "%s: no memory for the bus's table", range->name);

	memmove(&map->ranges[at + 1], &map->ranges[at],
		(map->count - at) * sizeof(struct bus_range *));
	map->ranges[at] = range;
	map->count++;
	return 0;
}

void bus_remove(struct bus *b, enum bus_kind kind, struct bus_range *range)
{
	struct bus_map *map = &b->maps[kind];

	/* By identity, not by address: removing is right even for a range whose owner has changed
	 * its start already. */
	for (unsigned int i = 0; i < map->count; i++) {
		if (map->ranges[i] != range)
			continue;
		map->count--;
		memmove(&map->ranges[i], &map->ranges[i + 1],
			(map->count - i) * sizeof(struct bus_range *));
		return;
	}
}

static bool range_claims(const struct bus_range *r, uint64_t addr, unsigned int size_bytes)
{
	return r->len_bytes >= size_bytes && addr - r->start <= r->len_bytes - size_bytes;
}

/* The range that wholly holds the access, or NULL. An access that crosses a page reaches us in
 * pieces of any size; no device answers those of 3, 5, 6 or 7 bytes. */
static struct bus_range *map_find(struct bus_map *map, uint64_t addr, unsigned int size_bytes)
{
	unsigned int at;

	if (size_bytes != 1 && size_bytes != 2 && size_bytes != 4 && size_bytes != 8)
		return NULL;
	if (map->last < map->count && range_claims(map->ranges[map->last], addr, size_bytes))
		return map->ranges[map->last];
	at = map_upper(map, addr);
	if (!at || !range_claims(map->ranges[at - 1], addr, size_bytes))
		return NULL;
	map->last = at - 1;
	return map->ranges[at - 1];
}

static uint64_t size_mask(unsigned int size_bytes)
{
	return size_bytes < 8 ? (1ULL << (size_bytes * 8)) - 1 : UINT64_MAX;
}

uint64_t bus_read(struct bus *b, enum bus_kind kind, uint64_t addr, unsigned int size_bytes)
{
	struct bus_range *r = map_find(&b->maps[kind], addr, size_bytes);

	if (!r || !r->read) {
		b->unclaimed_reads++;
		return size_mask(size_bytes);
	}
	return r->read(r, addr - r->start, size_bytes) & size_mask(size_bytes);
}

void bus_write(
	struct bus *b, enum bus_kind kind, uint64_t addr, unsigned int size_bytes, uint64_t value)
{
	struct bus_range *r = map_find(&b->maps[kind], addr, size_bytes);

	if (!r || !r->write) {
		b->unclaimed_writes++;
		return;
	}
	r->write(r, addr - r->start, size_bytes, value & size_mask(size_bytes));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The buses: dispatch, overlap, limits, and random tables against a byte-wise model. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/bus.h"
#include "core/check.h"

struct probe {
	struct bus_range range;
	unsigned int reads, writes;
	uint64_t offset, value;
	unsigned int size_bytes;
};

static uint64_t probe_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct probe *p = container_of(range, struct probe, range);

	p->reads++;
	p->offset = offset;
	p->size_bytes = size_bytes;
	return p->value;
}

static void probe_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct probe *p = container_of(range, struct probe, range);

	p->writes++;
	p->offset = offset;
	p->size_bytes = size_bytes;
	p->value = value;
}

static struct probe probe_at(const char *name, uint64_t start, uint64_t len_bytes)
{
	return (struct probe){
		.range = {.start = start,
			.len_bytes = len_bytes,
			.read = probe_read,
			.write = probe_write,
			.name = name},
	};
}

Test(bus, dispatches_with_the_offset_and_only_the_bytes_of_the_access)
{
	struct probe a = probe_at("a", 0x1000, 16);
	struct bus b;

	bus_init(&b);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &a.range, NULL), 0);
	bus_write(&b, BUS_MMIO, 0x100c, 4, 0x1122334455667788);
	cr_assert_eq(a.value, 0x55667788);
	cr_assert_eq(a.offset, 12);
	cr_assert_eq(a.size_bytes, 4);
	a.value = 0xffffffffffffff80;
	cr_assert_eq(bus_read(&b, BUS_MMIO, 0x1001, 1), 0x80);
	cr_assert_eq(bus_read(&b, BUS_MMIO, 0x1008, 8), 0xffffffffffffff80);
	cr_assert_eq(a.offset, 8);
	cr_assert_eq(bus_read(&b, BUS_PIO, 0x1000, 1), 0xff, "the port bus is another bus");
	cr_assert_eq(a.reads, 2);
	bus_finish(&b);
}

Test(bus, unclaimed_accesses_read_ones_and_are_counted)
{
	struct probe a = probe_at("a", 0x1000, 16);
	struct bus b;

	bus_init(&b);
	cr_assert_eq(bus_read(&b, BUS_PIO, 0, 1), 0xff, "an empty bus");
	bus_add(&b, BUS_PIO, &a.range, NULL);
	cr_assert_eq(bus_read(&b, BUS_PIO, 0xfff, 2), 0xffff, "starts below the range");
	cr_assert_eq(bus_read(&b, BUS_PIO, 0x100d, 4), 0xffffffff, "ends above the range");
	cr_assert_eq(bus_read(&b, BUS_PIO, 0x1010, 1), 0xff);
	cr_assert_eq(bus_read(&b, BUS_PIO, 0x1000, 3), 0xffffff, "a piece of a split access");
	cr_assert_eq(bus_read(&b, BUS_PIO, UINT64_MAX, 8), UINT64_MAX);
	bus_write(&b, BUS_PIO, 0x100f, 2, 1);
	bus_write(&b, BUS_PIO, 0x1000, 0, 1);
	cr_assert_eq(b.unclaimed_reads, 6);
	cr_assert_eq(b.unclaimed_writes, 2);
	cr_assert_eq(a.reads + a.writes, 0);
	bus_finish(&b);
}

Test(bus, refuses_overlap_naming_both)
{
	struct probe a = probe_at("uart", 0x3f8, 8), same = probe_at("twin", 0x3f8, 8);
	struct probe below = probe_at("below", 0x3f0, 9), above = probe_at("above", 0x3ff, 1);
	struct probe around = probe_at("around", 0, 0x10000), next = probe_at("next", 0x400, 1);
	struct diag d;
	struct bus b;

	bus_init(&b);
	cr_assert_eq(bus_add(&b, BUS_PIO, &a.range, &d), 0);
	cr_assert_eq(bus_add(&b, BUS_PIO, &same.range, &d), -EEXIST);
	cr_assert_eq(bus_add(&b, BUS_PIO, &below.range, &d), -EEXIST);
	cr_assert_eq(bus_add(&b, BUS_PIO, &above.range, &d), -EEXIST);
	cr_assert_eq(bus_add(&b, BUS_PIO, &around.range, &d), -EEXIST);
	cr_assert(strstr(d.text, "uart") && strstr(d.text, "around"), "%s", d.text);
	cr_assert_eq(bus_add(&b, BUS_PIO, &next.range, &d), 0, "neighbours do not overlap");
	cr_assert_eq(bus_add(&b, BUS_MMIO, &same.range, &d), 0);
	bus_finish(&b);
}

Test(bus, refuses_ranges_that_wrap_or_are_empty)
{
	struct probe empty = probe_at("empty", 5, 0), wraps = probe_at("wraps", UINT64_MAX, 2);
	struct probe last = probe_at("last", UINT64_MAX - 7, 8);
	struct bus b;

	bus_init(&b);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &empty.range, NULL), -EINVAL);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &wraps.range, NULL), -EINVAL);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &last.range, NULL), 0);
	last.value = 7;
	cr_assert_eq(bus_read(&b, BUS_MMIO, UINT64_MAX - 7, 8), 7);
	cr_assert_eq(bus_read(&b, BUS_MMIO, UINT64_MAX, 1), 7);
	cr_assert_eq(bus_read(&b, BUS_MMIO, UINT64_MAX, 2), 0xffff);
	bus_finish(&b);
}

Test(bus, holds_no_more_than_its_limit)
{
	static struct probe probes[BUS_RANGES_MAX + 1];
	struct bus b;

	bus_init(&b);
	for (unsigned int i = 0; i < BUS_RANGES_MAX; i++) {
		/* From the outside in, so that insertion happens at both ends. */
		uint64_t at = i % 2 ? i : 2 * BUS_RANGES_MAX - i;

		probes[i] = probe_at("one of many", at * 16, 16);
		cr_assert_eq(bus_add(&b, BUS_MMIO, &probes[i].range, NULL), 0);
	}
	probes[BUS_RANGES_MAX] = probe_at("too many", 1 << 20, 16);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &probes[BUS_RANGES_MAX].range, NULL), -ENOSPC);
	bus_remove(&b, BUS_MMIO, &probes[3].range);
	bus_remove(&b, BUS_MMIO, &probes[3].range);
	cr_assert_eq(bus_add(&b, BUS_MMIO, &probes[BUS_RANGES_MAX].range, NULL), 0);
	bus_finish(&b);
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A small bus of which every byte's owner is kept in an array. */
#define MODEL_BYTES  256
#define MODEL_PROBES 24

struct model {
	struct bus bus;
	struct probe probes[MODEL_PROBES];
	bool present[MODEL_PROBES];
	int owner[MODEL_BYTES]; /* -1: nobody */
};

static void model_toggle(struct model *m, unsigned int i, uint64_t *rng)
{
	uint64_t start = random_next(rng) % MODEL_BYTES, len = 1 + random_next(rng) % 24;
	bool is_free = start + len <= MODEL_BYTES;

	if (m->present[i]) {
		bus_remove(&m->bus, BUS_MMIO, &m->probes[i].range);
		for (unsigned int at = 0; at < MODEL_BYTES; at++)
			m->owner[at] = m->owner[at] == (int)i ? -1 : m->owner[at];
		m->present[i] = false;
		return;
	}
	if (!is_free)
		return;
	for (uint64_t at = start; at < start + len; at++)
		is_free = is_free && m->owner[at] < 0;
	m->probes[i] = probe_at("model", start, len);
	cr_assert_eq(bus_add(&m->bus, BUS_MMIO, &m->probes[i].range, NULL), is_free ? 0 : -EEXIST);
	m->present[i] = is_free;
	for (uint64_t at = start; is_free && at < start + len; at++)
		m->owner[at] = (int)i;
}

static void model_access(struct model *m, uint64_t *rng)
{
	static const unsigned int sizes[] = {1, 2, 4, 8};
	unsigned int size = sizes[random_next(rng) % 4];
	uint64_t at = random_next(rng) % (MODEL_BYTES - 8), unclaimed = m->bus.unclaimed_writes;
	int owner = m->owner[at];

	for (unsigned int i = 0; i < size; i++)
		owner = m->owner[at + i] == owner ? owner : -1;
	bus_write(&m->bus, BUS_MMIO, at, size, at);
	cr_assert_eq(m->bus.unclaimed_writes, unclaimed + (owner < 0));
	if (owner >= 0) {
		cr_assert_eq(m->probes[owner].writes, 1);
		cr_assert_eq(m->probes[owner].offset, at - m->probes[owner].range.start);
		m->probes[owner].writes = 0;
	}
	for (unsigned int i = 0; i < MODEL_PROBES; i++)
		cr_assert_eq(m->probes[i].writes, 0);
}

Test(bus, agrees_with_a_plain_model)
{
	static struct model m;
	uint64_t rng = 0x9e3779b97f4a7c15;

	bus_init(&m.bus);
	memset(m.owner, -1, sizeof(m.owner));
	for (int step = 0; step < 20000; step++) {
		if (random_next(&rng) % 4 == 0)
			model_toggle(&m, random_next(&rng) % MODEL_PROBES, &rng);
		else
			model_access(&m, &rng);
	}
	bus_finish(&m.bus);
}

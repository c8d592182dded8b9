/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: where its regions lie, what maps, and random ranges against a plain model. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/gmem.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct gmem memory_make(const struct gmem_params *p)
{
	struct diag d = {""};
	struct gmem m;

	cr_assert_eq(gmem_init(&m, p, &d), 0, "%s", d.text);
	return m;
}

static struct gmem memory_small(void)
{
	return memory_make(&(struct gmem_params){.ram_bytes = 64 * MIB, .name = "small"});
}

Test(gmem, small_memory_is_one_region)
{
	struct gmem m = memory_small();

	cr_assert_eq(m.count, 1);
	cr_assert_eq(m.ram_bytes, 64 * MIB);
	cr_assert_eq(gmem_high_end(&m).v, 64 * MIB);
	cr_assert_eq(gmem_map(&m, GPA(0), 64 * MIB), m.regions[0].host);
	cr_assert_null(gmem_map(&m, GPA(0), 64 * MIB + 1));
	cr_assert_null(gmem_map(&m, GPA(64 * MIB), 1));
	cr_assert_null(gmem_map(&m, GPA(0), 0));
	cr_assert_null(gmem_map(&m, GPA(UINT64_MAX), 2));
	cr_assert_null(gmem_map(&m, GPA(1), UINT64_MAX));
	gmem_finish(&m);
}

Test(gmem, large_memory_is_split_around_the_hole)
{
	struct gmem m = memory_make(&(struct gmem_params){.ram_bytes = 5 * GIB, .name = "large"});

	cr_assert_eq(m.count, 2);
	cr_assert_not_null(gmem_map(&m, GPA(3 * GIB - 1), 1));
	cr_assert_null(gmem_map(&m, GPA(3 * GIB - 1), 2), "into the hole");
	cr_assert_null(gmem_map(&m, GPA(3 * GIB), 1));
	cr_assert_null(gmem_map(&m, GPA(4 * GIB - 1), 2), "out of the hole");
	cr_assert_null(gmem_map(&m, GPA(3 * GIB - 1), GIB + 2), "across the hole");
	cr_assert_not_null(gmem_map(&m, GPA(4 * GIB), 2 * GIB));
	cr_assert_eq(gmem_high_end(&m).v, 6 * GIB);
	gmem_finish(&m);
}

Test(gmem, memory_of_exactly_3_gib_has_nothing_above_the_hole)
{
	struct gmem m = memory_make(&(struct gmem_params){.ram_bytes = 3 * GIB, .name = "3g"});

	cr_assert_eq(m.count, 1);
	cr_assert_null(gmem_map(&m, GPA(4 * GIB), 1));
	gmem_finish(&m);
}

Test(gmem, reads_and_writes_only_what_maps)
{
	struct gmem m = memory_small();
	char text[8] = "1234567";

	cr_assert(gmem_write(&m, GPA(64 * MIB - 8), text, 8));
	cr_assert_not(gmem_write(&m, GPA(64 * MIB - 7), "overrun", 8));
	memset(text, 0, 8);
	cr_assert(gmem_read(&m, GPA(64 * MIB - 8), text, 8));
	cr_assert_str_eq(text, "1234567");
	cr_assert_not(gmem_read(&m, GPA(64 * MIB - 7), text, 8));
	cr_assert_str_eq(text, "1234567", "nothing is copied by a read that fails");
	cr_assert(gmem_read(&m, GPA(12345), text, 1));
	cr_assert_eq(text[0], 0, "fresh memory is zero");
	gmem_finish(&m);
}

Test(gmem, nothing_is_resident_before_it_is_touched)
{
	struct gmem m = memory_small();

	cr_assert_eq(gmem_resident_bytes(&m), 0);
	cr_assert(gmem_write(&m, GPA(5 * MIB), "x", 1));
	cr_assert_geq(gmem_resident_bytes(&m), GMEM_PAGE);
	cr_assert_leq(gmem_resident_bytes(&m), GMEM_HUGE_PAGE);
	gmem_finish(&m);
}

Test(gmem, the_memfd_is_named_sealed_and_closed)
{
	struct gmem m = memory_small();
	char link[64], target[64] = "";
	int fd = m.memfd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	cr_assert_gt(readlink(link, target, sizeof(target) - 1), 0);
	cr_assert_str_eq(target, "/memfd:ringvisor:small (deleted)");
	cr_assert_eq(ftruncate(fd, 4096), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	gmem_finish(&m);
	cr_assert_eq(fcntl(fd, F_GETFD), -1);
	gmem_finish(&m);
	gmem_finish(&(struct gmem){0});
	cr_assert_neq(fcntl(0, F_GETFD), -1, "a zeroed struct does not own fd 0");
}

Test(gmem, a_long_name_is_cut)
{
	char name[400];
	struct gmem m;

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	m = memory_make(&(struct gmem_params){.ram_bytes = MIB, .name = name});
	gmem_finish(&m);
}

Test(gmem, huge_pages_align_every_region_alike)
{
	struct gmem m = memory_make(&(struct gmem_params){
		.ram_bytes = 3 * GIB + 6 * MIB,
		.huge_pages = true,
		.hotplug_bytes = 64 * MIB,
		.hotplug_block = 2 * MIB,
		.hotplug_align = 64 * MIB,
		.name = "huge",
	});

	cr_assert_eq(m.count, 3);
	for (unsigned int i = 0; i < m.count; i++) {
		cr_assert_eq((uintptr_t)m.regions[i].host % GMEM_HUGE_PAGE, 0);
		cr_assert_eq(m.regions[i].start.v % GMEM_HUGE_PAGE, 0);
		cr_assert_eq(m.regions[i].file_offset % GMEM_HUGE_PAGE, 0);
	}
	cr_assert(gmem_write(&m, GPA(4 * GIB), "high", 4), "with or without huge pages");
	gmem_finish(&m);
}

Test(gmem, refuses_what_cannot_be)
{
	static const struct gmem_params bad[] = {
		{.ram_bytes = 0},
		{.ram_bytes = MIB - GMEM_PAGE},
		{.ram_bytes = GMEM_MAX_BYTES + GMEM_PAGE},
		{.ram_bytes = UINT64_MAX},
		{.ram_bytes = 64 * MIB + 1},
		{.ram_bytes = 3 * MIB, .huge_pages = true},
		{.ram_bytes = MIB, .hotplug_bytes = MIB},
		{.ram_bytes = MIB,
			.hotplug_bytes = MIB,
			.hotplug_block = 3 * GMEM_PAGE,
			.hotplug_align = MIB},
		{.ram_bytes = MIB,
			.hotplug_bytes = MIB,
			.hotplug_block = 2048,
			.hotplug_align = MIB},
		{.ram_bytes = MIB,
			.hotplug_bytes = MIB + GMEM_PAGE,
			.hotplug_block = MIB,
			.hotplug_align = 2 * MIB},
		{.ram_bytes = MIB,
			.hotplug_bytes = MIB,
			.hotplug_block = MIB,
			.hotplug_align = 1ULL << 63},
		{.ram_bytes = MIB,
			.hotplug_bytes = UINT64_MAX,
			.hotplug_block = 1,
			.hotplug_align = 1},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct diag d = {""};
		struct gmem m;

		cr_assert_eq(gmem_init(&m, &bad[i], &d), -EINVAL, "case %zu", i);
		cr_assert_neq(d.text[0], 0);
		gmem_finish(&m);
	}
}

/* The model: what the regions are, written down a second time in the plainest way. */
#define RAM_BYTES   (3 * GIB + 64 * MIB)
#define BLOCK       (128 * 1024ULL)
#define PLUG_BLOCKS 200ULL

static const struct gmem_params model_params = {
	.ram_bytes = RAM_BYTES,
	.hotplug_bytes = PLUG_BLOCKS * BLOCK,
	.hotplug_block = BLOCK,
	.hotplug_align = BLOCK,
	.name = "model",
};

struct model {
	bool plugged[PLUG_BLOCKS];
	uint64_t plug_start;
};

static bool model_within(unsigned __int128 start, unsigned __int128 end, uint64_t from, uint64_t to)
{
	return start < end && start >= from && end <= to;
}

static bool model_maps(const struct model *model, uint64_t gpa, uint64_t len)
{
	unsigned __int128 end = (unsigned __int128)gpa + len;
	uint64_t plug_end = model->plug_start + PLUG_BLOCKS * BLOCK;

	if (model_within(gpa, end, 0, 3 * GIB) || model_within(gpa, end, 4 * GIB, RAM_BYTES + GIB))
		return true;
	if (!model_within(gpa, end, model->plug_start, plug_end))
		return false;
	for (uint64_t i = 0; i < PLUG_BLOCKS; i++) {
		uint64_t block = model->plug_start + i * BLOCK;

		if (!model->plugged[i] && block < end && block + BLOCK > gpa)
			return false;
	}
	return true;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* An address near one of the edges, or anywhere. */
static uint64_t random_gpa(const struct model *model, uint64_t *rng)
{
	const uint64_t edges[] = {0, 3 * GIB, 4 * GIB, RAM_BYTES + GIB, model->plug_start,
		model->plug_start + random_next(rng) % PLUG_BLOCKS * BLOCK,
		model->plug_start + PLUG_BLOCKS * BLOCK, 1ULL << 63};
	uint64_t near = random_next(rng) % 5 - 2;

	switch (random_next(rng) % 4) {
	case 0:
		return random_next(rng) >> (random_next(rng) % 64);
	case 1:
		return model->plug_start + random_next(rng) % (PLUG_BLOCKS * BLOCK);
	default:
		return edges[random_next(rng) % 8] + near;
	}
}

static uint64_t random_len(uint64_t *rng)
{
	switch (random_next(rng) % 4) {
	case 0:
		return random_next(rng) >> (random_next(rng) % 64);
	case 1:
		return UINT64_MAX - random_next(rng) % 4;
	case 2:
		return random_next(rng) % 6 * BLOCK + random_next(rng) % 3;
	default:
		return random_next(rng) % 5;
	}
}

static void model_plug(struct gmem *m, struct model *model, uint64_t *rng)
{
	uint64_t first = random_next(rng) % (PLUG_BLOCKS + 2), count = random_next(rng) % 150;
	uint64_t gpa = model->plug_start + first * BLOCK, skew = random_next(rng) % 8 ? 0 : 512;
	bool plugged = random_next(rng) % 2;
	bool valid = !skew && count && first + count <= PLUG_BLOCKS;
	int64_t expected = 0;

	cr_assert_eq(gmem_plug(m, GPA(gpa + skew), count * BLOCK, plugged), valid ? 0 : -EINVAL);
	for (uint64_t i = first; valid && i < first + count; i++)
		model->plugged[i] = plugged;

	for (uint64_t i = 0; i < PLUG_BLOCKS; i++)
		expected += model->plugged[i];
	cr_assert_eq(gmem_plugged(m, GPA(model->plug_start), PLUG_BLOCKS * BLOCK), expected);
}

static void model_compare(const struct gmem *m, const struct model *model, uint64_t *rng)
{
	uint64_t gpa = random_gpa(model, rng), len = random_len(rng);
	bool maps = model_maps(model, gpa, len);
	uint8_t *host = gmem_map(m, GPA(gpa), len);

	cr_assert_eq(host != NULL, maps, "gpa 0x%llx len 0x%llx", (unsigned long long)gpa,
		(unsigned long long)len);
	cr_assert_eq(gmem_is_ram(m, GPA(gpa), len), maps && gpa < model->plug_start);
	if (!maps)
		return;
	for (unsigned int i = 0; i < m->count; i++) {
		if (gpa < m->regions[i].start.v ||
			gpa >= m->regions[i].start.v + m->regions[i].size_bytes)
			continue;
		cr_assert_eq(host, m->regions[i].host + (gpa - m->regions[i].start.v));
	}
}

Test(gmem, agrees_with_a_plain_model)
{
	struct gmem m = memory_make(&model_params);
	static struct model model;
	uint64_t rng = 0x2545f4914f6cdd1d;

	cr_assert_eq(m.count, 3);
	model.plug_start = m.regions[2].start.v;
	cr_assert_eq(model.plug_start, 4 * GIB + 64 * MIB);
	for (int step = 0; step < 200000; step++) {
		if (random_next(&rng) % 64 == 0)
			model_plug(&m, &model, &rng);
		else
			model_compare(&m, &model, &rng);
	}
	gmem_finish(&m);
}

Test(gmem, the_hotplug_region_is_aligned_and_unplugged_at_first)
{
	struct gmem_params p = model_params;
	struct gmem m;

	p.hotplug_bytes = GIB;
	p.hotplug_align = GIB;
	m = memory_make(&p);
	cr_assert_eq(m.regions[2].start.v, 5 * GIB);
	cr_assert_eq(gmem_high_end(&m).v, 6 * GIB);
	cr_assert_null(gmem_map(&m, GPA(5 * GIB), 1));
	cr_assert_eq(gmem_plug(&m, GPA(5 * GIB), BLOCK, true), 0);
	cr_assert_not_null(gmem_map(&m, GPA(5 * GIB), BLOCK));
	cr_assert_not(gmem_is_ram(&m, GPA(5 * GIB), BLOCK));
	cr_assert_eq(gmem_plug(&m, GPA(0), BLOCK, true), -EINVAL, "RAM cannot be plugged");
	cr_assert_eq(gmem_plugged(&m, GPA(0), BLOCK), -EINVAL);
	gmem_finish(&m);

	p.ram_bytes = 64 * MIB;
	m = memory_make(&p);
	cr_assert_eq(m.count, 2);
	cr_assert_eq(m.regions[1].start.v, 4 * GIB, "never in the hole");
	gmem_finish(&m);
}

Test(gmem, file_offsets_of_what_is_memory)
{
	struct gmem m = memory_make(&(struct gmem_params){
		.ram_bytes = 3 * GIB + 2 * MIB,
		.hotplug_bytes = 6 * MIB,
		.hotplug_block = 2 * MIB,
		.hotplug_align = 4 * MIB,
		.name = "offsets",
	});
	const struct gmem_region *hot = &m.regions[2];
	uint64_t offset;

	cr_assert(gmem_file_offset(&m, GPA(3 * GIB - 1), 1, &offset) && offset == 3 * GIB - 1);
	cr_assert_not(gmem_file_offset(&m, GPA(3 * GIB - 1), 2, &offset), "the hole");
	cr_assert(gmem_file_offset(&m, GPA(4 * GIB + 5), 7, &offset));
	cr_assert_eq(offset, 3 * GIB + 5);
	cr_assert_not(gmem_file_offset(&m, hot->start, 1, &offset), "not plugged");
	cr_assert_eq(gmem_plug(&m, hot->start, 2 * MIB, true), 0);
	cr_assert(gmem_file_offset(&m, hot->start, 2 * MIB, &offset));
	cr_assert_eq(offset, hot->file_offset);
	cr_assert(gmem_host_offset(&m, hot->host + 6 * MIB - 1, 1, &offset));
	cr_assert_eq(offset, hot->file_offset + 6 * MIB - 1);
	cr_assert_not(gmem_host_offset(&m, hot->host + 6 * MIB - 1, 2, &offset));
	cr_assert_not(gmem_host_offset(&m, &m, 1, &offset));
	gmem_finish(&m);
}

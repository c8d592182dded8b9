/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: one memfd, one shared mapping a region, and the only way from a guest-physical
 * address to a host pointer. */
#include "core/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/check.h"

/* "memfd:" and the name together may have NAME_MAX bytes. */
#define MEMFD_NAME_MAX 249

static bool is_power_of_two(uint64_t x)
{
	return x && !(x & (x - 1));
}

static uint64_t align_up(uint64_t x, uint64_t to)
{
	return (x + to - 1) & ~(to - 1);
}

static int params_check(const struct gmem_params *p, struct diag *d)
{
	uint64_t unit = p->huge_pages ? GMEM_HUGE_PAGE : GMEM_PAGE;

	if (p->ram_bytes < GMEM_MIN_BYTES || p->ram_bytes > GMEM_MAX_BYTES)
		return diag_fail(d, -EINVAL,
			"guest memory of %llu bytes; it must be between 1 MiB and 1 TiB",
			(unsigned long long)p->ram_bytes);
	if (p->ram_bytes % unit)
		return diag_fail(d, -EINVAL,
			"guest memory of %llu bytes is not a multiple of the page size, %llu",
			(unsigned long long)p->ram_bytes, (unsigned long long)unit);
	if (!p->hotplug_bytes)
		return 0;
	if (p->hotplug_bytes > GMEM_MAX_BYTES)
		return diag_fail(d, -EINVAL, "hot-plug region of %llu bytes; the limit is 1 TiB",
			(unsigned long long)p->hotplug_bytes);
	if (!is_power_of_two(p->hotplug_block) || p->hotplug_block < unit)
		return diag_fail(d, -EINVAL,
			"hot-plug block of %llu bytes; it must be a power of two of at least %llu",
			(unsigned long long)p->hotplug_block, (unsigned long long)unit);
	if (!is_power_of_two(p->hotplug_align) || p->hotplug_align > GMEM_MAX_BYTES)
		return diag_fail(d, -EINVAL,
			"hot-plug alignment of %llu bytes; it must be a power of two up to 1 TiB",
			(unsigned long long)p->hotplug_align);
	if (p->hotplug_bytes % p->hotplug_block)
		return diag_fail(d, -EINVAL,
			"hot-plug region of %llu bytes is not a multiple of its block (%llu)",
			(unsigned long long)p->hotplug_bytes, (unsigned long long)p->hotplug_block);
	return 0;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct gmem_region *region_append(
	struct gmem *m, enum gmem_kind kind, uint64_t start, uint64_t size_bytes)
{
	struct gmem_region *r = &m->regions[m->count];
	uint64_t file_end = 0;

	CHECK(m->count < GMEM_REGIONS_MAX);
	if (m->count) {
		file_end =
			m->regions[m->count - 1].file_offset + m->regions[m->count - 1].size_bytes;
	}
	m->count++;
	*r = (struct gmem_region){
		.start = GPA(start),
		.size_bytes = size_bytes,
		.host = MAP_FAILED,
		/* File offset, host and guest address agree modulo 2 MiB: only then can a huge page
		 * back them. */
		.file_offset = align_up(file_end, GMEM_HUGE_PAGE),
		.kind = kind,
	};
	return r;
}

/* Decides which regions there are; allocates only the bitmap. */
static int regions_plan(struct gmem *m, const struct gmem_params *p, struct diag *d)
{
	uint64_t low = p->ram_bytes < GMEM_HOLE_START ? p->ram_bytes : GMEM_HOLE_START;
	struct gmem_region *r;
	uint64_t start;

	region_append(m, GMEM_RAM, 0, low);
	if (p->ram_bytes > low)
		region_append(m, GMEM_RAM, GMEM_HOLE_END, p->ram_bytes - low);
	if (!p->hotplug_bytes)
		return 0;

	start = align_up(max_u64(gmem_high_end(m).v, GMEM_HOLE_END),
		max_u64(p->hotplug_align, p->hotplug_block));
	r = region_append(m, GMEM_HOTPLUG, start, p->hotplug_bytes);
	r->block_bytes = p->hotplug_block;
	r->plugged = calloc((p->hotplug_bytes / p->hotplug_block + 63) / 64, sizeof(uint64_t));
	if (!r->plugged)
		return diag_fail(d, -ENOMEM, "no memory for the bitmap of the hot-plug region");
	return 0;
}

static int file_create(struct gmem *m, const char *name, struct diag *d)
{
	const struct gmem_region *last = &m->regions[m->count - 1];
	uint64_t bytes = last->file_offset + last->size_bytes;
	char memfd_name[MEMFD_NAME_MAX + 1];

	snprintf(memfd_name, sizeof(memfd_name), "ringvisor:%s", name ? name : "");
	m->memfd = memfd_create(memfd_name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->memfd < 0)
		return diag_errno(d, -errno, "memfd_create for the guest's memory");
	if (ftruncate(m->memfd, (off_t)bytes))
		return diag_errno(
			d, -errno, "cannot make a memfd of %llu bytes", (unsigned long long)bytes);
	/* Nobody whom the fd is passed to can cut pages away under our mapping (SIGBUS). */
	if (fcntl(m->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return diag_errno(d, -errno, "cannot seal the guest memory's memfd");
	return 0;
}

/* Maps a region at an address aligned to 2 MiB: takes that much more address space and gives the
 * rest back. */
static int region_map(struct gmem *m, struct gmem_region *r, struct diag *d)
{
	uint64_t room = r->size_bytes + GMEM_HUGE_PAGE;
	uint8_t *area, *start, *end;

	area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return diag_errno(d, -errno,
			"no address space for %llu MiB of guest memory (give the guest less, or "
			"raise ulimit -v)",
			(unsigned long long)(r->size_bytes >> 20));
	start = (uint8_t *)align_up((uintptr_t)area, GMEM_HUGE_PAGE);
	end = start + r->size_bytes;
	if (mmap(start, r->size_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED | MAP_NORESERVE, m->memfd,
		    (off_t)r->file_offset) == MAP_FAILED) {
		int err = -errno;

		munmap(area, room);
		return diag_errno(d, err, "cannot map %llu MiB of guest memory",
			(unsigned long long)(r->size_bytes >> 20));
	}
	if (start > area)
		munmap(area, (size_t)(start - area));
	if (area + room > end)
		munmap(end, (size_t)(area + room - end));
	r->host = start;

	/* A guest's memory has no place in our core dump. Both are advice: a host without huge
	 * pages for shared memory is slower, not wrong. */
	madvise(r->host, r->size_bytes, MADV_DONTDUMP);
	if (m->huge)
		madvise(r->host, r->size_bytes, MADV_HUGEPAGE);
	return 0;
}

int gmem_init(struct gmem *m, const struct gmem_params *p, struct diag *d)
{
	int err;

	*m = (struct gmem){.memfd = -1};
	err = params_check(p, d);
	if (err)
		return err;
	m->huge = p->huge_pages;
	m->ram_bytes = p->ram_bytes;
	err = regions_plan(m, p, d);
	if (!err)
		err = file_create(m, p->name, d);
	for (unsigned int i = 0; !err && i < m->count; i++)
		err = region_map(m, &m->regions[i], d);
	if (err)
		gmem_finish(m);
	return err;
}

void gmem_finish(struct gmem *m)
{
	/* A zeroed struct has no regions, and its memfd 0 is not ours. */
	if (!m->count)
		return;
	for (unsigned int i = 0; i < m->count; i++) {
		struct gmem_region *r = &m->regions[i];

		if (r->host != MAP_FAILED)
			munmap(r->host, r->size_bytes);
		free(r->plugged);
	}
	if (m->memfd >= 0)
		close(m->memfd);
	*m = (struct gmem){.memfd = -1};
}

static bool region_has(const struct gmem_region *r, gpa_t gpa, uint64_t len_bytes)
{
	/* Below the start this wraps to a number that is larger than any size. */
	uint64_t offset = gpa.v - r->start.v;

	return len_bytes && len_bytes <= r->size_bytes && offset <= r->size_bytes - len_bytes;
}

static const struct gmem_region *region_find(const struct gmem *m, gpa_t gpa, uint64_t len_bytes)
{
	for (unsigned int i = 0; i < m->count; i++) {
		if (region_has(&m->regions[i], gpa, len_bytes))
			return &m->regions[i];
	}
	return NULL;
}

/* The bits [*bit, end) that lie in *bit's word, as a mask; moves *bit behind them. */
static uint64_t bits_next(uint64_t *bit, uint64_t end, uint64_t *word)
{
	unsigned int shift = *bit % 64;
	uint64_t n = end - *bit < 64 - shift ? end - *bit : 64 - shift;

	*word = *bit / 64;
	*bit += n;
	return (~0ULL >> (64 - n)) << shift;
}

static bool blocks_all_plugged(const struct gmem_region *r, uint64_t first, uint64_t end)
{
	uint64_t word, mask;

	while (first < end) {
		mask = bits_next(&first, end, &word);
		if ((r->plugged[word] & mask) != mask)
			return false;
	}
	return true;
}

void *gmem_map(const struct gmem *m, gpa_t gpa, uint64_t len_bytes)
{
	const struct gmem_region *r = region_find(m, gpa, len_bytes);
	uint64_t offset;

	if (!r)
		return NULL;
	offset = gpa.v - r->start.v;
	if (r->kind == GMEM_HOTPLUG && !blocks_all_plugged(r, offset / r->block_bytes,
					       (offset + len_bytes - 1) / r->block_bytes + 1))
		return NULL;
	return r->host + offset;
}

bool gmem_read(const struct gmem *m, gpa_t gpa, void *to, uint64_t len_bytes)
{
	const void *from = gmem_map(m, gpa, len_bytes);

	if (!from)
		return false;
	memcpy(to, from, len_bytes);
	return true;
}

bool gmem_write(const struct gmem *m, gpa_t gpa, const void *from, uint64_t len_bytes)
{
	void *to = gmem_map(m, gpa, len_bytes);

	if (!to)
		return false;
	memcpy(to, from, len_bytes);
	return true;
}

bool gmem_is_ram(const struct gmem *m, gpa_t gpa, uint64_t len_bytes)
{
	const struct gmem_region *r = region_find(m, gpa, len_bytes);

	return r && r->kind == GMEM_RAM;
}

bool gmem_file_offset(const struct gmem *m, gpa_t gpa, uint64_t len_bytes, uint64_t *offset)
{
	const void *host = gmem_map(m, gpa, len_bytes);

	return host && gmem_host_offset(m, host, len_bytes, offset);
}

bool gmem_host_offset(const struct gmem *m, const void *host, uint64_t len_bytes, uint64_t *offset)
{
	for (unsigned int i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];
		/* Below the start this wraps to a number that is larger than any size. */
		uint64_t at = (uintptr_t)host - (uintptr_t)r->host;

		if (len_bytes && len_bytes <= r->size_bytes && at <= r->size_bytes - len_bytes) {
			*offset = r->file_offset + at;
			return true;
		}
	}
	return false;
}

gpa_t gmem_high_end(const struct gmem *m)
{
	const struct gmem_region *last;

	CHECK(m->count);
	last = &m->regions[m->count - 1];
	return GPA(last->start.v + last->size_bytes);
}

/* The blocks of the range, [*first, *end); NULL unless they are whole blocks of the hot-plug
 * region. */
static const struct gmem_region *blocks_find(
	const struct gmem *m, gpa_t gpa, uint64_t len_bytes, uint64_t *first, uint64_t *end)
{
	const struct gmem_region *r = region_find(m, gpa, len_bytes);
	uint64_t offset;

	if (!r || r->kind != GMEM_HOTPLUG)
		return NULL;
	offset = gpa.v - r->start.v;
	if (offset % r->block_bytes || len_bytes % r->block_bytes)
		return NULL;
	*first = offset / r->block_bytes;
	*end = *first + len_bytes / r->block_bytes;
	return r;
}

int gmem_plug(struct gmem *m, gpa_t gpa, uint64_t len_bytes, bool plugged)
{
	uint64_t bit, end, word, mask;
	const struct gmem_region *r = blocks_find(m, gpa, len_bytes, &bit, &end);

	if (!r)
		return -EINVAL;
	while (bit < end) {
		mask = bits_next(&bit, end, &word);
		if (plugged)
			r->plugged[word] |= mask;
		else
			r->plugged[word] &= ~mask;
	}
	return 0;
}

int64_t gmem_plugged(const struct gmem *m, gpa_t gpa, uint64_t len_bytes)
{
	uint64_t bit, end, word, mask;
	const struct gmem_region *r = blocks_find(m, gpa, len_bytes, &bit, &end);
	int64_t count = 0;

	if (!r)
		return -EINVAL;
	while (bit < end) {
		mask = bits_next(&bit, end, &word);
		count += __builtin_popcountll(r->plugged[word] & mask);
	}
	return count;
}

uint64_t gmem_resident_bytes(const struct gmem *m)
{
	struct stat st;

	CHECK(m->count);
	if (fstat(m->memfd, &st))
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

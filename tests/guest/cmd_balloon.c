/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon: gives pages to the host and takes them back, answers its questions for statistics,
 * reports free pages. What comes back has to be zero. The driver lives on between commands, until
 * "balloon stop". as-is: what pages hold is left there, instead of filling them first. untold: the
 * driver does without MUST_TELL_HOST.
 */
#include "boot.h"
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "memory_devices.h"
#include "page.h"
#include "virtio_pci.h"
#include "x86.h"

#define F_MUST_TELL_HOST (1UL << 0)
#define F_STATS_VQ       (1UL << 1)
#define F_DEFLATE_ON_OOM (1UL << 2)
#define F_PAGE_REPORTING (1UL << 5)

#define CONFIG_NUM_PAGES 0
#define CONFIG_ACTUAL    4

enum { INFLATE, DEFLATE, STATS, REPORTING_OLD, REPORTING, QUEUES };

#define CHUNK_PAGES 1024 /* as many PFNs as fit into a page */
#define CHUNKS_MAX  512
#define TIMEOUT_US  30000000
#define SERVE_US    120000000
#define OWN_US      20000

enum order { UP, DOWN, MIXED };

struct how {
	enum order order;
	bool as_is; /* what the pages hold is left there */
};

/* Pages that the host has, all that one chain named. */
struct chunk {
	uint8_t *base;
	uint64_t pages;
};

static struct balloon {
	bool started;
	struct virtio_dev dev;
	struct chunk chunks[CHUNKS_MAX];
	unsigned chunk_count;
	uint64_t held; /* pages */
	uint32_t *pfns;
	uint8_t *stats;
	uint64_t stats_answered;
} balloon;

/* --- statistics --- */

static uint8_t *stat_put(uint8_t *at, uint16_t tag, uint64_t value)
{
	memcpy(at, &tag, sizeof(tag));
	memcpy(at + sizeof(tag), &value, sizeof(value));
	return at + sizeof(tag) + sizeof(value);
}

/* Two that exist, one that does not, and a byte that belongs to nothing. */
static void stats_offer(void)
{
	uint8_t *end = stat_put(balloon.stats, 4, page_free_count() * PAGE_SIZE);
	end = stat_put(end, 5, boot_ram_size());
	end = stat_put(end, 0xbeef, balloon.stats_answered++);
	struct vring_segment segment = {
		(uint64_t)balloon.stats, (uint32_t)(end + 1 - balloon.stats)};
	struct virtio_queue *queue = &balloon.dev.queues[STATS];
	vring_add(&queue->ring, &segment, 1, 0, 1);
	if (vring_show(&queue->ring))
		virtio_kick(queue);
}

static void stats_serve(void)
{
	uint64_t token;
	if (vring_take(&balloon.dev.queues[STATS].ring, &token, NULL))
		stats_offer();
}

/* --- life --- */

static bool balloon_start(const struct virtio_options *options, bool tell)
{
	uint64_t features = F_STATS_VQ | F_DEFLATE_ON_OOM | F_PAGE_REPORTING;
	if (balloon.started)
		return true;
	if (tell)
		features |= F_MUST_TELL_HOST;
	balloon.pfns = page_alloc(1);
	balloon.stats = page_alloc(1);
	if (!balloon.pfns || !balloon.stats)
		return fail("no memory");
	if (!virtio_find(VIRTIO_BALLOON, 0, &balloon.dev) ||
		!virtio_start(&balloon.dev, QUEUES, balloon.dev.offered & features, options))
		return false;
	balloon.started = true;
	if (balloon.dev.features & F_STATS_VQ)
		stats_offer();
	return true;
}

static void chunks_free(void)
{
	while (balloon.chunk_count) {
		struct chunk *chunk = &balloon.chunks[--balloon.chunk_count];
		page_free(chunk->base, chunk->pages);
	}
	balloon.held = 0;
}

static bool balloon_stop(void)
{
	if (!balloon.started)
		return fail("it was not started");
	if (!virtio_stop(&balloon.dev))
		return false;
	balloon.started = false;
	page_free(balloon.pfns, 1);
	page_free(balloon.stats, 1);
	chunks_free();
	return true;
}

static void actual_write(void)
{
	mmio_write32(balloon.dev.config.address + CONFIG_ACTUAL, (uint32_t)balloon.held);
}

/* --- pages --- */

static void pages_fill(uint8_t *base, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		memset(base + i * PAGE_SIZE, 0xa5, PAGE_SIZE);
}

static bool pages_are_zero(const uint8_t *base, uint64_t pages)
{
	const uint64_t *words = (const uint64_t *)base;
	for (uint64_t i = 0; i < pages * PAGE_SIZE / sizeof(*words); i++)
		if (words[i])
			return fail("0x%lx is 0x%lx, not 0", (uint64_t)(words + i), words[i]);
	return true;
}

static uint64_t order_index(enum order order, uint64_t i, uint64_t pages)
{
	if (order == UP)
		return i;
	if (order == DOWN)
		return pages - 1 - i;
	/* The even ones upwards, then the odd ones downwards. */
	uint64_t even = (pages + 1) / 2;
	return i < even ? 2 * i : 2 * (pages - 1 - i) + 1;
}

static bool chain_run(
	unsigned index, const struct vring_segment *segments, unsigned out, unsigned in)
{
	struct virtio_queue *queue = &balloon.dev.queues[index];
	uint64_t token;
	if (!vring_add(&queue->ring, segments, out, in, 1))
		return fail("queue %u is full", index);
	if (vring_show(&queue->ring))
		virtio_kick(queue);
	if (!virtio_wait(queue, TIMEOUT_US) || !vring_take(&queue->ring, &token, NULL))
		return fail("queue %u does not answer", index);
	return true;
}

static bool pfns_tell(unsigned index, const uint8_t *base, uint64_t pages, enum order order)
{
	struct vring_segment segment = {(uint64_t)balloon.pfns, (uint32_t)(pages * 4)};
	for (uint64_t i = 0; i < pages; i++)
		balloon.pfns[i] =
			(uint32_t)((uint64_t)base / PAGE_SIZE + order_index(order, i, pages));
	return chain_run(index, &segment, 1, 0);
}

static bool inflate_some(uint64_t pages, const struct how *how)
{
	if (balloon.chunk_count == CHUNKS_MAX)
		return fail("%u chains are all that there is room for", CHUNKS_MAX);
	uint8_t *base = page_take(pages);
	if (!base)
		return fail("no run of %lu free pages", pages);
	if (!how->as_is)
		pages_fill(base, pages);
	if (!pfns_tell(INFLATE, base, pages, how->order))
		return false;
	balloon.chunks[balloon.chunk_count++] = (struct chunk){base, pages};
	balloon.held += pages;
	return true;
}

static bool deflate_some(uint64_t pages)
{
	struct chunk *chunk = &balloon.chunks[balloon.chunk_count - 1];
	if (pages > chunk->pages)
		pages = chunk->pages;
	uint8_t *base = chunk->base + (chunk->pages - pages) * PAGE_SIZE;
	if (!pfns_tell(DEFLATE, base, pages, UP) || !pages_are_zero(base, pages))
		return false;
	pages_fill(base, pages); /* they can be used again */
	page_free(base, pages);
	chunk->pages -= pages;
	balloon.held -= pages;
	if (!chunk->pages)
		balloon.chunk_count--;
	return true;
}

static bool balloon_reach(uint64_t target, const struct how *how)
{
	while (balloon.held != target) {
		uint64_t more = target - balloon.held;
		bool ok = target > balloon.held
				  ? inflate_some(more < CHUNK_PAGES ? more : CHUNK_PAGES, how)
				  : deflate_some(balloon.held - target);
		if (!ok)
			return false;
	}
	actual_write();
	return true;
}

/* --- reporting --- */

static bool balloon_report(uint64_t pages)
{
	struct vring_segment segments[VRING_SEGMENTS_MAX];
	unsigned count = 0;
	if (!(balloon.dev.features & F_PAGE_REPORTING))
		return fail("the device takes no reports");
	uint8_t *base = page_alloc(pages);
	if (!base)
		return fail("no run of %lu free pages", pages);
	pages_fill(base, pages);
	for (uint64_t at = 0, size = 1; at < pages && count < VRING_SEGMENTS_MAX; at += size) {
		size = count + 1 < VRING_SEGMENTS_MAX && size < pages - at ? size : pages - at;
		segments[count++] = (struct vring_segment){
			(uint64_t)base + at * PAGE_SIZE, (uint32_t)(size * PAGE_SIZE)};
	}
	bool ok = chain_run(REPORTING, segments, 0, count);
	/* A sample: what is looked at is there again. */
	for (unsigned i = 0; i < count && ok; i++)
		ok = pages_are_zero((const uint8_t *)segments[i].address, 1);
	if (ok)
		page_free(base, pages);
	return ok;
}

/* --- the host's wishes --- */

/* Until the host, having asked for something, asks for nothing. */
static bool balloon_serve(void)
{
	static const struct how how;
	uint64_t start = rdtsc(), limit = SERVE_US * clock_tsc_khz() / 1000;
	bool asked = false;
	print("balloon serves\n");
	while (rdtsc() - start < limit) {
		uint32_t target = mmio_read32(balloon.dev.config.address + CONFIG_NUM_PAGES);
		asked |= target > 0;
		if (!balloon_reach(target, &how))
			return false;
		stats_serve();
		if (asked && !target)
			return true;
		cpu_relax();
	}
	return fail("nothing was asked for");
}

/* --- for others --- */

bool balloon_take(void *start, uint64_t pages)
{
	static const struct virtio_options options;
	if (balloon.started)
		return fail("the balloon is in use");
	bool ok = balloon_start(&options, true) && pfns_tell(INFLATE, start, pages, UP);
	return balloon_stop() && ok;
}

bool balloon_take_own(void)
{
	static const struct virtio_options options;
	if (balloon.started)
		return fail("the balloon is in use");
	if (!balloon_start(&options, true))
		return false;
	struct virtio_queue *queue = &balloon.dev.queues[INFLATE];
	struct vring_segment segment = {(uint64_t)balloon.pfns, 2 * sizeof(uint32_t)};
	balloon.pfns[0] = (uint32_t)((uint64_t)queue->ring.pages / PAGE_SIZE);
	balloon.pfns[1] = (uint32_t)((uint64_t)balloon.pfns / PAGE_SIZE);
	vring_add(&queue->ring, &segment, 1, 0, 1);
	vring_show(&queue->ring);
	virtio_kick(queue);
	clock_delay_us(OWN_US);
	for (unsigned i = 0; i < 4; i++)
		virtio_kick(queue);
	return balloon_stop();
}

static bool balloon_do(const char *what, uint64_t pages, const struct how *how)
{
	if (!strcmp(what, "inflate"))
		return balloon_reach(balloon.held + pages, how);
	if (!strcmp(what, "deflate"))
		return balloon_reach(pages < balloon.held ? balloon.held - pages : 0, how);
	if (!strcmp(what, "report"))
		return balloon_report(pages);
	if (!strcmp(what, "serve"))
		return balloon_serve();
	return fail("%s is no subcommand", what);
}

bool cmd_balloon(const struct args *args)
{
	struct virtio_options options = {.event_idx = true};
	struct how how = {.order = UP};
	bool untold = false;
	uint64_t pages = 0;
	unsigned first = number_parse(args->words[2], &pages) ? 3 : 2;
	for (unsigned i = first; i < args->count; i++) {
		if (!strcmp(args->words[i], "up"))
			how.order = UP;
		else if (!strcmp(args->words[i], "down"))
			how.order = DOWN;
		else if (!strcmp(args->words[i], "mixed"))
			how.order = MIXED;
		else if (!strcmp(args->words[i], "as-is"))
			how.as_is = true;
		else if (!strcmp(args->words[i], "untold"))
			untold = true;
		else if (!virtio_option_parse(args->words[i], &options))
			return fail("%s is no option", args->words[i]);
	}
	if (!strcmp(args->words[1], "stop"))
		return balloon_stop();
	if (!balloon_start(&options, !untold))
		return false;
	uint64_t begin = rdtsc();
	if (!balloon_do(args->words[1], pages, &how))
		return false;
	print("balloon held=%lu asked=%u answered=%lu us=%lu\n", balloon.held,
		mmio_read32(balloon.dev.config.address + CONFIG_NUM_PAGES), balloon.stats_answered,
		clock_ns(rdtsc() - begin) / 1000);
	return true;
}

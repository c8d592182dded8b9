/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wild: a driver of the balloon or of virtio-mem that says whatever comes into its head: pages
 * where there are none, the same ones again, parts of entries, blocks that are not or overflow,
 * requests of no type; and resets with all of that under way. What it names is nobody's.
 */
#include "commands.h"
#include "lib.h"
#include "page.h"
#include "virtio_pci.h"
#include "x86.h"

#define ROUNDS           200
#define ROUNDS_A_LIFE    20 /* then a reset, perhaps with chains in flight */
#define VICTIM_PAGES     64
#define BALLOON_FEATURES 0x27 /* MUST_TELL_HOST, statistics, DEFLATE_ON_OOM, reporting */
#define MEM_FEATURES     0x02
#define WAIT_US          200000

/* Of virtio-mem's configuration. */
enum { CONFIG_BLOCK_SIZE = 0, CONFIG_ADDR = 16, CONFIG_REGION_SIZE = 24 };

static struct wild {
	struct virtio_dev dev;
	uint64_t state;    /* of the random numbers */
	uint8_t *victims;  /* pages that may go */
	uint8_t *request;  /* a page: what the device reads */
	uint8_t *response; /* a page: what it writes */
	uint64_t sent, answered, lives;
} wild;

static uint64_t any(uint64_t below)
{
	wild.state = wild.state * 6364136223846793005UL + 1442695040888963407UL;
	return (wild.state >> 33) % below;
}

/* --- what it says --- */

static uint32_t any_pfn(void)
{
	static const uint32_t nowhere[] = {
		0xffffffff, 0xfffffffe, 0xc0000, 0xfee00, 0x100000, 0x7fffffff, 0x80000000};
	uint64_t first = (uint64_t)wild.victims / PAGE_SIZE;
	return any(8) ? (uint32_t)(first + any(VICTIM_PAGES)) : nowhere[any(ARRAY_SIZE(nowhere))];
}

static struct vring_segment any_range(void)
{
	uint64_t at = any((VICTIM_PAGES - 4) * PAGE_SIZE);
	if (any(2))
		at -= at % PAGE_SIZE;
	return (struct vring_segment){
		(uint64_t)wild.victims + at, (uint32_t)(1 + any(4 * PAGE_SIZE))};
}

/* PFNs in one or two buffers of any length, or ranges, whole pages or not; or neither. */
static unsigned balloon_chain(struct vring_segment *segments, unsigned *out, unsigned *in)
{
	uint32_t *pfns = (uint32_t *)wild.request;
	unsigned queue = (unsigned)any(5);
	*out = *in = 0;
	if (queue >= 3) {
		*in = 1 + (unsigned)any(4);
		for (unsigned i = 0; i < *in; i++)
			segments[i] = any_range();
		return queue;
	}
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*pfns); i++)
		pfns[i] = any_pfn();
	uint32_t first = (uint32_t)(1 + any(2048)), second = (uint32_t)(1 + any(2047));
	segments[0] = (struct vring_segment){(uint64_t)pfns, first};
	segments[1] = (struct vring_segment){(uint64_t)pfns + first, second};
	*out = 1 + (unsigned)any(2);
	return queue;
}

static uint64_t config_read(unsigned offset)
{
	uint64_t at = wild.dev.config.address + offset;
	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

static uint64_t any_address(void)
{
	uint64_t base = config_read(CONFIG_ADDR), block = config_read(CONFIG_BLOCK_SIZE);
	uint64_t blocks = config_read(CONFIG_REGION_SIZE) / block;
	switch (any(8)) {
	case 0:
		return -block;
	case 1:
		return base - block;
	case 2:
		return base + blocks * block;
	case 3:
		return base + any(blocks * block);
	default:
		return base + any(blocks) * block;
	}
}

static unsigned mem_chain(struct vring_segment *segments, unsigned *out, unsigned *in)
{
	static const uint16_t counts[] = {0, 1, 2, 7, 0x7fff, 0xffff};
	uint16_t type = (uint16_t)any(6), blocks = counts[any(ARRAY_SIZE(counts))];
	uint64_t address = any_address();
	memset(wild.request, 0, 24);
	memcpy(wild.request, &type, sizeof(type));
	memcpy(wild.request + 8, &address, sizeof(address));
	memcpy(wild.request + 16, &blocks, sizeof(blocks));
	segments[0] = (struct vring_segment){
		(uint64_t)wild.request, any(4) ? 24 : (uint32_t)(1 + any(24))};
	segments[1] = (struct vring_segment){
		(uint64_t)wild.response, any(4) ? 10 : (uint32_t)(1 + any(16))};
	*out = 1;
	*in = (unsigned)any(8) ? 1 : 0;
	return 0;
}

/* --- a life: from a start to a reset --- */

static void answers_take(struct virtio_queue *queue)
{
	uint64_t token;
	while (vring_take(&queue->ring, &token, NULL))
		wild.answered++;
}

static void round_send(bool balloon)
{
	struct vring_segment segments[VRING_SEGMENTS_MAX];
	unsigned out, in;
	unsigned index = (balloon ? balloon_chain : mem_chain)(segments, &out, &in);
	struct virtio_queue *queue = &wild.dev.queues[index];
	if (!vring_add(&queue->ring, segments, out, in, 1))
		return;
	wild.sent++;
	vring_show(&queue->ring);
	virtio_kick(queue);
	/* Statistics are asked for by giving the buffer back, which nobody does. */
	if (any(2) && !(balloon && index == 2) &&
		!(virtio_status(&wild.dev) & VIRTIO_S_NEEDS_RESET))
		virtio_wait(queue, WAIT_US);
	answers_take(queue);
}

static bool life(bool balloon)
{
	struct virtio_options options = {.event_idx = true, .packed = any(2)};
	wild.lives++;
	if (!virtio_find(balloon ? VIRTIO_BALLOON : VIRTIO_MEM, 0, &wild.dev) ||
		!virtio_start(&wild.dev, balloon ? 5 : 1,
			wild.dev.offered & (balloon ? BALLOON_FEATURES : MEM_FEATURES), &options))
		return false;
	for (unsigned i = 0; i < ROUNDS_A_LIFE; i++)
		round_send(balloon);
	return virtio_stop(&wild.dev);
}

static bool wild_run(bool balloon, uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i += ROUNDS_A_LIFE)
		if (!life(balloon))
			return false;
	print("wild sent=%lu answered=%lu lives=%lu\n", wild.sent, wild.answered, wild.lives);
	return wild.answered ? true : fail("nothing was answered");
}

bool cmd_wild(const struct args *args)
{
	bool balloon = !strcmp(args->words[1], "balloon");
	uint64_t rounds;
	if (!balloon && strcmp(args->words[1], "mem"))
		return fail("%s is neither balloon nor mem", args->words[1]);
	if (!args_number(args, 2, ROUNDS, &rounds) || !args_number(args, 3, 1, &wild.state))
		return false;
	wild.sent = wild.answered = wild.lives = 0;
	wild.victims = page_alloc(VICTIM_PAGES);
	wild.request = page_alloc(1);
	wild.response = page_alloc(1);
	if (!wild.victims || !wild.request || !wild.response)
		return fail("no memory");
	bool ok = wild_run(balloon, rounds);
	page_free(wild.victims, VICTIM_PAGES);
	page_free(wild.request, 1);
	page_free(wild.response, 1);
	return ok;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hotplug: plugs and unplugs blocks of virtio-mem. A block that comes has to be zero; what is
 * written there has to stay; where a block has gone there must be no memory. Blocks stay as they
 * are between commands, until "hotplug all" or the end.
 */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "memory_devices.h"
#include "page.h"
#include "paging.h"
#include "virtio_pci.h"
#include "x86.h"

#define F_UNPLUGGED_INACCESSIBLE (1UL << 1)

enum {
	CONFIG_BLOCK_SIZE = 0,
	CONFIG_ADDR = 16,
	CONFIG_REGION_SIZE = 24,
	CONFIG_PLUGGED_SIZE = 40,
	CONFIG_REQUESTED_SIZE = 48,
};

enum { REQ_PLUG, REQ_UNPLUG, REQ_UNPLUG_ALL, REQ_STATE };

#define PATTERN      0x9e3779b97f4a7c15UL
#define STRIDE_BYTES PAGE_SIZE /* a word is looked at in so many bytes */
#define SERVE_BLOCKS 16        /* of one request */
#define TIMEOUT_US   30000000
#define SERVE_US     120000000

struct request {
	uint16_t type, pad[3];
	uint64_t address;
	uint16_t blocks, pad2[3];
};

struct response {
	uint16_t type, pad[3], state;
};

static struct hotplug {
	bool started;
	struct virtio_dev dev;
	struct request *request;
	struct response *response;
	uint64_t base, block_bytes, blocks;
} hotplug;

static uint64_t config_read(unsigned offset)
{
	uint64_t at = hotplug.dev.config.address + offset;
	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

static bool hotplug_start(const struct virtio_options *options)
{
	if (hotplug.started)
		return true;
	hotplug.request = page_alloc(1);
	if (!hotplug.request)
		return fail("no memory");
	hotplug.response = (struct response *)((uint8_t *)hotplug.request + PAGE_SIZE / 2);
	if (!virtio_find(VIRTIO_MEM, 0, &hotplug.dev) ||
		!virtio_start(
			&hotplug.dev, 1, hotplug.dev.offered & F_UNPLUGGED_INACCESSIBLE, options))
		return false;
	hotplug.base = config_read(CONFIG_ADDR);
	hotplug.block_bytes = config_read(CONFIG_BLOCK_SIZE);
	hotplug.blocks = config_read(CONFIG_REGION_SIZE) / hotplug.block_bytes;
	if (!paging_map(hotplug.base, hotplug.blocks * hotplug.block_bytes, PAGING_MEMORY))
		return fail("the region cannot be mapped");
	hotplug.started = true;
	return true;
}

static bool hotplug_stop(void)
{
	if (!hotplug.started)
		return fail("it was not started");
	if (!virtio_stop(&hotplug.dev))
		return false;
	hotplug.started = false;
	page_free(hotplug.request, 1);
	return true;
}

/* --- requests --- */

static bool ask(uint16_t type, uint64_t first, uint64_t blocks)
{
	static const char *const answers[] = {"ACK", "NACK", "BUSY", "ERROR"};
	struct virtio_queue *queue = &hotplug.dev.queues[0];
	struct vring_segment segments[] = {{(uint64_t)hotplug.request, sizeof(*hotplug.request)},
		{(uint64_t)hotplug.response, sizeof(*hotplug.response)}};
	uint64_t token;
	*hotplug.request = (struct request){.type = type,
		.address = hotplug.base + first * hotplug.block_bytes,
		.blocks = (uint16_t)blocks};
	*hotplug.response = (struct response){.type = 0xffff};
	if (!vring_add(&queue->ring, segments, 1, 1, 1))
		return fail("the queue is full");
	if (vring_show(&queue->ring))
		virtio_kick(queue);
	if (!virtio_wait(queue, TIMEOUT_US) || !vring_take(&queue->ring, &token, NULL))
		return fail("the device does not answer");
	uint16_t answer = *(volatile uint16_t *)&hotplug.response->type;
	if (answer == 0)
		return true;
	return fail("%s", answer < ARRAY_SIZE(answers) ? answers[answer] : "an unknown answer");
}

/* --- memory --- */

static uint64_t block_start(uint64_t block)
{
	return hotplug.base + block * hotplug.block_bytes;
}

static bool block_is_zero(uint64_t block)
{
	const uint64_t *words = (const uint64_t *)block_start(block);
	for (uint64_t i = 0; i < hotplug.block_bytes / sizeof(*words); i++)
		if (words[i])
			return fail("0x%lx is 0x%lx, not 0", (uint64_t)(words + i), words[i]);
	return true;
}

static bool block_fill(uint64_t block)
{
	uint64_t end = block_start(block + 1);
	for (uint64_t at = block_start(block); at < end; at += STRIDE_BYTES)
		*(volatile uint64_t *)at = at * PATTERN;
	return true;
}

static bool block_check(uint64_t block)
{
	uint64_t end = block_start(block + 1);
	for (uint64_t at = block_start(block); at < end; at += STRIDE_BYTES)
		if (*(volatile uint64_t *)at != at * PATTERN)
			return fail("0x%lx is 0x%lx", at, *(volatile uint64_t *)at);
	return true;
}

/* Writes go nowhere, and reads find what is where nothing is. */
static bool block_is_gone(uint64_t block)
{
	uint64_t places[] = {block_start(block), block_start(block + 1) - sizeof(uint32_t)};
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		mmio_write32(places[i], 0x12345678);
		uint32_t value = mmio_read32(places[i]);
		if (value != 0xffffffff)
			return fail("0x%lx is 0x%x: there is memory", places[i], value);
	}
	return true;
}

static bool each_block(uint64_t first, uint64_t blocks, bool (*visit)(uint64_t block))
{
	if (first >= hotplug.blocks || blocks > hotplug.blocks - first)
		return fail("there are %lu blocks", hotplug.blocks);
	for (uint64_t i = first; i < first + blocks; i++)
		if (!visit(i))
			return false;
	return true;
}

/* --- the host's wishes --- */

static bool plug_some(uint64_t first, uint64_t blocks)
{
	return ask(REQ_PLUG, first, blocks) && each_block(first, blocks, block_is_zero) &&
	       each_block(first, blocks, block_fill);
}

static bool unplug_some(uint64_t first, uint64_t blocks)
{
	return each_block(first, blocks, block_check) && ask(REQ_UNPLUG, first, blocks) &&
	       block_is_gone(first) && block_is_gone(first + blocks - 1);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Blocks are plugged from the first one up. */
static bool hotplug_reach(uint64_t target)
{
	uint64_t has = config_read(CONFIG_PLUGGED_SIZE) / hotplug.block_bytes;
	while (has != target) {
		uint64_t some = less(has < target ? target - has : has - target, SERVE_BLOCKS);
		if (has < target ? !plug_some(has, some) : !unplug_some(has - some, some))
			return false;
		has = has < target ? has + some : has - some;
	}
	return true;
}

/* Until the host, having asked for something, asks for nothing. */
static bool hotplug_serve(void)
{
	uint64_t start = rdtsc(), limit = SERVE_US * clock_tsc_khz() / 1000;
	bool asked = false;
	print("hotplug serves\n");
	while (rdtsc() - start < limit) {
		uint64_t target = config_read(CONFIG_REQUESTED_SIZE) / hotplug.block_bytes;
		asked |= target > 0;
		if (!hotplug_reach(target))
			return false;
		if (asked && !target)
			return true;
		cpu_relax();
	}
	return fail("nothing was asked for");
}

static bool hotplug_state(uint64_t first, uint64_t blocks)
{
	static const char *const states[] = {"plugged", "unplugged", "mixed"};
	if (!ask(REQ_STATE, first, blocks))
		return false;
	uint16_t state = hotplug.response->state;
	print("state=%s\n", state < ARRAY_SIZE(states) ? states[state] : "unknown");
	return true;
}

/* --- for others --- */

bool hotplug_block_plug(uint64_t *start, uint64_t *len_bytes)
{
	static const struct virtio_options options;
	if (!hotplug_start(&options) || !ask(REQ_PLUG, hotplug.blocks - 1, 1))
		return false;
	*start = block_start(hotplug.blocks - 1);
	*len_bytes = hotplug.block_bytes;
	return true;
}

bool hotplug_block_unplug(void)
{
	return ask(REQ_UNPLUG, hotplug.blocks - 1, 1);
}

static bool hotplug_do(const char *what, uint64_t first, uint64_t blocks)
{
	if (!strcmp(what, "info"))
		return true;
	if (!strcmp(what, "plug"))
		return ask(REQ_PLUG, first, blocks);
	if (!strcmp(what, "unplug"))
		return ask(REQ_UNPLUG, first, blocks);
	if (!strcmp(what, "all"))
		return ask(REQ_UNPLUG_ALL, 0, 0);
	if (!strcmp(what, "state"))
		return hotplug_state(first, blocks);
	if (!strcmp(what, "zero"))
		return each_block(first, blocks, block_is_zero);
	if (!strcmp(what, "fill"))
		return each_block(first, blocks, block_fill);
	if (!strcmp(what, "check"))
		return each_block(first, blocks, block_check);
	if (!strcmp(what, "gone"))
		return each_block(first, blocks, block_is_gone);
	if (!strcmp(what, "serve"))
		return hotplug_serve();
	return fail("%s is no subcommand", what);
}

bool cmd_hotplug(const struct args *args)
{
	struct virtio_options options = {.event_idx = true};
	uint64_t numbers[2] = {0, 1};
	unsigned next = 2;
	for (unsigned i = 0; i < 2 && number_parse(args->words[next], &numbers[i]); i++)
		next++;
	for (; next < args->count; next++)
		if (!virtio_option_parse(args->words[next], &options))
			return fail("%s is no option", args->words[next]);
	if (!strcmp(args->words[1], "stop"))
		return hotplug_stop();
	if (!hotplug_start(&options))
		return false;
	uint64_t start = rdtsc();
	bool ok = hotplug_do(args->words[1], numbers[0], numbers[1]);
	uint64_t us = clock_ns(rdtsc() - start) / 1000;
	print("hotplug base=0x%lx block=%lu blocks=%lu plugged=%lu requested=%lu us=%lu\n",
		hotplug.base, hotplug.block_bytes, hotplug.blocks, config_read(CONFIG_PLUGGED_SIZE),
		config_read(CONFIG_REQUESTED_SIZE), us);
	return ok;
}

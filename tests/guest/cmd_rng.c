/* SPDX-License-Identifier: Apache-2.0 */
/* rng: draws random bytes. */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "page.h"
#include "virtio_pci.h"
#include "x86.h"

#define BYTES_DEFAULT  4096
#define CHAIN_BYTES    PAGE_SIZE
#define CHAINS_MAX     64
#define TABLE_SEGMENTS 4 /* of a chain, with indirect */
#define SHOWN_BYTES    16
#define TIMEOUT_US     30000000
#define ODDS_BYTES     16 /* fewer might be all equal by chance */

struct draw {
	struct virtio_queue *queue;
	uint8_t *buffer; /* CHAINS_MAX chains; a chain's token is its address */
	uint8_t *free[CHAINS_MAX];
	unsigned free_count;
	uint64_t asked, drawn, chains;
	uint8_t shown[SHOWN_BYTES];
	bool any_differ;
	uint8_t first;
};

/* One segment, or with indirect several of different lengths. */
static bool chain_add(struct draw *draw, uint8_t *at, uint32_t len_bytes)
{
	struct vring_segment segments[TABLE_SEGMENTS];
	unsigned count = 0;
	if (draw->queue->ring.params.indirect)
		for (uint32_t part = 1; count + 1 < TABLE_SEGMENTS && part < len_bytes; part *= 8) {
			segments[count++] = (struct vring_segment){(uint64_t)at, part};
			at += part;
			len_bytes -= part;
		}
	segments[count++] = (struct vring_segment){(uint64_t)at, len_bytes};
	return vring_add(
		&draw->queue->ring, segments, 0, count, (uint64_t)draw->free[draw->free_count - 1]);
}

static void chains_offer(struct draw *draw, uint64_t total)
{
	while (draw->asked < total && draw->free_count && vring_room(&draw->queue->ring, 1)) {
		uint64_t left = total - draw->asked;
		uint32_t len_bytes = (uint32_t)(left < CHAIN_BYTES ? left : CHAIN_BYTES);
		if (!chain_add(draw, draw->free[draw->free_count - 1], len_bytes))
			break;
		draw->free_count--;
		draw->asked += len_bytes;
	}
	if (vring_show(&draw->queue->ring))
		virtio_kick(draw->queue);
}

/* What a device left out is asked for again. */
static bool chain_finish(struct draw *draw, uint8_t *at, uint32_t written, uint64_t total)
{
	if (!written || written > CHAIN_BYTES || written > total - draw->drawn)
		return fail("the device wrote %u bytes", written);
	for (uint32_t i = 0; i < written; i++) {
		if (!draw->drawn)
			draw->first = at[0];
		if (draw->drawn < SHOWN_BYTES)
			draw->shown[draw->drawn] = at[i];
		if (at[i] != draw->first)
			draw->any_differ = true;
		draw->drawn++;
	}
	draw->chains++;
	draw->free[draw->free_count++] = at;
	return true;
}

static bool draw_all(struct draw *draw, uint64_t total)
{
	for (unsigned i = 0; i < CHAINS_MAX; i++)
		draw->free[draw->free_count++] = draw->buffer + i * CHAIN_BYTES;
	while (draw->drawn < total) {
		uint64_t token;
		uint32_t written;
		chains_offer(draw, total);
		if (!virtio_wait(draw->queue, TIMEOUT_US))
			return fail("%lu of %lu bytes came", draw->drawn, total);
		while (vring_take(&draw->queue->ring, &token, &written))
			if (!chain_finish(draw, (uint8_t *)token, written, total))
				return false;
		if (draw->free_count == CHAINS_MAX)
			draw->asked = draw->drawn;
	}
	return true;
}

static void draw_print(const struct draw *draw, const struct virtio_options *o, uint64_t ticks)
{
	print("rng bytes=%lu chains=%lu ring=%s mode=%s us=%lu hex=", draw->drawn, draw->chains,
		o->packed ? "packed" : "split", o->irq ? "irq" : "poll", clock_ns(ticks) / 1000);
	for (unsigned i = 0; i < SHOWN_BYTES && i < draw->drawn; i++)
		print("%02x", draw->shown[i]);
	print("\n");
}

static bool rng_draw(struct virtio_dev *dev, const struct virtio_options *options, uint64_t total)
{
	struct draw draw = {.queue = &dev->queues[0]};
	draw.buffer = page_alloc(CHAINS_MAX);
	if (!draw.buffer)
		return fail("no memory");
	bool ok = virtio_start(dev, 1, 0, options);
	uint64_t start = rdtsc();
	if (ok)
		ok = draw_all(&draw, total);
	uint64_t ticks = rdtsc() - start;
	if (ok)
		draw_print(&draw, options, ticks);
	if (ok && total >= ODDS_BYTES && !draw.any_differ)
		ok = fail("all %lu bytes are 0x%02x", total, draw.first);
	if (!virtio_stop(dev))
		return false; /* and the buffer is lost: the device may still write there */
	page_free(draw.buffer, CHAINS_MAX);
	return ok;
}

bool cmd_rng(const struct args *args)
{
	struct virtio_dev dev;
	struct virtio_options options = {.event_idx = true, .irq = true};
	uint64_t total = BYTES_DEFAULT;
	unsigned first = 1;
	if (number_parse(args->words[1], &total))
		first = 2;
	for (unsigned i = first; i < args->count; i++)
		if (!virtio_option_parse(args->words[i], &options))
			return fail("%s is no option", args->words[i]);
	if (!total)
		return fail("no bytes wanted");
	return virtio_find(VIRTIO_RNG, 0, &dev) && rng_draw(&dev, &options, total);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* stamps: hands one chain back and forth with a device of a benchmark that poses as an entropy
 * device, with our time stamp counter in it. */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "page.h"
#include "virtio_pci.h"
#include "x86.h"

#define TIMEOUT_US 3600000000UL /* the device keeps the chain while it does not measure */
#define TIME_MAX   1000000      /* of gap and spin, us */

/* What the device reads. */
struct stamps {
	uint64_t kicked; /* right before the doorbell */
	uint64_t seen;   /* when the chain came back the last time */
};

struct exchange {
	struct virtio_queue *queue;
	volatile struct stamps *stamps;
	uint64_t gap_us;     /* before each doorbell, so that the device's thread sleeps */
	uint64_t spin_ticks; /* polls for so long before it halts */
};

static void wait_awake(const struct exchange *x)
{
	uint64_t start = rdtsc();
	uint32_t id, written;
	while (rdtsc() - start < x->spin_ticks)
		if (vring_peek(&x->queue->ring, &id, &written))
			return;
}

static bool exchange_once(const struct exchange *x)
{
	struct vring_segment segment = {(uint64_t)x->stamps, sizeof(*x->stamps)};
	uint64_t token;
	if (!vring_add(&x->queue->ring, &segment, 1, 0, 0))
		return fail("no room for a chain");
	if (x->gap_us)
		clock_delay_us(x->gap_us);
	x->stamps->kicked = rdtsc();
	if (vring_show(&x->queue->ring))
		virtio_kick(x->queue);
	wait_awake(x);
	if (!virtio_wait(x->queue, TIMEOUT_US))
		return fail("the chain does not come back");
	x->stamps->seen = rdtsc();
	return vring_take(&x->queue->ring, &token, NULL) ? true : fail("not the chain came back");
}

static bool option_parse(struct exchange *x, struct virtio_options *options, const char *word)
{
	uint64_t number;
	if (virtio_option_parse(word, options))
		return true;
	if (strncmp(word, "gap=", 4) && strncmp(word, "spin=", 5))
		return fail("%s is no option", word);
	if (!number_parse(word + (word[0] == 'g' ? 4 : 5), &number) || number > TIME_MAX)
		return fail("%s: up to %u us are expected", word, TIME_MAX);
	if (word[0] == 'g')
		x->gap_us = number;
	else
		x->spin_ticks = number * clock_tsc_khz() / 1000;
	return true;
}

/* For ever: the host ends the guest. */
bool cmd_stamps(const struct args *args)
{
	static struct virtio_dev dev;
	struct virtio_options options = {.event_idx = true, .irq = true};
	struct exchange x = {.stamps = page_alloc(1)};
	if (!x.stamps)
		return fail("no memory");
	for (unsigned i = 1; i < args->count; i++)
		if (!option_parse(&x, &options, args->words[i]))
			return false;
	x.queue = &dev.queues[0];
	if (!virtio_find(VIRTIO_RNG, 0, &dev) || !virtio_start(&dev, 1, 0, &options))
		return false;
	while (exchange_once(&x))
		;
	return false;
}

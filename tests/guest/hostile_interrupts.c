/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of many ways: interrupts by the line; vectors masked, unmasked and moved while the queue
 * works (PCI Local Bus 3.0 §6.8.2), and one queue reset under way (virtio 1.2 §2.6.1). All of it is
 * allowed.
 */
#include "apic.h"
#include "clock.h"
#include "hostile.h"
#include "lib.h"
#include "shell.h"
#include "trap.h"
#include "virtio_common.h"
#include "x86.h"

#define ENTRY_CONTROL  12
#define ENTRY_MASKED   1
#define MSIX_CONTROL   2
#define MSIX_ON        0x8000
#define MSIX_ON_MASKED 0xc000
#define ARRIVAL_US     5000000
#define ABSENCE_US     20000
#define QUEUE_RESETS   20
#define GSI_PCI_FIRST  16
#define GSI_PCI_END    24
#define ISR_QUEUE      1
#define ROUNDS         8

/* The queue's MSI-X entry, with a vector of this file's own in it. */
struct line {
	unsigned entry, vector;
};

static unsigned vector_get(unsigned which)
{
	static unsigned vectors[2];
	if (!vectors[which])
		vectors[which] = irq_alloc();
	return vectors[which];
}

/* The device once more, with MSI-X; the queue's entry raises our vector. */
static bool line_start(struct hostile *h, struct line *line)
{
	bool was_irq = h->options.irq;
	h->options.irq = true;
	bool ok = hostile_stop(h) && hostile_start(h);
	h->options.irq = was_irq;
	if (!ok)
		return false;
	common_write16(&h->dev, COMMON_QUEUE_SELECT, h->queue->index);
	line->entry = common_read16(&h->dev, COMMON_QUEUE_VECTOR);
	line->vector = vector_get(0);
	virtio_vector_set(&h->dev, line->entry, line->vector);
	h->queue->irq = false; /* the rounds poll */
	return true;
}

/*
 * A chain there and back, for which the device should interrupt. It decides on that after it has
 * shown the chain as used: the driver goes on asking until it has seen what came of it, then calls
 * vring_irq_off.
 */
static bool round_asking(struct hostile *h)
{
	vring_irq_on(&h->queue->ring);
	return hostile_round(h);
}

static bool irq_comes(unsigned vector, uint64_t seen)
{
	uint64_t start = rdtsc(), limit = ARRIVAL_US * clock_tsc_khz() / 1000;
	while (irq_count[vector] == seen)
		if (rdtsc() - start > limit)
			return fail("no interrupt came");
	return true;
}

static bool irq_stays_away(unsigned vector, uint64_t seen)
{
	clock_delay_us(ABSENCE_US);
	return irq_count[vector] == seen ? true : fail("an interrupt came through the mask");
}

static bool pending_is(const struct hostile *h, const struct line *line, bool wanted)
{
	uint64_t start = rdtsc(), limit = ARRIVAL_US * clock_tsc_khz() / 1000;
	uint64_t word = h->dev.msix_pending + line->entry / 32 * 4;
	while ((bool)(mmio_read32(word) >> line->entry % 32 & 1) != wanted)
		if (rdtsc() - start > limit)
			return fail("the pending bit is %u", !wanted);
	return true;
}

static void vector_mask(const struct hostile *h, const struct line *line, bool masked)
{
	mmio_write32(
		h->dev.msix_table + line->entry * 16 + ENTRY_CONTROL, masked ? ENTRY_MASKED : 0);
}

static void function_mask(const struct hostile *h, const struct line *line, bool masked)
{
	(void)line;
	pci_write16(&h->dev.pci, h->dev.msix_cap + MSIX_CONTROL, masked ? MSIX_ON_MASKED : MSIX_ON);
}

/* What is raised behind the mask waits in the pending bit and comes once with the unmasking. */
static bool masked_and_back(struct hostile *h,
	void (*mask)(const struct hostile *h, const struct line *line, bool masked))
{
	struct line line;
	if (!line_start(h, &line))
		return false;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t seen = irq_count[line.vector];
		if (!round_asking(h) || !irq_comes(line.vector, seen))
			return false;
		mask(h, &line, true);
		seen = irq_count[line.vector];
		if (!round_asking(h) || !pending_is(h, &line, true) ||
			!irq_stays_away(line.vector, seen))
			return false;
		vring_irq_off(&h->queue->ring);
		mask(h, &line, false);
		if (!irq_comes(line.vector, seen) || !pending_is(h, &line, false))
			return false;
	}
	return true;
}

static bool vector_masked(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return masked_and_back(h, vector_mask);
}

static bool function_masked(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return masked_and_back(h, function_mask);
}

static bool vector_moved(struct hostile *h, unsigned *outcome)
{
	struct line line;
	*outcome = OUTCOME_CHECKED;
	if (!line_start(h, &line))
		return false;
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned now = vector_get(i % 2), before = vector_get(1 - i % 2);
		virtio_vector_set(&h->dev, line.entry, now);
		uint64_t seen = irq_count[now], seen_before = irq_count[before];
		if (!round_asking(h) || !irq_comes(now, seen))
			return false;
		vring_irq_off(&h->queue->ring);
		if (irq_count[before] != seen_before)
			return fail("an interrupt came by the vector before");
	}
	return true;
}

unsigned hostile_intx_gsi(const struct hostile *h)
{
	unsigned line = pci_read8(&h->dev.pci, PCI_INTERRUPT_LINE);
	return line >= GSI_PCI_FIRST && line < GSI_PCI_END ? line : 0;
}

/*
 * Without MSI-X: the line stays up until the ISR is read, which says why it is. The I/O APIC takes
 * it as an edge here: our handlers do not ask the device, so a level would interrupt without end.
 */
static bool line_interrupts(struct hostile *h, unsigned vector)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t seen = irq_count[vector];
		if (!round_asking(h) || !irq_comes(vector, seen))
			return false;
		vring_irq_off(&h->queue->ring);
		uint8_t why = mmio_read8(h->dev.isr.address);
		uint8_t again = mmio_read8(h->dev.isr.address);
		if (why != ISR_QUEUE || again)
			return fail("the ISR is 0x%x, then 0x%x", why, again);
		seen = irq_count[vector];
		if (!hostile_round(h) || !irq_stays_away(vector, seen)) /* not asked for */
			return false;
	}
	return true;
}

static bool intx(struct hostile *h, unsigned *outcome)
{
	unsigned gsi = hostile_intx_gsi(h), vector = vector_get(0);
	bool was_irq = h->options.irq;
	*outcome = OUTCOME_CHECKED;
	h->options.irq = false;
	bool ok = hostile_stop(h) && hostile_start(h);
	h->options.irq = was_irq;
	if (!ok)
		return false;
	ioapic_route_edge(gsi, vector);
	ok = line_interrupts(h, vector);
	ioapic_mask(gsi);
	return ok;
}

/* One queue reset with a chain perhaps under way, and set up anew, while the device goes on. */
static bool queue_resets(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	struct raw raw = {(uint64_t)h->scratch, 16, h->flags, 0};
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < QUEUE_RESETS; i++) {
		struct vring_params params = h->queue->ring.params;
		if (i % 2)
			hostile_offer(h, &raw, 1); /* into a ring not used yet */
		else if (!hostile_round(h))
			return false;
		common_write16(dev, COMMON_QUEUE_SELECT, h->queue->index);
		common_write16(dev, COMMON_QUEUE_RESET, 1);
		uint64_t start = rdtsc(), limit = ARRIVAL_US * clock_tsc_khz() / 1000;
		while (common_read16(dev, COMMON_QUEUE_RESET))
			if (rdtsc() - start > limit)
				return fail("the reset of the queue did not end");
		if (common_read16(dev, COMMON_QUEUE_ENABLE))
			return fail("the queue is still enabled after its reset");
		vring_finish(&h->queue->ring);
		h->options.queue_size = params.size;
		if (!virtio_queue_start(dev, h->queue->index, &h->options))
			return false;
	}
	return hostile_round(h);
}

const struct hostile_case hostile_interrupt_cases[] = {
	{"vector-masked", NEEDS_MSIX, OUTCOME_CHECKED, vector_masked},
	{"function-masked", NEEDS_MSIX, OUTCOME_CHECKED, function_masked},
	{"vector-moved", NEEDS_MSIX, OUTCOME_CHECKED, vector_moved},
	{"intx", NEEDS_INTX, OUTCOME_CHECKED, intx},
	{"queue-resets", NEEDS_RING_RESET, OUTCOME_CHECKED, queue_resets},
};
const unsigned hostile_interrupt_count = ARRAY_SIZE(hostile_interrupt_cases);

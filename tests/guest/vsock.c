/* SPDX-License-Identifier: Apache-2.0 */
/* The vsock device: its queues, and when to poll and when to sleep. */
#include "vsock.h"

#include "clock.h"
#include "lib.h"
#include "page.h"
#include "shell.h"
#include "trap.h"
#include "x86.h"

enum { RX, TX, EVENT, QUEUES };

#define F_STREAM     1UL
#define RX_BYTES_MAX (4 * MIB)
#define RX_BUDGET    64
#define EVENTS       8
#define EVENT_RESET  0
#define NO_SLOT      UINT16_MAX
#define INLINE_BYTES 84 /* so short a payload goes into its header's descriptor */

/* A packet that the device has, or room for one. */
struct slot {
	struct vsock_header h;
	uint8_t data[INLINE_BYTES];
	struct vsock_conn *conn;
	uint32_t len;
	uint16_t next;
};

static struct vsock {
	bool looked, started, armed;
	struct virtio_dev dev;
	struct virtio_queue *rx, *tx;
	uint64_t cid;
	uint8_t *rx_area;
	uint64_t rx_pages;
	unsigned rx_count;
	struct slot *slots;
	uint64_t slot_pages;
	uint16_t slot_free;
	unsigned in_flight;
	uint64_t active_at, spin_ticks;
	uint32_t events[EVENTS];
} vsock;

struct vsock_stats vsock_stats;
struct vsock_options vsock_options = {
	.virtio = {.irq = true, .event_idx = true}, .buffer_bytes = 4096, .spin_us = 50};

static void show(struct virtio_queue *queue)
{
	if (vring_show(&queue->ring))
		virtio_kick(queue);
}

static bool rx_add(uint8_t *buffer)
{
	struct vring_segment segment = {(uint64_t)buffer, vsock_options.buffer_bytes};
	return vring_add(&vsock.rx->ring, &segment, 0, 1, (uint64_t)buffer);
}

static bool rx_start(void)
{
	uint32_t size = vsock_options.buffer_bytes;
	vsock.rx_count = vring_room(&vsock.rx->ring, 1);
	if (vsock.rx_count > RX_BYTES_MAX / size)
		vsock.rx_count = (unsigned)(RX_BYTES_MAX / size);
	vsock.rx_pages = ((uint64_t)vsock.rx_count * size + PAGE_SIZE - 1) / PAGE_SIZE;
	vsock.rx_area = page_alloc(vsock.rx_pages);
	if (!vsock.rx_area)
		return fail("no memory for %u buffers of %u bytes", vsock.rx_count, size);
	for (unsigned i = 0; i < vsock.rx_count; i++)
		rx_add(vsock.rx_area + (uint64_t)i * size);
	show(vsock.rx);
	return true;
}

static bool tx_start(void)
{
	uint16_t count = vsock.tx->ring.params.size;
	vsock.slot_pages = (count * sizeof(struct slot) + PAGE_SIZE - 1) / PAGE_SIZE;
	vsock.slots = page_alloc(vsock.slot_pages);
	if (!vsock.slots)
		return fail("no memory for %u packets", count);
	for (uint16_t i = 0; i < count; i++)
		vsock.slots[i].next = i + 1 < count ? (uint16_t)(i + 1) : NO_SLOT;
	vsock.slot_free = 0;
	vsock.in_flight = 0;
	return true;
}

static void event_add(uint32_t *event)
{
	struct vring_segment segment = {(uint64_t)event, sizeof(*event)};
	vring_add(&vsock.dev.queues[EVENT].ring, &segment, 0, 1, (uint64_t)event);
}

static void events_start(void)
{
	for (unsigned i = 0; i < EVENTS; i++)
		event_add(&vsock.events[i]);
	show(&vsock.dev.queues[EVENT]);
}

static void cid_read(void)
{
	vsock.cid = mmio_read32(vsock.dev.config.address) |
		    (uint64_t)mmio_read32(vsock.dev.config.address + 4) << 32;
}

static void memory_release(void)
{
	if (vsock.rx_area)
		page_free(vsock.rx_area, vsock.rx_pages);
	if (vsock.slots)
		page_free(vsock.slots, vsock.slot_pages);
	vsock.rx_area = NULL;
	vsock.slots = NULL;
}

bool vsock_start(const struct vsock_options *options)
{
	vsock_options = *options;
	vsock.looked = true;
	if (!virtio_find(VIRTIO_VSOCK, 0, &vsock.dev))
		return false;
	if (!(vsock.dev.offered & VIRTIO_F_EVENT_IDX))
		vsock_options.virtio.event_idx = false;
	vsock.rx = &vsock.dev.queues[RX];
	vsock.tx = &vsock.dev.queues[TX];
	if (!virtio_start(&vsock.dev, QUEUES, vsock.dev.offered & F_STREAM, &vsock_options.virtio))
		return false;
	clock_tick_stop(); /* who sleeps here has no time limit */
	cid_read();
	vsock_conns_start();
	if (!tx_start() || !rx_start()) {
		virtio_stop(&vsock.dev);
		vsock_conns_stop();
		memory_release();
		return false;
	}
	events_start();
	vsock.spin_ticks = vsock_options.spin_us * clock_tsc_khz() / 1000;
	vsock.active_at = rdtsc();
	vsock.started = true;
	return true;
}

bool vsock_stop(void)
{
	vsock.looked = true;
	if (!vsock.started)
		return true;
	vsock.started = false;
	/* If it does not end its reset the memory is lost: the device may still use it. */
	if (!virtio_stop(&vsock.dev))
		return false;
	vsock_conns_stop();
	memory_release();
	return true;
}

bool vsock_is_started(void)
{
	return vsock.started;
}

uint64_t vsock_cid(void)
{
	return vsock.cid;
}

/* --- packets --- */

bool vsock_has_room(void)
{
	return vsock.slot_free != NO_SLOT && vring_room(&vsock.tx->ring, 2);
}

bool vsock_send(const struct vsock_header *h, const uint8_t *data, struct vsock_conn *c)
{
	uint16_t id = vsock.slot_free;
	if (!vsock_has_room())
		return false;
	struct slot *slot = &vsock.slots[id];
	struct vring_segment segments[2] = {
		{(uint64_t)&slot->h, VSOCK_HEADER_BYTES}, {(uint64_t)data, h->len}};
	unsigned count = 1;
	slot->h = *h;
	if (h->len > INLINE_BYTES) {
		count = 2;
	} else if (h->len) {
		memcpy(slot->data, data, h->len);
		segments[0].len_bytes += h->len;
	}
	vring_add(&vsock.tx->ring, segments, count, 0, id);
	vsock.slot_free = slot->next;
	slot->conn = c;
	slot->len = h->len;
	vsock.in_flight++;
	vsock_stats.tx_packets++;
	vsock_stats.tx_bytes += h->len;
	return true;
}

static bool tx_reap(void)
{
	uint64_t id;
	bool any = false;
	while (vring_take(&vsock.tx->ring, &id, NULL)) {
		struct slot *slot = &vsock.slots[id];
		slot->next = vsock.slot_free;
		vsock.slot_free = (uint16_t)id;
		vsock.in_flight--;
		any = true;
		if (slot->conn)
			vsock_sent(slot->conn, slot->len);
	}
	return any;
}

static bool rx_take(void)
{
	uint64_t token;
	uint32_t written, id;
	unsigned count = 0;
	while (count < RX_BUDGET && vring_peek(&vsock.rx->ring, &id, &written)) {
		/* Only looked at: what cannot be answered now stays in the ring. */
		if (id >= vsock.rx->ring.params.size ||
			!vsock_receive((const uint8_t *)vsock.rx->ring.slots[id].token, written) ||
			!vring_take(&vsock.rx->ring, &token, &written))
			break;
		rx_add((uint8_t *)token);
		count++;
	}
	/* A batch at a time: the device still has three quarters of the buffers. */
	if (vsock.rx->ring.unshown >= vsock.rx_count / 4)
		show(vsock.rx);
	return count;
}

static bool events_take(void)
{
	struct virtio_queue *queue = &vsock.dev.queues[EVENT];
	uint64_t token;
	if (!vring_take(&queue->ring, &token, NULL))
		return false;
	if (*(uint32_t *)token == EVENT_RESET) {
		vsock_stats.resets++;
		vsock_conns_reset();
		cid_read();
	}
	event_add((uint32_t *)token);
	show(queue);
	return true;
}

bool vsock_step(void)
{
	if (vsock.armed) {
		vring_irq_off(&vsock.rx->ring);
		vring_irq_off(&vsock.tx->ring);
		vsock.armed = false;
	}
	bool any = tx_reap();
	any |= rx_take();
	any |= events_take();
	any |= vsock_conns_run();
	show(vsock.tx);
	return any;
}

/* Interrupts on; true if there is something already. */
static bool arm(void)
{
	show(vsock.rx);
	if (!vsock_options.virtio.irq)
		return true;
	vsock.armed = true;
	bool any = vring_irq_on(&vsock.rx->ring);
	any |= vsock.in_flight && vring_irq_on(&vsock.tx->ring);
	return any | vring_irq_on(&vsock.dev.queues[EVENT].ring);
}

bool vsock_serve(void)
{
	if (!vsock.looked)
		vsock_start(&vsock_options);
	if (!vsock.started)
		return false;
	if (vsock_step()) {
		vsock.active_at = rdtsc();
		return true;
	}
	if (rdtsc() - vsock.active_at < vsock.spin_ticks) {
		cpu_relax();
		return true;
	}
	return arm();
}

bool vsock_wait(const volatile uint32_t *word, uint64_t timeout_us)
{
	uint64_t start = rdtsc(), limit = timeout_us * clock_tsc_khz() / 1000;
	clock_tick_start();
	while (!*word && rdtsc() - start < limit) {
		uint64_t seen = irq_any;
		if (!vsock_serve() && !*word)
			cpu_wait(&irq_any, seen);
	}
	clock_tick_stop();
	return *word ? true : fail("nothing came for %lu ms", timeout_us / 1000);
}

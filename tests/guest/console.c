/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio console as two streams. */
#include "console.h"

#include "clock.h"
#include "console_ports.h"
#include "lib.h"
#include "page.h"
#include "shell.h"
#include "x86.h"

#define RX_CHAINS_MAX  256
#define RX_BYTES_MAX   (8 * MIB)
#define TABLE_SEGMENTS 4 /* of a chain, with indirect */
#define TIMEOUT_US     60000000

/* One segment; with indirect, some of equal length and a longer last one. */
static bool chain_add(
	struct virtio_queue *queue, const uint8_t *data, uint32_t len_bytes, bool is_rx)
{
	struct vring_segment segments[TABLE_SEGMENTS];
	uint64_t address = (uint64_t)data, token = address;
	unsigned count = 0;
	if (queue->ring.params.indirect && len_bytes >= TABLE_SEGMENTS)
		for (uint32_t part = len_bytes / TABLE_SEGMENTS; count + 1 < TABLE_SEGMENTS;) {
			segments[count++] = (struct vring_segment){address, part};
			address += part;
			len_bytes -= part;
		}
	segments[count++] = (struct vring_segment){address, len_bytes};
	return vring_add(&queue->ring, segments, is_rx ? 0 : count, is_rx ? count : 0, token);
}

static void show(struct virtio_queue *queue)
{
	if (vring_show(&queue->ring))
		virtio_kick(queue);
}

static bool rx_start(struct console *console)
{
	unsigned count = vring_room(&console->rx->ring, 1);
	if (count > RX_CHAINS_MAX)
		count = RX_CHAINS_MAX;
	if (count > RX_BYTES_MAX / console->buffer_bytes)
		count = (unsigned)(RX_BYTES_MAX / console->buffer_bytes);
	console->rx_count = count;
	console->rx_pages = ((uint64_t)count * console->buffer_bytes + PAGE_SIZE - 1) / PAGE_SIZE;
	console->rx_area = page_alloc(console->rx_pages);
	if (!console->rx_area)
		return fail("no memory for %u buffers of %u bytes", count, console->buffer_bytes);
	for (unsigned i = 0; i < count; i++)
		chain_add(console->rx, console->rx_area + (uint64_t)i * console->buffer_bytes,
			console->buffer_bytes, true);
	show(console->rx);
	return true;
}

bool console_open(struct console *console, const struct console_options *options)
{
	memset(console, 0, sizeof(*console));
	if (!virtio_find(VIRTIO_CONSOLE, 0, &console->dev))
		return false;
	/* Port 0 has queues 0 and 1, the control has 2 and 3, port n has 2 + 2n and the next. */
	unsigned port = options->port, rx = port ? 2 + 2 * port : 0;
	uint64_t features = port ? CONSOLE_F_MULTIPORT : 0;
	if (features & ~console->dev.offered)
		return fail("the device has no ports");
	console->buffer_bytes = options->buffer_bytes;
	console->spin_ticks = options->spin_us * clock_tsc_khz() / 1000;
	console->rx = &console->dev.queues[rx];
	console->tx = &console->dev.queues[rx + 1];
	return virtio_start(&console->dev, rx + 2, features, &options->virtio) &&
	       rx_start(console) && (!port || console_port_open(console, port));
}

bool console_close(struct console *console)
{
	if (!console->dev.common.len_bytes)
		return true; /* it was not found */
	if (!virtio_stop(&console->dev))
		return false; /* the buffers are lost: the device may still write there */
	if (console->rx_area)
		page_free(console->rx_area, console->rx_pages);
	console->rx_area = NULL;
	return true;
}

/* As a guest does whose idle loop polls before it halts. */
static bool spin(const struct console *console, const struct virtio_queue *queue)
{
	uint64_t start = rdtsc();
	uint32_t id, written;
	while (rdtsc() - start < console->spin_ticks) {
		if (vring_peek(&queue->ring, &id, &written))
			return true;
		cpu_relax();
	}
	return false;
}

static bool wait(struct console *console, struct virtio_queue *queue)
{
	bool is_tx = queue == console->tx;
	if (spin(console, queue))
		return true;
	if (is_tx ? virtio_wait_batch(queue, TIMEOUT_US) : virtio_wait(queue, TIMEOUT_US))
		return true;
	return fail("nothing happened on queue %u for %u s, status 0x%x", queue->index,
		TIMEOUT_US / 1000000, virtio_status(&console->dev));
}

bool console_receive(struct console *console, uint8_t **data, uint32_t *len_bytes)
{
	uint64_t token;
	if (!vring_take(&console->rx->ring, &token, len_bytes)) {
		if (!wait(console, console->rx))
			return false;
		if (!vring_take(&console->rx->ring, &token, len_bytes))
			return fail("the device used what was not its own");
	}
	*data = (uint8_t *)token;
	if (!*len_bytes || *len_bytes > console->buffer_bytes)
		return fail("the device wrote %u bytes", *len_bytes);
	return true;
}

void console_release(struct console *console, uint8_t *data)
{
	chain_add(console->rx, data, console->buffer_bytes, true);
	/* A batch at a time: the device still has three quarters of the buffers. */
	if (console->rx->ring.unshown >= console->rx_count / 4)
		show(console->rx);
}

static void tx_reap(struct console *console)
{
	uint64_t token;
	while (vring_take(&console->tx->ring, &token, NULL))
		console->tx_in_flight--;
}

bool console_send(struct console *console, const void *data, uint64_t len_bytes)
{
	const uint8_t *at = data;
	while (len_bytes) {
		uint32_t part = len_bytes < console->buffer_bytes ? (uint32_t)len_bytes
								  : console->buffer_bytes;
		tx_reap(console);
		if (!vring_room(&console->tx->ring, 1)) {
			show(console->tx);
			if (!wait(console, console->tx))
				return false;
			continue;
		}
		if (!chain_add(console->tx, at, part, false))
			return fail("no room for a chain");
		console->tx_in_flight++;
		at += part;
		len_bytes -= part;
	}
	return true;
}

void console_flush(struct console *console)
{
	show(console->tx);
}

bool console_drain(struct console *console)
{
	show(console->tx);
	for (tx_reap(console); console->tx_in_flight; tx_reap(console))
		if (!wait(console, console->tx))
			return false;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio console as two streams (virtio 1.2 §5.3). CPU 0 only.
 *
 * Nothing is copied: what is sent stays the device's until console_drain, and what comes is looked
 * at in the buffers that the device wrote.
 */
#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_pci.h"

#define CONSOLE_BUFFER_MAX (1U << 20)
#define CONSOLE_PORT_MAX   1

struct console_options {
	struct virtio_options virtio;
	uint32_t buffer_bytes; /* of each chain, at most CONSOLE_BUFFER_MAX */
	uint32_t spin_us;      /* polls for so long before it sleeps */
	unsigned port;         /* 0: the console itself, without MULTIPORT */
};

struct console {
	struct virtio_dev dev;
	struct virtio_queue *rx, *tx;
	uint32_t buffer_bytes;
	uint64_t spin_ticks;
	unsigned rx_count;
	uint8_t *rx_area;
	uint64_t rx_pages;
	unsigned tx_in_flight;
};

/* All return false with fail() set: the device is gone, broken, or silent for a minute. */
bool console_open(struct console *console, const struct console_options *options);
bool console_close(struct console *console);

/* The next data that came, at most one buffer of it; after use it goes to console_release. */
bool console_receive(struct console *console, uint8_t **data, uint32_t *len_bytes);
void console_release(struct console *console, uint8_t *data);

/* Queues data in chains of buffer_bytes, waiting for room; shown to the device at the latest by
 * console_flush. console_drain: flushes, and waits until the device has used everything. */
bool console_send(struct console *console, const void *data, uint64_t len_bytes);
void console_flush(struct console *console);
bool console_drain(struct console *console);

#endif

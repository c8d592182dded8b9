/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A UART, as far as software can tell one: FIFO, interrupts, loopback. Transmission takes no
 * time. Home reactor only. Source: National Semiconductor's PC16550D data sheet, §8. */
#ifndef CORE_UART_H
#define CORE_UART_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"

#define UART_PORTS      8
#define UART_FIFO_BYTES 16

struct uart {
	struct bus_range range; /* ports; on the bus by uart_init's caller */
	void (*set_irq)(void *ctx, bool level);
	void (*output)(void *ctx, uint8_t byte);
	void (*input_ready)(void *ctx); /* the guest has read: there is room again */
	void *ctx;

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t fifo[UART_FIFO_BYTES];
	uint8_t fifo_start, fifo_count;
	bool thre_pending; /* transmitter empty and not yet told */
	bool overrun;
	bool irq;
};

/* uart_init: powers it up with its ports at `port`. The callbacks and ctx are set by the caller
 * before. */
void uart_init(struct uart *u, uint16_t port);

/* uart_input: a received byte; false if the FIFO has no room for it now. */
bool uart_input(struct uart *u, uint8_t byte);

/* uart_wants_thre: the guest is told by interrupt when it may write: its writes must be seen at
 * once. */
bool uart_wants_thre(const struct uart *u);

#endif

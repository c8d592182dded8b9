/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550 serial port COM1, which is the guest's console. CPU 0 only. */
#ifndef GUEST_UART_H
#define GUEST_UART_H

#include <stdbool.h>
#include <stddef.h>

#define UART_PORT 0x3f8
#define UART_IRQ  4

/* 115200 baud, 8n1, FIFOs on; received bytes raise IRQ 4 once somebody routes it. */
void uart_init(void);

/* Waits for room as necessary; a line feed goes out as CR LF. */
void uart_write(const char *data, size_t len);

/* A received byte, or -1 when there is none. */
int uart_poll(void);

#endif

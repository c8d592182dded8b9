/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550 UART. A port access may cost 25 us, so output goes out in runs of a FIFO's length, one
 * status read and one string instruction each.
 */
#include "uart.h"

#include "x86.h"

enum {
	REG_DATA = 0,
	REG_IER = 1,
	REG_FCR = 2,
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
};

#define IER_RECEIVED   0x01
#define FCR_ENABLE     0x01
#define FCR_RESET_BOTH 0x06
#define LCR_8N1        0x03
#define LCR_DLAB       0x80
#define MCR_DTR_RTS    0x03
#define MCR_OUT2       0x08 /* on a PC it gates the interrupt line */
#define LSR_RECEIVED   0x01
#define LSR_THR_EMPTY  0x20
#define FIFO_SIZE      16

void uart_init(void)
{
	outb(UART_PORT + REG_IER, 0);
	outb(UART_PORT + REG_LCR, LCR_8N1 | LCR_DLAB);
	outb(UART_PORT + REG_DATA, 1); /* divisor 1: 115200 baud */
	outb(UART_PORT + REG_IER, 0);
	outb(UART_PORT + REG_LCR, LCR_8N1);
	outb(UART_PORT + REG_FCR, FCR_ENABLE | FCR_RESET_BOTH);
	outb(UART_PORT + REG_MCR, MCR_DTR_RTS | MCR_OUT2);
	outb(UART_PORT + REG_IER, IER_RECEIVED);
}

static void uart_send(const char *data, size_t len)
{
	while (!(inb(UART_PORT + REG_LSR) & LSR_THR_EMPTY))
		cpu_relax();
	outsb(UART_PORT + REG_DATA, data, len);
}

void uart_write(const char *data, size_t len)
{
	char fifo[FIFO_SIZE];
	size_t used = 0;
	for (size_t i = 0; i < len; i++) {
		if (used + 2 > FIFO_SIZE) {
			uart_send(fifo, used);
			used = 0;
		}
		if (data[i] == '\n')
			fifo[used++] = '\r';
		fifo[used++] = data[i];
	}
	if (used)
		uart_send(fifo, used);
}

int uart_poll(void)
{
	if (!(inb(UART_PORT + REG_LSR) & LSR_RECEIVED))
		return -1;
	return inb(UART_PORT + REG_DATA);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a 16550A. */
#include "core/uart.h"

#include <string.h>

#include "core/check.h"

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDA  0x01
#define IER_THRE 0x02
#define IER_RLS  0x04
#define IER_MASK 0x0f

#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_RDA  0x04
#define IIR_RLS  0x06
#define IIR_FIFO 0xc0

#define FCR_ENABLE      0x01
#define FCR_CLEAR_RECV  0x02
#define LCR_DLAB        0x80
#define MCR_RTS         0x02
#define MCR_LOOP        0x10
#define LSR_DATA        0x01
#define LSR_OVERRUN     0x02
#define LSR_THRE        0x20
#define LSR_IDLE        0x40
#define MSR_CTS_DSR_DCD 0xb0

/* The pending interrupt of the highest priority, as IIR shows it. */
static uint8_t uart_pending(const struct uart *u)
{
	if ((u->ier & IER_RLS) && u->overrun)
		return IIR_RLS;
	if ((u->ier & IER_RDA) && u->fifo_count)
		return IIR_RDA;
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	return IIR_NONE;
}

static void uart_update_irq(struct uart *u)
{
	bool level = uart_pending(u) != IIR_NONE;

	if (level == u->irq)
		return;
	u->irq = level;
	u->set_irq(u->ctx, level);
}

static uint8_t uart_read_data(struct uart *u)
{
	uint8_t byte;

	if (!u->fifo_count)
		return 0;
	byte = u->fifo[u->fifo_start];
	u->fifo_start = (u->fifo_start + 1) % UART_FIFO_BYTES;
	u->fifo_count--;
	uart_update_irq(u);
	if (!u->fifo_count && u->input_ready)
		u->input_ready(u->ctx);
	return byte;
}

static uint8_t uart_read_iir(struct uart *u)
{
	uint8_t pending = uart_pending(u);

	if (pending == IIR_THRE) {
		u->thre_pending = false; /* reading it as the source is what clears it */
		uart_update_irq(u);
	}
	return pending | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t uart_read_lsr(struct uart *u)
{
	uint8_t lsr = LSR_THRE | LSR_IDLE;

	if (u->fifo_count)
		lsr |= LSR_DATA;
	if (u->overrun)
		lsr |= LSR_OVERRUN;
	u->overrun = false;
	uart_update_irq(u);
	return lsr;
}

/* In loopback the modem control outputs come back as the modem status inputs. */
static uint8_t uart_read_msr(const struct uart *u)
{
	uint8_t m = u->mcr;

	if (!(m & MCR_LOOP))
		return MSR_CTS_DSR_DCD;
	return (m & 0x02) << 3 | (m & 0x01) << 5 | (m & 0x04) << 4 | (m & 0x08) << 4;
}

static uint8_t uart_read_register(struct uart *u, unsigned int reg)
{
	switch (reg) {
	case RBR_THR_DLL:
		return u->lcr & LCR_DLAB ? u->dll : uart_read_data(u);
	case IER_DLM:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case IIR_FCR:
		return uart_read_iir(u);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return uart_read_lsr(u);
	case MSR:
		return uart_read_msr(u);
	default:
		return u->scr;
	}
}

static void uart_write_data(struct uart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOP) {
		if (!uart_input(u, byte))
			u->overrun = true;
	} else {
		u->output(u->ctx, byte);
	}
	u->thre_pending = true; /* sent already */
	uart_update_irq(u);
}

static void uart_write_ier(struct uart *u, uint8_t value)
{
	/* Enabling the interrupt while the transmitter is empty raises it. */
	if (!(u->ier & IER_THRE) && (value & IER_THRE))
		u->thre_pending = true;
	u->ier = value & IER_MASK;
	uart_update_irq(u);
}

static void uart_write_fcr(struct uart *u, uint8_t value)
{
	if ((value ^ u->fcr) & FCR_ENABLE || value & FCR_CLEAR_RECV)
		u->fifo_count = 0;
	u->fcr = value & (FCR_ENABLE | 0xc0);
	uart_update_irq(u);
	if (!u->fifo_count && u->input_ready)
		u->input_ready(u->ctx);
}

static void uart_write_register(struct uart *u, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case RBR_THR_DLL:
		if (u->lcr & LCR_DLAB)
			u->dll = value;
		else
			uart_write_data(u, value);
		break;
	case IER_DLM:
		if (u->lcr & LCR_DLAB)
			u->dlm = value;
		else
			uart_write_ier(u, value);
		break;
	case IIR_FCR:
		uart_write_fcr(u, value);
		break;
	case LCR:
		u->lcr = value;
		break;
	case MCR:
		u->mcr = value & 0x1f;
		if ((value & MCR_RTS) && u->input_ready)
			u->input_ready(u->ctx);
		break;
	case SCR:
		u->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

/* A wider access is one byte a register, as the bus would split it. */
static uint64_t uart_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct uart *u = container_of(range, struct uart, range);
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes; i++)
		value |= (uint64_t)uart_read_register(u, (unsigned int)offset + i) << (8 * i);
	return value;
}

static void uart_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct uart *u = container_of(range, struct uart, range);

	for (unsigned int i = 0; i < size_bytes; i++)
		uart_write_register(u, (unsigned int)offset + i, (uint8_t)(value >> (8 * i)));
}

void uart_init(struct uart *u, uint16_t port)
{
	u->range = (struct bus_range){
		.start = port,
		.len_bytes = UART_PORTS,
		.read = uart_read,
		.write = uart_write,
		.name = "UART",
	};
	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->dll = u->dlm = 0;
	u->fifo_start = u->fifo_count = 0;
	u->thre_pending = u->overrun = u->irq = false;
}

bool uart_input(struct uart *u, uint8_t byte)
{
	unsigned int room = u->fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;

	/* Without request-to-send the peer of a cable with flow control keeps its bytes: what a
	 * person types before the guest's driver is there is not lost. */
	if (u->fifo_count >= room || !(u->mcr & (MCR_RTS | MCR_LOOP)))
		return false;
	u->fifo[(u->fifo_start + u->fifo_count) % UART_FIFO_BYTES] = byte;
	u->fifo_count++;
	uart_update_irq(u);
	return true;
}

bool uart_wants_thre(const struct uart *u)
{
	return u->ier & IER_THRE;
}

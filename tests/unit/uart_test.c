/* SPDX-License-Identifier: Apache-2.0 */
/* The UART as a driver meets it, register by register. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/uart.h"

enum { DATA, IER, IIR, FCR = IIR, LCR, MCR, LSR, MSR, SCR };

static struct {
	struct uart uart;
	uint8_t out[64];
	unsigned int out_len, edges, ready;
	bool level;
} t;

static void set_irq(void *ctx, bool level)
{
	(void)ctx;
	t.edges += level && !t.level;
	t.level = level;
}

static void output(void *ctx, uint8_t byte)
{
	(void)ctx;
	t.out[t.out_len++] = byte;
}

static void input_ready(void *ctx)
{
	(void)ctx;
	t.ready++;
}

static uint64_t in(unsigned int reg)
{
	return t.uart.range.read(&t.uart.range, reg, 1);
}

static void out(unsigned int reg, uint8_t value)
{
	t.uart.range.write(&t.uart.range, reg, 1, value);
}

static void setup(void)
{
	memset(&t, 0, sizeof(t));
	t.uart.set_irq = set_irq;
	t.uart.output = output;
	t.uart.input_ready = input_ready;
	uart_init(&t.uart, 0x3f8);
	out(FCR, 0x01);
	out(MCR, 0x0b);
}

TestSuite(uart, .init = setup);

Test(uart, sends_what_is_written)
{
	out(DATA, 'h');
	out(DATA, 'i');
	cr_assert_eq(t.out_len, 2);
	cr_assert_arr_eq(t.out, "hi", 2);
	cr_assert_eq(in(LSR), 0x60, "always ready for more");
}

Test(uart, a_wide_write_is_one_byte_a_register)
{
	t.uart.range.write(&t.uart.range, LCR, 2, 0x0b03);
	cr_assert_eq(in(LCR), 0x03);
	cr_assert_eq(in(MCR), 0x0b);
	cr_assert_eq(t.uart.range.read(&t.uart.range, LCR, 2), 0x0b03);
}

Test(uart, divisor_latch_hides_data_and_ier)
{
	out(LCR, 0x83);
	out(DATA, 0x0c);
	out(IER, 0x01);
	cr_assert_eq(in(DATA), 0x0c);
	cr_assert_eq(in(IER), 0x01);
	out(LCR, 0x03);
	cr_assert_eq(t.out_len, 0, "the divisor was not sent");
	cr_assert_eq(in(IER), 0);
}

Test(uart, transmitter_empty_interrupt_is_told_once)
{
	cr_assert_not(uart_wants_thre(&t.uart));
	out(IER, 0x02);
	cr_assert(uart_wants_thre(&t.uart));
	cr_assert_eq(t.edges, 1, "enabling it on an empty transmitter raises it");
	cr_assert_eq(in(IIR), 0xc2);
	cr_assert_not(t.level, "reading it as the source clears it");
	cr_assert_eq(in(IIR), 0xc1);
	out(DATA, 'x');
	out(DATA, 'y');
	cr_assert_eq(t.edges, 2, "one edge for both bytes");
	cr_assert_eq(in(IIR), 0xc2);
}

Test(uart, receives_sixteen_bytes_then_refuses)
{
	out(IER, 0x01);
	for (unsigned int i = 0; i < UART_FIFO_BYTES; i++)
		cr_assert(uart_input(&t.uart, (uint8_t)('a' + i)));
	cr_assert_not(uart_input(&t.uart, 'z'));
	cr_assert_eq(t.edges, 1);
	cr_assert_eq(in(IIR), 0xc4);
	t.ready = 0;
	for (unsigned int i = 0; i < UART_FIFO_BYTES; i++) {
		cr_assert_eq(in(LSR)&1, 1);
		cr_assert_eq(t.ready, 0, "not before it is empty");
		cr_assert_eq(in(DATA), 'a' + i);
	}
	cr_assert_eq(t.ready, 1);
	cr_assert_not(t.level);
	cr_assert_eq(in(LSR)&1, 0);
	cr_assert_eq(in(DATA), 0, "nothing there");
	cr_assert(uart_input(&t.uart, 'z'));
	cr_assert_eq(t.edges, 2, "a byte after an empty FIFO is a new edge");
}

Test(uart, without_fifo_one_byte_fits)
{
	out(FCR, 0);
	cr_assert(uart_input(&t.uart, 'a'));
	cr_assert_not(uart_input(&t.uart, 'b'));
	cr_assert_eq(in(IIR)&0xc0, 0, "and IIR tells that there is no FIFO");
}

Test(uart, clearing_the_fifo_makes_room)
{
	uart_input(&t.uart, 'a');
	t.ready = 0;
	out(FCR, 0x03);
	cr_assert_eq(in(LSR)&1, 0);
	cr_assert_eq(t.ready, 1);
}

Test(uart, input_waits_for_request_to_send)
{
	out(MCR, 0x01);
	cr_assert_not(uart_input(&t.uart, 'a'), "a driver that is not there loses nothing");
	t.ready = 0;
	out(MCR, 0x03);
	cr_assert_eq(t.ready, 1);
	cr_assert(uart_input(&t.uart, 'a'));
}

Test(uart, loopback_returns_data_and_modem_lines)
{
	out(MCR, 0x1f);
	out(DATA, 'q');
	cr_assert_eq(t.out_len, 0);
	cr_assert_eq(in(DATA), 'q');
	cr_assert_eq(in(MSR), 0xf0, "DTR, RTS, OUT1, OUT2 → DSR, CTS, RI, DCD");
	out(MCR, 0x1a);
	cr_assert_eq(in(MSR)&0xf0, 0x90, "RTS and OUT2 → CTS and DCD: how Linux finds the chip");
	for (unsigned int i = 0; i < UART_FIFO_BYTES + 1; i++)
		out(DATA, 'r');
	cr_assert_eq(in(LSR)&2, 2, "overrun");
	cr_assert_eq(in(LSR)&2, 0, "told once");
}

Test(uart, overrun_raises_line_status)
{
	out(IER, 0x04);
	out(MCR, 0x13);
	for (unsigned int i = 0; i < UART_FIFO_BYTES + 1; i++)
		out(DATA, 'r');
	cr_assert_eq(in(IIR), 0xc6);
	in(LSR);
	cr_assert_eq(in(IIR), 0xc1);
}

Test(uart, scratch_keeps_and_status_does_not)
{
	out(SCR, 0x5a);
	out(LSR, 0xff);
	out(MSR, 0xff);
	cr_assert_eq(in(SCR), 0x5a);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(MSR), 0xb0);
}

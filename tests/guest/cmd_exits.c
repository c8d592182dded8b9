/* SPDX-License-Identifier: Apache-2.0 */
/* exits: loops of port or device memory accesses, for benchmarks and for the accounting of exits.
 */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "paging.h"
#include "uart.h"
#include "x86.h"

#define PORT_DEFAULT (UART_PORT + 7) /* the scratch register: harmless to read and to write */
#define MMIO_DEFAULT 0xd0000000UL    /* no memory behind it */

static void loop_pio_write(uint64_t count, uint64_t port)
{
	for (uint64_t i = 0; i < count; i++)
		outb((uint16_t)port, (uint8_t)i);
}

static void loop_pio_read(uint64_t count, uint64_t port)
{
	for (uint64_t i = 0; i < count; i++)
		inb((uint16_t)port);
}

static void loop_mmio_write(uint64_t count, uint64_t address)
{
	for (uint64_t i = 0; i < count; i++)
		mmio_write32(address, (uint32_t)i);
}

static void loop_mmio_read(uint64_t count, uint64_t address)
{
	for (uint64_t i = 0; i < count; i++)
		mmio_read32(address);
}

static const struct exit_kind {
	const char *name;
	void (*loop)(uint64_t count, uint64_t where);
	uint64_t fallback, limit;
} kinds[] = {
	{"pio-write", loop_pio_write, PORT_DEFAULT, 0xffff},
	{"pio-read", loop_pio_read, PORT_DEFAULT, 0xffff},
	{"mmio-write", loop_mmio_write, MMIO_DEFAULT, (1UL << 47) - 4},
	{"mmio-read", loop_mmio_read, MMIO_DEFAULT, (1UL << 47) - 4},
};

bool cmd_exits(const struct args *args)
{
	const struct exit_kind *kind = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(args->words[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind)
		return fail(
			"%s is none of pio-write, pio-read, mmio-write, mmio-read", args->words[1]);

	uint64_t count, where;
	if (!args_number(args, 2, 1000, &count) || !args_number(args, 3, kind->fallback, &where))
		return false;
	if (!count || where > kind->limit)
		return fail("N must be over 0 and the place at most 0x%lx", kind->limit);
	if (where > 0xffff && !paging_map(where, 4, PAGING_MMIO))
		return fail("0x%lx cannot be mapped", where);

	uint64_t start = rdtsc();
	kind->loop(count, where);
	uint64_t ticks = rdtsc() - start;
	print("exits %s n=%lu at=0x%lx cycles_each=%lu ns_each=%lu\n", kind->name, count, where,
		ticks / count, clock_ns(ticks) / count);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* halt, reboot, crash and power. */
#include "apic.h"
#include "commands.h"
#include "lib.h"
#include "power.h"
#include "trap.h"
#include "uart.h"
#include "x86.h"

/* The power button: a generic event device with one read-to-clear status port. */
#define BUTTON_PORT    0x603
#define BUTTON_GSI     9
#define BUTTON_PRESSED 0x01
#define PORT_ABSENT    0xff

#define NO_MEMORY 0xd0000000UL /* in the window of PCI BARs, of which none lies there */

bool cmd_halt(const struct args *args)
{
	(void)args;
	print("powering off\n");
	power_off();
	return fail("the machine is still on");
}

bool cmd_reboot(const struct args *args)
{
	(void)args;
	print("resetting\n");
	power_reset();
}

static uint64_t ring0_jump(uint64_t address, uint64_t unused, uint64_t *frame)
{
	(void)unused, (void)frame;
	__asm__ volatile("jmp *%0" ::"r"(address));
	return 0;
}

/* No KVM can fetch instructions from a device: it reports an internal error (emulation). */
static void crash_mmio_exec(void)
{
	ring0_call(ring0_jump, NO_MEMORY, 0);
}

static void crash_ud(void)
{
	__asm__ volatile("ud2");
}

bool cmd_crash(const struct args *args)
{
	static const struct {
		const char *name;
		void (*crash)(void);
	} ways[] = {
		{"", crash_mmio_exec},
		{"mmio-exec", crash_mmio_exec},
		{"triple", cpu_triple_fault},
		{"ud", crash_ud},
	};
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (strcmp(args->words[1], ways[i].name))
			continue;
		print("crashing\n");
		ways[i].crash();
		return fail("still here");
	}
	return fail("%s is none of mmio-exec, triple, ud", args->words[1]);
}

/* True when the button was pressed, false when a key was. */
static bool button_wait(void)
{
	for (;;) {
		uint64_t seen = irq_any;
		if (inb(BUTTON_PORT) & BUTTON_PRESSED)
			return true;
		if (uart_poll() >= 0)
			return false;
		cpu_wait(&irq_any, seen);
	}
}

bool cmd_power(const struct args *args)
{
	(void)args;
	static unsigned vector;
	if (inb(BUTTON_PORT) == PORT_ABSENT)
		return fail("no power button at port 0x%x", BUTTON_PORT);
	if (!vector)
		vector = irq_alloc();
	ioapic_route_edge(BUTTON_GSI, vector);
	print("waiting for the power button; any key gives up\n");
	bool pressed = button_wait();
	ioapic_mask(BUTTON_GSI);
	if (!pressed)
		return fail("a key was pressed");
	print("power button pressed\n");
	return cmd_halt(args);
}

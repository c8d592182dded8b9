/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC and I/O APIC, by their registers in memory (Intel SDM volume 3, chapter 11; 82093AA).
 */
#include "apic.h"

#include "acpi.h"
#include "layout.h"
#include "lib.h"
#include "x86.h"

enum {
	LAPIC_ID = 0x20,
	LAPIC_TPR = 0x80,
	LAPIC_SVR = 0xf0,
	LAPIC_ICR_LOW = 0x300,
	LAPIC_ICR_HIGH = 0x310,
	LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LAPIC_TIMER_INITIAL = 0x380,
	LAPIC_TIMER_CURRENT = 0x390,
	LAPIC_TIMER_DIVIDE = 0x3e0,
};

#define SVR_ENABLE   0x100
#define LVT_MASKED   0x10000
#define LVT_PERIODIC 0x20000
#define ICR_ASSERT   0x4000
#define ICR_INIT     0x500
#define ICR_STARTUP  0x600
#define ICR_PENDING  0x1000
#define DIVIDE_BY_1  0xb

enum {
	IOAPIC_SELECT = 0x00,
	IOAPIC_WINDOW = 0x10,
	IOAPIC_REDIRECTION = 0x10,
};

#define REDIRECTION_ACTIVE_LOW 0x2000
#define REDIRECTION_LEVEL      0x8000
#define REDIRECTION_MASKED     0x10000

/* Polarity and trigger of a MADT override; 0 means as the bus has it: high and edge for ISA. */
#define MADT_POLARITY_LOW  0x3
#define MADT_TRIGGER_LEVEL 0xc

static uint32_t lapic_read(uint32_t reg)
{
	return mmio_read32(LAPIC_BASE + reg);
}

static void lapic_write(uint32_t reg, uint32_t value)
{
	mmio_write32(LAPIC_BASE + reg, value);
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	mmio_write32(acpi_info.ioapic_address + IOAPIC_SELECT, reg);
	mmio_write32(acpi_info.ioapic_address + IOAPIC_WINDOW, value);
}

void lapic_enable(void)
{
	lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT1, LVT_MASKED);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
}

uint32_t lapic_id(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

static void lapic_command(uint32_t apic_id, uint32_t command)
{
	lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
	lapic_write(LAPIC_ICR_LOW, command);
	while (lapic_read(LAPIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
}

void lapic_send(uint32_t apic_id, uint8_t vector)
{
	lapic_command(apic_id, ICR_ASSERT | vector);
}

void lapic_send_init(uint32_t apic_id)
{
	lapic_command(apic_id, ICR_ASSERT | ICR_INIT);
}

void lapic_send_startup(uint32_t apic_id, uint32_t address)
{
	lapic_command(apic_id, ICR_ASSERT | ICR_STARTUP | address / PAGE_SIZE);
}

uint32_t lapic_timer_measure(uint64_t tsc_ticks)
{
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_TIMER_INITIAL, UINT32_MAX);
	uint32_t before = lapic_read(LAPIC_TIMER_CURRENT);
	uint64_t start = rdtsc();
	while (rdtsc() - start < tsc_ticks)
		cpu_relax();
	uint32_t after = lapic_read(LAPIC_TIMER_CURRENT);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	return before - after;
}

void lapic_timer_start(unsigned vector, uint32_t ticks)
{
	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | vector);
	lapic_write(LAPIC_TIMER_INITIAL, ticks);
}

void lapic_timer_stop(void)
{
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
}

uint64_t msi_address(uint32_t apic_id)
{
	return 0xfee00000 | (uint64_t)(apic_id & 0xff) << 12;
}

uint32_t msi_data(uint8_t vector)
{
	return vector;
}

static void ioapic_route(unsigned gsi, uint32_t low)
{
	if (!acpi_info.ioapic_address)
		return;
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi + 1, lapic_id() << 24);
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi, low);
}

void ioapic_route_isa(unsigned irq, unsigned vector)
{
	uint32_t flags = acpi_info.isa_flags[irq], low = vector;
	if ((flags & MADT_POLARITY_LOW) == MADT_POLARITY_LOW)
		low |= REDIRECTION_ACTIVE_LOW;
	if ((flags & MADT_TRIGGER_LEVEL) == MADT_TRIGGER_LEVEL)
		low |= REDIRECTION_LEVEL;
	ioapic_route(acpi_info.isa_gsi[irq], low);
}

void ioapic_route_edge(unsigned gsi, unsigned vector)
{
	ioapic_route(gsi, vector);
}

void ioapic_mask(unsigned gsi)
{
	ioapic_route(gsi, REDIRECTION_MASKED);
}

void apic_init(void)
{
	outb(0x21, 0xff); /* both 8259, where there are any */
	outb(0xa1, 0xff);
	lapic_enable();
	if (!acpi_info.ioapic_address)
		print("apic: the MADT has no I/O APIC for GSI 0\n");
}

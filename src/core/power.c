/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep, reset and event registers; ACPI 6.4 §4.8.3.7 (sleep control), §4.8.3.6 (reset). */
#include "core/power.h"

#include "core/check.h"
#include "core/layout.h"

#define SLEEP_ENABLE    0x20
#define SLEEP_TYPE(v)   ((v) >> 2 & 7)
#define KBD_PULSE_RESET 0xfe
#define ACPI_PORTS      4

enum {
	SLEEP_CONTROL = 0,
	SLEEP_STATUS = LAYOUT_PORT_SLEEP_STATUS - LAYOUT_PORT_SLEEP,
	RESET = LAYOUT_PORT_RESET - LAYOUT_PORT_SLEEP,
	EVENT = LAYOUT_PORT_EVENT - LAYOUT_PORT_SLEEP,
};

static uint64_t acpi_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct power *p = container_of(range, struct power, acpi);
	uint8_t events;

	(void)size_bytes;
	if (offset != EVENT)
		return 0;
	events = p->events;
	p->events = 0;
	return events;
}

static void acpi_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct power *p = container_of(range, struct power, acpi);

	(void)size_bytes;
	if (offset == SLEEP_CONTROL && (value & SLEEP_ENABLE) &&
		SLEEP_TYPE(value) == LAYOUT_SLEEP_TYPE_S5)
		p->ended(p->ctx, POWER_OFF);
	else if (offset == RESET && (uint8_t)value == LAYOUT_RESET_VALUE)
		p->ended(p->ctx, POWER_RESET);
}

/* Status 0: the keyboard controller is always ready, and has never anything to say. */
static uint64_t keyboard_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	(void)range;
	(void)offset;
	(void)size_bytes;
	return 0;
}

static void keyboard_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct power *p = container_of(range, struct power, keyboard);

	(void)offset;
	(void)size_bytes;
	if ((uint8_t)value == KBD_PULSE_RESET)
		p->ended(p->ctx, POWER_RESET);
}

int power_init(struct power *p, struct bus *bus, struct diag *d)
{
	int err;

	p->events = 0;
	p->acpi = (struct bus_range){
		.start = LAYOUT_PORT_SLEEP,
		.len_bytes = ACPI_PORTS,
		.read = acpi_read,
		.write = acpi_write,
		.name = "ACPI registers",
	};
	p->keyboard = (struct bus_range){
		.start = LAYOUT_PORT_KBD_RESET,
		.len_bytes = 1,
		.read = keyboard_read,
		.write = keyboard_write,
		.name = "keyboard controller",
	};
	err = bus_add(bus, BUS_PIO, &p->acpi, d);
	return err ? err : bus_add(bus, BUS_PIO, &p->keyboard, d);
}

void power_press_button(struct power *p)
{
	p->events |= POWER_EVENT_BUTTON;
	p->pulse_irq(p->ctx);
}

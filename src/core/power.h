/* SPDX-License-Identifier: Apache-2.0 */
/* How a guest ends and how it is asked to: ACPI sleep and reset registers, the 8042's reset pulse,
 * the power button behind a generic event device. Home reactor only. */
#ifndef CORE_POWER_H
#define CORE_POWER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"

enum power_event { POWER_OFF, POWER_RESET };

struct power {
	struct bus_range acpi;     /* sleep control, sleep status, reset, event */
	struct bus_range keyboard; /* port 0x64 */
	void (*ended)(void *ctx, enum power_event event);
	void (*pulse_irq)(void *ctx); /* the event line, an edge */
	void *ctx;
	uint8_t events; /* bit 0: the button was pressed */
};

#define POWER_EVENT_BUTTON 0x01

/* power_init: puts the ports on `bus`. Callbacks and ctx are set by the caller before. */
int power_init(struct power *p, struct bus *bus, struct diag *d);

/* power_press_button: a guest with an ACPI button driver shuts itself down. */
void power_press_button(struct power *p);

#endif

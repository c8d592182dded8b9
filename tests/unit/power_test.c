/* SPDX-License-Identifier: Apache-2.0 */
/* The registers by which a guest ends, and the power button. */
#include <criterion/criterion.h>

#include "core/layout.h"
#include "core/power.h"

static struct bus bus;
static struct power power;
static int ends[2], pulses;

static void ended(void *ctx, enum power_event event)
{
	(void)ctx;
	ends[event]++;
}

static void pulse(void *ctx)
{
	(void)ctx;
	pulses++;
}

static void setup(void)
{
	bus_init(&bus);
	power.ended = ended;
	power.pulse_irq = pulse;
	cr_assert_eq(power_init(&power, &bus, NULL), 0);
}

static void teardown(void)
{
	bus_finish(&bus);
}

TestSuite(power, .init = setup, .fini = teardown);

Test(power, sleep_type_five_is_off)
{
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_SLEEP, 1, 5 << 2);
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_SLEEP, 1, 3 << 2 | 0x20);
	cr_assert_eq(ends[POWER_OFF], 0, "without the enable bit, or another type");
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_SLEEP, 1, 5 << 2 | 0x20);
	cr_assert_eq(ends[POWER_OFF], 1);
	cr_assert_eq(ends[POWER_RESET], 0);
	cr_assert_eq(bus_read(&bus, BUS_PIO, LAYOUT_PORT_SLEEP_STATUS, 1), 0);
}

Test(power, reset_register_and_keyboard_reset)
{
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_RESET, 1, 0);
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_KBD_RESET, 1, 0xd1);
	cr_assert_eq(ends[POWER_RESET], 0);
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_RESET, 1, LAYOUT_RESET_VALUE);
	bus_write(&bus, BUS_PIO, LAYOUT_PORT_KBD_RESET, 1, 0xfe);
	cr_assert_eq(ends[POWER_RESET], 2);
	cr_assert_eq(ends[POWER_OFF], 0);
}

Test(power, button_is_seen_once)
{
	cr_assert_eq(bus_read(&bus, BUS_PIO, LAYOUT_PORT_EVENT, 1), 0);
	power_press_button(&power);
	power_press_button(&power);
	cr_assert_eq(pulses, 2);
	cr_assert_eq(bus_read(&bus, BUS_PIO, LAYOUT_PORT_EVENT, 1), POWER_EVENT_BUTTON);
	cr_assert_eq(bus_read(&bus, BUS_PIO, LAYOUT_PORT_EVENT, 1), 0, "reading clears it");
}

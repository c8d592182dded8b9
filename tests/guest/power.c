/* SPDX-License-Identifier: Apache-2.0 */
/* Power-off and reset (ACPI 6.4 §4.8.3.7, §4.8.3.6). */
#include "power.h"

#include "acpi.h"
#include "clock.h"
#include "trap.h"
#include "x86.h"

#define SLEEP_ENABLE     0x20
#define PM1_SLEEP_ENABLE 0x2000
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET   0xfe
#define POSTED_DELAY_US  2000000 /* the write may be handled after the CPU has gone on */

void power_off(void)
{
	uint8_t type = acpi_info.sleep_type_s5;
	if (acpi_info.sleep_control.address)
		acpi_register_write(acpi_info.sleep_control, (uint8_t)(type << 2 | SLEEP_ENABLE));
	else if (acpi_info.pm1a_control)
		outw(acpi_info.pm1a_control, (uint16_t)(type << 10 | PM1_SLEEP_ENABLE));
	else
		return;
	clock_delay_us(POSTED_DELAY_US);
}

void power_reset(void)
{
	if (acpi_info.reset.address) {
		acpi_register_write(acpi_info.reset, acpi_info.reset_value);
		clock_delay_us(POSTED_DELAY_US);
	}
	outb(KEYBOARD_COMMAND, KEYBOARD_RESET);
	clock_delay_us(POSTED_DELAY_US);
	cpu_triple_fault();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to end the guest. Those that return have failed. */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

/* ACPI soft-off (S5). Returns after 2 s when the machine is still there. */
void power_off(void);

/* By the FADT's reset register, else the keyboard controller's reset line, else a triple fault. */
void power_reset(void) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the ACPI tables say, read once at start (ACPI 6.4 §5.2). */
#ifndef GUEST_ACPI_H
#define GUEST_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

/* A register in I/O or memory space; absent when address is 0 (ACPI 6.4 §5.2.3.2). */
struct acpi_register {
	uint64_t address;
	bool is_memory;
};

struct acpi_info {
	uint32_t cpu_count;
	uint32_t apic_ids[CPU_MAX]; /* of the enabled CPUs, in the order of the MADT */

	uint64_t ioapic_address; /* of the I/O APIC that serves GSI 0; 0 when there is none */
	uint32_t isa_gsi[16];    /* ISA interrupt → GSI */
	uint16_t isa_flags[16];  /* polarity and trigger as in the MADT's overrides */

	uint64_t wakeup_mailbox; /* of the multiprocessor wakeup structure; 0 when there is none */

	struct acpi_register sleep_control; /* hardware-reduced ACPI */
	uint16_t pm1a_control;              /* else this port */
	uint8_t sleep_type_s5;
	struct acpi_register reset;
	uint8_t reset_value;

	uint64_t ecam_address; /* of PCI segment 0; 0 when there is no MCFG */
	uint8_t ecam_bus_first, ecam_bus_last;
};

extern struct acpi_info acpi_info;

/* rsdp: physical address of the RSDP, or 0 to look for it below 1 MiB. Says what is missing. */
void acpi_init(uint64_t rsdp);

/* Writes one byte to a register that is present. */
void acpi_register_write(struct acpi_register reg, uint8_t value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, MCFG and the DSDT (dsdt.asl).
 */
#ifndef CORE_ACPI_H
#define CORE_ACPI_H

#include <stdbool.h>

#include "core/diag.h"
#include "core/gmem.h"

struct acpi_params {
	unsigned int cpus;   /* local APIC ids 0 .. cpus-1 */
	bool wakeup_mailbox; /* MADT offers the multiprocessor wakeup structure (ACPI 6.4
				§5.2.12.19) */
};

/* acpi_build: writes the tables into [LAYOUT_ACPI, LAYOUT_ACPI_END) and gives the RSDP's address.
 * -E2BIG if they do not fit. Before any vCPU runs. */
int acpi_build(struct gmem *m, const struct acpi_params *p, gpa_t *rsdp, struct diag *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One function's configuration space, between pci.c (which finds the function) and pci_config.c. */
#ifndef CORE_PCI_CONFIG_H
#define CORE_PCI_CONFIG_H

#include "core/pci.h"

/* Registers of a type 0 header (PCI Local Bus 3.0 §6.1), and the bits that mean something here. */
#define PCI_REG_VENDOR           0x00
#define PCI_REG_DEVICE           0x02
#define PCI_REG_COMMAND          0x04
#define PCI_REG_STATUS           0x06
#define PCI_REG_REVISION         0x08
#define PCI_REG_CLASS            0x09
#define PCI_REG_HEADER_TYPE      0x0e
#define PCI_REG_BAR              0x10
#define PCI_REG_SUBSYSTEM_VENDOR 0x2c
#define PCI_REG_SUBSYSTEM        0x2e
#define PCI_REG_CAPABILITIES     0x34
#define PCI_REG_INTERRUPT_LINE   0x3c
#define PCI_REG_INTERRUPT_PIN    0x3d

#define PCI_COMMAND_MEMORY_BIT   0x0002u
#define PCI_COMMAND_MASTER_BIT   0x0004u
#define PCI_COMMAND_INTX_OFF_BIT 0x0400u
#define PCI_STATUS_INTX_BIT      0x08u
#define PCI_STATUS_CAPS_BIT      0x10u
#define PCI_HEADER_MULTI_BIT     0x80u

/* An access of 1, 2 or 4 bytes within one dword. offset < 4096. */
uint32_t pci_config_read(struct pci_function *f, unsigned int offset, unsigned int size_bytes);
void pci_config_write(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint32_t value);

/* pci_bars_place: gives each BAR its first address and maps it; all or none. */
int pci_bars_place(struct pci_function *f, struct diag *d);
void pci_bars_unmap(struct pci_function *f);

#endif

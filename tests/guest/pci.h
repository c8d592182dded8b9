/* SPDX-License-Identifier: Apache-2.0 */
/* PCI functions by ECAM, with their BARs wherever the loader's firmware put them. CPU 0 only. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_BARS_MAX 6

enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_CLASS = 0x08,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SECONDARY_BUS = 0x19,
	PCI_CAP_FIRST = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
};

#define PCI_COMMAND_IO     0x01
#define PCI_COMMAND_MEMORY 0x02
#define PCI_COMMAND_MASTER 0x04

#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX   0x11

struct pci_function {
	uint64_t config; /* its 4 KiB of configuration space */
	uint8_t bus, slot, function;
	uint16_t vendor, device;
	uint32_t class_code; /* class, subclass, interface */
};

struct pci_bar {
	uint64_t address, size_bytes; /* size 0: there is none */
	bool is_io, is_64bit;
};

/*
 * Calls visit for each function, in the order of the bus numbers, until it returns true; behind
 * bridges as well. True if it did.
 */
bool pci_scan(bool (*visit)(const struct pci_function *f, void *arg), void *arg);

uint8_t pci_read8(const struct pci_function *f, unsigned offset);
uint16_t pci_read16(const struct pci_function *f, unsigned offset);
uint32_t pci_read32(const struct pci_function *f, unsigned offset);
void pci_write16(const struct pci_function *f, unsigned offset, uint16_t value);
void pci_write32(const struct pci_function *f, unsigned offset, uint32_t value);

/* The offset of the first capability `id` behind the one at `after` (0: from the start); 0: none.
 */
unsigned pci_cap_find(const struct pci_function *f, uint8_t id, unsigned after);

/* Measures BAR `index`, during which decoding is off. */
struct pci_bar pci_bar_read(const struct pci_function *f, unsigned index);

/* Moves a memory BAR; decoding is off meanwhile. The caller has to map the new place. */
void pci_bar_move(const struct pci_function *f, unsigned index, uint64_t address);

/* Has the function decode memory and master the bus. */
void pci_enable(const struct pci_function *f);

#endif

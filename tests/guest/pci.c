/* SPDX-License-Identifier: Apache-2.0 */
/* PCI by ECAM (PCI Express 3.0 §7.2.2; PCI Local Bus 3.0 §6). */
#include "pci.h"

#include "acpi.h"
#include "lib.h"
#include "paging.h"
#include "x86.h"

#define SLOTS             32
#define FUNCTIONS         8
#define BUSES             256
#define CAPS_MAX          48 /* what fits in 256 bytes: a list that is longer is a loop */
#define STATUS_CAPS       0x10
#define HEADER_MULTI      0x80
#define HEADER_KIND       0x7f
#define HEADER_BRIDGE     1
#define BAR_IO            0x1
#define BAR_64BIT         0x4
#define BAR_IO_FLAGS      0x3U
#define BAR_MEMORY_FLAGS  0xfU
#define NO_VENDOR         0xffff
#define CLASS_SHIFT       8
#define BYTES_OF_BUS      (1UL << 20)
#define BYTES_OF_SLOT     (1UL << 15)
#define BYTES_OF_FUNCTION (1UL << 12)

uint8_t pci_read8(const struct pci_function *f, unsigned offset)
{
	return mmio_read8(f->config + offset);
}

uint16_t pci_read16(const struct pci_function *f, unsigned offset)
{
	return mmio_read16(f->config + offset);
}

uint32_t pci_read32(const struct pci_function *f, unsigned offset)
{
	return mmio_read32(f->config + offset);
}

void pci_write16(const struct pci_function *f, unsigned offset, uint16_t value)
{
	mmio_write16(f->config + offset, value);
}

void pci_write32(const struct pci_function *f, unsigned offset, uint32_t value)
{
	mmio_write32(f->config + offset, value);
}

static bool function_read(struct pci_function *f, unsigned bus, unsigned slot, unsigned function)
{
	f->config = acpi_info.ecam_address + (bus - acpi_info.ecam_bus_first) * BYTES_OF_BUS +
		    slot * BYTES_OF_SLOT + function * BYTES_OF_FUNCTION;
	f->bus = (uint8_t)bus;
	f->slot = (uint8_t)slot;
	f->function = (uint8_t)function;
	f->vendor = pci_read16(f, PCI_VENDOR);
	if (f->vendor == NO_VENDOR)
		return false;
	f->device = pci_read16(f, PCI_DEVICE);
	f->class_code = pci_read32(f, PCI_CLASS) >> CLASS_SHIFT;
	return true;
}

struct scan {
	bool (*visit)(const struct pci_function *f, void *arg);
	void *arg;
	bool buses[BUSES]; /* to look at, found behind bridges */
};

static bool slot_scan(struct scan *scan, unsigned bus, unsigned slot)
{
	struct pci_function f;
	unsigned functions = 1;
	for (unsigned i = 0; i < functions; i++) {
		if (!function_read(&f, bus, slot, i))
			continue;
		uint8_t header = pci_read8(&f, PCI_HEADER_TYPE);
		if (!i && (header & HEADER_MULTI))
			functions = FUNCTIONS;
		if ((header & HEADER_KIND) == HEADER_BRIDGE)
			scan->buses[pci_read8(&f, PCI_SECONDARY_BUS)] = true;
		if (scan->visit(&f, scan->arg))
			return true;
	}
	return false;
}

bool pci_scan(bool (*visit)(const struct pci_function *f, void *arg), void *arg)
{
	struct scan scan = {.visit = visit, .arg = arg};
	unsigned first = acpi_info.ecam_bus_first, last = acpi_info.ecam_bus_last;
	if (!acpi_info.ecam_address ||
		!paging_map(acpi_info.ecam_address, (last - first + 1) * BYTES_OF_BUS, PAGING_MMIO))
		return false;
	scan.buses[first] = true;
	for (unsigned bus = first; bus <= last; bus++) {
		for (unsigned slot = 0; scan.buses[bus] && slot < SLOTS; slot++)
			if (slot_scan(&scan, bus, slot))
				return true;
	}
	return false;
}

unsigned pci_cap_find(const struct pci_function *f, uint8_t id, unsigned after)
{
	if (!(pci_read16(f, PCI_STATUS) & STATUS_CAPS))
		return 0;
	unsigned at = pci_read8(f, after ? after + 1 : PCI_CAP_FIRST) & ~3U;
	for (unsigned i = 0; at && i < CAPS_MAX; i++) {
		if (pci_read8(f, at) == id)
			return at;
		at = pci_read8(f, at + 1) & ~3U;
	}
	return 0;
}

/* All ones, read back: the address bits that can be set; puts the old value back. */
static uint32_t bar_probe(const struct pci_function *f, unsigned offset)
{
	uint32_t old = pci_read32(f, offset);
	pci_write32(f, offset, UINT32_MAX);
	uint32_t mask = pci_read32(f, offset);
	pci_write32(f, offset, old);
	return mask;
}

static uint16_t decoding_off(const struct pci_function *f)
{
	uint16_t command = pci_read16(f, PCI_COMMAND);
	pci_write16(f, PCI_COMMAND, command & (uint16_t) ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	return command;
}

struct pci_bar pci_bar_read(const struct pci_function *f, unsigned index)
{
	unsigned offset = PCI_BAR0 + 4 * index;
	uint16_t command = decoding_off(f);
	uint32_t low = pci_read32(f, offset), low_mask = bar_probe(f, offset);
	struct pci_bar bar = {.is_io = low & BAR_IO};
	uint64_t mask = low_mask | 0xffffffffUL << 32;
	uint32_t flags = bar.is_io ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS;
	bar.is_64bit = !bar.is_io && (low & BAR_64BIT);
	bar.address = low & ~flags;
	if (bar.is_64bit && index + 1 < PCI_BARS_MAX) {
		bar.address |= (uint64_t)pci_read32(f, offset + 4) << 32;
		mask = low_mask | (uint64_t)bar_probe(f, offset + 4) << 32;
	}
	if (bar.is_io)
		mask |= 0xffff0000; /* the upper half of a port need not be there */
	if (low_mask & ~flags)
		bar.size_bytes = ~(mask & ~(uint64_t)flags) + 1;
	pci_write16(f, PCI_COMMAND, command);
	return bar;
}

void pci_bar_move(const struct pci_function *f, unsigned index, uint64_t address)
{
	unsigned offset = PCI_BAR0 + 4 * index;
	uint16_t command = decoding_off(f);
	uint32_t low = pci_read32(f, offset);
	pci_write32(f, offset, (uint32_t)address);
	if (low & BAR_64BIT)
		pci_write32(f, offset + 4, (uint32_t)(address >> 32));
	pci_write16(f, PCI_COMMAND, command);
}

void pci_enable(const struct pci_function *f)
{
	pci_write16(f, PCI_COMMAND,
		pci_read16(f, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

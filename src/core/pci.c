/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus: finds the function that a configuration access means, by ECAM or by ports, and packs
 * functions into slots. */
#include "core/pci.h"

#include <errno.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/pci_config.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_MASK   0x80fffffcu
#define RESET_CONTROL  (LAYOUT_PORT_PCI_RESET - LAYOUT_PORT_PCI_ADDRESS)
#define RESET_HARD     0x06u

/* A generic PCIe host bridge, for which no operating system has a quirk. */
static const struct pci_ids bridge_ids = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class_code = 0x060000,
};

static uint64_t ones(unsigned int size_bytes)
{
	return size_bytes >= 8 ? UINT64_MAX : (1ULL << 8 * size_bytes) - 1;
}

static bool in_one_dword(uint64_t offset, unsigned int size_bytes)
{
	return (offset & 3) + size_bytes <= 4;
}

/* --- ECAM: offset = function << 12 | register --- */

static uint64_t ecam_read_dword(struct pci_bus *p, uint64_t offset, unsigned int size_bytes)
{
	struct pci_function *f = p->functions[offset >> 12];

	return f ? pci_config_read(f, offset & 0xfff, size_bytes) : ones(size_bytes);
}

static void ecam_write_dword(
	struct pci_bus *p, uint64_t offset, unsigned int size_bytes, uint32_t value)
{
	struct pci_function *f = p->functions[offset >> 12];

	if (f)
		pci_config_write(f, offset & 0xfff, size_bytes, value);
}

static uint64_t ecam_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct pci_bus *p = container_of(range, struct pci_bus, ecam);

	if (size_bytes == 8 && !(offset & 3))
		return ecam_read_dword(p, offset, 4) | ecam_read_dword(p, offset + 4, 4) << 32;
	if (!in_one_dword(offset, size_bytes))
		return ones(size_bytes);
	return ecam_read_dword(p, offset, size_bytes);
}

static void ecam_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pci_bus *p = container_of(range, struct pci_bus, ecam);

	if (size_bytes == 8 && !(offset & 3)) {
		ecam_write_dword(p, offset, 4, (uint32_t)value);
		ecam_write_dword(p, offset + 4, 4, (uint32_t)(value >> 32));
	} else if (in_one_dword(offset, size_bytes)) {
		ecam_write_dword(p, offset, size_bytes, (uint32_t)value);
	}
}

/* --- ports --- */

static uint64_t address_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct pci_bus *p = container_of(range, struct pci_bus, address_port);

	if (offset == RESET_CONTROL && size_bytes == 1)
		return p->reset_control;
	return !offset && size_bytes == 4 ? p->address : ones(size_bytes);
}

static void address_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pci_bus *p = container_of(range, struct pci_bus, address_port);

	if (!offset && size_bytes == 4)
		p->address = (uint32_t)value & ADDRESS_MASK;
	if (offset != RESET_CONTROL || size_bytes != 1)
		return;
	p->reset_control = (uint8_t)value;
	if ((value & RESET_HARD) == RESET_HARD && p->reset)
		p->reset(p->reset_ctx);
}

/* The function that 0xCF8 selects; NULL if it is off or there is none. */
static struct pci_function *data_function(const struct pci_bus *p)
{
	unsigned int number = p->address >> 16 & 0xff;

	if (!(p->address & ADDRESS_ENABLE) || number)
		return NULL;
	return p->functions[p->address >> 8 & 0xff];
}

static uint64_t data_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct pci_bus *p = container_of(range, struct pci_bus, data_port);
	struct pci_function *f = data_function(p);

	if (!f || !in_one_dword(offset, size_bytes))
		return ones(size_bytes);
	return pci_config_read(f, (p->address & 0xfc) + (unsigned int)offset, size_bytes);
}

static void data_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pci_bus *p = container_of(range, struct pci_bus, data_port);
	struct pci_function *f = data_function(p);

	if (f && in_one_dword(offset, size_bytes))
		pci_config_write(
			f, (p->address & 0xfc) + (unsigned int)offset, size_bytes, (uint32_t)value);
}

/* --- the bus --- */

int pci_init(struct pci_bus *p, struct bus *bus, struct diag *d)
{
	int err;

	memset(p, 0, sizeof(*p));
	p->bus = bus;
	p->next_bar = LAYOUT_PCI_MMIO;
	p->ecam = (struct bus_range){.start = LAYOUT_ECAM,
		.len_bytes = LAYOUT_ECAM_BYTES,
		.read = ecam_read,
		.write = ecam_write,
		.name = "PCI ECAM"};
	p->address_port = (struct bus_range){.start = LAYOUT_PORT_PCI_ADDRESS,
		.len_bytes = 4,
		.read = address_read,
		.write = address_write,
		.name = "PCI address port"};
	p->data_port = (struct bus_range){.start = LAYOUT_PORT_PCI_DATA,
		.len_bytes = 4,
		.read = data_read,
		.write = data_write,
		.name = "PCI data port"};
	err = bus_add(bus, BUS_MMIO, &p->ecam, d);
	if (!err)
		err = bus_add(bus, BUS_PIO, &p->address_port, d);
	if (!err)
		err = bus_add(bus, BUS_PIO, &p->data_port, d);
	if (err) {
		pci_finish(p);
		return err;
	}
	pci_function_init(&p->bridge, NULL, &bridge_ids);
	p->bridge.bus = p;
	p->functions[0] = &p->bridge;
	return 0;
}

void pci_finish(struct pci_bus *p)
{
	if (!p->bus)
		return;
	for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS_MAX; devfn++) {
		if (p->functions[devfn])
			pci_remove(p, p->functions[devfn]);
	}
	bus_remove(p->bus, BUS_MMIO, &p->ecam);
	bus_remove(p->bus, BUS_PIO, &p->address_port);
	bus_remove(p->bus, BUS_PIO, &p->data_port);
	p->bus = NULL;
}

/* The multi-function bit counts in function 0 only, but all functions of a slot show the same. */
static void slot_mark(struct pci_bus *p, unsigned int slot)
{
	struct pci_function **functions = &p->functions[slot * 8];
	unsigned int count = 0;

	for (unsigned int i = 0; i < 8; i++)
		count += functions[i] != NULL;
	for (unsigned int i = 0; i < 8; i++) {
		if (functions[i])
			functions[i]->config[PCI_REG_HEADER_TYPE] =
				count > 1 ? PCI_HEADER_MULTI_BIT : 0;
	}
}

int pci_add(struct pci_bus *p, struct pci_function *f, struct diag *d)
{
	unsigned int devfn = 8; /* slot 0 is the host bridge's alone */
	int err;

	while (devfn < PCI_FUNCTIONS_MAX && p->functions[devfn])
		devfn++;
	if (devfn == PCI_FUNCTIONS_MAX)
		return diag_fail(d, -ENOSPC, "the PCI bus is full: it has room for %d functions",
			PCI_FUNCTIONS_MAX - 8);
	f->bus = p;
	f->devfn = (uint8_t)devfn;
	err = pci_bars_place(f, d);
	if (err) {
		f->bus = NULL;
		return err;
	}
	f->config[PCI_REG_INTERRUPT_PIN] = 1;
	f->config[PCI_REG_INTERRUPT_LINE] = (uint8_t)pci_intx_gsi(f);
	p->functions[devfn] = f;
	slot_mark(p, devfn >> 3);
	return 0;
}

void pci_remove(struct pci_bus *p, struct pci_function *f)
{
	if (f->bus != p)
		return;
	CHECK(p->functions[f->devfn] == f);
	pci_intx_set(f, false);
	pci_bars_unmap(f);
	p->functions[f->devfn] = NULL;
	slot_mark(p, f->devfn >> 3);
	f->bus = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space of one PCI function: header, capabilities, write masks and BARs that follow
 * what the guest writes. PCI Local Bus 3.0 §6. */
#include <errno.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/pci.h"
#include "core/pci_config.h"

#define BAR_64BIT 0x4u

static void config_put(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint64_t value)
{
	for (unsigned int i = 0; i < size_bytes; i++)
		f->config[offset + i] = (uint8_t)(value >> 8 * i);
}

static uint32_t config_get(
	const struct pci_function *f, unsigned int offset, unsigned int size_bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < size_bytes; i++)
		value |= (uint32_t)f->config[offset + i] << 8 * i;
	return value;
}

static void mask_put(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint64_t mask)
{
	for (unsigned int i = 0; i < size_bytes; i++)
		f->write_mask[offset + i] = (uint8_t)(mask >> 8 * i);
}

void pci_function_init(
	struct pci_function *f, const struct pci_function_ops *ops, const struct pci_ids *ids)
{
	memset(f, 0, sizeof(*f));
	f->ops = ops;
	f->cap_end = 0x40;
	config_put(f, PCI_REG_VENDOR, 2, ids->vendor);
	config_put(f, PCI_REG_DEVICE, 2, ids->device);
	config_put(f, PCI_REG_REVISION, 1, ids->revision);
	config_put(f, PCI_REG_CLASS, 3, ids->class_code);
	config_put(f, PCI_REG_SUBSYSTEM_VENDOR, 2, ids->subsystem_vendor);
	config_put(f, PCI_REG_SUBSYSTEM, 2, ids->subsystem);
	mask_put(f, PCI_REG_COMMAND, 2,
		PCI_COMMAND_MEMORY_BIT | PCI_COMMAND_MASTER_BIT | PCI_COMMAND_INTX_OFF_BIT);
	mask_put(f, PCI_REG_INTERRUPT_LINE, 1, 0xff);
}

void pci_bar_set(struct pci_function *f, unsigned int i, uint64_t size_bytes, bool is_64bit)
{
	uint64_t mask = ~(size_bytes - 1);

	CHECK(i + is_64bit < PCI_BARS_MAX);
	CHECK(size_bytes >= 16 && !(size_bytes & (size_bytes - 1)));
	CHECK(is_64bit || size_bytes <= 1ULL << 31);
	f->bars[i].size_bytes = size_bytes;
	f->bars[i].is_64bit = is_64bit;
	f->bars[i].range.len_bytes = size_bytes;
	config_put(f, PCI_REG_BAR + 4 * i, 4, is_64bit ? BAR_64BIT : 0);
	mask_put(f, PCI_REG_BAR + 4 * i, is_64bit ? 8 : 4, mask);
}

unsigned int pci_cap_add(
	struct pci_function *f, uint8_t id, const void *cap, unsigned int len_bytes)
{
	unsigned int at = f->cap_end;

	CHECK(len_bytes >= 2 && len_bytes <= PCI_CONFIG_BYTES - at);
	memcpy(f->config + at, cap, len_bytes);
	f->config[at] = id;
	f->config[at + 1] = 0;
	f->config[f->cap_last ? f->cap_last + 1 : PCI_REG_CAPABILITIES] = (uint8_t)at;
	f->config[PCI_REG_STATUS] |= PCI_STATUS_CAPS_BIT;
	f->cap_last = (uint8_t)at;
	/* 0xff: full, for no capability is that short. */
	at = (at + len_bytes + 3) & ~3u;
	f->cap_end = (uint8_t)(at < 0xff ? at : 0xff);
	return f->cap_last;
}

unsigned int pci_intx_gsi(const struct pci_function *f)
{
	return LAYOUT_GSI_INTX + (f->devfn >> 3) % 4;
}

/* Draws or releases the line, if the wish and the command register ask for a change. */
static void intx_follow(struct pci_function *f)
{
	bool draw = f->intx && !(config_get(f, PCI_REG_COMMAND, 2) & PCI_COMMAND_INTX_OFF_BIT);
	unsigned int gsi = pci_intx_gsi(f);
	unsigned int *drawn;

	if (!f->bus || draw == f->intx_drawn)
		return;
	f->intx_drawn = draw;
	drawn = &f->bus->intx_drawn[gsi - LAYOUT_GSI_INTX];
	*drawn += draw ? 1 : -1u;
	if (*drawn == draw && f->bus->irq)
		f->bus->irq(f->bus->irq_ctx, gsi, draw);
}

void pci_intx_set(struct pci_function *f, bool asserted)
{
	f->intx = asserted;
	if (asserted)
		f->config[PCI_REG_STATUS] |= PCI_STATUS_INTX_BIT;
	else
		f->config[PCI_REG_STATUS] &= (uint8_t)~PCI_STATUS_INTX_BIT;
	intx_follow(f);
}

/* --- BARs --- */

/* What the guest wrote into the registers, type bits cleared. */
static uint64_t bar_address(const struct pci_function *f, unsigned int i)
{
	uint64_t address = config_get(f, PCI_REG_BAR + 4 * i, 4) & ~0xfULL;

	if (f->bars[i].is_64bit)
		address |= (uint64_t)config_get(f, PCI_REG_BAR + 4 * i + 4, 4) << 32;
	return address;
}

/* Only inside the window: so no BAR can hide RAM, ECAM or the interrupt controllers. */
static bool bar_address_ok(const struct pci_bar *bar, uint64_t address)
{
	const uint64_t window = LAYOUT_PCI_MMIO_END - LAYOUT_PCI_MMIO;

	return address >= LAYOUT_PCI_MMIO && bar->size_bytes <= window &&
	       address - LAYOUT_PCI_MMIO <= window - bar->size_bytes;
}

static void bar_unmap(struct pci_function *f, unsigned int i)
{
	struct pci_bar *bar = &f->bars[i];

	if (!bar->mapped)
		return;
	bar->mapped = false;
	if (f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f, i);
	bus_remove(f->bus->bus, BUS_MMIO, &bar->range);
}

static int bar_map(struct pci_function *f, unsigned int i, struct diag *d)
{
	struct pci_bar *bar = &f->bars[i];
	int err;

	bar->range.start = bar_address(f, i);
	err = bus_add(f->bus->bus, BUS_MMIO, &bar->range, d);
	if (err)
		return err;
	bar->mapped = true;
	if (f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f, i);
	return 0;
}

static bool bar_wanted(const struct pci_function *f, unsigned int i)
{
	return f->bars[i].size_bytes &&
	       (config_get(f, PCI_REG_COMMAND, 2) & PCI_COMMAND_MEMORY_BIT) &&
	       bar_address_ok(&f->bars[i], bar_address(f, i));
}

/* Maps every BAR of the bus that is decoded, lies in the window and is not mapped yet. All of them,
 * because a place may have become free for a BAR that was put there while it was taken: a guest
 * that swaps two BARs does that. One that still overlaps stays unmapped; nobody but this guest
 * notices. */
static void bars_settle(struct pci_bus *p)
{
	for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS_MAX; devfn++) {
		struct pci_function *f = p->functions[devfn];

		for (unsigned int i = 0; f && i < PCI_BARS_MAX; i++) {
			if (!f->bars[i].mapped && bar_wanted(f, i))
				bar_map(f, i, NULL);
		}
	}
}

static void bars_follow(struct pci_function *f)
{
	for (unsigned int i = 0; i < PCI_BARS_MAX; i++) {
		if (!bar_wanted(f, i) || bar_address(f, i) != f->bars[i].range.start)
			bar_unmap(f, i);
	}
	bars_settle(f->bus);
}

void pci_bars_unmap(struct pci_function *f)
{
	for (unsigned int i = 0; i < PCI_BARS_MAX; i++)
		bar_unmap(f, i);
}

static int bar_place(struct pci_function *f, unsigned int i, struct diag *d)
{
	struct pci_bar *bar = &f->bars[i];
	uint64_t start = (f->bus->next_bar + bar->size_bytes - 1) & ~(bar->size_bytes - 1);

	if (!bar_address_ok(bar, start))
		return diag_fail(d, -ENOSPC,
			"no room for a BAR of %#llx bytes in the PCI window [%#llx, %#llx)",
			(unsigned long long)bar->size_bytes, LAYOUT_PCI_MMIO, LAYOUT_PCI_MMIO_END);
	f->bus->next_bar = start + bar->size_bytes;
	config_put(f, PCI_REG_BAR + 4 * i, 4, (uint32_t)start | (bar->is_64bit ? BAR_64BIT : 0));
	if (bar->is_64bit)
		config_put(f, PCI_REG_BAR + 4 * i + 4, 4, start >> 32);
	return bar_map(f, i, d);
}

int pci_bars_place(struct pci_function *f, struct diag *d)
{
	uint64_t next_bar = f->bus->next_bar;
	int err = 0;

	for (unsigned int i = 0; i < PCI_BARS_MAX && !err; i++) {
		if (f->bars[i].size_bytes)
			err = bar_place(f, i, d);
	}
	if (err) {
		pci_bars_unmap(f);
		f->bus->next_bar = next_bar;
		return err;
	}
	f->config[PCI_REG_COMMAND] |= PCI_COMMAND_MEMORY_BIT;
	return 0;
}

/* --- accesses --- */

static bool ranges_meet(unsigned int a, unsigned int a_bytes, unsigned int b, unsigned int b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

uint32_t pci_config_read(struct pci_function *f, unsigned int offset, unsigned int size_bytes)
{
	if (offset >= PCI_CONFIG_BYTES)
		return 0;
	if (f->ops && f->ops->config_reading)
		f->ops->config_reading(f, offset, size_bytes);
	return config_get(f, offset, size_bytes);
}

void pci_config_write(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint32_t value)
{
	if (offset >= PCI_CONFIG_BYTES)
		return;
	for (unsigned int i = 0; i < size_bytes; i++) {
		uint8_t mask = f->write_mask[offset + i];
		uint8_t byte = (uint8_t)(value >> 8 * i);

		f->config[offset + i] = (f->config[offset + i] & ~mask) | (byte & mask);
	}
	if (ranges_meet(offset, size_bytes, PCI_REG_COMMAND, 2) ||
		ranges_meet(offset, size_bytes, PCI_REG_BAR, 4 * PCI_BARS_MAX))
		bars_follow(f);
	intx_follow(f);
	if (f->ops && f->ops->config_written)
		f->ops->config_written(f, offset, size_bytes, value);
}

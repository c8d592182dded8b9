/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space as a guest sees it: by ECAM and by ports, BARs that move, capabilities.
 */
#include "core/pci.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"

#define ONES32 0xffffffffULL

struct device {
	struct pci_function f;
	uint64_t last_offset, last_value;
	unsigned int last_size, moves, config_writes, config_reads;
	uint64_t mapped_at; /* 0: not mapped */
};

/* Devices are static in their tests: the bus still holds them when the test has returned. */
static struct bus bus;
static struct pci_bus pci;
static unsigned int resets;

static uint64_t device_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	(void)range;
	(void)size_bytes;
	return 0x1000 + offset;
}

static void device_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct device *dev = container_of(range, struct device, f.bars[0].range);

	dev->last_offset = offset;
	dev->last_size = size_bytes;
	dev->last_value = value;
}

static void device_bar_moved(struct pci_function *f, unsigned int bar)
{
	struct device *dev = container_of(f, struct device, f);

	dev->moves++;
	dev->mapped_at = f->bars[bar].mapped ? f->bars[bar].range.start : 0;
}

static void device_config_written(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint32_t value)
{
	(void)offset;
	(void)size_bytes;
	(void)value;
	container_of(f, struct device, f)->config_writes++;
}

static void device_config_reading(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes)
{
	(void)offset;
	(void)size_bytes;
	container_of(f, struct device, f)->config_reads++;
}

static const struct pci_function_ops device_ops = {
	.config_written = device_config_written,
	.config_reading = device_config_reading,
	.bar_moved = device_bar_moved,
};

static const struct pci_ids device_ids = {.vendor = 0x1af4,
	.device = 0x1043,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x0040,
	.class_code = 0x078000,
	.revision = 1};

static void device_init(struct device *dev, uint64_t bar_bytes, bool is_64bit)
{
	memset(dev, 0, sizeof(*dev));
	pci_function_init(&dev->f, &device_ops, &device_ids);
	dev->f.bars[0].range.read = device_read;
	dev->f.bars[0].range.write = device_write;
	dev->f.bars[0].range.name = "test device";
	pci_bar_set(&dev->f, 0, bar_bytes, is_64bit);
}

static void device_add(struct device *dev, uint64_t bar_bytes, bool is_64bit)
{
	struct diag d = {.text = ""};

	device_init(dev, bar_bytes, is_64bit);
	cr_assert_eq(pci_add(&pci, &dev->f, &d), 0, "%s", d.text);
}

static void count_reset(void *ctx)
{
	cr_assert_eq(ctx, &pci);
	resets++;
}

static void setup(void)
{
	struct diag d = {.text = ""};

	bus_init(&bus);
	cr_assert_eq(pci_init(&pci, &bus, &d), 0, "%s", d.text);
	pci.reset = count_reset;
	pci.reset_ctx = &pci;
}

static void teardown(void)
{
	pci_finish(&pci);
	bus_finish(&bus);
}

TestSuite(pci, .init = setup, .fini = teardown);

static uint64_t ecam(unsigned int devfn, unsigned int reg, unsigned int size_bytes)
{
	return bus_read(&bus, BUS_MMIO, LAYOUT_ECAM + (devfn << 12) + reg, size_bytes);
}

static void ecam_put(unsigned int devfn, unsigned int reg, unsigned int size_bytes, uint64_t value)
{
	bus_write(&bus, BUS_MMIO, LAYOUT_ECAM + (devfn << 12) + reg, size_bytes, value);
}

static void select_port(unsigned int devfn, unsigned int reg)
{
	bus_write(&bus, BUS_PIO, 0xcf8, 4, 0x80000000u | devfn << 8 | reg);
}

static uint64_t mmio(uint64_t addr, unsigned int size_bytes)
{
	return bus_read(&bus, BUS_MMIO, addr, size_bytes);
}

Test(pci, shows_the_host_bridge_by_both_mechanisms)
{
	cr_assert_eq(ecam(0, 0, 4), 0x00081b36);
	cr_assert_eq(ecam(0, 8, 4) >> 8, 0x060000);
	cr_assert_eq(ecam(0, 0x0e, 1), 0);
	select_port(0, 0);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfc, 4), 0x00081b36);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcf8, 4), 0x80000000);
}

Test(pci, absent_functions_read_all_ones_and_ignore_writes)
{
	for (unsigned int devfn = 1; devfn < 256; devfn++) {
		cr_assert_eq(ecam(devfn, 0, 4), ONES32);
		cr_assert_eq(ecam(devfn, 0, 2), 0xffff);
		cr_assert_eq(ecam(devfn, 0xffc, 1), 0xff);
		ecam_put(devfn, 4, 2, 7);
		select_port(devfn, 0);
		cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfc, 4), ONES32);
	}
	cr_assert_eq(ecam(1, 0, 8), UINT64_MAX);
	bus_write(&bus, BUS_PIO, 0xcf8, 4, 0x80010000u); /* bus 1 */
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfc, 4), ONES32);
	bus_write(&bus, BUS_PIO, 0xcf8, 4, 0); /* mechanism off */
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfc, 4), ONES32);
}

Test(pci, data_port_takes_bytes_words_and_dwords)
{
	select_port(0, 0);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfc, 1), 0x36);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfd, 1), 0x1b);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcfe, 2), 0x0008);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcff, 1), 0x00);
	select_port(0, 0x3c);
	bus_write(&bus, BUS_PIO, 0xcfc, 1, 0x5a);
	cr_assert_eq(ecam(0, 0x3c, 1), 0x5a);
}

Test(pci, address_port_takes_dwords_only)
{
	select_port(0, 0x3c);
	bus_write(&bus, BUS_PIO, 0xcf8, 1, 0);
	bus_write(&bus, BUS_PIO, 0xcf8, 2, 0);
	bus_write(&bus, BUS_PIO, 0xcfa, 2, 0xffff);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcf8, 4), 0x8000003c);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcf8, 2), 0xffff);
	bus_write(&bus, BUS_PIO, 0xcf8, 4, ONES32);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcf8, 4), 0x80fffffc);
}

Test(pci, reset_control_resets_on_a_full_reset_only)
{
	bus_write(&bus, BUS_PIO, 0xcf9, 1, 0x02);
	bus_write(&bus, BUS_PIO, 0xcf9, 1, 0x04);
	bus_write(&bus, BUS_PIO, 0xcf8, 4, 0x0606);
	bus_write(&bus, BUS_PIO, 0xcf9, 2, 0x0606);
	cr_assert_eq(resets, 0);
	bus_write(&bus, BUS_PIO, 0xcf9, 1, 0x06);
	bus_write(&bus, BUS_PIO, 0xcf9, 1, 0x0e);
	cr_assert_eq(resets, 2);
	cr_assert_eq(bus_read(&bus, BUS_PIO, 0xcf9, 1), 0x0e);
}

Test(pci, accesses_across_a_dword_read_ones_and_write_nothing)
{
	cr_assert_eq(ecam(0, 1, 4), ONES32);
	cr_assert_eq(ecam(0, 3, 2), 0xffff);
	cr_assert_eq(ecam(0, 2, 8), UINT64_MAX);
	cr_assert_eq(ecam(0, 1, 2), 0x081b);
	ecam_put(0, 0x3b, 2, 0x1111);
	ecam_put(0, 0x3a, 8, UINT64_MAX);
	cr_assert_eq(ecam(0, 0x3c, 1), 0);
}

Test(pci, eight_byte_ecam_accesses_are_two_dwords)
{
	static struct device dev;

	device_add(&dev, 0x4000, true);
	cr_assert_eq(ecam(8, 0, 8), ecam(8, 0, 4) | ecam(8, 4, 4) << 32);
	ecam_put(8, 0x10, 8, 0xc0100000);
	cr_assert_eq(dev.mapped_at, 0xc0100000);
	/* The second half belongs to the next function, which is not there. */
	cr_assert_eq(ecam(8, 0xffc, 8), 0xffffffff00000000);
}

Test(pci, space_above_the_header_reads_zero)
{
	cr_assert_eq(ecam(0, 0x100, 4), 0);
	ecam_put(0, 0x100, 4, ONES32);
	cr_assert_eq(ecam(0, 0x100, 4), 0);
	cr_assert_eq(ecam(0, 0xfff, 1), 0);
}

Test(pci, header_is_read_only_but_for_its_masks)
{
	static struct device dev;

	device_add(&dev, 0x1000, false);
	for (unsigned int reg = 0; reg < 0x100; reg += 4) {
		uint32_t before = (uint32_t)ecam(8, reg, 4), mask = 0;

		if (reg == 0x10)
			continue;
		memcpy(&mask, dev.f.write_mask + reg, 4);
		ecam_put(8, reg, 4, ~before);
		cr_assert_eq(ecam(8, reg, 4), (before & ~mask) | (~before & mask), "%#x", reg);
		ecam_put(8, reg, 4, before);
	}
	ecam_put(8, 4, 2, 0xffff);
	cr_assert_eq(ecam(8, 4, 2), 0x0406);
}

Test(pci, places_bars_as_firmware_does)
{
	static struct device a, b;

	device_add(&a, 0x1000, false);
	device_add(&b, 0x4000, true);
	cr_assert_eq(a.mapped_at, LAYOUT_PCI_MMIO);
	cr_assert_eq(b.mapped_at, LAYOUT_PCI_MMIO + 0x4000);
	cr_assert_eq(ecam(8, 0x10, 4), LAYOUT_PCI_MMIO);
	cr_assert_eq(ecam(9, 0x10, 4), (LAYOUT_PCI_MMIO + 0x4000) | 4);
	cr_assert_eq(ecam(9, 0x14, 4), 0);
	cr_assert(ecam(8, 4, 2) & 2);
	cr_assert_eq(mmio(a.mapped_at + 8, 4), 0x1008);
	bus_write(&bus, BUS_MMIO, b.mapped_at + 0x3ffc, 4, 77);
	cr_assert_eq(b.last_offset, 0x3ffc);
	cr_assert_eq(b.last_value, 77);
}

Test(pci, sizes_bars)
{
	static struct device a, b;

	device_add(&a, 0x1000, false);
	device_add(&b, 0x80000, true);
	ecam_put(8, 0x10, 4, ONES32);
	cr_assert_eq(ecam(8, 0x10, 4), 0xfffff000);
	cr_assert_eq(a.mapped_at, 0);
	ecam_put(9, 0x10, 4, ONES32);
	ecam_put(9, 0x14, 4, ONES32);
	cr_assert_eq(ecam(9, 0x10, 4), 0xfff80004);
	cr_assert_eq(ecam(9, 0x14, 4), ONES32);
	ecam_put(9, 0x18, 4, ONES32);
	cr_assert_eq(ecam(9, 0x18, 4), 0);
	ecam_put(8, 0x10, 4, LAYOUT_PCI_MMIO);
	cr_assert_eq(a.mapped_at, LAYOUT_PCI_MMIO);
}

Test(pci, decoding_goes_off_and_on_with_the_command_register)
{
	static struct device dev;

	device_add(&dev, 0x1000, false);
	ecam_put(8, 4, 2, 0);
	cr_assert_eq(dev.mapped_at, 0);
	cr_assert_eq(mmio(LAYOUT_PCI_MMIO, 4), ONES32);
	ecam_put(8, 0x10, 4, 0xc2000000);
	cr_assert_eq(dev.mapped_at, 0);
	ecam_put(8, 4, 1, 2);
	cr_assert_eq(dev.mapped_at, 0xc2000000);
	cr_assert_eq(mmio(0xc2000004, 2), 0x1004);
	cr_assert_eq(mmio(LAYOUT_PCI_MMIO, 4), ONES32);
}

Test(pci, a_bar_outside_the_window_is_kept_but_not_mapped)
{
	static const uint64_t places[] = {0, 0x1000, LAYOUT_PCI_MMIO - 0x1000, LAYOUT_PCI_MMIO_END,
		LAYOUT_ECAM, LAYOUT_LAPIC, 0xfffff000, 0x100000000, 0x1c0000000,
		0xfffffffffffff000};
	static struct device dev;

	device_add(&dev, 0x1000, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		ecam_put(8, 0x10, 8, places[i]);
		cr_assert_eq(ecam(8, 0x10, 8), places[i] | 4);
		cr_assert_eq(dev.mapped_at, 0, "%#lx", places[i]);
	}
	ecam_put(8, 0x10, 8, LAYOUT_PCI_MMIO_END - 0x1000);
	cr_assert_eq(dev.mapped_at, LAYOUT_PCI_MMIO_END - 0x1000);
	cr_assert_eq(ecam(0, 0, 4), 0x00081b36);
}

Test(pci, a_bar_over_another_waits_until_the_place_is_free)
{
	static struct device a, b;

	device_add(&a, 0x1000, false);
	device_add(&b, 0x1000, false);
	ecam_put(8, 0x10, 4, LAYOUT_PCI_MMIO + 0x1000);
	cr_assert_eq(a.mapped_at, 0);
	cr_assert_eq(b.mapped_at, LAYOUT_PCI_MMIO + 0x1000);
	cr_assert_eq(ecam(8, 0x10, 4), LAYOUT_PCI_MMIO + 0x1000);
	ecam_put(9, 0x10, 4, LAYOUT_PCI_MMIO);
	cr_assert_eq(a.mapped_at, LAYOUT_PCI_MMIO + 0x1000);
	cr_assert_eq(b.mapped_at, LAYOUT_PCI_MMIO);
}

Test(pci, writes_that_change_nothing_move_nothing)
{
	static struct device dev;

	device_add(&dev, 0x1000, false);
	cr_assert_eq(dev.moves, 1);
	ecam_put(8, 0x10, 4, LAYOUT_PCI_MMIO);
	ecam_put(8, 4, 2, 2);
	cr_assert_eq(dev.moves, 1);
	cr_assert_eq(dev.config_writes, 2);
	ecam(8, 0x40, 1);
	cr_assert_eq(dev.config_reads, 1);
}

Test(pci, links_capabilities)
{
	static const uint8_t cap[20] = {[4] = 0xaa, [19] = 0xbb};
	static struct device dev;
	unsigned int first, second, third;

	device_init(&dev, 0x1000, false);
	cr_assert_eq(dev.f.config[0x06] & 0x10, 0);
	first = pci_cap_add(&dev.f, 9, cap, 17);
	second = pci_cap_add(&dev.f, 0x11, cap, 12);
	third = pci_cap_add(&dev.f, 9, cap, 20);
	cr_assert_eq(first, 0x40);
	cr_assert_eq(second, 0x54);
	cr_assert_eq(third, 0x60);
	cr_assert_eq(pci_add(&pci, &dev.f, NULL), 0);
	cr_assert_eq(ecam(8, 0x06, 2), 0x10);
	cr_assert_eq(ecam(8, 0x34, 1), first);
	cr_assert_eq(ecam(8, first, 2), 9 | second << 8);
	cr_assert_eq(ecam(8, second, 2), 0x11 | third << 8);
	cr_assert_eq(ecam(8, third, 2), 9);
	cr_assert_eq(ecam(8, third + 4, 1), 0xaa);
	cr_assert_eq(ecam(8, third + 16, 4), 0xbb000000);
	pci_remove(&pci, &dev.f);
}

Test(pci, packs_eight_functions_to_a_slot)
{
	static struct device devs[20];

	for (unsigned int i = 0; i < ARRAY_SIZE(devs); i++) {
		device_add(&devs[i], 0x1000, false);
		cr_assert_eq(devs[i].f.devfn, 8 + i);
		cr_assert_eq(ecam(8 + i, 0x3c, 2), 0x100 + 16 + (1 + i / 8) % 4);
		cr_assert_eq(ecam(8, 0x0e, 1), i ? 0x80 : 0);
	}
	cr_assert_eq(ecam(24, 0x0e, 1), 0x80);
	pci_remove(&pci, &devs[3].f);
	cr_assert_eq(ecam(11, 0, 4), ONES32);
	cr_assert_eq(mmio(LAYOUT_PCI_MMIO + 0x3000, 4), ONES32);
	device_add(&devs[3], 0x1000, false);
	cr_assert_eq(devs[3].f.devfn, 11);
}

Test(pci, a_full_bus_refuses)
{
	static struct device devs[249];
	struct diag d = {.text = ""};

	for (unsigned int i = 0; i < 248; i++)
		device_add(&devs[i], 0x1000, false);
	device_init(&devs[248], 0x1000, false);
	cr_assert_eq(pci_add(&pci, &devs[248].f, &d), -ENOSPC);
	cr_assert(strstr(d.text, "248"));
}

Test(pci, a_full_window_refuses_and_gives_back)
{
	static struct device a, b, c;
	struct diag d = {.text = ""};

	device_add(&a, 0x10000000, false);
	device_init(&b, 0x1000, false);
	b.f.bars[1].range = b.f.bars[0].range;
	pci_bar_set(&b.f, 1, 0x20000000, false);
	cr_assert_eq(pci_add(&pci, &b.f, &d), -ENOSPC);
	cr_assert_eq(b.mapped_at, 0);
	cr_assert_eq(ecam(9, 0, 4), ONES32);
	device_add(&c, 0x10000000, false);
	cr_assert_eq(c.mapped_at, 0xd0000000);
}

static unsigned int line_changes;
static bool lines[24];

static void line_set(void *ctx, unsigned int gsi, bool level)
{
	cr_assert_eq(ctx, &pci);
	cr_assert_neq(lines[gsi], level);
	lines[gsi] = level;
	line_changes++;
}

Test(pci, functions_share_a_line)
{
	static struct device devs[9];

	pci.irq = line_set;
	pci.irq_ctx = &pci;
	for (unsigned int i = 0; i < ARRAY_SIZE(devs); i++)
		device_add(&devs[i], 0x1000, false);
	pci_intx_set(&devs[0].f, true);
	pci_intx_set(&devs[1].f, true);
	pci_intx_set(&devs[1].f, true);
	cr_assert(lines[17] && line_changes == 1);
	cr_assert_eq(ecam(9, 6, 2), 0x08);
	pci_intx_set(&devs[0].f, false);
	cr_assert(lines[17]);
	ecam_put(9, 4, 2, 0x402);
	cr_assert(!lines[17], "switched off by the command register");
	cr_assert_eq(ecam(9, 6, 2), 0x08, "but still pending");
	ecam_put(9, 4, 2, 0x2);
	cr_assert(lines[17]);
	pci_intx_set(&devs[8].f, true);
	cr_assert(lines[18]);
	pci_remove(&pci, &devs[1].f);
	cr_assert(!lines[17]);
	pci_intx_set(&devs[8].f, false);
	cr_assert_eq(line_changes, 6);
}

Test(pci, finish_leaves_nothing_on_the_bus)
{
	static struct device dev;

	device_add(&dev, 0x1000, false);
	pci_finish(&pci);
	cr_assert_eq(dev.mapped_at, 0);
	cr_assert_eq(bus.maps[BUS_PIO].count, 0);
	cr_assert_eq(bus.maps[BUS_MMIO].count, 0);
}

/* Any access of any size anywhere must be answered: a seeded walk, with the invariant that what is
 * mapped is in the window and where the register says. */
Test(pci, survives_random_accesses)
{
	static struct device devs[3];
	uint64_t seed = 0x9e3779b97f4a7c15;

	for (unsigned int i = 0; i < ARRAY_SIZE(devs); i++)
		device_add(&devs[i], 0x1000ULL << i, i & 1);
	for (unsigned int n = 0; n < 200000; n++) {
		unsigned int size = 1u << (seed >> 60 & 3), devfn = 8 + (seed >> 56 & 3);
		unsigned int reg = seed >> 40 & 0x4f;
		uint64_t value = seed >> 62 ? LAYOUT_PCI_MMIO + (seed & 0x3fff000) : seed;

		ecam_put(devfn, reg, size, value);
		ecam(devfn, reg, size);
		for (unsigned int i = 0; i < ARRAY_SIZE(devs); i++) {
			uint64_t at = devs[i].mapped_at;

			cr_assert(!at || (at >= LAYOUT_PCI_MMIO && at < LAYOUT_PCI_MMIO_END &&
						 at == (ecam(8 + i, 0x10, 4) & ~0xfULL)));
		}
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
	}
}

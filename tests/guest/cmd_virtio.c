/* SPDX-License-Identifier: Apache-2.0 */
/* pci and virtio: what there is. */
#include "acpi.h"
#include "commands.h"
#include "lib.h"
#include "pci.h"
#include "virtio_common.h"
#include "virtio_pci.h"

#define HEADER_KIND 0x7f
#define DEVICES_MAX 256

static bool function_print(const struct pci_function *f, void *arg)
{
	unsigned *count = arg;
	++*count;
	print("pci %02x:%02x.%x %04x:%04x class %06x\n", f->bus, f->slot, f->function, f->vendor,
		f->device, f->class_code);
	unsigned bars = pci_read8(f, PCI_HEADER_TYPE) & HEADER_KIND ? 0 : PCI_BARS_MAX;
	for (unsigned i = 0; i < bars; i++) {
		struct pci_bar bar = pci_bar_read(f, i);
		if (bar.size_bytes)
			print("  bar %u %s 0x%lx size 0x%lx\n", i,
				bar.is_io      ? "io"
				: bar.is_64bit ? "mem64"
					       : "mem32",
				bar.address, bar.size_bytes);
		if (bar.is_64bit)
			i++;
	}
	return false;
}

bool cmd_pci(const struct args *args)
{
	(void)args;
	unsigned count = 0;
	if (!acpi_info.ecam_address)
		return fail("no ECAM: there is no MCFG table");
	pci_scan(function_print, &count);
	print("pci: %u functions\n", count);
	return count ? true : fail("no function");
}

static void device_print(struct virtio_dev *dev)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {
		{VIRTIO_F_INDIRECT_DESC, "indirect"},
		{VIRTIO_F_EVENT_IDX, "event_idx"},
		{VIRTIO_F_VERSION_1, "version_1"},
		{VIRTIO_F_RING_PACKED, "packed"},
		{VIRTIO_F_IN_ORDER, "in_order"},
		{VIRTIO_F_RING_RESET, "ring_reset"},
	};
	print("virtio %02x:%02x.%x %s type=%u features=0x%lx queues=%u msix=%u config=%u "
	      "status=0x%x\n",
		dev->pci.bus, dev->pci.slot, dev->pci.function, virtio_type_name(dev->type),
		dev->type, dev->offered, dev->queue_count, dev->msix_count, dev->config.len_bytes,
		virtio_status(dev));
	print(" ");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (dev->offered & names[i].bit)
			print(" %s", names[i].name);
	print("; queue sizes");
	for (uint16_t i = 0; i < dev->queue_count; i++) {
		common_write16(dev, COMMON_QUEUE_SELECT, i);
		print(" %u", common_read16(dev, COMMON_QUEUE_SIZE));
	}
	print("\n");
}

bool cmd_virtio(const struct args *args)
{
	(void)args;
	struct virtio_dev dev;
	unsigned count = 0;
	while (count < DEVICES_MAX && virtio_find(0, count, &dev)) {
		device_print(&dev);
		count++;
	}
	print("virtio: %u devices\n", count);
	return count ? true : fail("no virtio device");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio devices: discovery and registers (virtio 1.2 §3.1, §4.1). */
#include "virtio_pci.h"

#include "apic.h"
#include "clock.h"
#include "lib.h"
#include "paging.h"
#include "shell.h"
#include "trap.h"
#include "virtio_common.h"
#include "x86.h"

#define VENDOR_VIRTIO       0x1af4
#define DEVICE_MODERN_FIRST 0x1040
#define DEVICE_MODERN_LAST  0x107f

/* struct virtio_pci_cap, §4.1.4. */
enum {
	CAP_LEN = 2,
	CAP_TYPE = 3,
	CAP_BAR = 4,
	CAP_OFFSET = 8,
	CAP_LENGTH = 12,
	CAP_NOTIFY_STEP = 16,
};

enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4 };

/* MSI-X capability and table, PCI Local Bus 3.0 §6.8.2. */
#define MSIX_CONTROL        2
#define MSIX_TABLE          4
#define MSIX_PENDING        8
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_COUNT  0x7ff
#define MSIX_BAR            7U
#define MSIX_ENTRY_BYTES    16

#define RESET_TIMEOUT_US 10000000

const char *virtio_type_name(uint16_t type)
{
	static const char *const names[] = {
		[1] = "net",
		[2] = "block",
		[VIRTIO_CONSOLE] = "console",
		[VIRTIO_RNG] = "rng",
		[5] = "balloon",
		[8] = "scsi",
		[VIRTIO_VSOCK] = "vsock",
		[24] = "mem",
	};
	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "other";
}

/* --- discovery --- */

struct search {
	uint16_t type;
	unsigned left;
	struct pci_function *found;
};

static bool search_visit(const struct pci_function *f, void *arg)
{
	struct search *search = arg;
	if (f->vendor != VENDOR_VIRTIO || f->device < DEVICE_MODERN_FIRST ||
		f->device > DEVICE_MODERN_LAST)
		return false;
	if (search->type && f->device - DEVICE_MODERN_FIRST != search->type)
		return false;
	if (search->left--)
		return false;
	*search->found = *f;
	return true;
}

/* Maps [offset, offset + len_bytes) of a BAR. */
static bool region_map(const struct pci_function *f, uint8_t bar_index, uint32_t offset,
	uint32_t len_bytes, uint64_t *address)
{
	if (bar_index >= PCI_BARS_MAX)
		return false;
	struct pci_bar bar = pci_bar_read(f, bar_index);
	*address = bar.address + offset;
	return bar.address && !bar.is_io && (uint64_t)offset + len_bytes <= bar.size_bytes &&
	       paging_map(*address, len_bytes, PAGING_MMIO);
}

/* The first capability of each type that is usable counts. */
static void region_read(struct virtio_dev *dev, unsigned cap)
{
	uint8_t type = pci_read8(&dev->pci, cap + CAP_TYPE);
	struct virtio_region *regions[] = {
		[CFG_COMMON] = &dev->common,
		[CFG_NOTIFY] = &dev->notify,
		[CFG_ISR] = &dev->isr,
		[CFG_DEVICE] = &dev->config,
	};
	if (type < CFG_COMMON || type > CFG_DEVICE || regions[type]->len_bytes)
		return;
	struct virtio_region *region = regions[type];
	uint32_t len_bytes = pci_read32(&dev->pci, cap + CAP_LENGTH);
	region->bar = pci_read8(&dev->pci, cap + CAP_BAR);
	if (!region_map(&dev->pci, region->bar, pci_read32(&dev->pci, cap + CAP_OFFSET), len_bytes,
		    &region->address))
		return;
	region->len_bytes = len_bytes;
	if (type == CFG_NOTIFY)
		dev->notify_step = pci_read32(&dev->pci, cap + CAP_NOTIFY_STEP);
}

static void msix_read(struct virtio_dev *dev)
{
	unsigned cap = pci_cap_find(&dev->pci, PCI_CAP_MSIX, 0);
	if (!cap)
		return;
	uint16_t count =
		(uint16_t)((pci_read16(&dev->pci, cap + MSIX_CONTROL) & MSIX_CONTROL_COUNT) + 1);
	uint32_t table = pci_read32(&dev->pci, cap + MSIX_TABLE);
	uint32_t pending = pci_read32(&dev->pci, cap + MSIX_PENDING);
	if (!region_map(&dev->pci, table & MSIX_BAR, table & ~MSIX_BAR, count * MSIX_ENTRY_BYTES,
		    &dev->msix_table) ||
		!region_map(&dev->pci, pending & MSIX_BAR, pending & ~MSIX_BAR,
			(count + 63) / 64 * 8, &dev->msix_pending))
		return;
	dev->msix_cap = cap;
	dev->msix_count = count;
}

static uint64_t features_read(const struct virtio_dev *dev)
{
	uint64_t features = 0;
	for (uint32_t word = 0; word < 2; word++) {
		common_write32(dev, COMMON_DEVICE_FEATURE_SELECT, word);
		features |= (uint64_t)common_read32(dev, COMMON_DEVICE_FEATURE) << 32 * word;
	}
	return features;
}

bool virtio_find(uint16_t type, unsigned nth, struct virtio_dev *dev)
{
	memset(dev, 0, sizeof(*dev));
	struct search search = {.type = type, .left = nth, .found = &dev->pci};
	if (!pci_scan(search_visit, &search))
		return fail("no virtio %s device %u", type ? virtio_type_name(type) : "PCI", nth);
	dev->type = (uint16_t)(dev->pci.device - DEVICE_MODERN_FIRST);
	pci_enable(&dev->pci);
	for (unsigned cap = pci_cap_find(&dev->pci, PCI_CAP_VENDOR, 0); cap;
		cap = pci_cap_find(&dev->pci, PCI_CAP_VENDOR, cap))
		region_read(dev, cap);
	msix_read(dev);
	if (dev->common.len_bytes < COMMON_BYTES || !dev->notify.len_bytes || !dev->isr.len_bytes)
		return fail("device %x:%x.%x has no usable common, notify or ISR structure",
			dev->pci.bus, dev->pci.slot, dev->pci.function);
	dev->queue_count = common_read16(dev, COMMON_NUM_QUEUES);
	dev->offered = features_read(dev);
	return true;
}

/* --- interrupts --- */

void virtio_vector_set(struct virtio_dev *dev, unsigned entry, unsigned vector)
{
	uint64_t at = dev->msix_table + entry * MSIX_ENTRY_BYTES;
	uint64_t address = msi_address(lapic_id());
	mmio_write32(at + 12, 1); /* masked while it changes */
	mmio_write32(at, (uint32_t)address);
	mmio_write32(at + 4, (uint32_t)(address >> 32));
	mmio_write32(at + 8, msi_data((uint8_t)vector));
	mmio_write32(at + 12, 0);
}

void virtio_msix_enable(struct virtio_dev *dev, bool on)
{
	if (dev->msix_cap)
		pci_write16(&dev->pci, dev->msix_cap + MSIX_CONTROL, on ? MSIX_CONTROL_ENABLE : 0);
}

/* Entry 0 is for the configuration, then one a queue; who comes too late shares the last one. */
static uint16_t queue_entry(const struct virtio_dev *dev, unsigned index)
{
	unsigned last = dev->msix_count - 1U;
	return (uint16_t)(index + 1 < last ? index + 1 : last);
}

/* The vectors serve whichever device is in use, since there are not many. */
static bool vectors_start(struct virtio_dev *dev)
{
	static unsigned vectors[1 + VIRTIO_QUEUES_MAX];
	if (!dev->msix_cap)
		return fail("the device has no MSI-X");
	clock_tick_start(); /* or a lost interrupt would be waited for without end */
	virtio_msix_enable(dev, true);
	for (unsigned i = 0; i < ARRAY_SIZE(vectors) && i < dev->msix_count; i++) {
		if (!vectors[i])
			vectors[i] = irq_alloc();
		if (!vectors[i])
			return fail("no free interrupt vector");
		virtio_vector_set(dev, i, vectors[i]);
	}
	common_write16(dev, COMMON_CONFIG_VECTOR, 0);
	if (common_read16(dev, COMMON_CONFIG_VECTOR) != 0)
		return fail("the device did not take MSI-X vector 0");
	return true;
}

/* --- life --- */

uint8_t virtio_status(const struct virtio_dev *dev)
{
	return mmio_read8(dev->common.address + COMMON_STATUS);
}

static void status_add(struct virtio_dev *dev, uint8_t bits)
{
	mmio_write8(dev->common.address + COMMON_STATUS, virtio_status(dev) | bits);
}

bool virtio_reset(struct virtio_dev *dev)
{
	uint64_t start = rdtsc(), limit = RESET_TIMEOUT_US * clock_tsc_khz() / 1000;
	mmio_write8(dev->common.address + COMMON_STATUS, 0);
	while (virtio_status(dev)) {
		if (rdtsc() - start > limit)
			return fail("the reset did not end, status 0x%x", virtio_status(dev));
		cpu_relax();
	}
	dev->features = 0;
	return true;
}

bool virtio_negotiate(struct virtio_dev *dev, uint64_t features)
{
	features |= VIRTIO_F_VERSION_1;
	status_add(dev, VIRTIO_S_ACKNOWLEDGE);
	status_add(dev, VIRTIO_S_DRIVER);
	for (uint32_t word = 0; word < 2; word++) {
		common_write32(dev, COMMON_DRIVER_FEATURE_SELECT, word);
		common_write32(dev, COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32 * word));
	}
	status_add(dev, VIRTIO_S_FEATURES_OK);
	if (!(virtio_status(dev) & VIRTIO_S_FEATURES_OK))
		return fail("the device refused the features 0x%lx", features);
	dev->features = features;
	return true;
}

static uint16_t queue_size_choose(uint16_t max, const struct virtio_options *options)
{
	uint16_t size = options->queue_size ? options->queue_size : VRING_SIZE_MAX;
	if (size > max)
		size = max;
	while (!options->packed && (size & (size - 1)))
		size &= (uint16_t)(size - 1);
	return size;
}

static bool queue_vector_set(struct virtio_dev *dev, unsigned index)
{
	uint16_t entry = dev->irq ? queue_entry(dev, index) : VIRTIO_NO_VECTOR;
	common_write16(dev, COMMON_QUEUE_VECTOR, entry);
	if (common_read16(dev, COMMON_QUEUE_VECTOR) != entry)
		return fail("queue %u did not take MSI-X vector %u", index, entry);
	return true;
}

bool virtio_queue_start(
	struct virtio_dev *dev, unsigned index, const struct virtio_options *options)
{
	struct virtio_queue *queue = &dev->queues[index];
	common_write16(dev, COMMON_QUEUE_SELECT, (uint16_t)index);
	uint16_t max = common_read16(dev, COMMON_QUEUE_SIZE);
	struct vring_params params = {
		.size = queue_size_choose(max, options),
		.packed = dev->features & VIRTIO_F_RING_PACKED,
		.indirect = dev->features & VIRTIO_F_INDIRECT_DESC,
		.event_idx = dev->features & VIRTIO_F_EVENT_IDX,
	};
	if (!params.size)
		return fail("the device has no queue %u", index);
	if (!vring_init(&queue->ring, &params))
		return fail("no memory for a ring of %u", params.size);
	queue->index = (uint16_t)index;
	queue->irq = dev->irq;
	queue->doorbell = dev->notify.address +
			  (uint64_t)common_read16(dev, COMMON_QUEUE_NOTIFY_OFF) * dev->notify_step;
	common_write16(dev, COMMON_QUEUE_SIZE, params.size);
	common_write64(dev, COMMON_QUEUE_DESC, vring_desc_address(&queue->ring));
	common_write64(dev, COMMON_QUEUE_DRIVER, vring_driver_address(&queue->ring));
	common_write64(dev, COMMON_QUEUE_DEVICE, vring_device_address(&queue->ring));
	if (!queue_vector_set(dev, index))
		return false;
	common_write16(dev, COMMON_QUEUE_ENABLE, 1);
	if (common_read16(dev, COMMON_QUEUE_ENABLE) != 1)
		return fail("queue %u cannot be enabled", index);
	return true;
}

void virtio_driver_ok(struct virtio_dev *dev)
{
	status_add(dev, VIRTIO_S_DRIVER_OK);
}

bool virtio_start(struct virtio_dev *dev, unsigned queues, uint64_t features,
	const struct virtio_options *options)
{
	uint64_t wanted;
	if (!virtio_option_features(dev, options, &wanted) || !virtio_reset(dev) ||
		!virtio_negotiate(dev, wanted | features))
		return false;
	dev->irq = options->irq;
	if (dev->irq && !vectors_start(dev))
		return false;
	for (unsigned i = 0; i < queues; i++)
		if (!virtio_queue_start(dev, i, options))
			return false;
	virtio_driver_ok(dev);
	if (virtio_status(dev) & (VIRTIO_S_NEEDS_RESET | VIRTIO_S_FAILED))
		return fail("status 0x%x after DRIVER_OK", virtio_status(dev));
	return true;
}

bool virtio_stop(struct virtio_dev *dev)
{
	/* A device that does not end its reset keeps the rings: it may still write there. */
	if (!virtio_reset(dev))
		return false;
	virtio_msix_enable(dev, false);
	clock_tick_stop();
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		vring_finish(&dev->queues[i].ring);
	return true;
}

/* --- queues --- */

void virtio_kick(const struct virtio_queue *queue)
{
	mmio_write16(queue->doorbell, queue->index);
}

static bool wait_asleep(
	struct virtio_queue *queue, uint64_t timeout_us, bool (*irq_on)(struct vring *r))
{
	uint64_t start = rdtsc(), limit = timeout_us * clock_tsc_khz() / 1000;
	bool has_used;
	for (;;) {
		uint64_t seen = irq_any;
		has_used = irq_on(&queue->ring);
		if (has_used || rdtsc() - start > limit)
			break;
		cpu_wait(&irq_any, seen);
	}
	vring_irq_off(&queue->ring);
	return has_used;
}

static bool wait_awake(const struct virtio_queue *queue, uint64_t timeout_us)
{
	uint64_t start = rdtsc(), limit = timeout_us * clock_tsc_khz() / 1000;
	uint32_t id, written;
	while (!vring_peek(&queue->ring, &id, &written)) {
		if (rdtsc() - start > limit)
			return false;
		cpu_relax();
	}
	return true;
}

bool virtio_wait(struct virtio_queue *queue, uint64_t timeout_us)
{
	return queue->irq ? wait_asleep(queue, timeout_us, vring_irq_on)
			  : wait_awake(queue, timeout_us);
}

bool virtio_wait_batch(struct virtio_queue *queue, uint64_t timeout_us)
{
	return queue->irq ? wait_asleep(queue, timeout_us, vring_irq_on_later)
			  : wait_awake(queue, timeout_us);
}

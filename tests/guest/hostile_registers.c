/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile register accesses: at the wrong time, of the wrong size, or nonsense (§2.1, §4.1). */
#include "hostile.h"
#include "lib.h"
#include "paging.h"
#include "shell.h"
#include "virtio_common.h"

#define FEATURE_UNKNOWN (1UL << 62)
#define NOTIFY_SPAN_MAX 4096U
#define CONFIG_BYTES    4096U
#define DENSE_BYTES     64U /* of each region every offset is tried, then each 61st */
#define SPARSE_STEP     61U
#define BAR_ELSEWHERE   0xdf000000UL /* in the window of BARs, where none lies */

/* The device goes on, or it says that it will not. */
static bool goes_on(struct hostile *h, unsigned *outcome)
{
	if (virtio_status(&h->dev) & VIRTIO_S_NEEDS_RESET) {
		*outcome = OUTCOME_BROKEN;
		return true;
	}
	*outcome = OUTCOME_CHECKED;
	return hostile_round(h);
}

static bool reconfigured(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	common_write16(dev, COMMON_QUEUE_SELECT, h->queue->index);
	common_write16(dev, COMMON_QUEUE_SIZE, 1);
	common_write64(dev, COMMON_QUEUE_DESC, HOSTILE_HOLE);
	common_write64(dev, COMMON_QUEUE_DRIVER, 1);
	common_write64(dev, COMMON_QUEUE_DEVICE, UINT64_MAX);
	common_write16(dev, COMMON_QUEUE_ENABLE, 0);
	common_write16(dev, COMMON_QUEUE_ENABLE, 0xffff);
	if (!hostile_round(h))
		return false;
	common_write16(dev, COMMON_QUEUE_ENABLE, 1);
	return goes_on(h, outcome);
}

static bool features_late(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	for (uint32_t word = 0; word < 4; word++) {
		common_write32(dev, COMMON_DRIVER_FEATURE_SELECT, word);
		common_write32(dev, COMMON_DRIVER_FEATURE, word % 2 ? 0 : UINT32_MAX);
	}
	return goes_on(h, outcome);
}

/* With bits that were not offered, or without VERSION_1, FEATURES_OK must not stick. */
static bool features_refused(struct hostile *h, uint32_t word, uint32_t bits)
{
	struct virtio_dev *dev = &h->dev;
	if (!virtio_reset(dev))
		return false;
	mmio_write8(dev->common.address + COMMON_STATUS, VIRTIO_S_ACKNOWLEDGE);
	mmio_write8(dev->common.address + COMMON_STATUS, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	common_write32(dev, COMMON_DRIVER_FEATURE_SELECT, 1);
	common_write32(dev, COMMON_DRIVER_FEATURE, (uint32_t)(VIRTIO_F_VERSION_1 >> 32));
	common_write32(dev, COMMON_DRIVER_FEATURE_SELECT, word);
	common_write32(dev, COMMON_DRIVER_FEATURE, bits);
	mmio_write8(dev->common.address + COMMON_STATUS,
		VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK);
	if (virtio_status(dev) & VIRTIO_S_FEATURES_OK)
		return fail("FEATURES_OK with 0x%x in word %u", bits, word);
	return true;
}

static bool features_unknown(struct hostile *h, unsigned *outcome)
{
	uint32_t high = (uint32_t)((VIRTIO_F_VERSION_1 | FEATURE_UNKNOWN) >> 32);
	*outcome = OUTCOME_CHECKED;
	return features_refused(h, 0, (uint32_t)~h->dev.offered) && features_refused(h, 1, high) &&
	       features_refused(h, 1, 0) && features_refused(h, 2, 1) &&
	       features_refused(h, UINT32_MAX, UINT32_MAX);
}

/* Bits taken back one by one, and bits that do not exist. */
static bool status_regresses(struct hostile *h, unsigned *outcome)
{
	static const uint8_t values[] = {0x0b, 0x03, 0x01, 0x30, 0x40, 0x8f, 0xff, 0x04};
	for (unsigned i = 0; i < sizeof(values); i++) {
		mmio_write8(h->dev.common.address + COMMON_STATUS, values[i]);
		virtio_kick(h->queue);
	}
	*outcome = OUTCOME_CHECKED; /* that a reset helps is for the frame to see */
	return true;
}

/* DRIVER_OK right after a reset, queues enabled without features, kicks in between. */
static bool out_of_order(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	if (!virtio_reset(dev))
		return false;
	common_write16(dev, COMMON_QUEUE_SELECT, h->queue->index);
	common_write64(dev, COMMON_QUEUE_DESC, vring_desc_address(&h->queue->ring));
	common_write64(dev, COMMON_QUEUE_DRIVER, vring_driver_address(&h->queue->ring));
	common_write64(dev, COMMON_QUEUE_DEVICE, vring_device_address(&h->queue->ring));
	common_write16(dev, COMMON_QUEUE_ENABLE, 1);
	virtio_kick(h->queue);
	mmio_write8(dev->common.address + COMMON_STATUS, VIRTIO_S_DRIVER_OK);
	virtio_kick(h->queue);
	common_write16(dev, COMMON_QUEUE_ENABLE, 1);
	virtio_kick(h->queue);
	*outcome = OUTCOME_CHECKED;
	return true;
}

static bool doorbells_nobody_has(struct hostile *h, unsigned *outcome)
{
	uint64_t base = h->dev.notify.address;
	uint32_t len = h->dev.notify.len_bytes;
	len = len < NOTIFY_SPAN_MAX ? len : NOTIFY_SPAN_MAX;
	for (uint32_t at = 0; at + 8 <= len; at += at < DENSE_BYTES ? 2 : SPARSE_STEP) {
		mmio_write16(base + at, 0xffff);
		mmio_write8(base + at, 0);
		mmio_write32(base + at, UINT32_MAX);
		mmio_write64(base + at, UINT64_MAX);
	}
	mmio_write16(h->queue->doorbell, (uint16_t)(h->queue->index + 1));
	return goes_on(h, outcome);
}

static bool queues_nobody_has(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	static const uint16_t indices[] = {100, 0x7fff, 0xffff};
	for (unsigned i = 0; i <= ARRAY_SIZE(indices); i++) {
		uint16_t index = i ? indices[i - 1] : dev->queue_count;
		common_write16(dev, COMMON_QUEUE_SELECT, index);
		if (common_read16(dev, COMMON_QUEUE_SIZE))
			return fail("queue %u of %u has a size", index, dev->queue_count);
		common_write16(dev, COMMON_QUEUE_SIZE, 16);
		common_write64(dev, COMMON_QUEUE_DESC, (uint64_t)h->scratch);
		common_write16(dev, COMMON_QUEUE_VECTOR, 0);
		common_write16(dev, COMMON_QUEUE_ENABLE, 1);
		if (common_read16(dev, COMMON_QUEUE_ENABLE))
			return fail("queue %u of %u was enabled", index, dev->queue_count);
	}
	return goes_on(h, outcome);
}

static bool vectors_out_of_range(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	const uint16_t vectors[] = {dev->msix_count, 0x800, 0x7fff, 0xfffe};
	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		common_write16(dev, COMMON_QUEUE_SELECT, h->queue->index);
		common_write16(dev, COMMON_QUEUE_VECTOR, vectors[i]);
		common_write16(dev, COMMON_CONFIG_VECTOR, vectors[i]);
		if (common_read16(dev, COMMON_QUEUE_VECTOR) != VIRTIO_NO_VECTOR ||
			common_read16(dev, COMMON_CONFIG_VECTOR) != VIRTIO_NO_VECTOR)
			return fail("vector 0x%x of %u was taken", vectors[i], dev->msix_count);
		if (!hostile_round(h))
			return false;
	}
	return goes_on(h, outcome);
}

/* --- accesses of all sizes everywhere --- */

static uint32_t next_offset(uint32_t at)
{
	return at + (at < DENSE_BYTES ? 1 : SPARSE_STEP);
}

static void region_read(uint64_t base, uint32_t len_bytes)
{
	for (uint32_t at = 0; at + 8 <= len_bytes; at = next_offset(at)) {
		mmio_read8(base + at);
		mmio_read16(base + at);
		mmio_read32(base + at);
		mmio_read64(base + at);
	}
}

static void region_write(uint64_t base, uint32_t len_bytes, uint64_t value)
{
	for (uint32_t at = 0; at + 8 <= len_bytes; at = next_offset(at)) {
		mmio_write64(base + at, value);
		mmio_write32(base + at, (uint32_t)value);
		mmio_write16(base + at, (uint16_t)value);
		mmio_write8(base + at, (uint8_t)value);
	}
}

static bool reads_everywhere(struct hostile *h, unsigned *outcome)
{
	struct pci_bar bar = pci_bar_read(&h->dev.pci, h->dev.common.bar);
	for (uint64_t page = 0; page < bar.size_bytes; page += PAGE_SIZE)
		region_read(bar.address + page, PAGE_SIZE);
	region_read(h->dev.pci.config, CONFIG_BYTES);
	return goes_on(h, outcome);
}

/* But for MSI-X, which has its own case: it could make the machine interrupt us anyhow. */
static bool writes_everywhere(struct hostile *h, unsigned *outcome)
{
	static const uint64_t values[] = {UINT64_MAX, 0, 0x0123456789abcdefUL};
	const struct virtio_region *regions[] = {&h->dev.config, &h->dev.isr, &h->dev.common};
	for (unsigned v = 0; v < ARRAY_SIZE(values); v++)
		for (unsigned i = 0; i < ARRAY_SIZE(regions); i++)
			region_write(regions[i]->address, regions[i]->len_bytes, values[v]);
	*outcome = OUTCOME_CHECKED;
	return true;
}

/* The registers of the header that place and enable the function stay: 4 to 7 and 16 to 39. */
static bool config_written(struct hostile *h, unsigned *outcome)
{
	uint64_t config = h->dev.pci.config;
	uint32_t vendor = pci_read32(&h->dev.pci, PCI_VENDOR);
	for (uint32_t at = 0; at < 256; at += 4) {
		if (at == PCI_COMMAND || (at >= PCI_BAR0 && at < 0x28) || at == h->dev.msix_cap)
			continue;
		mmio_write32(config + at, UINT32_MAX);
		mmio_write16(config + at + 2, 0);
		mmio_write8(config + at + 1, 0xa5);
	}
	region_write(config + 256, CONFIG_BYTES - 256, UINT64_MAX);
	if (pci_read32(&h->dev.pci, PCI_VENDOR) != vendor)
		return fail("the IDs are now 0x%x", pci_read32(&h->dev.pci, PCI_VENDOR));
	return goes_on(h, outcome);
}

/* Table entries full of nonsense, while no queue has a vector and while the function is masked. */
static bool msix_nonsense(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	if (!dev->msix_cap)
		return goes_on(h, outcome);
	uint32_t table_bytes = dev->msix_count * 16U;
	pci_write16(&dev->pci, dev->msix_cap + 2, 0xc000); /* enabled, function masked */
	region_write(dev->msix_table, table_bytes, UINT64_MAX);
	region_write(dev->msix_table, table_bytes, 0x0123456789abcdefUL);
	for (unsigned i = 0; i < 8; i++) /* aligned: a first word can be written by halves */
		mmio_write16(dev->msix_table + 2 * i, 0xffff);
	region_write(dev->msix_pending, 8, UINT64_MAX);
	region_read(dev->msix_pending, 8);
	for (uint32_t at = 0; at < table_bytes; at += 16)
		mmio_write32(dev->msix_table + at + 12, 1);
	pci_write16(&dev->pci, dev->msix_cap + 2, 0x8000);
	bool ok = goes_on(h, outcome);
	virtio_msix_enable(dev, false);
	return ok;
}

/* --- the BAR --- */

static void regions_shift(struct virtio_dev *dev, uint8_t bar, uint64_t by)
{
	struct virtio_region *regions[] = {&dev->common, &dev->notify, &dev->isr, &dev->config};
	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++)
		if (regions[i]->len_bytes && regions[i]->bar == bar)
			regions[i]->address += by;
	if (dev->notify.bar == bar)
		for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
			dev->queues[i].doorbell += by;
}

/* There and back, with a queue in use; doorbells must follow. */
static bool bar_moves(struct hostile *h, unsigned *outcome)
{
	struct virtio_dev *dev = &h->dev;
	uint8_t index = dev->common.bar;
	struct pci_bar bar = pci_bar_read(&dev->pci, index);
	uint64_t by = BAR_ELSEWHERE - bar.address;
	for (unsigned i = 0; i < 4; i++) {
		pci_bar_move(&dev->pci, index, bar.address + by);
		regions_shift(dev, index, by);
		bool ok = hostile_round(h);
		pci_bar_move(&dev->pci, index, bar.address);
		regions_shift(dev, index, -by);
		if (!ok || !hostile_round(h))
			return false;
	}
	return goes_on(h, outcome);
}

/* Kicks at a place where there is nothing just then. */
static bool decoding_off(struct hostile *h, unsigned *outcome)
{
	uint16_t command = pci_read16(&h->dev.pci, PCI_COMMAND);
	for (unsigned i = 0; i < 8; i++) {
		pci_write16(&h->dev.pci, PCI_COMMAND, command & (uint16_t)~PCI_COMMAND_MEMORY);
		virtio_kick(h->queue);
		virtio_status(&h->dev);
		pci_write16(&h->dev.pci, PCI_COMMAND, command);
	}
	return goes_on(h, outcome);
}

#define GOES_ON (OUTCOME_CHECKED | OUTCOME_BROKEN)

const struct hostile_case hostile_register_cases[] = {
	{"reconfigured", 0, GOES_ON, reconfigured},
	{"features-late", 0, GOES_ON, features_late},
	{"features-unknown", 0, OUTCOME_CHECKED, features_unknown},
	{"status-regresses", 0, OUTCOME_CHECKED, status_regresses},
	{"out-of-order", 0, OUTCOME_CHECKED, out_of_order},
	{"doorbells-nobody-has", 0, GOES_ON, doorbells_nobody_has},
	{"queues-nobody-has", 0, GOES_ON, queues_nobody_has},
	{"vectors-out-of-range", 0, OUTCOME_CHECKED, vectors_out_of_range},
	{"reads-everywhere", 0, OUTCOME_CHECKED, reads_everywhere},
	{"writes-everywhere", 0, OUTCOME_CHECKED, writes_everywhere},
	{"config-written", 0, OUTCOME_CHECKED, config_written},
	{"msix-nonsense", 0, OUTCOME_CHECKED, msix_nonsense},
	{"bar-moves", 0, OUTCOME_CHECKED, bar_moves},
	{"decoding-off", 0, OUTCOME_CHECKED, decoding_off},
};
const unsigned hostile_register_count = ARRAY_SIZE(hostile_register_cases);

/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration structure. Virtio 1.2 §4.1.4.3. */
#include <string.h>

#include "virtio/pci_transport.h"

/* Offsets of the fields. */
enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
};

static struct virtio_queue *selected(struct virtio_pci *p)
{
	return p->queue_select < p->dev->queue_count ? &p->dev->queues[p->queue_select] : NULL;
}

static void put(uint8_t *image, unsigned int at, unsigned int size_bytes, uint64_t value)
{
	memcpy(image + at, &value, size_bytes);
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static void render_queue(struct virtio_pci *p, uint8_t *image)
{
	struct virtio_queue *q = selected(p);

	/* §4.1.4.3.1: the size of a queue that does not exist is 0. */
	put(image, QUEUE_VECTOR, 2, q ? p->vectors[q->index] : MSIX_NO_VECTOR);
	if (!q)
		return;
	put(image, QUEUE_SIZE, 2, q->size);
	put(image, QUEUE_ENABLE, 2, q->vq.enabled);
	put(image, QUEUE_NOTIFY_OFF, 2, q->index);
	put(image, QUEUE_DESC, 8, q->desc);
	put(image, QUEUE_DRIVER, 8, q->driver);
	put(image, QUEUE_DEVICE, 8, q->device);
	put(image, QUEUE_NOTIFY_DATA, 2, q->index);
	put(image, QUEUE_RESET, 2, q->resetting);
}

/* No read has an effect, so any size at any offset is answered from an image of all fields. */
uint64_t virtio_common_read(struct virtio_pci *p, uint64_t offset, unsigned int size_bytes)
{
	struct virtio_device *dev = p->dev;
	uint8_t image[VIRTIO_PCI_COMMON_BYTES + 8] = {0};
	uint64_t value = 0;

	if (offset >= VIRTIO_PCI_COMMON_BYTES)
		return 0;
	put(image, DEVICE_FEATURE_SELECT, 4, p->device_feature_select);
	put(image, DEVICE_FEATURE, 4, feature_word(dev->offered, p->device_feature_select));
	put(image, DRIVER_FEATURE_SELECT, 4, p->driver_feature_select);
	put(image, DRIVER_FEATURE, 4, feature_word(dev->features, p->driver_feature_select));
	put(image, CONFIG_VECTOR, 2, p->vectors[dev->queue_count]);
	put(image, NUM_QUEUES, 2, dev->queue_count);
	put(image, DEVICE_STATUS, 1, dev->status);
	put(image, CONFIG_GENERATION, 1, dev->generation);
	put(image, QUEUE_SELECT, 2, p->queue_select);
	render_queue(p, image);
	memcpy(&value, image + offset, size_bytes);
	return value;
}

/* A vector that is not in the table reads back as "none", which tells the driver. */
static void vector_write(struct virtio_pci *p, unsigned int i, uint16_t vector)
{
	p->vectors[i] = vector < p->msix.count ? vector : MSIX_NO_VECTOR;
}

static void queue_field_write(struct virtio_pci *p, uint64_t offset, uint16_t value)
{
	struct virtio_queue *q = selected(p);

	if (!q || q->resetting)
		return;
	switch (offset) {
	case QUEUE_SIZE:
		if (!q->vq.enabled)
			q->size = value;
		break;
	case QUEUE_VECTOR:
		vector_write(p, q->index, value);
		break;
	case QUEUE_ENABLE:
		if (value == 1)
			virtio_queue_enable(q);
		break;
	case QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(q);
		break;
	default:
		break;
	}
}

/* §4.1.3.1: 64-bit fields are written as two halves; as a whole is taken, too. */
static void queue_address_write(
	struct virtio_pci *p, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct virtio_queue *q = selected(p);
	unsigned int shift = offset & 4 ? 32 : 0;
	uint64_t mask = size_bytes == 8 ? UINT64_MAX : 0xffffffffULL << shift;
	uint64_t *field;

	if (!q || q->vq.enabled || q->resetting || (size_bytes == 8 && offset % 8))
		return;
	if (offset < QUEUE_DRIVER)
		field = &q->desc;
	else
		field = offset < QUEUE_DEVICE ? &q->driver : &q->device;
	*field = (*field & ~mask) | (value << shift & mask);
}

static void write16(struct virtio_pci *p, uint64_t offset, uint16_t value)
{
	if (offset == CONFIG_VECTOR)
		vector_write(p, p->dev->queue_count, value);
	else if (offset == QUEUE_SELECT)
		p->queue_select = value;
	else
		queue_field_write(p, offset, value);
}

static void write32(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
	if (offset == DEVICE_FEATURE_SELECT)
		p->device_feature_select = value;
	else if (offset == DRIVER_FEATURE_SELECT)
		p->driver_feature_select = value;
	else if (offset == DRIVER_FEATURE)
		virtio_features_write(p->dev, p->driver_feature_select, value);
}

/* Fields are written in their own size only (§4.1.3.1); everything else is dropped. */
void virtio_common_write(
	struct virtio_pci *p, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	if (p->dev->resetting || offset >= VIRTIO_PCI_COMMON_BYTES)
		return;
	if (offset >= QUEUE_DESC && offset < QUEUE_NOTIFY_DATA) {
		if (size_bytes >= 4 && offset % 4 == 0)
			queue_address_write(p, offset, size_bytes, value);
	} else if (size_bytes == 4) {
		write32(p, offset, (uint32_t)value);
	} else if (size_bytes == 2) {
		write16(p, offset, (uint16_t)value);
	} else if (size_bytes == 1 && offset == DEVICE_STATUS) {
		virtio_status_write(p->dev, (uint8_t)value);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses to the common configuration structure, each of its field's width (virtio 1.2 §4.1.3.1).
 */
#ifndef GUEST_VIRTIO_COMMON_H
#define GUEST_VIRTIO_COMMON_H

#include "virtio_pci.h"
#include "x86.h"

static inline uint16_t common_read16(const struct virtio_dev *dev, unsigned offset)
{
	return mmio_read16(dev->common.address + offset);
}

static inline uint32_t common_read32(const struct virtio_dev *dev, unsigned offset)
{
	return mmio_read32(dev->common.address + offset);
}

static inline void common_write16(const struct virtio_dev *dev, unsigned offset, uint16_t value)
{
	mmio_write16(dev->common.address + offset, value);
}

static inline void common_write32(const struct virtio_dev *dev, unsigned offset, uint32_t value)
{
	mmio_write32(dev->common.address + offset, value);
}

/* As two halves: that is what a device has to take. */
static inline void common_write64(const struct virtio_dev *dev, unsigned offset, uint64_t value)
{
	common_write32(dev, offset, (uint32_t)value);
	common_write32(dev, offset + 4, (uint32_t)(value >> 32));
}

static inline uint64_t common_read64(const struct virtio_dev *dev, unsigned offset)
{
	return common_read32(dev, offset) | (uint64_t)common_read32(dev, offset + 4) << 32;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small driver of modern virtio PCI devices (virtio 1.2 §4.1): discovery, features, queues, MSI-X
 * with one vector a queue and one for the configuration. One device of a kind is used at a time.
 * CPU 0 only.
 *
 * virtio_find; virtio_start (or, step by step: virtio_reset, virtio_negotiate, virtio_queue_start,
 * virtio_driver_ok); queues; virtio_stop.
 */
#ifndef GUEST_VIRTIO_PCI_H
#define GUEST_VIRTIO_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"
#include "vring.h"

#define VIRTIO_QUEUES_MAX 6 /* that this driver uses of a device */
#define VIRTIO_NO_VECTOR  0xffff

#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG     4
#define VIRTIO_BALLOON 5
#define VIRTIO_VSOCK   19
#define VIRTIO_MEM     24

enum {
	VIRTIO_S_ACKNOWLEDGE = 0x01,
	VIRTIO_S_DRIVER = 0x02,
	VIRTIO_S_DRIVER_OK = 0x04,
	VIRTIO_S_FEATURES_OK = 0x08,
	VIRTIO_S_NEEDS_RESET = 0x40,
	VIRTIO_S_FAILED = 0x80,
};

#define VIRTIO_F_INDIRECT_DESC (1UL << 28)
#define VIRTIO_F_EVENT_IDX     (1UL << 29)
#define VIRTIO_F_VERSION_1     (1UL << 32)
#define VIRTIO_F_RING_PACKED   (1UL << 34)
#define VIRTIO_F_IN_ORDER      (1UL << 35)
#define VIRTIO_F_RING_RESET    (1UL << 40)

/* Offsets in the common configuration structure, §4.1.4.3. */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_NUM_QUEUES = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,
	COMMON_QUEUE_DRIVER = 0x28,
	COMMON_QUEUE_DEVICE = 0x30,
	COMMON_BYTES = 0x38,       /* at least: */
	COMMON_QUEUE_RESET = 0x3a, /* only with RING_RESET */
};

/* How to drive a device, as the words of a command say. */
struct virtio_options {
	bool packed, indirect, event_idx, irq;
	uint16_t queue_size; /* 0: as the device has it, up to VRING_SIZE_MAX */
};

/* A structure of the device in one of its BARs; len_bytes 0: it has none. */
struct virtio_region {
	uint64_t address;
	uint32_t len_bytes;
	uint8_t bar;
};

struct virtio_queue {
	struct vring ring;
	uint16_t index;
	bool irq;
	uint64_t doorbell;
};

struct virtio_dev {
	struct pci_function pci;
	uint16_t type; /* §5 */
	struct virtio_region common, notify, isr, config;
	uint32_t notify_step;
	unsigned msix_cap; /* offset; 0: none */
	uint16_t msix_count;
	uint64_t msix_table, msix_pending;
	uint16_t queue_count;
	uint64_t offered, features;
	bool irq;
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
};

/* "console", "rng" ...; never NULL. */
const char *virtio_type_name(uint16_t type);

/*
 * Takes one word: split, packed, indirect, direct, event, noevent, poll, irq or queue=N. False if
 * it is none of these.
 */
bool virtio_option_parse(const char *word, struct virtio_options *options);

/* Finds the `nth` device of a type, or of any if that is 0, and maps it; calls fail() if there is
 * none. The device is left as it is. */
bool virtio_find(uint16_t type, unsigned nth, struct virtio_dev *dev);

/* Each of these says by fail() what went wrong. virtio_negotiate asks for `features` and
 * VERSION_1, on a device that was reset. virtio_queue_start makes and enables a queue. */
bool virtio_reset(struct virtio_dev *dev);
bool virtio_negotiate(struct virtio_dev *dev, uint64_t features);
bool virtio_queue_start(
	struct virtio_dev *dev, unsigned index, const struct virtio_options *options);
void virtio_driver_ok(struct virtio_dev *dev);

/* All of that for the first `queues` queues; `features` are the device's own. */
bool virtio_start(struct virtio_dev *dev, unsigned queues, uint64_t features,
	const struct virtio_options *options);

/* Resets the device and gives the rings back. */
bool virtio_stop(struct virtio_dev *dev);

uint8_t virtio_status(const struct virtio_dev *dev);

/* Tells the device that a queue has something new. */
void virtio_kick(const struct virtio_queue *queue);

/*
 * Waits until the queue has a used chain, by polling or sleeping as the options said. False after
 * timeout_us without one.
 */
bool virtio_wait(struct virtio_queue *queue, uint64_t timeout_us);

/* The same, but would rather be woken for many than for one. */
bool virtio_wait_batch(struct virtio_queue *queue, uint64_t timeout_us);

/* Features that the options ask for, as far as the device has them; false with fail() if it lacks
 * one that was named. */
bool virtio_option_features(
	const struct virtio_dev *dev, const struct virtio_options *options, uint64_t *features);

/* MSI-X of the whole function; programming the table needs no order. */
void virtio_msix_enable(struct virtio_dev *dev, bool on);
void virtio_vector_set(struct virtio_dev *dev, unsigned entry, unsigned vector);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device without a transport, on any reactor (the fake one, most of all), with fake
 * drivers on its queues. The calling thread is the reactor's. */
#ifndef SUPPORT_DEVICE_RIG_H
#define SUPPORT_DEVICE_RIG_H

#include "support/fake_driver.h"
#include "virtio/device.h"

#define DEVICE_RIG_QUEUES  5
#define DEVICE_RIG_RAM     0x2000000ULL
#define DEVICE_RIG_RINGS   0x100000ULL
#define DEVICE_RIG_BUFFERS 0x1000000ULL /* free for buffers, up to DEVICE_RIG_RAM */

struct device_rig {
	struct gmem mem;
	struct virtio_env env;
	struct virtio_device *dev;
	struct fake_driver queues[DEVICE_RIG_QUEUES];
	unsigned int queue_irqs[DEVICE_RIG_QUEUES], config_irqs, resets_done;
};

/* device_rig_init: memory and an env for the device, whose init is the caller's. device_rig_attach:
 * the rig is the device's transport from here on. device_rig_finish: frees; the device is gone. */
void device_rig_init(struct device_rig *rig, struct reactor *r);
void device_rig_attach(struct device_rig *rig, struct virtio_device *dev);
void device_rig_finish(struct device_rig *rig);

/* device_rig_start: from a reset device to DRIVER_OK, with `features` (VERSION_1 is added) and each
 * queue with `size` entries; false if the features are refused. device_rig_queue_on: fresh rings
 * for one queue, enabled. */
bool device_rig_start(struct device_rig *rig, uint64_t features, uint16_t size);
void device_rig_queue_on(struct device_rig *rig, unsigned int q, uint16_t size);

/* device_rig_offer: a chain of one buffer, made available, and the kick. device_rig_show: makes
 * available what was offered by other means, and kicks. False: no room. */
bool device_rig_offer(
	struct device_rig *rig, unsigned int q, uint64_t gpa, uint32_t len_bytes, bool write);
void device_rig_show(struct device_rig *rig, unsigned int q);

/* device_rig_mem: host address of guest memory that a test may look at. */
uint8_t *device_rig_mem(struct device_rig *rig, uint64_t gpa, uint64_t len_bytes);

#endif

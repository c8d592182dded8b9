/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device for tests of device and transport. Queue 0 answers each chain with its own bytes,
 * upside down. Queue 1 keeps its chains until it is told to end them, as I/O in flight. */
#ifndef SUPPORT_ECHO_DEVICE_H
#define SUPPORT_ECHO_DEVICE_H

#include "support/machine_rig.h"
#include "virtio/device.h"
#include "virtio/pci_transport.h"

#define ECHO_F_ODD      (1ULL << 0) /* refused together with ECHO_F_EVEN */
#define ECHO_F_EVEN     (1ULL << 1)
#define ECHO_QUEUES     2
#define ECHO_QUEUE_SIZE 64
#define ECHO_IOV_MAX    16
#define ECHO_HELD_MAX   8

struct echo_device {
	struct machine_rig *m;
	struct virtio_env env;
	struct virtio_device dev;
	struct virtio_pci pci;
	uint8_t config[12];
	struct vq_chain held[ECHO_HELD_MAX];
	struct iovec iov[ECHO_HELD_MAX][ECHO_IOV_MAX];
	unsigned int held_count;
	bool reset_waits, queue_reset_waits; /* until echo_release */
	unsigned int served, driver_oks, resets;
	void (*before_idle)(struct echo_device *e); /* queue 0 was found empty; NULL: none */
	bool stopped;
};

/* echo_add: makes it and puts it on the rig's PCI bus. echo_remove: stops and frees it. */
void echo_add(struct echo_device *e, struct machine_rig *m);
void echo_remove(struct echo_device *e);

/* echo_release: ends all that is held, and resets that wait for it. */
void echo_release(struct echo_device *e);
/* echo_release_here: the same, on the reactor's thread. */
void echo_release_here(struct echo_device *e);
/* echo_config_set: the device changes one byte of its config space. */
void echo_config_set(struct echo_device *e, uint8_t value);

#endif

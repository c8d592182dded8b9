/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-pci driver on the test's thread: finds the capabilities, negotiates, sets up queues. */
#ifndef SUPPORT_VIRTIO_GUEST_H
#define SUPPORT_VIRTIO_GUEST_H

#include "support/fake_driver.h"
#include "support/machine_rig.h"
#include "virtio/device.h"

#define GUEST_QUEUES_MAX 8
#define GUEST_RINGS      0x100000ULL  /* the queues' rings, from here on */
#define GUEST_BUFFERS    0x4000000ULL /* free for buffers */
#define GUEST_RAM        0x8000000ULL

/* Registers of the common configuration structure, §4.1.4.3. */
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
	COMMON_QUEUE_RESET = 0x3a,
};

/* MSI data that the guest gives vector i. */
#define GUEST_MSI_DATA(i) (0x4000u + (i))
#define GUEST_MSI_ADDR    0xfee00000u

struct virtio_guest {
	struct machine_rig *m;
	unsigned int devfn;
	uint64_t bar;
	uint64_t common, notify, isr, device; /* guest addresses; 0: no such capability */
	uint32_t notify_step;
	unsigned int msix_cap, window_cap, vectors;
	uint64_t msix_table;
	uint64_t features;
	struct fake_driver queues[GUEST_QUEUES_MAX];
	uint64_t next_ring;
};

/* vguest_probe: finds everything by walking the capabilities of `devfn`; false if something is
 * missing or out of place. */
bool vguest_probe(struct virtio_guest *g, struct machine_rig *m, unsigned int devfn);

/* A register of the common structure. */
uint64_t vguest_common(struct virtio_guest *g, unsigned int reg, unsigned int size_bytes);
void vguest_common_write(
	struct virtio_guest *g, unsigned int reg, unsigned int size_bytes, uint64_t value);

uint8_t vguest_status(struct virtio_guest *g);
void vguest_set_status(struct virtio_guest *g, uint8_t bits); /* or-ed to what it is */
/* vguest_reset: writes 0 and waits until it reads 0. */
void vguest_reset(struct virtio_guest *g);
uint64_t vguest_offered(struct virtio_guest *g);
/* vguest_negotiate: ACKNOWLEDGE, DRIVER, `features`, FEATURES_OK; true if it stuck. */
bool vguest_negotiate(struct virtio_guest *g, uint64_t features);
/* vguest_msix_on: unmasks all vectors (vector i gets GUEST_MSI_DATA(i)) and enables MSI-X. */
void vguest_msix_on(struct virtio_guest *g);
/* vguest_queue_on: fresh rings of `size` entries for queue `i`, vector i, enabled. */
void vguest_queue_on(struct virtio_guest *g, unsigned int i, uint16_t size);
/* vguest_start: all of the above and DRIVER_OK; every queue with `size` entries. False if the
 * features are refused. */
bool vguest_start(struct virtio_guest *g, uint64_t features, uint16_t size);
void vguest_kick(struct virtio_guest *g, unsigned int i);
/* vguest_vector_write: one dword (0 address low .. 3 control) of a vector's table entry. */
void vguest_vector_write(
	struct virtio_guest *g, unsigned int vector, unsigned int dword, uint32_t value);
void vguest_msix_control(struct virtio_guest *g, bool enabled, bool masked);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio over PCI (virtio 1.2 §4.1), modern only: one BAR with the registers and MSI-X.
 *
 *   BAR 0   0x0000 common configuration   0x3000 notify: queue q at 4 × q, an ioeventfd each
 *           0x1000 ISR status             0x4000 MSI-X table
 *           0x2000 device configuration   0x5000 MSI-X pending bits
 *
 * A kick ends in KVM, which signals the queue's eventfd; its address follows the BAR. Interrupts
 * are by MSI-X (vector of the queue, vector of the configuration), or by INTx while MSI-X is off.
 *
 * Order of calls: virtio_device_init, virtio_pci_init (helper thread); virtio_pci_attach, accesses,
 * virtio_pci_stop (home reactor); virtio_pci_finish, virtio_device_finish (helper thread). */
#ifndef VIRTIO_PCI_TRANSPORT_H
#define VIRTIO_PCI_TRANSPORT_H

#include "core/pci.h"
#include "virtio/device.h"
#include "virtio/msix.h"

#define VIRTIO_PCI_BAR          0
#define VIRTIO_PCI_BAR_BYTES    0x8000u
#define VIRTIO_PCI_COMMON       0x0000u
#define VIRTIO_PCI_COMMON_BYTES 0x3cu
#define VIRTIO_PCI_ISR          0x1000u
#define VIRTIO_PCI_DEVICE       0x2000u
#define VIRTIO_PCI_NOTIFY       0x3000u
#define VIRTIO_PCI_NOTIFY_STEP  4u
#define VIRTIO_PCI_MSIX_TABLE   0x4000u
#define VIRTIO_PCI_MSIX_PENDING 0x5000u
#define VIRTIO_PCI_REGION_BYTES 0x1000u

#define VIRTIO_PCI_VENDOR          0x1af4u
#define VIRTIO_PCI_DEVICE_ID(type) (0x1040u + (type))

struct virtio_pci;

/* A queue's doorbell; `event` is not in the reactor's file table, see msix.h. */
struct virtio_pci_kick {
	struct virtio_pci *pci;
	struct io_file event;
	struct io_op poll;
	uint64_t assigned; /* guest address of the ioeventfd; 0: none */
};

/* Embedded in the device beside its struct virtio_device. */
struct virtio_pci {
	struct pci_function function;
	struct virtio_device *dev;
	struct msix msix;
	struct virtio_pci_kick *kicks;  /* by queue */
	uint16_t *vectors;              /* by queue; the configuration's is the last */
	unsigned int msix_cap, cfg_cap; /* offsets of capabilities */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint8_t isr;
	unsigned int polling; /* kicks' polls in flight */
	bool attached, stopping;
	void (*stopped)(struct virtio_pci *p);
	uint64_t kicks_seen, interrupts; /* figures */
};

struct virtio_pci_params {
	uint16_t type; /* virtio device id, §5 */
	uint32_t class_code;
};

/* virtio_pci_init: puts `dev` (initialised, with its env) on the env's PCI bus; its transport is
 * this one from now on. -ENOSPC, -EMFILE, -ENOMEM, -errno. virtio_pci_finish: takes it off and
 * frees; stopped, or never attached; safe on a zeroed struct. Helper thread. */
int virtio_pci_init(struct virtio_pci *p, struct virtio_device *dev,
	const struct virtio_pci_params *params, struct diag *d);
void virtio_pci_finish(struct virtio_pci *p);

/* virtio_pci_attach: the env's reactor is set and current; kicks arrive from now on. */
void virtio_pci_attach(struct virtio_pci *p);

/* virtio_pci_stop: resets the device and ends everything in flight; no vCPU runs any more.
 * `stopped` is called once, perhaps from within. */
void virtio_pci_stop(struct virtio_pci *p, void (*stopped)(struct virtio_pci *p));

/* --- private to pci_*.c --- */
uint64_t virtio_common_read(struct virtio_pci *p, uint64_t offset, unsigned int size_bytes);
void virtio_common_write(
	struct virtio_pci *p, uint64_t offset, unsigned int size_bytes, uint64_t value);

#endif

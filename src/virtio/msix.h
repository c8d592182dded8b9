/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X of one function: the table and pending bits in a BAR, and an irqfd with a GSI route behind
 * each vector. PCI Local Bus 3.0 §6.8.2. Home reactor, but for init and finish.
 *
 * A vector is raised by one write to its eventfd, queued with the turn's other operations. Masked
 * vectors are never written to: they wait in the pending bits until they are unmasked. */
#ifndef VIRTIO_MSIX_H
#define VIRTIO_MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/io_op.h"
#include "virtio/env.h"

#define MSIX_ENTRY_BYTES 16u
#define MSIX_VECTORS_MAX 256u
#define MSIX_NO_VECTOR   0xffffu /* of the virtio registers */

struct msix;

struct msix_vector {
	struct msix *msix;
	uint64_t addr; /* the table's entry */
	uint32_t data;
	bool masked;
	bool pending;
	int gsi; /* -1: none */
	/* Not in the reactor's file table: KVM holds the descriptor as well, and lets go of it
	 * where a reactor must not wait, in msix_finish. */
	struct io_file event;
	bool attached; /* `event` is the irqfd of `gsi` */
};

struct msix {
	struct virtio_env *env;
	struct msix_vector *vectors;
	unsigned int count;
	bool enabled, masked; /* the capability's control bits */
	bool signalled;       /* some eventfd has been written to */
	struct io_op barrier; /* the end: behind all such writes */
	bool stopping;
	void (*stopped)(struct msix *m);
};

/* msix_init: `count` ≤ MSIX_VECTORS_MAX vectors, all masked; takes a GSI and an eventfd for each.
 * -ENOSPC, -EMFILE, -ENOMEM. msix_finish: stopped, or never attached. Helper thread. */
int msix_init(struct msix *m, struct virtio_env *env, unsigned int count, struct diag *d);
void msix_finish(struct msix *m);

/* msix_stop: no more writes; `stopped` is called when none is in flight, perhaps at once. */
void msix_stop(struct msix *m, void (*stopped)(struct msix *m));

/* msix_control: the guest wrote the capability's Enable and Function Mask bits. */
void msix_control(struct msix *m, bool enabled, bool masked);

/* Accesses to the table (offset from its start) and the pending bits. */
uint64_t msix_table_read(struct msix *m, uint64_t offset, unsigned int size_bytes);
void msix_table_write(struct msix *m, uint64_t offset, unsigned int size_bytes, uint64_t value);
uint64_t msix_pending_read(struct msix *m, uint64_t offset, unsigned int size_bytes);

/* msix_raise: interrupts by this vector, or marks it pending. Ignores vectors out of range. */
void msix_raise(struct msix *m, unsigned int vector);

#endif

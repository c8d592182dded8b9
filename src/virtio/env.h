/* SPDX-License-Identifier: Apache-2.0 */
/* What a virtio device needs of the machine around it, so that tests can stand in for KVM. */
#ifndef VIRTIO_ENV_H
#define VIRTIO_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/gmem.h"
#include "core/pci.h"
#include "core/reactor.h"

/* As the functions of core/vm.h. `ctx` is the env's. */
struct virtio_host_ops {
	int (*ioeventfd)(void *ctx, bool assign, uint64_t gpa, int eventfd, struct diag *d);
	int (*gsi_alloc)(void *ctx);
	void (*gsi_free)(void *ctx, int gsi);
	int (*msi_route)(void *ctx, int gsi, uint64_t addr, uint32_t data);
	int (*irqfd)(void *ctx, bool assign, int gsi, int eventfd);
	/* Memory slot `index` (0…) of hot-plugged memory is [gpa, gpa + size_bytes) at `host`, or
	 * nothing (size 0). May wait for vCPUs; any thread. NULL: nobody has slots. */
	int (*slot_set)(void *ctx, unsigned int index, gpa_t gpa, uint64_t size_bytes, void *host,
		struct diag *d);
	/* Handles all accesses that vCPUs have posted; before each kick, which must not overtake
	 * them. NULL: none. */
	void (*drain)(void *ctx);
};

/* One a device; constant once the device is attached to its reactor. */
struct virtio_env {
	const struct virtio_host_ops *ops;
	void *ctx;
	const char *guest; /* its name, for probes; NULL: none */
	const struct gmem *mem;
	struct pci_bus *pci;
	struct reactor *reactor; /* NULL until attached */
	uint64_t *kicks, *irqs;  /* the machine's figures; NULL: nobody counts */
};

#endif

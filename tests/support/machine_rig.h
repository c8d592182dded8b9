/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM for device tests: memory, buses, a real reactor on a thread of its own, and
 * a host that does with eventfds what KVM does. The test's thread plays the vCPU. */
#ifndef SUPPORT_MACHINE_RIG_H
#define SUPPORT_MACHINE_RIG_H

#include <pthread.h>
#include <semaphore.h>

#include "core/bus.h"
#include "core/gmem.h"
#include "core/pci.h"
#include "core/reactor.h"
#include "virtio/env.h"

#define RIG_HOST_GSIS       64
#define RIG_HOST_IOEVENTFDS 64

/* What KVM would know. Changed on the reactor's thread; read by the test's between its accesses. */
struct rig_host {
	struct rig_ioeventfd {
		uint64_t gpa; /* 0: free */
		int fd;
	} ioeventfds[RIG_HOST_IOEVENTFDS];
	struct rig_gsi {
		bool used, routed;
		uint64_t addr;
		uint32_t data;
		int fd; /* -1: no irqfd */
	} gsis[RIG_HOST_GSIS];
	bool lines[24];
	unsigned int routes_set, drains;
	int fail_ioeventfd, fail_gsi, fail_route; /* -errno to give, 0: none */
};

struct machine_rig {
	struct gmem mem;
	struct bus bus;
	struct pci_bus pci;
	struct virtio_env env;
	struct reactor *reactor;
	pthread_t thread;
	struct rig_host host;
};

/* machine_rig_start: ram_bytes of memory, buses, a reactor that turns (p NULL: defaults).
 * machine_rig_stop: ends the reactor and frees all; every device is stopped and finished. */
void machine_rig_start(struct machine_rig *m, uint64_t ram_bytes, const struct reactor_params *p);
void machine_rig_stop(struct machine_rig *m);

/* machine_rig_call: runs fn(arg) on the reactor's thread and waits until it has returned. */
void machine_rig_call(struct machine_rig *m, void (*fn)(void *arg), void *arg);

/* machine_rig_load: reads a number of 1, 2, 4 or 8 bytes on the reactor's thread: for looking at
 * what it changes by itself. */
uint64_t machine_rig_load(struct machine_rig *m, const void *at, unsigned int size_bytes);

/* A vCPU's accesses. A write to an address that has an ioeventfd only signals that. */
uint64_t machine_rig_read(struct machine_rig *m, uint64_t addr, unsigned int size_bytes);
void machine_rig_write(
	struct machine_rig *m, uint64_t addr, unsigned int size_bytes, uint64_t value);
uint64_t machine_rig_config_read(
	struct machine_rig *m, unsigned int devfn, unsigned int reg, unsigned int size_bytes);
void machine_rig_config_write(struct machine_rig *m, unsigned int devfn, unsigned int reg,
	unsigned int size_bytes, uint64_t value);

/* machine_rig_wait_msi: waits for an MSI with this data, at most 10 s, and consumes it; how many
 * there were. machine_rig_has_msi: the same without waiting. */
uint64_t machine_rig_wait_msi(struct machine_rig *m, uint32_t data);
uint64_t machine_rig_has_msi(struct machine_rig *m, uint32_t data);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One KVM virtual machine: memory slots, interrupt routing, ioeventfds. KVM ioctls live in vm*.c
 * and vcpu*.c only. */
#ifndef CORE_VM_H
#define CORE_VM_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/gmem.h"
#include "core/layout.h"

struct kvm_cpuid2;
struct kvm_coalesced_mmio_ring;

/* What this host's KVM offers; opened once, then read by any thread. */
struct vm_host {
	int kvm_fd;
	bool hardware_virt; /* the CPU shows VMX or SVM; without, guest kernel mode is interpreted
			     */
	unsigned int max_vcpus;
	uint32_t run_bytes; /* size of a vCPU's shared mapping */
	uint64_t sync_regs; /* KVM_CAP_SYNC_REGS */
	bool coalesced_pio;
	struct kvm_cpuid2 *cpuid; /* KVM_GET_SUPPORTED_CPUID */
	cpu_set_t affinity;       /* of the thread that opened it: what vCPU threads get, too */
	int init_sipi;            /* vm_host_init_sipi's answer: -1 not probed yet */
};

/* vm_host_open: opens `path` (NULL: /dev/kvm) and checks version and capabilities. Errors, with the
 * remedy in `d`: -ENOENT (no KVM), -EACCES/-EPERM (not allowed), -ENOTSUP (a capability is
 * missing), -errno. */
int vm_host_open(struct vm_host *h, const char *path, struct diag *d);
void vm_host_close(struct vm_host *h);

/* vm_host_init_sipi: true if INIT/SIPI starts a second vCPU here. Found out once, with a throw-away
 * VM of two vCPUs; takes some milliseconds, so not on a reactor. Any thread. */
bool vm_host_init_sipi(struct vm_host *h);

/* vm_host_address_bits: how many bits a guest-physical address may have here: what CPUID leaf
 * 0x80000008 says, or 36 without it. Any thread. */
unsigned int vm_host_address_bits(const struct vm_host *h);

/* "KVM API 12, VMX/SVM" or "…, no VMX/SVM: guest kernel mode is interpreted". Static text. */
const char *vm_host_describe(const struct vm_host *h);

/* KVM_MAX_IRQ_ROUTES, less the second entry that each of the PICs' 16 GSIs has. */
#define VM_GSI_MAX (4096 - 16)

struct vm_msi {
	uint64_t addr;
	uint32_t data;
	bool routed;
};

/* Built on a helper thread, then the home reactor's; vCPU threads touch only their own file. */
struct vm {
	const struct vm_host *host;
	int fd;
	unsigned int slots_used;
	uint64_t gsi_used[(VM_GSI_MAX + 63) / 64];
	struct vm_msi *msi;       /* by GSI, VM_GSI_MAX entries, allocated with the first */
	unsigned int gsi_highest; /* highest GSI in use, +1 */
	struct kvm_coalesced_mmio_ring *coalesced; /* mapped by the first vCPU; NULL: not offered */
	uint32_t coalesced_entries;                /* capacity + 1 */
	uint64_t coalesced_drained; /* how many the reactor has taken, ever; atomic */
	bool coalescing;
};

/* vm_create: the VM with its in-kernel interrupt controllers (no PIT). -errno with the text in `d`.
 */
int vm_create(struct vm *vm, const struct vm_host *h, struct diag *d);
/* vm_destroy: closes it; all vCPUs are closed already. Safe on a zeroed struct. May take
 * milliseconds. */
void vm_destroy(struct vm *vm);

/* vm_map_gmem: a memory slot for each RAM region of `m`. Slots 0..GMEM_REGIONS_MAX-1 are its. */
int vm_map_gmem(struct vm *vm, const struct gmem *m, struct diag *d);
/* vm_slots_max: how many slots this host's KVM has for a VM, those of vm_map_gmem included. */
unsigned int vm_slots_max(const struct vm *vm);
/* vm_slot_set: sets slot `slot` to [gpa, gpa + size_bytes) at `host`; size 0 deletes it. For
 * hot-plug, slots from GMEM_REGIONS_MAX on. The call waits for all vCPUs of the VM to leave the old
 * mapping. Any thread. */
int vm_slot_set(
	struct vm *vm, uint32_t slot, gpa_t gpa, uint64_t size_bytes, void *host, struct diag *d);

/* --- interrupts ----------------------------------------------------------------------------------
 */

/* vm_gsi_alloc: a GSI for an MSI route, ≥ LAYOUT_GSI_LINES; -ENOSPC. Freed with its route. */
int vm_gsi_alloc(struct vm *vm);
void vm_gsi_free(struct vm *vm, int gsi);
/* vm_msi_route: interrupts on `gsi` become this MSI from now on. */
int vm_msi_route(struct vm *vm, int gsi, uint64_t addr, uint32_t data);
/* vm_irqfd: a write to `eventfd` raises `gsi` (an edge), or no longer. */
int vm_irqfd(struct vm *vm, bool assign, int gsi, int eventfd);
/* vm_irq_line: level of a legacy line. vm_irq_pulse: an edge on it. Any thread. */
int vm_irq_line(struct vm *vm, unsigned int gsi, int level);
void vm_irq_pulse(struct vm *vm, unsigned int gsi);
/* vm_msi: raises one MSI at once, without a route. */
int vm_msi_send(struct vm *vm, uint64_t addr, uint32_t data);

/* --- kicks ---------------------------------------------------------------------------------------
 */

/* vm_ioeventfd: a guest write of any length to this MMIO address signals `eventfd` inside the
 * kernel, or no longer. -EEXIST, -ENOSPC, -errno. */
int vm_ioeventfd(struct vm *vm, bool assign, uint64_t gpa, int eventfd, struct diag *d);

/* --- coalesced port writes: kept in the kernel, taken in order
 * ----------------------------------------- */

/* One write that KVM kept. */
struct vm_coalesced {
	uint64_t addr;
	uint32_t size_bytes;
	uint64_t data;
};

/* vm_coalesce: KVM keeps writes to this port range in the ring, or no longer. Home reactor.
 * -ENOTSUP. */
int vm_coalesce(struct vm *vm, bool on, uint16_t port, unsigned int ports);
/* vm_coalesced_mark: a mark behind all that is in the ring now. A vCPU takes it at each exit,
 * before it posts the exit: whatever that vCPU wrote earlier lies before the mark. Any thread. */
uint64_t vm_coalesced_mark(const struct vm *vm);
/* vm_coalesced_pop: the next kept write before `mark`; false if there is none. Home reactor. */
bool vm_coalesced_pop(struct vm *vm, uint64_t mark, struct vm_coalesced *w);

#endif

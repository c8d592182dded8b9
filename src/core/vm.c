/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM virtual machine: memory slots, interrupt routes, kicks, coalesced writes. */
#include "core/vm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/check.h"

int vm_create(struct vm *vm, const struct vm_host *h, struct diag *d)
{
	uint64_t identity = LAYOUT_KVM_IDENTITY;
	int err;

	memset(vm, 0, sizeof(*vm));
	vm->host = h;
	vm->gsi_highest = LAYOUT_GSI_LINES;
	do
		vm->fd = ioctl(h->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0) {
		err = diag_errno(d, -errno, "KVM_CREATE_VM");
		vm->fd = -1;
		return err;
	}
	/* Both pages matter to VMX without unrestricted guests only, but must lie outside RAM. */
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		err = diag_errno(d, -errno, "KVM_SET_IDENTITY_MAP_ADDR");
	else if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS) < 0)
		err = diag_errno(d, -errno, "KVM_SET_TSS_ADDR");
	else if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		err = diag_errno(d, -errno, "KVM_CREATE_IRQCHIP");
	else
		return 0;
	vm_destroy(vm);
	return err;
}

void vm_destroy(struct vm *vm)
{
	if (!vm->host)
		return;
	if (vm->fd >= 0)
		close(vm->fd);
	free(vm->msi);
	memset(vm, 0, sizeof(*vm));
	vm->fd = -1;
}

unsigned int vm_slots_max(const struct vm *vm)
{
	int slots = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	return slots > GMEM_REGIONS_MAX ? (unsigned int)slots : GMEM_REGIONS_MAX;
}

int vm_slot_set(
	struct vm *vm, uint32_t slot, gpa_t gpa, uint64_t size_bytes, void *host, struct diag *d)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa.v,
		.memory_size = size_bytes,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return diag_errno(d, -errno,
			"KVM_SET_USER_MEMORY_REGION: slot %u, 0x%llx bytes at guest address 0x%llx",
			slot, (unsigned long long)size_bytes, (unsigned long long)gpa.v);
	return 0;
}

int vm_map_gmem(struct vm *vm, const struct gmem *m, struct diag *d)
{
	for (unsigned int i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];
		int err = 0;

		if (r->kind == GMEM_RAM)
			err = vm_slot_set(vm, i, r->start, r->size_bytes, r->host, d);
		if (err)
			return err;
	}
	return 0;
}

/* --- interrupts ----------------------------------------------------------------------------------
 */

int vm_gsi_alloc(struct vm *vm)
{
	if (!vm->msi)
		vm->msi = calloc(VM_GSI_MAX, sizeof(*vm->msi));
	if (!vm->msi)
		return -ENOMEM;
	for (unsigned int gsi = LAYOUT_GSI_LINES; gsi < VM_GSI_MAX; gsi++) {
		if (vm->gsi_used[gsi / 64] & (1ULL << (gsi % 64)))
			continue;
		vm->gsi_used[gsi / 64] |= 1ULL << (gsi % 64);
		if (gsi >= vm->gsi_highest)
			vm->gsi_highest = gsi + 1;
		return (int)gsi;
	}
	return -ENOSPC;
}

static unsigned int route_lines(struct kvm_irq_routing_entry *e)
{
	unsigned int n = 0;

	/* The two PICs for the guest that still asks them, and the I/O APIC's pins one to one: the
	 * same as KVM's default routing, which the first KVM_SET_GSI_ROUTING replaces. */
	for (uint32_t gsi = 0; gsi < 16; gsi++) {
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		e[n++].u.irqchip.pin = gsi % 8;
	}
	for (uint32_t gsi = 0; gsi < LAYOUT_GSI_LINES; gsi++) {
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e[n++].u.irqchip.pin = gsi;
	}
	return n;
}

static int routes_commit(struct vm *vm)
{
	unsigned int room = 16 + vm->gsi_highest;
	struct kvm_irq_routing *table =
		calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));
	int err = 0;

	if (!table)
		return -ENOMEM;
	table->nr = route_lines(table->entries);
	for (uint32_t gsi = LAYOUT_GSI_LINES; gsi < vm->gsi_highest; gsi++) {
		struct kvm_irq_routing_entry *e = &table->entries[table->nr];

		if (!vm->msi[gsi].routed)
			continue;
		e->gsi = gsi;
		e->type = KVM_IRQ_ROUTING_MSI;
		e->u.msi.address_lo = (uint32_t)vm->msi[gsi].addr;
		e->u.msi.address_hi = (uint32_t)(vm->msi[gsi].addr >> 32);
		e->u.msi.data = vm->msi[gsi].data;
		table->nr++;
	}
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0)
		err = -errno;
	free(table);
	return err;
}

void vm_gsi_free(struct vm *vm, int gsi)
{
	CHECK(gsi >= LAYOUT_GSI_LINES && gsi < VM_GSI_MAX);
	/* A stale route does no harm: nothing raises a GSI that has no irqfd, and the next commit
	 * drops it. */
	vm->msi[gsi].routed = false;
	vm->gsi_used[gsi / 64] &= ~(1ULL << (gsi % 64));
}

int vm_msi_route(struct vm *vm, int gsi, uint64_t addr, uint32_t data)
{
	struct vm_msi new = {.addr = addr, .data = data, .routed = true};
	struct vm_msi old;
	int err;

	CHECK(gsi >= LAYOUT_GSI_LINES && gsi < VM_GSI_MAX);
	old = vm->msi[gsi];
	if (old.routed && old.addr == addr && old.data == data)
		return 0;
	vm->msi[gsi] = new;
	err = routes_commit(vm);
	if (err) {
		/* KVM refuses a table as a whole, for instance for an address that is no MSI's. */
		vm->msi[gsi] = old;
	}
	return err;
}

int vm_irqfd(struct vm *vm, bool assign, int gsi, int eventfd)
{
	struct kvm_irqfd args = {
		.fd = (uint32_t)eventfd,
		.gsi = (uint32_t)gsi,
		.flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(vm->fd, KVM_IRQFD, &args) < 0 ? -errno : 0;
}

int vm_irq_line(struct vm *vm, unsigned int gsi, int level)
{
	struct kvm_irq_level args = {.irq = gsi, .level = (uint32_t)level};

	return ioctl(vm->fd, KVM_IRQ_LINE, &args) < 0 ? -errno : 0;
}

void vm_irq_pulse(struct vm *vm, unsigned int gsi)
{
	vm_irq_line(vm, gsi, 1);
	vm_irq_line(vm, gsi, 0);
}

int vm_msi_send(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

/* --- kicks ---------------------------------------------------------------------------------------
 */

int vm_ioeventfd(struct vm *vm, bool assign, uint64_t gpa, int eventfd, struct diag *d)
{
	/* Length 0: any. Such a write takes KVM's fast MMIO path, which needs not decode the
	 * instruction. */
	struct kvm_ioeventfd args = {
		.addr = gpa,
		.len = 0,
		.fd = eventfd,
		.flags = assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	if (ioctl(vm->fd, KVM_IOEVENTFD, &args) < 0)
		return diag_errno(d, -errno, "KVM_IOEVENTFD at guest address 0x%llx",
			(unsigned long long)gpa);
	return 0;
}

/* --- coalesced port writes
 * ------------------------------------------------------------------------- */

int vm_coalesce(struct vm *vm, bool on, uint16_t port, unsigned int ports)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = port, .size = ports, .pio = 1};

	if (!vm->coalesced)
		return -ENOTSUP;
	if (ioctl(vm->fd, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone) <
		0)
		return -errno;
	vm->coalescing = on;
	return 0;
}

/* KVM's ring has indexes modulo its size; the counts here never wrap in practice and tell a mark
 * that has been passed from one that lies ahead. `first` in the ring is drained % entries, or, for
 * a moment in vm_coalesced_pop, one entry behind that. */
uint64_t vm_coalesced_mark(const struct vm *vm)
{
	uint64_t drained, again;
	uint32_t last;

	if (!vm->coalesced)
		return 0;
	/* Pairs with the release in vm_coalesced_pop: `last` is read no earlier than `drained`, so
	 * the distance cannot come out negative. If the reactor takes entries in between, other
	 * vCPUs may fill their places, and the distance would seem shorter by a whole ring: then
	 * both are read anew. */
	again = __atomic_load_n(&vm->coalesced_drained, __ATOMIC_ACQUIRE);
	do {
		drained = again;
		last = __atomic_load_n(&vm->coalesced->last, __ATOMIC_ACQUIRE);
		again = __atomic_load_n(&vm->coalesced_drained, __ATOMIC_ACQUIRE);
	} while (again != drained);
	return drained + (last + vm->coalesced_entries - drained % vm->coalesced_entries) %
				 vm->coalesced_entries;
}

bool vm_coalesced_pop(struct vm *vm, uint64_t mark, struct vm_coalesced *w)
{
	const struct kvm_coalesced_mmio *e;
	uint64_t drained = vm->coalesced_drained;

	if (!vm->coalesced || mark <= drained)
		return false;
	/* The kernel's stores to the entry come before its store to `last` (acquired with the
	 * mark). */
	e = &vm->coalesced->coalesced_mmio[drained % vm->coalesced_entries];
	w->addr = e->phys_addr;
	w->size_bytes = e->len <= 8 ? e->len : 8;
	w->data = 0;
	memcpy(&w->data, e->data, w->size_bytes);
	drained++;
	/* The count first: who sees `last` with an entry in the freed place sees the count, too.
	 * The entry is read before the kernel may use it again. */
	__atomic_store_n(&vm->coalesced_drained, drained, __ATOMIC_RELEASE);
	__atomic_store_n(&vm->coalesced->first, drained % vm->coalesced_entries, __ATOMIC_RELEASE);
	return true;
}

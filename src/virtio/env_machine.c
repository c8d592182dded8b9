/* SPDX-License-Identifier: Apache-2.0 */
/* The env of a device on a real machine. */
#include "virtio/env_machine.h"

static int machine_ioeventfd(void *ctx, bool assign, uint64_t gpa, int eventfd, struct diag *d)
{
	struct machine *m = ctx;

	return vm_ioeventfd(&m->vm, assign, gpa, eventfd, d);
}

static int machine_gsi_alloc(void *ctx)
{
	struct machine *m = ctx;

	return vm_gsi_alloc(&m->vm);
}

static void machine_gsi_free(void *ctx, int gsi)
{
	struct machine *m = ctx;

	vm_gsi_free(&m->vm, gsi);
}

static int machine_msi_route(void *ctx, int gsi, uint64_t addr, uint32_t data)
{
	struct machine *m = ctx;

	return vm_msi_route(&m->vm, gsi, addr, data);
}

static int machine_irqfd(void *ctx, bool assign, int gsi, int eventfd)
{
	struct machine *m = ctx;

	return vm_irqfd(&m->vm, assign, gsi, eventfd);
}

static int machine_slot_set(
	void *ctx, unsigned int index, gpa_t gpa, uint64_t size_bytes, void *host, struct diag *d)
{
	struct machine *m = ctx;

	return vm_slot_set(&m->vm, GMEM_REGIONS_MAX + index, gpa, size_bytes, host, d);
}

static void machine_before_kick(void *ctx)
{
	machine_drain(ctx);
}

static const struct virtio_host_ops machine_ops = {
	.ioeventfd = machine_ioeventfd,
	.gsi_alloc = machine_gsi_alloc,
	.gsi_free = machine_gsi_free,
	.msi_route = machine_msi_route,
	.irqfd = machine_irqfd,
	.slot_set = machine_slot_set,
	.drain = machine_before_kick,
};

void virtio_env_init(struct virtio_env *env, struct machine *m)
{
	*env = (struct virtio_env){.ops = &machine_ops,
		.ctx = m,
		.guest = m->name,
		.mem = &m->mem,
		.pci = &m->pci,
		.kicks = &m->counts.kicks,
		.irqs = &m->counts.irqs};
}

void virtio_env_attach(struct virtio_env *env, struct machine *m)
{
	env->reactor = m->home;
}

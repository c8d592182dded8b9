/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio-mem as a device of a machine. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/machine.h"
#include "virtio/function.h"
#include "virtio/mem.h"

#define VIRTIO_ID_MEM 24
#define CLASS_MEM     0x00ff00 /* none of PCI's classes */

struct mem_device {
	struct virtio_function function;
	struct mem mem;
};

static struct mem_device *device_of(struct device *dev)
{
	return container_of(virtio_function_of(dev), struct mem_device, function);
}

static unsigned int mem_wanted(const struct guest_config *c)
{
	return c->mem;
}

static void mem_destroy(struct device *dev)
{
	struct mem_device *md = device_of(dev);

	virtio_function_finish(&md->function);
	mem_finish(&md->mem);
	free(md);
}

static void mem_unplugged(struct mem *m)
{
	struct mem_device *md = container_of(m, struct mem_device, mem);

	machine_memory_changed(md->function.base.machine);
}

/* Each block takes a memory slot of KVM's. */
static enum guest_error slots_check(struct machine *m, const struct guest_config *c, struct diag *d)
{
	uint64_t blocks = c->mem_region_size / c->mem_block_size;
	unsigned int slots = vm_slots_max(&m->vm) - GMEM_REGIONS_MAX;

	if (blocks <= slots)
		return GUEST_OK;
	diag_fail(d, -ENOSPC,
		"virtio-mem: a region of %" PRIu64 " blocks; KVM has memory slots for %u: make "
		"virtio_mem_block_size larger",
		blocks, slots);
	return GUEST_INITIALIZATION_FAILURE;
}

bool mem_region_check(const struct gmem_region *r, unsigned int bits, struct diag *d)
{
	uint64_t end = r->start.v + r->size_bytes;
	uint64_t limit = bits < 64 ? UINT64_C(1) << bits : UINT64_MAX;

	if (end <= limit)
		return true;
	diag_fail(d, -ERANGE,
		"virtio-mem: its region would end at 0x%" PRIx64 "; this host's physical addresses "
		"have %u bits, up to 0x%" PRIx64 ": make virtio_mem_region_size or "
		"virtio_mem_region_alignment smaller",
		end, bits, limit);
	return false;
}

static enum guest_error region_check(struct machine *m, struct diag *d)
{
	const struct gmem_region *r = &m->mem.regions[m->mem.count - 1];

	return mem_region_check(r, vm_host_address_bits(m->vm.host), d)
		       ? GUEST_OK
		       : GUEST_INITIALIZATION_FAILURE;
}

static enum guest_error mem_create(struct device **dev, struct machine *m, struct guest_config *c,
	unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_MEM, .class_code = CLASS_MEM};
	enum guest_error err = slots_check(m, c, d);
	struct mem_device *md;

	(void)index;
	if (!err)
		err = region_check(m, d);
	if (err)
		return err;
	err = GUEST_DEVICE_INITIALIZATION_FAILURE;
	md = calloc(1, sizeof(*md));
	if (!md) {
		diag_fail(d, -ENOMEM, "out of memory for virtio-mem");
		return err;
	}
	virtio_function_init(&md->function, m);
	if (!mem_init(&md->mem, &md->function.env, &m->mem, mem_unplugged, d))
		err = virtio_function_add(&md->function, &md->mem.dev, &params, d);
	if (err)
		mem_destroy(&md->function.base);
	else
		*dev = &md->function.base;
	return err;
}

/* --- controller --- */

static void controller_size(struct device *dev, struct mem_size *size)
{
	*size = device_of(dev)->mem.size;
}

static void controller_figures(const struct device *dev, struct mem_figures *to)
{
	mem_figures(&device_of((struct device *)dev)->mem, to);
}

static int controller_request(struct device *dev, uint64_t requested_size, struct diag *d)
{
	return mem_request(&device_of(dev)->mem, requested_size, d);
}

static const struct mem_controller controller = {
	.size = controller_size,
	.figures = controller_figures,
	.request = controller_request,
};

const struct device_class mem_device_class = {
	.name = "virtio-mem",
	.config_bit = CONFIG_BIT(CONFIG_MEM),
	.wanted = mem_wanted,
	.create = mem_create,
	.attach = virtio_function_attach,
	.stop = virtio_function_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = mem_destroy,
	.mem = &controller,
};

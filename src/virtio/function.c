/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device as a PCI function of a machine. */
#include "virtio/function.h"

#include <errno.h>

#include "core/machine.h"
#include "virtio/env_machine.h"

void virtio_function_init(struct virtio_function *f, struct machine *m)
{
	virtio_env_init(&f->env, m);
}

enum guest_error virtio_function_add(struct virtio_function *f, struct virtio_device *dev,
	const struct virtio_pci_params *params, struct diag *d)
{
	int err = virtio_pci_init(&f->pci, dev, params, d);

	if (!err)
		return GUEST_OK;
	diag_prefix(d, err, "%s", dev->name);
	return err == -EEXIST ? GUEST_DEVICE_MEMORY_OVERLAP : GUEST_DEVICE_INITIALIZATION_FAILURE;
}

void virtio_function_finish(struct virtio_function *f)
{
	virtio_pci_finish(&f->pci);
}

void virtio_function_attach(struct device *dev)
{
	struct virtio_function *f = virtio_function_of(dev);

	virtio_env_attach(&f->env, dev->machine);
	virtio_pci_attach(&f->pci);
}

static void function_stopped(struct virtio_pci *p)
{
	device_stopped(&container_of(p, struct virtio_function, pci)->base);
}

void virtio_function_stop(struct device *dev)
{
	virtio_pci_stop(&virtio_function_of(dev)->pci, function_stopped);
}

void virtio_function_memory_changed(struct device *dev)
{
	virtio_memory_changed(virtio_function_of(dev)->pci.dev);
}

uint32_t virtio_function_queue_depth(const struct device *dev)
{
	const struct virtio_function *f = container_of(dev, const struct virtio_function, base);
	const struct virtio_device *v = f->pci.dev;
	uint32_t sum = 0;

	for (unsigned int i = 0; i < v->queue_count; i++)
		sum += v->queues[i].vq.in_flight;
	return sum;
}

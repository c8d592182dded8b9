/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device as a PCI function of a machine: what every class of such devices shares.
 *
 *   create:  virtio_function_init, virtio_device_init with &f->env, virtio_function_add
 *   attach:  virtio_function_attach        stop:  virtio_function_stop
 *   destroy: virtio_function_finish, virtio_device_finish */
#ifndef VIRTIO_FUNCTION_H
#define VIRTIO_FUNCTION_H

#include "core/device.h"
#include "virtio/pci_transport.h"

/* Embedded in its device, beside the struct virtio_device. */
struct virtio_function {
	struct device base;
	struct virtio_env env;
	struct virtio_pci pci;
};

/* virtio_function_init: the env of this machine. virtio_function_add: puts `dev` on the machine's
 * PCI bus; GUEST_OK or GUEST_DEVICE_INITIALIZATION_FAILURE. virtio_function_finish: takes it off;
 * safe if it never got there. Helper thread. */
void virtio_function_init(struct virtio_function *f, struct machine *m);
enum guest_error virtio_function_add(struct virtio_function *f, struct virtio_device *dev,
	const struct virtio_pci_params *params, struct diag *d);
void virtio_function_finish(struct virtio_function *f);

/* For device_class.attach and .stop, of classes whose device is a struct virtio_function first of
 * all. virtio_function_stop resets the device, then says device_stopped. */
void virtio_function_attach(struct device *dev);
void virtio_function_stop(struct device *dev);
/* For device_class.memory_changed. */
void virtio_function_memory_changed(struct device *dev);
/* For device_class.queue_depth: chains popped and not pushed, all queues. */
uint32_t virtio_function_queue_depth(const struct device *dev);

static inline struct virtio_function *virtio_function_of(struct device *dev)
{
	return container_of(dev, struct virtio_function, base);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device as a device of a machine. */
#include <errno.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/machine.h"
#include "virtio/function.h"
#include "virtio/rng.h"

#define VIRTIO_ID_RNG 4
#define CLASS_RNG     0x00ff00 /* none of PCI's classes */

struct rng_device {
	struct virtio_function function;
	struct rng rng;
};

static unsigned int rng_wanted(const struct guest_config *c)
{
	return c->rng;
}

static void rng_destroy(struct device *dev)
{
	struct rng_device *rd = container_of(virtio_function_of(dev), struct rng_device, function);

	virtio_function_finish(&rd->function);
	rng_finish(&rd->rng);
	free(rd);
}

static enum guest_error rng_create(struct device **dev, struct machine *m, struct guest_config *c,
	unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_RNG, .class_code = CLASS_RNG};
	struct rng_device *rd = calloc(1, sizeof(*rd));
	enum guest_error err = GUEST_DEVICE_INITIALIZATION_FAILURE;

	(void)c;
	(void)index;
	if (!rd) {
		diag_fail(d, -ENOMEM, "out of memory for virtio-rng");
		return err;
	}
	virtio_function_init(&rd->function, m);
	if (!rng_init(&rd->rng, &rd->function.env, d))
		err = virtio_function_add(&rd->function, &rd->rng.dev, &params, d);
	if (err)
		rng_destroy(&rd->function.base);
	else
		*dev = &rd->function.base;
	return err;
}

const struct device_class rng_class = {
	.name = "virtio-rng",
	.config_bit = CONFIG_BIT(CONFIG_RNG),
	.wanted = rng_wanted,
	.create = rng_create,
	.attach = virtio_function_attach,
	.stop = virtio_function_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = rng_destroy,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon as a device of a machine. */
#include <errno.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/machine.h"
#include "virtio/balloon.h"
#include "virtio/function.h"

#define VIRTIO_ID_BALLOON 5
#define CLASS_BALLOON     0x00ff00 /* none of PCI's classes */

struct balloon_device {
	struct virtio_function function;
	struct balloon balloon;
};

static struct balloon_device *device_of(struct device *dev)
{
	return container_of(virtio_function_of(dev), struct balloon_device, function);
}

static unsigned int balloon_wanted(const struct guest_config *c)
{
	return c->balloon;
}

static void balloon_destroy(struct device *dev)
{
	struct balloon_device *bd = device_of(dev);

	virtio_function_finish(&bd->function);
	balloon_finish(&bd->balloon);
	free(bd);
}

static enum guest_error balloon_create(struct device **dev, struct machine *m,
	struct guest_config *c, unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_BALLOON, .class_code = CLASS_BALLOON};
	struct balloon_device *bd = calloc(1, sizeof(*bd));
	enum guest_error err = GUEST_DEVICE_INITIALIZATION_FAILURE;

	(void)c;
	(void)index;
	if (!bd) {
		diag_fail(d, -ENOMEM, "out of memory for virtio-balloon");
		return err;
	}
	virtio_function_init(&bd->function, m);
	if (!balloon_init(&bd->balloon, &bd->function.env, d))
		err = virtio_function_add(&bd->function, &bd->balloon.dev, &params, d);
	if (err)
		balloon_destroy(&bd->function.base);
	else
		*dev = &bd->function.base;
	return err;
}

/* --- controller --- */

static void controller_size(struct device *dev, uint32_t *current_pages, uint32_t *requested_pages)
{
	balloon_size(&device_of(dev)->balloon, current_pages, requested_pages);
}

static void controller_request(struct device *dev, uint32_t pages)
{
	balloon_request(&device_of(dev)->balloon, pages);
}

static void controller_reclaim(struct device *dev, uint32_t pages)
{
	balloon_reclaim(&device_of(dev)->balloon, pages);
}

static void controller_figures(const struct device *dev, struct balloon_figures *to)
{
	balloon_figures(&device_of((struct device *)dev)->balloon, to);
}

static void controller_stats(struct device *dev, struct balloon_stats_call *call)
{
	balloon_get_stats(&device_of(dev)->balloon, call);
}

static const struct balloon_controller controller = {
	.size = controller_size,
	.request = controller_request,
	.reclaim = controller_reclaim,
	.stats = controller_stats,
	.figures = controller_figures,
};

const struct device_class balloon_device_class = {
	.name = "virtio-balloon",
	.config_bit = CONFIG_BIT(CONFIG_BALLOON),
	.wanted = balloon_wanted,
	.create = balloon_create,
	.attach = virtio_function_attach,
	.stop = virtio_function_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = balloon_destroy,
	.balloon = &controller,
};

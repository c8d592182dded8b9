/* SPDX-License-Identifier: Apache-2.0 */
/* The console as a device of a machine. */
#include <errno.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/controllers.h"
#include "core/machine.h"
#include "virtio/console.h"
#include "virtio/function.h"

#define VIRTIO_ID_CONSOLE 3
#define CLASS_CONSOLE     0x078000 /* communication controller, other */

struct console_device {
	struct virtio_function function;
	struct console console;
};

static struct console_device *device_of(struct device *dev)
{
	return container_of(virtio_function_of(dev), struct console_device, function);
}

static unsigned int console_wanted(const struct guest_config *c)
{
	return c->console;
}

static void console_destroy(struct device *dev)
{
	struct console_device *cd = device_of(dev);

	virtio_function_finish(&cd->function);
	console_finish(&cd->console);
	free(cd);
}

static enum guest_error console_create(struct device **dev, struct machine *m,
	struct guest_config *c, unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_CONSOLE, .class_code = CLASS_CONSOLE};
	struct console_device *cd = calloc(1, sizeof(*cd));
	enum guest_error err = GUEST_DEVICE_INITIALIZATION_FAILURE;

	(void)c;
	(void)index;
	if (!cd) {
		diag_fail(d, -ENOMEM, "out of memory for virtio-console");
		return err;
	}
	virtio_function_init(&cd->function, m);
	if (!console_init(&cd->console, &cd->function.env, d))
		err = virtio_function_add(&cd->function, &cd->console.dev, &params, d);
	if (err)
		console_destroy(&cd->function.base);
	else
		*dev = &cd->function.base;
	return err;
}

/* --- the end: the reader gets the rest, the device is reset, the stream closed --- */

static void function_stopped(struct virtio_pci *p)
{
	struct console_device *cd = container_of(p, struct console_device, function.pci);

	console_close(&cd->console);
	device_stopped(&cd->function.base);
}

static void console_drained(struct console *c)
{
	struct console_device *cd = container_of(c, struct console_device, console);

	virtio_pci_stop(&cd->function.pci, function_stopped);
}

static void console_stop(struct device *dev)
{
	console_drain(&device_of(dev)->console, console_drained);
}

/* --- controller --- */

static int controller_client(struct device *dev, struct diag *d)
{
	return console_client(&device_of(dev)->console, d);
}

static void controller_open_files(struct device *dev, int in, int out, struct stream_loss *loss)
{
	console_open_files(&device_of(dev)->console, in, out, loss);
}

static void controller_resize(struct device *dev, uint16_t cols, uint16_t rows)
{
	console_resize(&device_of(dev)->console, cols, rows);
}

static uint64_t controller_blocked_ns(const struct device *dev)
{
	const struct virtio_function *f = container_of(dev, const struct virtio_function, base);

	return console_blocked_ns(&container_of(f, const struct console_device, function)->console);
}

static const struct console_controller controller = {
	.client = controller_client,
	.open_files = controller_open_files,
	.resize = controller_resize,
	.blocked_ns = controller_blocked_ns,
};

const struct device_class console_class = {
	.name = "virtio-console",
	.config_bit = CONFIG_BIT(CONFIG_CONSOLE),
	.wanted = console_wanted,
	.create = console_create,
	.attach = virtio_function_attach,
	.stop = console_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = console_destroy,
	.console = &controller,
};

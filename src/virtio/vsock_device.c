/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock as a device of a machine. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/check.h"
#include "core/machine.h"
#include "virtio/function.h"
#include "virtio/vsock.h"
#include "virtio/vsock_neighbour.h"
#include "virtio/vsock_uds.h"

#define VIRTIO_ID_VSOCK 19
#define CLASS_VSOCK     0x078000 /* communication controller, other */

struct vsock_device {
	struct virtio_function function;
	struct vsock vsock;
	struct vsock_uds uds;
	struct vsock_guests guests;
};

static struct vsock_device *device_of(struct device *dev)
{
	return container_of(virtio_function_of(dev), struct vsock_device, function);
}

static unsigned int vsock_wanted(const struct guest_config *c)
{
	return c->vsock;
}

static void vsock_destroy(struct device *dev)
{
	struct vsock_device *vd = device_of(dev);

	virtio_function_finish(&vd->function);
	vsock_guests_finish(&vd->guests);
	vsock_uds_finish(&vd->uds);
	vsock_finish(&vd->vsock);
	free(vd);
}

/* The ports listen before the first instruction; their acceptors come by `adopt`. */
static enum guest_error reserve_ports(struct vsock *v, const struct guest_config *c, struct diag *d)
{
	for (uint32_t i = 0; i < c->listener_count; i++) {
		uint32_t port = c->listeners[i].port;
		int err = vsock_reserve(v, port);

		if (err) {
			diag_errno(d, err, "vsock_listeners: port %u", port);
			return GUEST_DEVICE_START_FAILURE;
		}
	}
	return GUEST_OK;
}

/* Where others find this guest: its socket, its address. */
static enum guest_error vsock_publish(
	struct device *dev, const struct guest_config *c, struct diag *d)
{
	struct neighbours *all = c->vsock_guest_to_guest ? dev->machine->neighbours : NULL;
	struct vsock_device *vd = device_of(dev);
	enum guest_error err = vsock_uds_init(&vd->uds, &vd->vsock, c->vsock_uds_path, d);

	if (!err && vsock_guests_init(&vd->guests, &vd->vsock, all, d))
		err = GUEST_DUPLICATE_PUBLIC_SERVICES;
	return err;
}

/* How many connections one guest may have, by the files that this process may open. */
static uint32_t conns_share(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) ||
		files.rlim_cur / VSOCK_FILES_SHARE > VSOCK_CONNS_MAX)
		return VSOCK_CONNS_MAX;
	return (uint32_t)(files.rlim_cur / VSOCK_FILES_SHARE);
}

static enum guest_error vsock_create(struct device **dev, struct machine *m, struct guest_config *c,
	unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_VSOCK, .class_code = CLASS_VSOCK};
	struct vsock_device *vd = calloc(1, sizeof(*vd));
	enum guest_error err = GUEST_DEVICE_INITIALIZATION_FAILURE;

	(void)index;
	if (!vd) {
		diag_fail(d, -ENOMEM, "out of memory for virtio-vsock");
		return err;
	}
	virtio_function_init(&vd->function, m);
	if (vsock_init(&vd->vsock, &vd->function.env, c->guest_cid, d)) {
		free(vd);
		return err;
	}
	vd->vsock.conns_max = conns_share();
	err = virtio_function_add(&vd->function, &vd->vsock.dev, &params, d);
	if (!err)
		err = reserve_ports(&vd->vsock, c, d);
	if (err)
		vsock_destroy(&vd->function.base);
	else
		*dev = &vd->function.base;
	return err;
}

static void vsock_attach(struct device *dev)
{
	virtio_function_attach(dev);
	vsock_uds_attach(&device_of(dev)->uds);
	vsock_guests_attach(&device_of(dev)->guests);
}

/* --- the end: the device is reset, then peers, guests, clients and acceptors are told --- */

static void vsock_closed(struct vsock *v)
{
	device_stopped(&container_of(v, struct vsock_device, vsock)->function.base);
}

static void guests_stopped(struct vsock_guests *g)
{
	vsock_close(g->v, vsock_closed);
}

static void uds_stopped(struct vsock_uds *u)
{
	vsock_guests_stop(&container_of(u, struct vsock_device, uds)->guests, guests_stopped);
}

static void function_stopped(struct virtio_pci *p)
{
	vsock_uds_stop(&container_of(p, struct vsock_device, function.pci)->uds, uds_stopped);
}

static void vsock_stop(struct device *dev)
{
	virtio_pci_stop(&device_of(dev)->function.pci, function_stopped);
}

/* --- controller --- */

static int controller_listen(struct device *dev, uint32_t port, struct vsock_acceptor *a)
{
	return vsock_listen(&device_of(dev)->vsock, port, a);
}

static int controller_adopt(struct device *dev, uint32_t port, struct vsock_acceptor *a)
{
	return vsock_adopt(&device_of(dev)->vsock, port, a);
}

static void controller_unlisten(struct device *dev, uint32_t port, struct vsock_acceptor *a)
{
	vsock_unlisten(&device_of(dev)->vsock, port, a);
}

static void controller_accepted(struct device *dev, const struct vsock_accept *request, int fd)
{
	vsock_accepted(&device_of(dev)->vsock, request, fd);
}

static int controller_connect(struct device *dev, uint32_t guest_port, struct vsock_connect *c)
{
	return vsock_connect(&device_of(dev)->vsock, guest_port, c);
}

static void controller_connect_cancel(struct device *dev, struct vsock_connect *c)
{
	vsock_connect_cancel(&device_of(dev)->vsock, c);
}

static void controller_figures(struct device *dev, struct vsock_figures *to)
{
	vsock_figures(&device_of(dev)->vsock, to);
}

static const struct vsock_controller controller = {
	.listen = controller_listen,
	.adopt = controller_adopt,
	.unlisten = controller_unlisten,
	.accepted = controller_accepted,
	.connect = controller_connect,
	.connect_cancel = controller_connect_cancel,
	.figures = controller_figures,
};

const struct device_class vsock_class = {
	.name = "virtio-vsock",
	.config_bit = CONFIG_BIT(CONFIG_VSOCK),
	.wanted = vsock_wanted,
	.create = vsock_create,
	.publish = vsock_publish,
	.attach = vsock_attach,
	.stop = vsock_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = vsock_destroy,
	.vsock = &controller,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device for tests of device and transport. */
#include "support/echo_device.h"

#include <string.h>

#include "core/check.h"

static struct echo_device *echo_of(struct virtio_device *dev)
{
	return container_of(dev, struct echo_device, dev);
}

static bool echo_features_ok(struct virtio_device *dev, uint64_t features)
{
	(void)dev;
	return (features & (ECHO_F_ODD | ECHO_F_EVEN)) != (ECHO_F_ODD | ECHO_F_EVEN);
}

static void echo_driver_ok(struct virtio_device *dev)
{
	echo_of(dev)->driver_oks++;
}

static uint32_t answer(const struct vq_chain *chain)
{
	uint8_t bytes[256];
	size_t n = chain_read(chain, 0, bytes, sizeof(bytes));

	for (size_t i = 0; i < n / 2; i++) {
		uint8_t swap = bytes[i];

		bytes[i] = bytes[n - 1 - i];
		bytes[n - 1 - i] = swap;
	}
	return (uint32_t)chain_write(chain, 0, bytes, n);
}

static enum virtio_serve serve_echo(struct virtio_queue *q)
{
	struct iovec iov[ECHO_IOV_MAX];
	struct vq_chain chain = {.iov = iov, .iov_max = ECHO_IOV_MAX};

	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS; i++) {
		if (!vq_pop(&q->vq, &chain)) {
			if (echo_of(q->dev)->before_idle)
				echo_of(q->dev)->before_idle(echo_of(q->dev));
			return VIRTIO_SERVE_IDLE;
		}
		vq_push(&q->vq, &chain, answer(&chain));
		virtio_queue_flush(q);
		echo_of(q->dev)->served++;
	}
	return VIRTIO_SERVE_MORE;
}

static enum virtio_serve serve_held(struct virtio_queue *q)
{
	struct echo_device *e = echo_of(q->dev);

	while (e->held_count < ECHO_HELD_MAX) {
		struct vq_chain *chain = &e->held[e->held_count];

		*chain = (struct vq_chain){.iov = e->iov[e->held_count], .iov_max = ECHO_IOV_MAX};
		if (!vq_pop(&q->vq, chain))
			return VIRTIO_SERVE_IDLE;
		e->held_count++;
	}
	return VIRTIO_SERVE_BLOCKED;
}

static enum virtio_serve echo_serve(struct virtio_queue *q)
{
	return q->index == 0 ? serve_echo(q) : serve_held(q);
}

static void echo_queue_reset(struct virtio_queue *q)
{
	struct echo_device *e = echo_of(q->dev);

	if (q->index == 1 && e->held_count)
		e->queue_reset_waits = true;
	else
		virtio_queue_reset_done(q);
}

static void echo_reset(struct virtio_device *dev)
{
	struct echo_device *e = echo_of(dev);

	e->resets++;
	if (e->held_count)
		e->reset_waits = true;
	else
		virtio_reset_done(dev);
}

static void echo_config_write(
	struct virtio_device *dev, uint32_t offset, unsigned int size_bytes, uint64_t value)
{
	memcpy(echo_of(dev)->config + offset, &value, size_bytes);
}

static const struct virtio_device_ops echo_ops = {
	.features_ok = echo_features_ok,
	.driver_ok = echo_driver_ok,
	.serve = echo_serve,
	.queue_reset = echo_queue_reset,
	.reset = echo_reset,
	.config_write = echo_config_write,
};

static void attach_run(void *arg)
{
	virtio_pci_attach(&((struct echo_device *)arg)->pci);
}

void echo_add(struct echo_device *e, struct machine_rig *m)
{
	static const uint16_t sizes[ECHO_QUEUES] = {ECHO_QUEUE_SIZE, ECHO_QUEUE_SIZE};
	const struct virtio_pci_params params = {.type = 42, .class_code = 0x00ff00};
	struct diag d;

	memset(e, 0, sizeof(*e));
	e->m = m;
	e->env = m->env;
	CHECK(!virtio_device_init(&e->dev, &echo_ops, &e->env, "echo", ECHO_F_ODD | ECHO_F_EVEN,
		ECHO_QUEUES, sizes, &d));
	e->dev.config = e->config;
	e->dev.config_bytes = sizeof(e->config);
	CHECK(!virtio_pci_init(&e->pci, &e->dev, &params, &d));
	machine_rig_call(m, attach_run, e);
}

void echo_release_here(struct echo_device *e)
{
	struct virtio_queue *q = &e->dev.queues[1];

	for (unsigned int i = 0; i < e->held_count; i++)
		vq_push(&q->vq, &e->held[i], (uint32_t)e->held[i].in_bytes);
	virtio_queue_flush(q);
	e->held_count = 0;
	if (e->queue_reset_waits)
		virtio_queue_reset_done(q);
	if (e->reset_waits)
		virtio_reset_done(&e->dev);
	e->queue_reset_waits = e->reset_waits = false;
	virtio_queue_wake(q);
}

static void release_run(void *arg)
{
	echo_release_here(arg);
}

void echo_release(struct echo_device *e)
{
	machine_rig_call(e->m, release_run, e);
}

static void stopped(struct virtio_pci *p)
{
	container_of(p, struct echo_device, pci)->stopped = true;
}

static void stop_run(void *arg)
{
	struct echo_device *e = arg;

	virtio_pci_stop(&e->pci, stopped);
}

void echo_remove(struct echo_device *e)
{
	machine_rig_call(e->m, stop_run, e);
	echo_release(e);
	while (!machine_rig_load(e->m, &e->stopped, 1))
		;
	virtio_pci_finish(&e->pci);
	virtio_device_finish(&e->dev);
}

struct config_set {
	struct echo_device *e;
	uint8_t value;
};

static void config_set_run(void *arg)
{
	struct config_set *c = arg;

	c->e->config[0] = c->value;
	virtio_config_changed(&c->e->dev);
}

void echo_config_set(struct echo_device *e, uint8_t value)
{
	struct config_set c = {e, value};

	machine_rig_call(e->m, config_set_run, &c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device without its transport: status, features, queues, reset. */
#include "virtio/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

#define STATUS_DRIVER_BITS                                                                         \
	(VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_DRIVER_OK | VIRTIO_S_FEATURES_OK |      \
		VIRTIO_S_FAILED)

/* --- serving --- */

bool virtio_queue_live(const struct virtio_queue *q)
{
	return q->vq.enabled && !q->vq.fault && (q->dev->status & VIRTIO_S_DRIVER_OK) &&
	       !q->dev->resetting;
}

/* Runs serve() once. While the reactor may sleep, kicks are switched on here; while it polls, they
 * stay off, and its poller looks at the queue or switches them on before it sleeps. */
static bool queue_task(struct reactor_task *t)
{
	struct virtio_queue *q = container_of(t, struct virtio_queue, task);
	enum virtio_serve result;

	if (!virtio_queue_live(q))
		return false;
	q->idle = false;
	result = q->dev->ops->serve(q);
	if (result != VIRTIO_SERVE_IDLE)
		return result == VIRTIO_SERVE_MORE;
	if (!virtio_queue_live(q))
		return false;
	if (q->dev->armed && vq_notify_on(&q->vq))
		return true;
	q->idle = true;
	return false;
}

static void queue_serve(struct virtio_queue *q)
{
	if (!virtio_queue_live(q))
		return;
	if (q->idle)
		vq_notify_off(&q->vq);
	q->idle = false;
	reactor_defer(q->dev->env->reactor, &q->task);
}

void virtio_queue_wake(struct virtio_queue *q)
{
	queue_serve(q);
}

void virtio_queue_kick(struct virtio_queue *q)
{
	/* Of a queue that is not idle serve() will be called anyway, or waits for something that a
	 * kick can't bring. */
	if (q->idle)
		queue_serve(q);
}

static bool publish_task(struct reactor_task *t)
{
	struct virtio_device *dev = container_of(t, struct virtio_device, publish);

	for (unsigned int i = 0; i < dev->queue_count; i++) {
		struct virtio_queue *q = &dev->queues[i];

		if (!q->dirty)
			continue;
		q->dirty = false;
		if (virtio_queue_live(q) && vq_publish(&q->vq))
			dev->transport->queue_interrupt(q);
	}
	return false;
}

void virtio_queue_flush(struct virtio_queue *q)
{
	q->dirty = true;
	reactor_at_turn_end(q->dev->env->reactor, &q->dev->publish);
}

static bool device_poll(struct reactor_poller *p)
{
	struct virtio_device *dev = container_of(p, struct virtio_device, poller);
	bool found = false;

	for (unsigned int i = 0; i < dev->queue_count; i++) {
		struct virtio_queue *q = &dev->queues[i];

		if (!q->idle || !virtio_queue_live(q) || !vq_has_work(&q->vq))
			continue;
		queue_serve(q);
		found = true;
	}
	return found;
}

/* The reactor is about to sleep (and polls once more after this). */
static void device_arm(struct reactor_poller *p)
{
	struct virtio_device *dev = container_of(p, struct virtio_device, poller);

	dev->armed = true;
	for (unsigned int i = 0; i < dev->queue_count; i++) {
		if (dev->queues[i].idle)
			vq_notify_on(&dev->queues[i].vq);
	}
}

static void device_disarm(struct reactor_poller *p)
{
	struct virtio_device *dev = container_of(p, struct virtio_device, poller);

	dev->armed = false;
	for (unsigned int i = 0; i < dev->queue_count; i++)
		vq_notify_off(&dev->queues[i].vq);
}

/* --- faults --- */

static void needs_reset(struct virtio_device *dev, enum vq_fault fault)
{
	dev->faults++;
	if (!dev->fault)
		dev->fault = fault;
	if (dev->status & VIRTIO_S_NEEDS_RESET)
		return;
	dev->status |= VIRTIO_S_NEEDS_RESET;
	/* §2.1.2: a driver that is not ready is not told. */
	if (dev->status & VIRTIO_S_DRIVER_OK)
		virtio_config_changed(dev);
}

static void queue_fault(struct virtqueue *vq)
{
	struct virtio_queue *q = container_of(vq, struct virtio_queue, vq);

	needs_reset(q->dev, vq->fault);
}

void virtio_memory_changed(struct virtio_device *dev)
{
	for (unsigned int i = 0; i < dev->queue_count; i++)
		vq_memory_changed(&dev->queues[i].vq);
}

/* --- init --- */

static void queue_registers_reset(struct virtio_queue *q)
{
	q->size = q->vq.max_size;
	q->desc = q->driver = q->device = 0;
	q->resetting = false;
}

static int queue_init(
	struct virtio_device *dev, unsigned int index, uint16_t max_size, struct diag *d)
{
	struct virtio_queue *q = &dev->queues[index];
	int err = vq_init(&q->vq, dev->env->mem, max_size, d);

	if (err)
		return err;
	q->dev = dev;
	q->index = (uint16_t)index;
	q->vq.on_fault = queue_fault;
	q->vq.guest = dev->env->guest;
	q->vq.owner = dev->name;
	q->vq.index = q->index;
	reactor_task_init(&q->task, queue_task);
	queue_registers_reset(q);
	return 0;
}

int virtio_device_init(struct virtio_device *dev, const struct virtio_device_ops *ops,
	struct virtio_env *env, const char *name, uint64_t features, unsigned int queue_count,
	const uint16_t *queue_sizes, struct diag *d)
{
	int err = 0;

	CHECK(queue_count && queue_count <= VIRTIO_QUEUES_MAX);
	*dev = (struct virtio_device){.ops = ops,
		.env = env,
		.name = name,
		.offered = features | VIRTIO_F_COMMON,
		.queue_count = queue_count};
	reactor_task_init(&dev->publish, publish_task);
	dev->poller = (struct reactor_poller){
		.poll = device_poll, .arm = device_arm, .disarm = device_disarm};
	list_init(&dev->poller.link);
	dev->queues = calloc(queue_count, sizeof(*dev->queues));
	if (!dev->queues)
		err = diag_fail(d, -ENOMEM, "no memory for %u queues", queue_count);
	for (unsigned int i = 0; i < queue_count && !err; i++)
		err = queue_init(dev, i, queue_sizes[i], d);
	if (err)
		virtio_device_finish(dev);
	return err;
}

void virtio_device_finish(struct virtio_device *dev)
{
	CHECK(!dev->polled);
	for (unsigned int i = 0; dev->queues && i < dev->queue_count; i++)
		vq_finish(&dev->queues[i].vq);
	free(dev->queues);
	dev->queues = NULL;
	dev->queue_count = 0;
}

/* --- features and status --- */

void virtio_features_write(struct virtio_device *dev, uint32_t select, uint32_t value)
{
	if (dev->resetting || (dev->status & VIRTIO_S_FEATURES_OK))
		return;
	if (select < 2)
		dev->features = (dev->features & ~(0xffffffffULL << 32 * select)) |
				(uint64_t)value << 32 * select;
	else if (value)
		dev->features_unknown = true;
}

static bool features_accept(struct virtio_device *dev)
{
	if (dev->features_unknown || (dev->features & ~dev->offered) ||
		!(dev->features & VIRTIO_F_VERSION_1))
		return false;
	return !dev->ops->features_ok || dev->ops->features_ok(dev, dev->features);
}

/* Buffers may have been put into the queues before; the driver need not kick for them. */
static void driver_ready(struct virtio_device *dev)
{
	dev->armed = false;
	dev->polled = true;
	reactor_poller_add(dev->env->reactor, &dev->poller);
	if (dev->ops->driver_ok)
		dev->ops->driver_ok(dev);
	for (unsigned int i = 0; i < dev->queue_count; i++)
		queue_serve(&dev->queues[i]);
}

void virtio_status_write(struct virtio_device *dev, uint8_t value)
{
	uint8_t had = dev->status & STATUS_DRIVER_BITS, now = value & STATUS_DRIVER_BITS;

	if (dev->resetting)
		return;
	if (!value) {
		virtio_device_reset(dev);
		return;
	}
	/* §2.1.1: a driver must not take bits back, but by a reset. */
	if ((now & had) != had)
		return;
	if ((now & ~had & VIRTIO_S_FEATURES_OK) && !features_accept(dev))
		now &= (uint8_t)~VIRTIO_S_FEATURES_OK;
	if (!(now & VIRTIO_S_FEATURES_OK))
		now &= (uint8_t)~VIRTIO_S_DRIVER_OK;
	dev->status |= now;
	if (now & ~had & VIRTIO_S_DRIVER_OK)
		driver_ready(dev);
}

/* --- queues --- */

void virtio_queue_enable(struct virtio_queue *q)
{
	struct virtio_device *dev = q->dev;
	bool ready = dev->status & VIRTIO_S_DRIVER_OK;
	const struct vq_setup setup = {
		.size = q->size,
		.desc = GPA(q->desc),
		.driver = GPA(q->driver),
		.device = GPA(q->device),
		.packed = virtio_has(dev, VIRTIO_F_RING_PACKED),
		.indirect = virtio_has(dev, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX),
		.in_order = virtio_has(dev, VIRTIO_F_IN_ORDER),
	};
	enum vq_fault fault;

	/* After DRIVER_OK only a queue that was reset may come (back). */
	if (dev->resetting || q->resetting || q->vq.enabled ||
		!(dev->status & VIRTIO_S_FEATURES_OK) ||
		(ready && !virtio_has(dev, VIRTIO_F_RING_RESET)))
		return;
	fault = vq_enable(&q->vq, &setup);
	if (fault) {
		needs_reset(dev, fault);
		return;
	}
	dev->transport->queue_enabled(q);
	if (ready)
		queue_serve(q);
}

static void queue_disable(struct virtio_queue *q)
{
	reactor_task_cancel(&q->task);
	q->idle = q->dirty = false;
	vq_reset(&q->vq);
}

void virtio_queue_reset(struct virtio_queue *q)
{
	struct virtio_device *dev = q->dev;

	if (dev->resetting || q->resetting || !q->vq.enabled ||
		!(dev->status & VIRTIO_S_FEATURES_OK) || !virtio_has(dev, VIRTIO_F_RING_RESET))
		return;
	q->resetting = true;
	queue_disable(q);
	if (dev->ops->queue_reset)
		dev->ops->queue_reset(q);
	else
		virtio_queue_reset_done(q);
}

void virtio_queue_reset_done(struct virtio_queue *q)
{
	/* A reset of the whole device may have come in between; it waits for the same I/O. */
	if (q->resetting && !q->dev->resetting)
		queue_registers_reset(q);
}

/* --- reset --- */

void virtio_device_reset(struct virtio_device *dev)
{
	if (dev->resetting)
		return;
	dev->resetting = true;
	for (unsigned int i = 0; i < dev->queue_count; i++)
		queue_disable(&dev->queues[i]);
	if (dev->polled)
		reactor_poller_remove(dev->env->reactor, &dev->poller);
	dev->polled = dev->armed = false;
	reactor_task_cancel(&dev->publish);
	if (dev->ops->reset)
		dev->ops->reset(dev);
	else
		virtio_reset_done(dev);
}

void virtio_reset_done(struct virtio_device *dev)
{
	CHECK(dev->resetting);
	for (unsigned int i = 0; i < dev->queue_count; i++)
		queue_registers_reset(&dev->queues[i]);
	dev->features = 0;
	dev->features_unknown = false;
	dev->fault = VQ_OK;
	dev->status = 0;
	dev->resetting = false;
	dev->transport->reset_done(dev);
}

/* --- config space --- */

void virtio_config_changed(struct virtio_device *dev)
{
	dev->generation++;
	if (dev->status & VIRTIO_S_DRIVER_OK)
		dev->transport->config_interrupt(dev);
}

uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes && offset + i < dev->config_bytes; i++)
		value |= (uint64_t)dev->config[offset + i] << 8 * i;
	return value;
}

void virtio_config_write(
	struct virtio_device *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	if (dev->resetting || !dev->ops->config_write || size_bytes > dev->config_bytes ||
		offset > dev->config_bytes - size_bytes)
		return;
	dev->ops->config_write(dev, (uint32_t)offset, size_bytes, value);
}

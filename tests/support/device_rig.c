/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device without a transport. */
#include "support/device_rig.h"

#include <string.h>

#include "core/check.h"

#define RINGS_STEP 0x100000ULL

static struct device_rig *rig_of(struct virtio_device *dev)
{
	return dev->transport_ctx;
}

static void rig_queue_interrupt(struct virtio_queue *q)
{
	rig_of(q->dev)->queue_irqs[q->index]++;
}

static void rig_config_interrupt(struct virtio_device *dev)
{
	rig_of(dev)->config_irqs++;
}

static void rig_queue_enabled(struct virtio_queue *q)
{
	(void)q;
}

static void rig_reset_done(struct virtio_device *dev)
{
	rig_of(dev)->resets_done++;
}

static const struct virtio_transport_ops transport = {
	.queue_interrupt = rig_queue_interrupt,
	.config_interrupt = rig_config_interrupt,
	.queue_enabled = rig_queue_enabled,
	.reset_done = rig_reset_done,
};

void device_rig_init(struct device_rig *rig, struct reactor *r)
{
	const struct gmem_params p = {.ram_bytes = DEVICE_RIG_RAM, .name = "test"};

	memset(rig, 0, sizeof(*rig));
	CHECK(!gmem_init(&rig->mem, &p, NULL));
	rig->env = (struct virtio_env){.mem = &rig->mem, .reactor = r};
}

void device_rig_attach(struct device_rig *rig, struct virtio_device *dev)
{
	CHECK(dev->queue_count <= DEVICE_RIG_QUEUES);
	rig->dev = dev;
	dev->transport = &transport;
	dev->transport_ctx = rig;
}

void device_rig_finish(struct device_rig *rig)
{
	gmem_finish(&rig->mem);
}

void device_rig_queue_on(struct device_rig *rig, unsigned int q, uint16_t size)
{
	struct virtio_queue *queue = &rig->dev->queues[q];
	struct fake_driver *d = &rig->queues[q];
	const struct fake_params p = {
		.size = size,
		.packed = virtio_has(rig->dev, VIRTIO_F_RING_PACKED),
		.indirect = virtio_has(rig->dev, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_has(rig->dev, VIRTIO_F_EVENT_IDX),
		.in_order = virtio_has(rig->dev, VIRTIO_F_IN_ORDER),
	};

	fake_init(d, &rig->mem, DEVICE_RIG_RINGS + q * RINGS_STEP, &p);
	CHECK(d->end_gpa <= DEVICE_RIG_RINGS + (q + 1) * RINGS_STEP);
	queue->size = size;
	queue->desc = d->desc_gpa;
	queue->driver = d->driver_gpa;
	queue->device = d->device_gpa;
	virtio_queue_enable(queue);
	fake_interrupts(d, true);
}

bool device_rig_start(struct device_rig *rig, uint64_t features, uint16_t size)
{
	struct virtio_device *dev = rig->dev;
	uint8_t status = VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER;

	features |= VIRTIO_F_VERSION_1;
	virtio_status_write(dev, status);
	virtio_features_write(dev, 0, (uint32_t)features);
	virtio_features_write(dev, 1, (uint32_t)(features >> 32));
	status |= VIRTIO_S_FEATURES_OK;
	virtio_status_write(dev, status);
	if (!(dev->status & VIRTIO_S_FEATURES_OK))
		return false;
	for (unsigned int q = 0; q < dev->queue_count; q++)
		device_rig_queue_on(rig, q, size);
	virtio_status_write(dev, status | VIRTIO_S_DRIVER_OK);
	return true;
}

void device_rig_show(struct device_rig *rig, unsigned int q)
{
	if (fake_show(&rig->queues[q]))
		virtio_queue_kick(&rig->dev->queues[q]);
}

bool device_rig_offer(
	struct device_rig *rig, unsigned int q, uint64_t gpa, uint32_t len_bytes, bool write)
{
	const struct fake_buf buf = {gpa, len_bytes, write};

	if (fake_offer(&rig->queues[q], &buf, 1, false) < 0)
		return false;
	device_rig_show(rig, q);
	return true;
}

uint8_t *device_rig_mem(struct device_rig *rig, uint64_t gpa, uint64_t len_bytes)
{
	uint8_t *mem = gmem_map(&rig->mem, GPA(gpa), len_bytes);

	CHECK(mem);
	return mem;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile driver from a fuzzer's bytes. */
#include "support/device_script.h"

#include <string.h>

#include "core/check.h"
#include "support/fake_io.h"

#define QUEUE_SIZE 16
#define BUFS_MAX   4
#define STEPS_MAX  400

uint64_t device_script_next(struct device_script *s, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes && s->at < s->end; i++)
		value |= (uint64_t)*s->at++ << 8 * i;
	return value;
}

static void start(struct device_script *s)
{
	static const uint64_t common[8] = {VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
		VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_RESET};
	uint8_t choice = (uint8_t)device_script_next(s, 1);
	uint64_t features = device_script_next(s, 1) & s->features;

	for (unsigned int i = 0; i < 8; i++)
		features |= choice >> i & 1 ? common[i] : 0;
	if (!s->rig->dev->resetting && !s->rig->dev->status)
		device_rig_start(s->rig, features, QUEUE_SIZE);
}

/* Mostly memory that is there, sometimes at an edge, or anything. */
static uint64_t address(struct device_script *s)
{
	uint8_t choice = (uint8_t)device_script_next(s, 1);
	uint16_t offset = (uint16_t)device_script_next(s, 2);

	switch (choice % 8) {
	case 0:
		return DEVICE_RIG_RINGS + offset;
	case 1:
		return DEVICE_RIG_RAM - 4096 + offset;
	case 2:
		return (uint64_t)offset << 32;
	case 3:
		return s->base + ((uint64_t)offset << 12);
	default:
		return DEVICE_RIG_BUFFERS + offset;
	}
}

static void offer(struct device_script *s, unsigned int q)
{
	uint8_t shape = (uint8_t)device_script_next(s, 1);
	struct fake_buf bufs[BUFS_MAX];
	unsigned int count = 1 + shape % BUFS_MAX;

	for (unsigned int i = 0; i < count; i++) {
		bufs[i].addr = address(s);
		bufs[i].len_bytes = (uint32_t)device_script_next(s, 2) << (shape & 0x40 ? 8 : 0);
		bufs[i].write = shape >> (2 + i) & 1;
	}
	if (fake_offer(&s->rig->queues[q], bufs, count,
		    (shape & 0x80) && s->rig->queues[q].p.indirect) >= 0)
		device_rig_show(s->rig, q);
}

/* Bytes into memory: of a chain, or of a ring. */
static void scribble(struct device_script *s)
{
	uint64_t gpa = address(s);
	unsigned int count = 1 + (unsigned int)device_script_next(s, 1) % 32;
	uint8_t bytes[32];

	for (unsigned int i = 0; i < count; i++)
		bytes[i] = (uint8_t)device_script_next(s, 1);
	gmem_write(&s->rig->mem, GPA(gpa), bytes, count);
}

static void queue_reset(struct device_script *s, unsigned int q)
{
	struct virtio_queue *queue = &s->rig->dev->queues[q];

	virtio_queue_reset(queue);
	if (device_script_next(s, 1) & 1)
		fake_io_run(s->reactor);
	if (!queue->vq.enabled && !queue->resetting && queue->dev->status & VIRTIO_S_DRIVER_OK)
		device_rig_queue_on(s->rig, q, QUEUE_SIZE);
}

static void step(struct device_script *s)
{
	uint8_t choice = (uint8_t)device_script_next(s, 1);
	unsigned int q = (choice >> 4) % s->rig->dev->queue_count;
	bool started = s->rig->dev->status & VIRTIO_S_DRIVER_OK;

	switch (choice % 16) {
	case 0:
		start(s);
		break;
	case 1:
		virtio_device_reset(s->rig->dev);
		break;
	case 2:
		if (started)
			queue_reset(s, q);
		break;
	case 3:
	case 4:
		scribble(s);
		break;
	case 5:
		fake_io_turn(s->reactor);
		break;
	case 6:
		fake_io_run(s->reactor);
		break;
	case 7:
		virtio_queue_kick(&s->rig->dev->queues[q]);
		break;
	case 8:
		virtio_config_write(s->rig->dev, device_script_next(s, 1) & 0x3f,
			1u << (choice >> 4 & 3), device_script_next(s, 4));
		break;
	case 9:
	case 10:
		s->special(s, choice >> 4);
		break;
	default:
		if (started && s->rig->dev->queues[q].vq.enabled)
			offer(s, q);
		break;
	}
}

void device_script_run(struct device_script *s)
{
	start(s);
	for (unsigned int i = 0; i < STEPS_MAX && s->at < s->end; i++)
		step(s);
	virtio_device_reset(s->rig->dev);
	fake_io_run(s->reactor);
	CHECK(!s->rig->dev->resetting);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-pci driver on the test's thread. */
#include "support/virtio_guest.h"

#include <string.h>

#include "core/check.h"

static uint32_t config(struct virtio_guest *g, unsigned int reg, unsigned int size_bytes)
{
	return (uint32_t)machine_rig_config_read(g->m, g->devfn, reg, size_bytes);
}

static void probe_virtio_cap(struct virtio_guest *g, unsigned int at)
{
	uint64_t place = g->bar + config(g, at + 8, 4);

	switch (config(g, at + 3, 1)) {
	case 1:
		g->common = place;
		break;
	case 2:
		g->notify = place;
		g->notify_step = config(g, at + 16, 4);
		break;
	case 3:
		g->isr = place;
		break;
	case 4:
		g->device = place;
		break;
	case 5:
		g->window_cap = at;
		break;
	}
}

bool vguest_probe(struct virtio_guest *g, struct machine_rig *m, unsigned int devfn)
{
	unsigned int left = 48;

	memset(g, 0, sizeof(*g));
	g->m = m;
	g->devfn = devfn;
	g->next_ring = GUEST_RINGS;
	if (config(g, 0, 2) != 0x1af4 || !(config(g, 6, 2) & 0x10))
		return false;
	g->bar = config(g, 0x10, 4) & ~0xfu;
	for (unsigned int at = config(g, 0x34, 1); at && left--; at = config(g, at + 1, 1)) {
		if (config(g, at, 1) == 0x09)
			probe_virtio_cap(g, at);
		if (config(g, at, 1) != 0x11)
			continue;
		g->msix_cap = at;
		g->vectors = (config(g, at + 2, 2) & 0x7ff) + 1;
		g->msix_table = g->bar + (config(g, at + 4, 4) & ~7u);
	}
	machine_rig_config_write(m, devfn, 4, 2, 0x6);
	return g->common && g->notify && g->isr && g->window_cap && g->msix_cap && g->notify_step;
}

uint64_t vguest_common(struct virtio_guest *g, unsigned int reg, unsigned int size_bytes)
{
	return machine_rig_read(g->m, g->common + reg, size_bytes);
}

void vguest_common_write(
	struct virtio_guest *g, unsigned int reg, unsigned int size_bytes, uint64_t value)
{
	machine_rig_write(g->m, g->common + reg, size_bytes, value);
}

uint8_t vguest_status(struct virtio_guest *g)
{
	return (uint8_t)vguest_common(g, COMMON_STATUS, 1);
}

void vguest_set_status(struct virtio_guest *g, uint8_t bits)
{
	vguest_common_write(g, COMMON_STATUS, 1, vguest_status(g) | bits);
}

void vguest_reset(struct virtio_guest *g)
{
	vguest_common_write(g, COMMON_STATUS, 1, 0);
	while (vguest_status(g))
		;
	g->next_ring = GUEST_RINGS;
}

uint64_t vguest_offered(struct virtio_guest *g)
{
	uint64_t low, high;

	vguest_common_write(g, COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	low = vguest_common(g, COMMON_DEVICE_FEATURE, 4);
	vguest_common_write(g, COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	high = vguest_common(g, COMMON_DEVICE_FEATURE, 4);
	return low | high << 32;
}

bool vguest_negotiate(struct virtio_guest *g, uint64_t features)
{
	vguest_set_status(g, VIRTIO_S_ACKNOWLEDGE);
	vguest_set_status(g, VIRTIO_S_DRIVER);
	vguest_common_write(g, COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	vguest_common_write(g, COMMON_DRIVER_FEATURE, 4, (uint32_t)features);
	vguest_common_write(g, COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	vguest_common_write(g, COMMON_DRIVER_FEATURE, 4, features >> 32);
	vguest_set_status(g, VIRTIO_S_FEATURES_OK);
	g->features = features;
	return vguest_status(g) & VIRTIO_S_FEATURES_OK;
}

void vguest_vector_write(
	struct virtio_guest *g, unsigned int vector, unsigned int dword, uint32_t value)
{
	machine_rig_write(g->m, g->msix_table + 16ULL * vector + 4 * dword, 4, value);
}

void vguest_msix_control(struct virtio_guest *g, bool enabled, bool masked)
{
	machine_rig_config_write(
		g->m, g->devfn, g->msix_cap + 2, 2, (enabled ? 0x8000 : 0) | (masked ? 0x4000 : 0));
}

void vguest_msix_on(struct virtio_guest *g)
{
	vguest_msix_control(g, true, true);
	for (unsigned int i = 0; i < g->vectors; i++) {
		vguest_vector_write(g, i, 0, GUEST_MSI_ADDR);
		vguest_vector_write(g, i, 1, 0);
		vguest_vector_write(g, i, 2, GUEST_MSI_DATA(i));
		vguest_vector_write(g, i, 3, 0);
	}
	vguest_msix_control(g, true, false);
}

static void address_write(struct virtio_guest *g, unsigned int reg, uint64_t gpa)
{
	vguest_common_write(g, reg, 4, (uint32_t)gpa);
	vguest_common_write(g, reg + 4, 4, gpa >> 32);
}

void vguest_queue_on(struct virtio_guest *g, unsigned int i, uint16_t size)
{
	const struct fake_params p = {.size = size,
		.packed = g->features & VIRTIO_F_RING_PACKED,
		.indirect = g->features & VIRTIO_F_INDIRECT_DESC,
		.event_idx = g->features & VIRTIO_F_EVENT_IDX,
		.in_order = g->features & VIRTIO_F_IN_ORDER};
	struct fake_driver *d = &g->queues[i];

	CHECK(i < GUEST_QUEUES_MAX);
	fake_init(d, &g->m->mem, g->next_ring, &p);
	g->next_ring = d->end_gpa;
	CHECK(g->next_ring <= GUEST_BUFFERS);
	vguest_common_write(g, COMMON_QUEUE_SELECT, 2, i);
	vguest_common_write(g, COMMON_QUEUE_SIZE, 2, size);
	vguest_common_write(g, COMMON_QUEUE_VECTOR, 2, i);
	address_write(g, COMMON_QUEUE_DESC, d->desc_gpa);
	address_write(g, COMMON_QUEUE_DRIVER, d->driver_gpa);
	address_write(g, COMMON_QUEUE_DEVICE, d->device_gpa);
	vguest_common_write(g, COMMON_QUEUE_ENABLE, 2, 1);
}

bool vguest_start(struct virtio_guest *g, uint64_t features, uint16_t size)
{
	unsigned int count = (unsigned int)vguest_common(g, COMMON_NUM_QUEUES, 2);

	vguest_reset(g);
	if (!vguest_negotiate(g, features))
		return false;
	vguest_msix_on(g);
	vguest_common_write(g, COMMON_CONFIG_VECTOR, 2, count);
	for (unsigned int i = 0; i < count; i++)
		vguest_queue_on(g, i, size);
	vguest_set_status(g, VIRTIO_S_DRIVER_OK);
	return true;
}

void vguest_kick(struct virtio_guest *g, unsigned int i)
{
	uint64_t off;

	vguest_common_write(g, COMMON_QUEUE_SELECT, 2, i);
	off = vguest_common(g, COMMON_QUEUE_NOTIFY_OFF, 2);
	machine_rig_write(g->m, g->notify + off * g->notify_step, 2, i);
}

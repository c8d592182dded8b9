/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: what split and packed rings share: set-up, the rules for buffers and indirect tables,
 * what is in flight, and the order of use. */
#include "virtio/virtqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "trace/probe.h"
#include "virtio/iov.h"
#include "virtio/virtqueue_ring.h"

static const char *const fault_names[VQ_FAULTS] = {
	[VQ_OK] = "none",
	[VQ_FAULT_RING_SIZE] = "ring size",
	[VQ_FAULT_RING_ALIGNMENT] = "ring alignment",
	[VQ_FAULT_RING_ADDRESS] = "ring outside guest memory",
	[VQ_FAULT_AVAIL_INDEX] = "avail index jump",
	[VQ_FAULT_HEAD_RANGE] = "head out of range",
	[VQ_FAULT_HEAD_IN_FLIGHT] = "head already in flight",
	[VQ_FAULT_NEXT_RANGE] = "next out of range",
	[VQ_FAULT_CHAIN_LENGTH] = "chain loop or too long",
	[VQ_FAULT_CHAIN_SEGMENTS] = "too many buffers",
	[VQ_FAULT_CHAIN_BYTES] = "chain over 4 GiB",
	[VQ_FAULT_ZERO_LENGTH] = "empty buffer",
	[VQ_FAULT_ADDRESS] = "buffer outside guest memory",
	[VQ_FAULT_DIRECTION] = "readable after writable",
	[VQ_FAULT_INDIRECT] = "indirect not negotiated",
	[VQ_FAULT_INDIRECT_NESTED] = "indirect nested",
	[VQ_FAULT_INDIRECT_LENGTH] = "indirect table length",
	[VQ_FAULT_INDIRECT_CHAIN] = "indirect inside a chain",
	[VQ_FAULT_DEVICE] = "chain refused by the device",
};

const char *vq_fault_name(enum vq_fault fault)
{
	return (unsigned int)fault < VQ_FAULTS ? fault_names[fault] : "unknown";
}

int vq_init(struct virtqueue *vq, const struct gmem *mem, uint16_t max_size, struct diag *d)
{
	CHECK(max_size && max_size <= VQ_SIZE_MAX);
	memset(vq, 0, sizeof(*vq));
	vq->mem = mem;
	vq->max_size = max_size;
	vq->slots = calloc(max_size, sizeof(*vq->slots));
	vq->order = calloc(max_size, sizeof(*vq->order));
	if (vq->slots && vq->order)
		return 0;
	vq_finish(vq);
	return diag_fail(d, -ENOMEM, "no memory for a virtqueue of %u entries", max_size);
}

void vq_finish(struct virtqueue *vq)
{
	free(vq->slots);
	free(vq->order);
	memset(vq, 0, sizeof(*vq));
}

/* --- set-up --- */

static struct areas areas_of(const struct vq_setup *setup)
{
	return setup->packed ? packed_areas(setup->size) : split_areas(setup->size);
}

static enum vq_fault areas_map(struct virtqueue *vq, const struct vq_setup *setup)
{
	struct areas a = areas_of(setup);

	if (setup->desc.v % a.desc_align || setup->driver.v % a.driver_align ||
		setup->device.v % a.device_align)
		return VQ_FAULT_RING_ALIGNMENT;
	vq->desc = gmem_map(vq->mem, setup->desc, a.desc_bytes);
	vq->driver = gmem_map(vq->mem, setup->driver, a.driver_bytes);
	vq->device = gmem_map(vq->mem, setup->device, a.device_bytes);
	if (!vq->desc || !vq->driver || !vq->device)
		return VQ_FAULT_RING_ADDRESS;
	return VQ_OK;
}

enum vq_fault vq_enable(struct virtqueue *vq, const struct vq_setup *setup)
{
	enum vq_fault fault;

	CHECK(!vq->enabled);
	if (!setup->size || setup->size > vq->max_size ||
		(!setup->packed && (setup->size & (setup->size - 1))))
		return VQ_FAULT_RING_SIZE;
	fault = areas_map(vq, setup);
	if (fault)
		return fault;
	vq->setup = *setup;
	vq->fault = VQ_OK;
	vq->next_avail = vq->seen_avail = vq->next_used = vq->unpublished = 0;
	vq->avail_wrap = vq->used_wrap = true;
	vq->enabled = true;
	return VQ_OK;
}

void vq_reset(struct virtqueue *vq)
{
	memset(vq->slots, 0, vq->max_size * sizeof(*vq->slots));
	vq->enabled = false;
	vq->fault = VQ_OK;
	vq->generation++;
	vq->in_flight = vq->in_flight_descs = 0;
	vq->order_first = vq->order_count = 0;
	vq->desc = vq->driver = vq->device = NULL;
}

void vq_break(struct virtqueue *vq, enum vq_fault fault)
{
	if (!vq->enabled || vq->fault)
		return;
	vq->fault = fault;
	if (vq->on_fault)
		vq->on_fault(vq);
}

void vq_memory_changed(struct virtqueue *vq)
{
	enum vq_fault fault = vq->enabled ? areas_map(vq, &vq->setup) : VQ_OK;

	if (fault)
		vq_break(vq, fault);
}

/* --- rules --- */

enum vq_fault chain_add(const struct virtqueue *vq, struct vq_chain *chain, uint64_t addr,
	uint32_t len_bytes, bool writable)
{
	unsigned int count = chain->out_count + chain->in_count;
	void *host;

	if (!writable && chain->in_count)
		return VQ_FAULT_DIRECTION;
	if (!len_bytes)
		return VQ_FAULT_ZERO_LENGTH;
	if (chain->out_bytes + chain->in_bytes + len_bytes > VQ_CHAIN_BYTES_MAX)
		return VQ_FAULT_CHAIN_BYTES;
	if (count == chain->iov_max)
		return VQ_FAULT_CHAIN_SEGMENTS;
	host = gmem_map(vq->mem, GPA(addr), len_bytes);
	if (!host)
		return VQ_FAULT_ADDRESS;
	chain->iov[count] = (struct iovec){.iov_base = host, .iov_len = len_bytes};
	if (writable) {
		chain->in_count++;
		chain->in_bytes += len_bytes;
	} else {
		chain->out_count++;
		chain->out_bytes += len_bytes;
	}
	return VQ_OK;
}

enum vq_fault indirect_open(const struct virtqueue *vq, uint64_t addr, uint32_t len_bytes,
	uint16_t flags, struct indirect *to)
{
	if (!vq->setup.indirect)
		return VQ_FAULT_INDIRECT;
	if (flags & DESC_F_NEXT)
		return VQ_FAULT_INDIRECT_CHAIN;
	if (!len_bytes || len_bytes % DESC_BYTES)
		return VQ_FAULT_INDIRECT_LENGTH;
	to->table = gmem_map(vq->mem, GPA(addr), len_bytes);
	to->count = len_bytes / DESC_BYTES;
	return to->table ? VQ_OK : VQ_FAULT_ADDRESS;
}

/* --- the verbs --- */

bool vq_has_work(struct virtqueue *vq)
{
	if (!vq->enabled || vq->fault)
		return false;
	return vq->setup.packed ? packed_has_work(vq) : split_has_work(vq);
}

static void chain_start(const struct virtqueue *vq, struct vq_chain *chain)
{
	chain->out_count = chain->in_count = 0;
	chain->out_bytes = chain->in_bytes = 0;
	chain->generation = vq->generation;
}

static void order_append(struct virtqueue *vq, uint16_t id)
{
	vq->order[(vq->order_first + vq->order_count) % vq->max_size] = id;
	vq->order_count++;
}

static void order_drop_last(struct virtqueue *vq, uint16_t id)
{
	vq->order_count--;
	CHECK(vq->order[(vq->order_first + vq->order_count) % vq->max_size] == id);
}

/* The probes in functions of their own, so that their arguments take no registers of the others.
 */
__attribute__((cold, noinline)) static void probe_pop(
	const struct virtqueue *vq, const struct vq_chain *chain)
{
	PROBE(vq_pop, probe_string(vq->guest), probe_string(vq->owner), vq->index, vq, chain->id,
		chain->out_bytes, chain->in_bytes, vq->in_flight);
}

__attribute__((cold, noinline)) static void probe_push(
	const struct virtqueue *vq, const struct vq_chain *chain, uint32_t written_bytes)
{
	PROBE(vq_push, probe_string(vq->guest), probe_string(vq->owner), vq->index, vq, chain->id,
		written_bytes, vq->in_flight);
}

bool vq_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	enum vq_fault fault;

	if (!vq_has_work(vq))
		return false;
	chain_start(vq, chain);
	fault = vq->setup.packed ? packed_pop(vq, chain) : split_pop(vq, chain);
	if (fault) {
		vq_break(vq, fault);
		return false;
	}
	vq->slots[chain->id] = (struct vq_slot){.descs = chain->descs};
	vq->in_flight++;
	vq->in_flight_descs += chain->descs;
	if (vq->setup.in_order)
		order_append(vq, chain->id);
	if (PROBE_ON(vq_pop))
		probe_pop(vq, chain);
	return true;
}

void vq_unpop(struct virtqueue *vq, struct vq_chain *chain)
{
	if (chain->generation != vq->generation)
		return;
	CHECK(vq->slots[chain->id].descs == chain->descs && vq->in_flight);
	vq->slots[chain->id].descs = 0;
	vq->in_flight--;
	vq->in_flight_descs -= chain->descs;
	if (vq->setup.in_order)
		order_drop_last(vq, chain->id);
	if (vq->setup.packed)
		packed_unpop(vq, chain);
	else
		split_unpop(vq, chain);
}

static void ring_used(struct virtqueue *vq, const struct used *used)
{
	if (vq->setup.packed)
		packed_used(vq, used);
	else
		split_used(vq, used);
}

/* Uses what is complete at the front of the order. One entry stands for a run of chains if each of
 * them but the last was written completely: the driver then takes their lengths for granted
 * (§2.7.9, §2.8.11). */
static void order_use(struct virtqueue *vq)
{
	struct used used = {0};

	while (vq->order_count) {
		uint16_t id = vq->order[vq->order_first];
		struct vq_slot *slot = &vq->slots[id];

		if (!slot->done)
			break;
		used.id = id;
		used.chains++;
		used.descs += slot->descs;
		used.written_bytes = slot->written_bytes;
		if (!slot->full) {
			ring_used(vq, &used);
			used = (struct used){0};
		}
		*slot = (struct vq_slot){0};
		vq->order_first = (uint16_t)((vq->order_first + 1) % vq->max_size);
		vq->order_count--;
	}
	if (used.chains)
		ring_used(vq, &used);
}

void vq_push(struct virtqueue *vq, const struct vq_chain *chain, uint32_t written_bytes)
{
	struct vq_slot *slot;

	if (chain->generation != vq->generation)
		return;
	slot = &vq->slots[chain->id];
	CHECK(slot->descs && !slot->done && written_bytes <= chain->in_bytes);
	vq->in_flight--;
	vq->in_flight_descs -= chain->descs;
	if (PROBE_ON(vq_push))
		probe_push(vq, chain, written_bytes);
	if (vq->setup.in_order) {
		slot->done = true;
		slot->full = written_bytes == chain->in_bytes;
		slot->written_bytes = written_bytes;
		return;
	}
	slot->descs = 0;
	if (!vq->fault) {
		const struct used used = {.id = chain->id,
			.chains = 1,
			.descs = chain->descs,
			.written_bytes = written_bytes};

		ring_used(vq, &used);
	}
}

bool vq_publish(struct virtqueue *vq)
{
	if (!vq->enabled || vq->fault)
		return false;
	if (vq->setup.in_order)
		order_use(vq);
	if (!vq->unpublished)
		return false;
	return vq->setup.packed ? packed_publish(vq) : split_publish(vq);
}

static void ring_notify(struct virtqueue *vq, bool on)
{
	if (!vq->enabled || vq->fault)
		return;
	if (vq->setup.packed)
		packed_notify(vq, on);
	else
		split_notify(vq, on);
}

void vq_notify_off(struct virtqueue *vq)
{
	ring_notify(vq, false);
}

bool vq_notify_on(struct virtqueue *vq)
{
	ring_notify(vq, true);
	return vq_has_work(vq);
}

size_t chain_read(const struct vq_chain *chain, uint64_t offset, void *to, size_t len_bytes)
{
	return iov_read(chain_out(chain), chain->out_count, offset, to, len_bytes);
}

size_t chain_write(
	const struct vq_chain *chain, uint64_t offset, const void *from, size_t len_bytes)
{
	return iov_write(chain_in(chain), chain->in_count, offset, from, len_bytes);
}

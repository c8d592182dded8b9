/* SPDX-License-Identifier: Apache-2.0 */
/* Packed virtqueues. Virtio 1.2 §2.8. */
#include "virtio/virtqueue_ring.h"

/* Descriptor: addr 8, len 4, id 2, flags 2. Event suppression: offset and wrap 2, flags 2. */
#define DESC_LEN(vq, i)   ((vq)->desc + DESC_BYTES * (size_t)(i) + 8)
#define DESC_ID(vq, i)    ((vq)->desc + DESC_BYTES * (size_t)(i) + 12)
#define DESC_FLAGS(vq, i) ((vq)->desc + DESC_BYTES * (size_t)(i) + 14)
#define EVENT_OFFSET(a)   (a)
#define EVENT_FLAGS(a)    ((a) + 2)

#define EVENT_WRAP 0x8000u

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

struct areas packed_areas(uint16_t size)
{
	return (struct areas){
		.desc_bytes = 16ULL * size,
		.driver_bytes = 4,
		.device_bytes = 4,
		.desc_align = 16,
		.driver_align = 4,
		.device_align = 4,
	};
}

/* Moves a ring offset and its wrap counter on by `by` ≤ size. */
static void ring_advance(const struct virtqueue *vq, uint16_t *at, bool *wrap, uint32_t by)
{
	uint32_t next = *at + by;

	if (next >= vq->setup.size) {
		next -= vq->setup.size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)next;
}

bool packed_has_work(struct virtqueue *vq)
{
	/* Acquire: the rest of the descriptor, and of its chain, is read after its flags.
	 * Sequentially consistent because of vq_notify_on: our event structure is visible before we
	 * look here. */
	uint16_t flags = ring_load16_seq(DESC_FLAGS(vq, vq->next_avail));
	bool avail = flags & DESC_F_AVAIL, used = flags & DESC_F_USED;

	return avail == vq->avail_wrap && used != vq->avail_wrap;
}

/* All of the table belongs to the chain; NEXT and the buffer id mean nothing in it. */
static enum vq_fault chain_indirect(
	const struct virtqueue *vq, const struct desc *desc, struct vq_chain *chain)
{
	struct indirect to;
	enum vq_fault fault = indirect_open(vq, desc->addr, desc->len, desc->tail, &to);

	for (uint32_t i = 0; !fault && i < to.count; i++) {
		struct desc entry = desc_load(to.table, i);

		if (entry.tail & DESC_F_INDIRECT)
			return VQ_FAULT_INDIRECT_NESTED;
		fault = chain_add(vq, chain, entry.addr, entry.len, entry.tail & DESC_F_WRITE);
	}
	return fault;
}

/* Reads descriptors from next_avail on until one has no NEXT; its id is the chain's. Ends: what is
 * in flight and this chain together have at most the ring's descriptors. */
static enum vq_fault chain_walk(const struct virtqueue *vq, struct vq_chain *chain)
{
	uint32_t room = vq->setup.size - vq->in_flight_descs;
	uint16_t at = vq->next_avail;
	bool wrap = vq->avail_wrap;
	enum vq_fault fault;
	struct desc desc;

	chain->descs = 0;
	do {
		if (chain->descs == room)
			return VQ_FAULT_CHAIN_LENGTH;
		desc = desc_load(vq->desc, at);
		if (!(desc.tail & DESC_F_INDIRECT))
			fault = chain_add(vq, chain, desc.addr, desc.len, desc.tail & DESC_F_WRITE);
		else if (chain->descs)
			fault = VQ_FAULT_INDIRECT_CHAIN;
		else
			fault = chain_indirect(vq, &desc, chain);
		if (fault)
			return fault;
		chain->descs++;
		ring_advance(vq, &at, &wrap, 1);
	} while (desc.tail & DESC_F_NEXT);
	chain->id = desc.mid;
	return VQ_OK;
}

enum vq_fault packed_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	enum vq_fault fault = chain_walk(vq, chain);

	if (fault)
		return fault;
	/* The specification lets a driver choose any 16-bit id; all that are known use those below
	 * the size, and so many are enough. */
	if (chain->id >= vq->setup.size)
		return VQ_FAULT_HEAD_RANGE;
	if (vq->slots[chain->id].descs)
		return VQ_FAULT_HEAD_IN_FLIGHT;
	ring_advance(vq, &vq->next_avail, &vq->avail_wrap, chain->descs);
	return VQ_OK;
}

void packed_unpop(struct virtqueue *vq, const struct vq_chain *chain)
{
	/* Back by n is on by size - n, with the wrap counter changed once less. */
	ring_advance(vq, &vq->next_avail, &vq->avail_wrap, (uint32_t)vq->setup.size - chain->descs);
	vq->avail_wrap = !vq->avail_wrap;
}

void packed_used(struct virtqueue *vq, const struct used *used)
{
	uint16_t at = vq->next_used;
	uint16_t flags = vq->used_wrap ? DESC_F_AVAIL | DESC_F_USED : 0;

	if (used->written_bytes)
		flags |= DESC_F_WRITE;
	ring_store32(DESC_LEN(vq, at), used->written_bytes);
	ring_store16(DESC_ID(vq, at), used->id);
	/* The driver reads used descriptors one after the other: while the first of a batch is not
	 * marked it sees none of it, so only that one's flags wait for vq_publish. */
	if (vq->unpublished) {
		ring_store16_release(DESC_FLAGS(vq, at), flags);
	} else {
		vq->first_slot = at;
		vq->first_flags = flags;
	}
	ring_advance(vq, &vq->next_used, &vq->used_wrap, used->descs);
	vq->unpublished = (uint16_t)(vq->unpublished + used->descs);
}

/* §2.8.10: with EVENT_DESC, was the descriptor that the driver named among the last `slots`? */
static bool event_passed(const struct virtqueue *vq, uint16_t named, uint16_t slots)
{
	uint16_t event = named & (EVENT_WRAP - 1);

	/* A counter that differs means the round before this one. */
	if (!!(named & EVENT_WRAP) != vq->used_wrap)
		event = (uint16_t)(event - vq->setup.size);
	return need_event(event, vq->next_used, (uint16_t)(vq->next_used - slots));
}

bool packed_publish(struct virtqueue *vq)
{
	uint16_t slots = vq->unpublished;
	uint16_t flags;

	/* Release: ids, lengths, the rest of the batch and the buffers are written before this.
	 * Sequentially consistent: this is visible before we look whether the driver wants to know.
	 */
	ring_store16_seq(DESC_FLAGS(vq, vq->first_slot), vq->first_flags);
	vq->unpublished = 0;
	flags = ring_load16_seq(EVENT_FLAGS(vq->driver)) & 3;
	if (flags == EVENT_DESC && vq->setup.event_idx)
		return event_passed(vq, ring_load16_acquire(EVENT_OFFSET(vq->driver)), slots);
	return flags != EVENT_DISABLE;
}

void packed_notify(struct virtqueue *vq, bool on)
{
	uint16_t wrap = vq->avail_wrap ? EVENT_WRAP : 0;

	if (on && vq->setup.event_idx)
		ring_store16(EVENT_OFFSET(vq->device), vq->next_avail | wrap);
	if (on)
		ring_store16_seq(
			EVENT_FLAGS(vq->device), vq->setup.event_idx ? EVENT_DESC : EVENT_ENABLE);
	else
		ring_store16_seq(EVENT_FLAGS(vq->device), EVENT_DISABLE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues. Virtio 1.2 §2.7. */
#include "virtio/virtqueue_ring.h"

/* avail: flags, idx, ring[size], used_event. used: flags, idx, ring[size] of (id, len),
 * avail_event.
 */
#define AVAIL_FLAGS(vq) ((vq)->driver)
#define AVAIL_IDX(vq)   ((vq)->driver + 2)
#define AVAIL_RING(vq)  ((vq)->driver + 4)
#define USED_EVENT(vq)  ((vq)->driver + 4 + 2 * (size_t)(vq)->setup.size)
#define USED_FLAGS(vq)  ((vq)->device)
#define USED_IDX(vq)    ((vq)->device + 2)
#define USED_RING(vq)   ((vq)->device + 4)
#define AVAIL_EVENT(vq) ((vq)->device + 4 + 8 * (size_t)(vq)->setup.size)

#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

struct areas split_areas(uint16_t size)
{
	return (struct areas){
		.desc_bytes = 16ULL * size,
		.driver_bytes = 6 + 2ULL * size,
		.device_bytes = 6 + 8ULL * size,
		.desc_align = 16,
		.driver_align = 2,
		.device_align = 4,
	};
}

bool split_has_work(struct virtqueue *vq)
{
	uint16_t idx;

	if (vq->seen_avail != vq->next_avail)
		return true;
	/* Acquire: the ring entries and descriptors that idx announces are read after it.
	 * Sequentially consistent because of vq_notify_on: our avail_event is visible before we
	 * look here. */
	idx = ring_load16_seq(AVAIL_IDX(vq));
	if ((uint16_t)(idx - vq->next_avail) > vq->setup.size) {
		vq_break(vq, VQ_FAULT_AVAIL_INDEX);
		return false;
	}
	vq->seen_avail = idx;
	return idx != vq->next_avail;
}

/* A table being followed: the queue's own, or an indirect one at the end of the chain. */
struct walk {
	const uint8_t *table;
	uint32_t size, left; /* left: descriptors that may still follow in this table */
	bool indirect;
};

static enum vq_fault walk_indirect(
	const struct virtqueue *vq, struct walk *walk, const struct desc *desc, uint32_t *next)
{
	struct indirect to;
	enum vq_fault fault;

	if (walk->indirect)
		return VQ_FAULT_INDIRECT_NESTED;
	fault = indirect_open(vq, desc->addr, desc->len, desc->mid, &to);
	if (fault)
		return fault;
	*walk = (struct walk){to.table, to.count, to.count, true};
	*next = 0;
	return VQ_OK;
}

/* Follows the chain from `next`. Ends: each turn takes one of `left`, and an indirect table is
 * entered once. */
static enum vq_fault chain_walk(
	const struct virtqueue *vq, struct walk *walk, uint32_t next, struct vq_chain *chain)
{
	for (;;) {
		enum vq_fault fault;
		struct desc desc;

		if (next >= walk->size)
			return VQ_FAULT_NEXT_RANGE;
		if (!walk->left--)
			return VQ_FAULT_CHAIN_LENGTH;
		desc = desc_load(walk->table, next);
		if (desc.mid & DESC_F_INDIRECT) {
			fault = walk_indirect(vq, walk, &desc, &next);
			if (fault)
				return fault;
			continue;
		}
		fault = chain_add(vq, chain, desc.addr, desc.len, desc.mid & DESC_F_WRITE);
		if (fault)
			return fault;
		if (!(desc.mid & DESC_F_NEXT))
			return VQ_OK;
		next = desc.tail;
	}
}

enum vq_fault split_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	uint16_t size = vq->setup.size;
	uint16_t head = ring_load16(AVAIL_RING(vq) + 2 * (size_t)(vq->next_avail & (size - 1)));
	struct walk walk = {vq->desc, size, size, false};
	enum vq_fault fault;

	if (head >= size)
		return VQ_FAULT_HEAD_RANGE;
	if (vq->slots[head].descs)
		return VQ_FAULT_HEAD_IN_FLIGHT;
	fault = chain_walk(vq, &walk, head, chain);
	if (fault)
		return fault;
	chain->id = head;
	chain->descs = 1; /* of the avail ring */
	vq->next_avail++;
	return VQ_OK;
}

void split_unpop(struct virtqueue *vq, const struct vq_chain *chain)
{
	vq->next_avail = (uint16_t)(vq->next_avail - chain->descs);
}

void split_used(struct virtqueue *vq, const struct used *used)
{
	uint8_t *entry = USED_RING(vq) + 8 * (size_t)(vq->next_used & (vq->setup.size - 1));

	ring_store32(entry, used->id);
	ring_store32(entry + 4, used->written_bytes);
	vq->next_used = (uint16_t)(vq->next_used + used->chains);
	vq->unpublished = (uint16_t)(vq->unpublished + used->chains);
}

bool split_publish(struct virtqueue *vq)
{
	uint16_t from = (uint16_t)(vq->next_used - vq->unpublished);

	/* Release: entries and buffers are written before idx says so. Sequentially consistent: idx
	 * is visible before we look whether the driver wants to know; it does the reverse, so one
	 * of the two sees the other. */
	ring_store16_seq(USED_IDX(vq), vq->next_used);
	vq->unpublished = 0;
	if (vq->setup.event_idx)
		return need_event(ring_load16_seq(USED_EVENT(vq)), vq->next_used, from);
	return !(ring_load16_seq(AVAIL_FLAGS(vq)) & AVAIL_F_NO_INTERRUPT);
}

void split_notify(struct virtqueue *vq, bool on)
{
	if (!vq->setup.event_idx)
		ring_store16_seq(USED_FLAGS(vq), on ? 0 : USED_F_NO_NOTIFY);
	else if (on)
		ring_store16_seq(AVAIL_EVENT(vq), vq->next_avail);
	/* Off with EVENT_IDX: an avail_event that is left behind is not passed again. */
}

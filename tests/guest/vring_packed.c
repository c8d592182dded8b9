/* SPDX-License-Identifier: Apache-2.0 */
/* Packed rings, the driver's side (virtio 1.2 §2.8). */
#include "vring_format.h"

/* An event suppression structure: descriptor offset and wrap counter, then flags. */
#define EVENT_OFFSET 0
#define EVENT_FLAGS  1
#define EVENT_WRAP   0x8000

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

static uint16_t avail_flags(const struct vring *r)
{
	return r->avail_wrap ? VRING_DESC_AVAIL : VRING_DESC_USED;
}

static void avail_advance(struct vring *r)
{
	if (++r->next_avail == r->params.size) {
		r->next_avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
	r->unshown++;
}

void packed_add(struct vring *r, uint16_t id, const struct vring_chain *chain)
{
	unsigned count = chain->out + chain->in;
	uint16_t first = r->next_avail, first_flags = 0;
	bool holds_back = !r->unshown;
	for (unsigned i = 0; i < count; i++) {
		volatile struct vring_desc *desc = &r->desc[r->next_avail];
		uint16_t flags = segment_flags(chain, i) | avail_flags(r);
		desc->address = chain->segments[i].address;
		desc->len_bytes = chain->segments[i].len_bytes;
		desc->mid = id;
		if (i)
			desc->tail = flags;
		else
			first_flags = flags;
		avail_advance(r);
	}
	/* The device reads in order: while the first descriptor of a batch is not available it
	 * sees none of it. Within the batch each chain's first flags come last. */
	compiler_barrier();
	if (holds_back) {
		r->first_slot = first;
		r->first_flags = first_flags;
	} else {
		r->desc[first].tail = first_flags;
	}
	r->free_head = r->slots[id].next;
}

bool packed_show(struct vring *r)
{
	compiler_barrier();
	r->desc[r->first_slot].tail = r->first_flags;
	/* The descriptor must be visible before we look whether the device sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint16_t flags = r->device[EVENT_FLAGS] & 3;
	if (flags != EVENT_DESC || !r->params.event_idx)
		return flags != EVENT_DISABLE;
	compiler_barrier();
	uint16_t named = r->device[EVENT_OFFSET], event = named & (EVENT_WRAP - 1);
	/* Another wrap counter than ours means the round before this one. */
	if (!!(named & EVENT_WRAP) != r->avail_wrap)
		event = (uint16_t)(event - r->params.size);
	return event_passed(event, r->next_avail, (uint16_t)(r->next_avail - r->unshown));
}

bool packed_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes)
{
	const volatile struct vring_desc *desc = &r->desc[r->next_used];
	uint16_t flags = desc->tail;
	bool avail = flags & VRING_DESC_AVAIL, used = flags & VRING_DESC_USED;
	if (avail != used || used != r->used_wrap)
		return false;
	compiler_barrier(); /* the flags before the rest */
	*id = desc->mid;
	*written_bytes = desc->len_bytes; /* some devices don't set WRITE with it, as they should */
	return true;
}

void packed_release(struct vring *r, uint16_t id)
{
	uint32_t next = (uint32_t)r->next_used + r->slots[id].descs;
	if (next >= r->params.size) {
		next -= r->params.size;
		r->used_wrap = !r->used_wrap;
	}
	r->next_used = (uint16_t)next;
	r->slots[id].next = r->free_head;
	r->free_head = id;
}

static void event_put(struct vring *r, uint16_t offset, bool wrap)
{
	r->driver[EVENT_OFFSET] = offset | (wrap ? EVENT_WRAP : 0);
	compiler_barrier(); /* the place before the flags that make it count */
	r->driver[EVENT_FLAGS] = EVENT_DESC;
}

void packed_irq(struct vring *r, bool on)
{
	if (on && r->params.event_idx)
		event_put(r, r->next_used, r->used_wrap);
	else
		r->driver[EVENT_FLAGS] = on ? EVENT_ENABLE : EVENT_DISABLE;
}

void packed_irq_later(struct vring *r)
{
	uint32_t in_flight = (uint32_t)r->params.size - r->free_descs;
	uint32_t at = r->next_used + in_flight * 3 / 4;
	if (at < r->params.size)
		event_put(r, (uint16_t)at, r->used_wrap);
	else
		event_put(r, (uint16_t)(at - r->params.size), !r->used_wrap);
}

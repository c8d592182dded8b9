/* SPDX-License-Identifier: Apache-2.0 */
/* Split rings, the driver's side (virtio 1.2 §2.7). */
#include "vring_format.h"

/* In 16-bit words. avail: flags, idx, ring, used_event. used: flags, idx, entries, avail_event. */
#define FLAGS       0
#define IDX         1
#define RING        2
#define USED_WORDS  4 /* of an entry: id and length, 32 bits each */
#define USED_EVENT  (RING + r->params.size)
#define AVAIL_EVENT (RING + USED_WORDS * r->params.size)

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY     1

void split_add(struct vring *r, uint16_t head, const struct vring_chain *chain)
{
	unsigned count = chain->out + chain->in;
	uint16_t at = head, mask = (uint16_t)(r->params.size - 1);
	for (unsigned i = 0; i < count; i++) {
		uint16_t next = r->slots[at].next;
		r->desc[at].address = chain->segments[i].address;
		r->desc[at].len_bytes = chain->segments[i].len_bytes;
		r->desc[at].mid = segment_flags(chain, i);
		r->desc[at].tail = i + 1 < count ? next : 0;
		at = next;
	}
	r->free_head = at;
	r->driver[RING + (r->next_avail & mask)] = head;
	r->next_avail++;
	r->unshown++;
}

bool split_show(struct vring *r)
{
	compiler_barrier(); /* descriptors and ring first */
	r->driver[IDX] = r->next_avail;
	/* The index must be visible before we look whether the device sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->params.event_idx)
		return event_passed(r->device[AVAIL_EVENT], r->next_avail,
			(uint16_t)(r->next_avail - r->unshown));
	return !(r->device[FLAGS] & USED_NO_NOTIFY);
}

bool split_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes)
{
	if (r->device[IDX] == r->next_used)
		return false;
	compiler_barrier(); /* the index before the entry */
	const volatile uint32_t *entry =
		(const volatile uint32_t *)&r
			->device[RING + USED_WORDS * (r->next_used & (r->params.size - 1))];
	*id = entry[0];
	*written_bytes = entry[1];
	return true;
}

void split_release(struct vring *r, uint16_t head)
{
	/* The chain's slots are still linked as they were on the free list. */
	uint16_t last = head;
	for (uint16_t i = 1; i < r->slots[head].descs; i++)
		last = r->slots[last].next;
	r->slots[last].next = r->free_head;
	r->free_head = head;
	r->next_used++;
}

void split_irq(struct vring *r, bool on)
{
	if (r->params.event_idx)
		/* Off: an event that was passed already is 65536 chains away. */
		r->driver[USED_EVENT] = on ? r->next_used : (uint16_t)(r->next_used - 1);
	else
		r->driver[FLAGS] = on ? 0 : AVAIL_NO_INTERRUPT;
}

void split_irq_later(struct vring *r)
{
	uint16_t in_flight = (uint16_t)(r->next_avail - r->next_used);
	r->driver[USED_EVENT] = (uint16_t)(r->next_used + in_flight * 3U / 4);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Between vring.c and the two formats; private to them. */
#ifndef GUEST_VRING_FORMAT_H
#define GUEST_VRING_FORMAT_H

#include "vring.h"

/* What goes into the ring itself: is_table: one segment, which is an indirect table. */
struct vring_chain {
	const struct vring_segment *segments;
	unsigned out, in;
	bool is_table;
};

/* Keeps the compiler from moving accesses; x86 keeps stores, and keeps loads, in order. */
#define compiler_barrier() __asm__ volatile("" ::: "memory")

/* §2.7.7.2, §2.8.10: whether going from `from` to `to` passed `event`. */
static inline bool event_passed(uint16_t event, uint16_t to, uint16_t from)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

/* The flags of segment `i` of a chain, but for packed's AVAIL and USED. */
static inline uint16_t segment_flags(const struct vring_chain *chain, unsigned i)
{
	uint16_t flags = i < chain->out ? 0 : VRING_DESC_WRITE;
	if (i + 1 < chain->out + chain->in)
		flags |= VRING_DESC_NEXT;
	return chain->is_table ? VRING_DESC_INDIRECT : flags;
}

void split_add(struct vring *r, uint16_t head, const struct vring_chain *chain);
bool split_show(struct vring *r);
bool split_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes);
void split_release(struct vring *r, uint16_t head);
void split_irq(struct vring *r, bool on);
void split_irq_later(struct vring *r);

void packed_add(struct vring *r, uint16_t id, const struct vring_chain *chain);
bool packed_show(struct vring *r);
bool packed_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes);
void packed_release(struct vring *r, uint16_t id);
void packed_irq(struct vring *r, bool on);
void packed_irq_later(struct vring *r);

#endif

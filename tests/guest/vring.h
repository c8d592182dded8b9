/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of one virtqueue, split or packed (virtio 1.2 §2.7, §2.8).
 *
 * vring_add as often as there is room, then once vring_show, which says whether the device wants a
 * kick; vring_take while it gives something. Who wants to sleep asks vring_irq_on first. A chain's
 * token, whatever it means to the caller, comes back when the device has used the chain. One CPU
 * at a time.
 */
#ifndef GUEST_VRING_H
#define GUEST_VRING_H

#include <stdbool.h>
#include <stdint.h>

#define VRING_SIZE_MAX     1024
#define VRING_SEGMENTS_MAX 16 /* of a chain */

#define VRING_DESC_NEXT     0x1
#define VRING_DESC_WRITE    0x2
#define VRING_DESC_INDIRECT 0x4
#define VRING_DESC_AVAIL    0x80
#define VRING_DESC_USED     0x8000

struct vring_params {
	uint16_t size; /* 1 to VRING_SIZE_MAX; split: a power of two */
	bool packed, indirect, event_idx;
};

struct vring_segment {
	uint64_t address;
	uint32_t len_bytes;
};

/* As the device sees it; the last two fields change their meaning: see vring_desc_put. */
struct vring_desc {
	uint64_t address;
	uint32_t len_bytes;
	uint16_t mid, tail;
};

/* By head (split) or buffer id (packed). */
struct vring_slot {
	uint64_t token;
	uint16_t descs; /* in flight with that many; 0: free */
	uint16_t next;  /* free list; split: and through a chain */
};

struct vring {
	struct vring_params params;
	void *pages; /* all of it: */
	uint64_t page_count;
	volatile struct vring_desc *desc;
	volatile uint16_t *driver, *device; /* split: avail and used; packed: event suppression */
	struct vring_slot *slots;
	struct vring_desc *tables; /* indirect ones, VRING_SEGMENTS_MAX for each slot */
	uint16_t free_head, free_descs;
	uint16_t next_avail; /* split: free-running; packed: ring offset */
	uint16_t next_used;  /* likewise */
	uint16_t unshown;    /* split: chains, packed: descriptors, since the last vring_show */
	bool avail_wrap, used_wrap;
	uint16_t first_slot, first_flags; /* packed: held back until vring_show */
};

/* Takes pages for a ring and clears it; false without memory. vring_finish gives them back. */
bool vring_init(struct vring *r, const struct vring_params *params);
void vring_finish(struct vring *r);

/* Addresses for the device: descriptor area, driver area, device area. */
uint64_t vring_desc_address(const struct vring *r);
uint64_t vring_driver_address(const struct vring *r);
uint64_t vring_device_address(const struct vring *r);

/*
 * Adds a chain of `out` segments that the device reads and then `in` that it writes, together 1 to
 * VRING_SEGMENTS_MAX. False: no room. Not seen by the device until vring_show.
 */
bool vring_add(struct vring *r, const struct vring_segment *segments, unsigned out, unsigned in,
	uint64_t token);

/* Shows the device what was added; true if it wants a kick. */
bool vring_show(struct vring *r);

/* Takes the next used chain; false if there is none. *written_bytes may be NULL. */
bool vring_take(struct vring *r, uint64_t *token, uint32_t *written_bytes);

/* Whether there is a used chain, and what the device wrote about it, unchecked. */
bool vring_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes);

/* No interrupts, please; or one at the next used chain: true if there is one already, for which
 * none will come. */
void vring_irq_off(struct vring *r);
bool vring_irq_on(struct vring *r);

/* As vring_irq_on, but with EVENT_IDX only when three quarters of what is in flight were used. */
bool vring_irq_on_later(struct vring *r);

/* Chains, at most, that can be added now if each has so many segments. */
unsigned vring_room(const struct vring *r, unsigned segments);

#endif

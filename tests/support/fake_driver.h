/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of one virtqueue, split or packed, in plain guest memory: well-behaved through
 * fake_offer/show/take, hostile through the raw writes at the end. One thread at a time, which may
 * be another one than the device's. */
#ifndef SUPPORT_FAKE_DRIVER_H
#define SUPPORT_FAKE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/gmem.h"

#define FAKE_SIZE_MAX     1024
#define FAKE_INDIRECT_MAX 64 /* buffers of one indirect chain */

enum {
	FAKE_F_NEXT = 1,
	FAKE_F_WRITE = 2,
	FAKE_F_INDIRECT = 4,
	FAKE_F_AVAIL = 0x80,
	FAKE_F_USED = 0x8000
};

struct fake_buf {
	uint64_t addr;
	uint32_t len_bytes;
	bool write; /* the device writes it */
};

struct fake_params {
	uint16_t size; /* ≤ FAKE_SIZE_MAX; split: power of two */
	bool packed, indirect, event_idx, in_order;
};

struct fake_used {
	uint16_t id;
	uint32_t len_bytes;
};

struct fake_chain {
	uint16_t descs; /* 0: free (id not in use) */
	uint32_t in_bytes;
};

struct fake_driver {
	const struct gmem *mem;
	struct fake_params p;
	uint64_t desc_gpa, driver_gpa, device_gpa, indirect_gpa, end_gpa;
	uint8_t *desc, *driver, *device;
	struct fake_chain chains[FAKE_SIZE_MAX];
	uint16_t free_next[FAKE_SIZE_MAX]; /* split: the table's free list, and chains in use */
	uint16_t free_head, free_count;
	uint16_t next_avail, shown, next_used; /* split: free-running; packed: offsets */
	bool avail_wrap, used_wrap;
	uint16_t unshown;                 /* packed: slots since the last show */
	uint16_t first_slot, first_flags; /* packed: written by fake_show */
	uint16_t fifo[FAKE_SIZE_MAX];     /* IN_ORDER: ids as offered; packed: free ids */
	uint16_t fifo_first, fifo_count;
	bool batch_open; /* IN_ORDER: a used entry that stands for several chains */
	struct fake_used batch;
};

/* fake_init: lays the areas out from `base` (page-aligned) and clears them; end_gpa is the first
 * address behind. */
void fake_init(
	struct fake_driver *d, const struct gmem *mem, uint64_t base, const struct fake_params *p);

/* fake_offer: writes a chain of `count` buffers; not seen by the device until fake_show. Returns
 * its head or id, or -1 if there is no room. */
int fake_offer(
	struct fake_driver *d, const struct fake_buf *bufs, unsigned int count, bool indirect);
/* fake_show: makes what was offered available; true if the device wants a kick for it. */
bool fake_show(struct fake_driver *d);
/* fake_take: the next used chain; false if there is none. */
bool fake_take(struct fake_driver *d, struct fake_used *used);
/* fake_interrupts: asks for an interrupt at the next used chain, or for none. True if there are
 * used chains already. */
bool fake_interrupts(struct fake_driver *d, bool on);

/* --- hostile --- */

/* fake_desc_put: one raw descriptor at index `i` of the table or ring at host address `table`. */
void fake_desc_put(struct fake_driver *d, uint8_t *table, unsigned int i, uint64_t addr,
	uint32_t len_bytes, uint16_t flags, uint16_t next_or_id);
/* fake_head_put: makes the chain at ring slot / head `i` available at once: split: avail.ring gets
 * `i`, which need not be valid; packed: sets the avail bits of slot `i`'s flags. */
void fake_head_put(struct fake_driver *d, uint16_t i);
/* fake_avail_put: split: avail.idx itself. */
void fake_avail_put(struct fake_driver *d, uint16_t idx);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: chains of guest buffers, taken from the driver and given back, split or packed.
 *
 * Split (virtio 1.2 §2.7): three areas. The driver writes the first two, the device the third.
 *
 *   descriptor table          avail ring (driver)            used ring (device)
 *   +---+------+-----+-----+  +-------+                      +-------+
 *   | 0 | addr | len | ->2 |  | flags |                      | flags | no kicks, please
 *   | 1 | addr | len |     |  |  idx  | free-running         |  idx  | free-running
 *   | 2 | addr | len |     |  +-------+                      +-------+-----+
 *   | 3 | ...              |  | head  | <- next_avail        | head  | len | <- next_used
 *   +----------------------+  | head  |                      |  ...  |     |
 *                             +-------+                      +-------+-----+
 *                             |used_event| interrupt after   |avail_event| kick after
 *
 * Packed (§2.8): one ring that both write. Two flag bits of a descriptor against each side's wrap
 * counter say whose it is: the driver sets AVAIL to its counter and USED to the opposite, the
 * device sets both to its own counter.
 *
 *      0      1      2      3      4      5      6      7       one event suppression structure
 *   +------+------+------+------+------+------+------+------+   for each side: flags and, with
 *   | used | used |used_ |  -   |avail |avail |      |      |   EVENT_IDX, a descriptor's offset
 *   +------+------+------+------+------+------+------+------+   and wrap counter
 *                  ^ next_used   ^ next_avail
 *
 * A device's turn: while vq_pop gives a chain, work on it, then (now or at its completion) vq_push;
 * once at the end of the turn vq_publish, which says whether the driver wants an interrupt. With
 * nothing left, vq_notify_on, which says whether something came meanwhile.
 *
 * What the guest wrote is hostile: each field is loaded once, checked here and nowhere else, and a
 * rule that is broken breaks the queue (enum vq_fault) until the driver resets it. A device gets
 * iovecs that lie in guest memory, and nothing else. Home reactor only; no locks, and no allocation
 * after vq_init. */
#ifndef VIRTIO_VIRTQUEUE_H
#define VIRTIO_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/diag.h"
#include "core/gmem.h"

#define VQ_SIZE_MAX        32768u       /* §2.6 */
#define VQ_CHAIN_BYTES_MAX (1ULL << 32) /* §2.7.4.2, §2.8.5 */

/* What a driver did wrong. The first one breaks the queue. */
enum vq_fault {
	VQ_OK,
	VQ_FAULT_RING_SIZE,       /* 0, over the maximum, or (split) not a power of two */
	VQ_FAULT_RING_ALIGNMENT,  /* of an area's address */
	VQ_FAULT_RING_ADDRESS,    /* an area is not wholly in guest memory */
	VQ_FAULT_AVAIL_INDEX,     /* split: more than the queue's size ahead */
	VQ_FAULT_HEAD_RANGE,      /* split: head, packed: buffer id, not below the queue's size */
	VQ_FAULT_HEAD_IN_FLIGHT,  /* offered again before it was used */
	VQ_FAULT_NEXT_RANGE,      /* next not below the size of its table */
	VQ_FAULT_CHAIN_LENGTH,    /* a loop, or more descriptors than the queue or table has */
	VQ_FAULT_CHAIN_SEGMENTS,  /* more buffers than the device takes */
	VQ_FAULT_CHAIN_BYTES,     /* over 4 GiB */
	VQ_FAULT_ZERO_LENGTH,     /* an empty buffer */
	VQ_FAULT_ADDRESS,         /* a buffer is not wholly in one region of guest memory */
	VQ_FAULT_DIRECTION,       /* device-readable after device-writable */
	VQ_FAULT_INDIRECT,        /* INDIRECT_DESC was not negotiated */
	VQ_FAULT_INDIRECT_NESTED, /* an indirect descriptor in an indirect table */
	VQ_FAULT_INDIRECT_LENGTH, /* a table that is empty or not a multiple of 16 bytes */
	VQ_FAULT_INDIRECT_CHAIN,  /* INDIRECT with NEXT; packed: in a chain at all */
	VQ_FAULT_DEVICE,          /* the device found the chain's contents impossible */
	VQ_FAULTS,
};

/* vq_fault_name: "avail index jump" and so on; static, never NULL. */
const char *vq_fault_name(enum vq_fault fault);

/* What the driver set up through the transport. */
struct vq_setup {
	uint16_t size;
	gpa_t desc, driver, device; /* §4.1.4.3; split: table, avail, used */
	bool packed, indirect, event_idx, in_order;
};

/* One chain. The caller sets iov and iov_max before vq_pop and keeps all of it unchanged (iov's
 * contents may change) until vq_push. iov[0 .. out_count) is readable by the device, the in_count
 * entries after that are writable. Neither count nor sizes are ever 0 together. */
struct vq_chain {
	struct iovec *iov;
	unsigned int iov_max;
	unsigned int out_count, in_count;
	uint64_t out_bytes, in_bytes;
	uint32_t generation; /* private from here on */
	uint16_t id, descs;
};

/* State of one head (split) or buffer id (packed). */
struct vq_slot {
	uint16_t descs; /* in flight with that many descriptors; 0: not in flight */
	bool done;      /* IN_ORDER: pushed, waits for those before it */
	bool full;      /* IN_ORDER: every writable byte was written */
	uint32_t written_bytes;
};

struct virtqueue {
	const struct gmem *mem;
	uint16_t max_size;
	/* Called once when the queue breaks, perhaps from inside vq_pop. NULL: none. */
	void (*on_fault)(struct virtqueue *vq);
	/* For probes: the guest's and the device's name, NULL if there is none. */
	const char *guest, *owner;
	uint16_t index;
	struct vq_setup setup;
	bool enabled;
	enum vq_fault fault;
	uint32_t generation; /* chains of an earlier one are not pushed any more */
	uint32_t in_flight;  /* chains popped and not pushed, of this generation */

	/* All below is private. Host addresses of the three areas. */
	uint8_t *desc, *driver, *device;
	uint16_t next_avail;  /* split: free-running; packed: ring offset */
	uint16_t seen_avail;  /* split: avail.idx as last loaded */
	uint16_t next_used;   /* split: free-running; packed: ring offset */
	uint16_t unpublished; /* split: used entries, packed: slots, since the last vq_publish */
	bool avail_wrap, used_wrap;       /* packed: wrap counters */
	uint16_t first_slot, first_flags; /* packed: held back until vq_publish */
	uint32_t in_flight_descs;
	struct vq_slot *slots; /* by head or id */
	uint16_t *order;       /* IN_ORDER: ids as popped, a ring of max_size entries */
	uint16_t order_first;
	uint16_t order_count;
};

/* vq_init: a disabled queue of at most max_size (≤ VQ_SIZE_MAX) entries; -ENOMEM. vq_finish: frees;
 * safe on a zeroed struct. */
int vq_init(struct virtqueue *vq, const struct gmem *mem, uint16_t max_size, struct diag *d);
void vq_finish(struct virtqueue *vq);

/* vq_enable: checks and maps the areas and starts at index 0. On a fault the queue stays disabled.
 */
enum vq_fault vq_enable(struct virtqueue *vq, const struct vq_setup *setup);

/* vq_reset: disables the queue and forgets its chains: pushing one that is in flight is harmless
 * from here on, but I/O on its buffers is the device's to end first. */
void vq_reset(struct virtqueue *vq);

/* vq_memory_changed: some guest memory was unplugged; breaks the queue if its areas are gone. */
void vq_memory_changed(struct virtqueue *vq);

/* vq_break: the device met something in a chain that no correct driver sends. */
void vq_break(struct virtqueue *vq, enum vq_fault fault);

/* vq_has_work: true if the driver has made a chain available. May break the queue. */
bool vq_has_work(struct virtqueue *vq);

/* vq_pop: takes the next chain; false if there is none, the queue is disabled, broken or breaks. */
bool vq_pop(struct virtqueue *vq, struct vq_chain *chain);

/* vq_unpop: puts back the chain that was popped last and has not been touched. */
void vq_unpop(struct virtqueue *vq, struct vq_chain *chain);

/* vq_push: gives the chain back with its first written_bytes (≤ in_bytes) writable bytes written;
 * any order, also with IN_ORDER (which then holds it back). Seen by the driver at vq_publish. */
void vq_push(struct virtqueue *vq, const struct vq_chain *chain, uint32_t written_bytes);

/* vq_publish: shows the driver what was pushed; true if it wants an interrupt for that. */
bool vq_publish(struct virtqueue *vq);

/* vq_notify_off: kicks are not needed. vq_notify_on: they are from here on; true if there is work
 * already, which no kick will announce. */
void vq_notify_off(struct virtqueue *vq);
bool vq_notify_on(struct virtqueue *vq);

/* chain_read: copies from the readable part at `offset`. chain_write: into the writable part. Both
 * return how many bytes there were. */
size_t chain_read(const struct vq_chain *chain, uint64_t offset, void *to, size_t len_bytes);
size_t chain_write(
	const struct vq_chain *chain, uint64_t offset, const void *from, size_t len_bytes);

static inline struct iovec *chain_out(const struct vq_chain *chain)
{
	return chain->iov;
}

static inline struct iovec *chain_in(const struct vq_chain *chain)
{
	return chain->iov + chain->out_count;
}

#endif

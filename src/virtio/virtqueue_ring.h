/* SPDX-License-Identifier: Apache-2.0 */
/* Between virtqueue.c (rules that both rings share) and the two ring formats. Private to them. */
#ifndef VIRTIO_VIRTQUEUE_RING_H
#define VIRTIO_VIRTQUEUE_RING_H

#include "virtio/virtqueue.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

#define DESC_BYTES 16u

#define DESC_F_NEXT     0x1u
#define DESC_F_WRITE    0x2u
#define DESC_F_INDIRECT 0x4u
#define DESC_F_AVAIL    0x80u   /* packed */
#define DESC_F_USED     0x8000u /* packed */

/* A descriptor as copied from the guest. `tail` is split's next or packed's flags, and the other
 * way round for `mid`: both formats have addr, len and two 16-bit fields. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t mid, tail;
};

/* desc_load: copies one descriptor; two loads, each done exactly once whatever the compiler thinks,
 * since the guest may write at the same time (which the thread sanitizer need not tell us). An
 * indirect table may lie at any address. */
__attribute__((no_sanitize("thread"))) static inline struct desc desc_load(
	const uint8_t *table, unsigned int i)
{
	typedef uint64_t u64_any __attribute__((aligned(1), may_alias));
	const volatile u64_any *from = (const volatile u64_any *)(table + (size_t)i * DESC_BYTES);
	uint64_t addr = from[0], rest = from[1];

	return (struct desc){addr, (uint32_t)rest, (uint16_t)(rest >> 32), (uint16_t)(rest >> 48)};
}

/* Fields of the areas; their alignment was checked by vq_enable. */
static inline uint16_t ring_load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_RELAXED);
}

static inline uint16_t ring_load16_acquire(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);
}

static inline void ring_store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELAXED);
}

static inline void ring_store16_release(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_RELEASE);
}

static inline void ring_store32(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)at, value, __ATOMIC_RELAXED);
}

/* Store before load, across both sides ("I published, do you want to know?" against "I want to
 * know, did you publish?"): sequentially consistent on both, a locked exchange and a plain load on
 * x86. A fence would do as well, but the thread sanitizer does not know fences. */
static inline void ring_store16_seq(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_SEQ_CST);
}

static inline uint16_t ring_load16_seq(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_SEQ_CST);
}

/* need_event: §2.7.7.2, §2.8.10: true if `event` was passed by going from `from` to `to`. */
static inline bool need_event(uint16_t event, uint16_t to, uint16_t from)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

/* chain_add: one buffer, with every rule about buffers. */
enum vq_fault chain_add(const struct virtqueue *vq, struct vq_chain *chain, uint64_t addr,
	uint32_t len_bytes, bool writable);

/* An indirect table, mapped and of a checked length. */
struct indirect {
	const uint8_t *table;
	uint32_t count;
};
enum vq_fault indirect_open(const struct virtqueue *vq, uint64_t addr, uint32_t len_bytes,
	uint16_t flags, struct indirect *to);

/* The next used entry: for `chains` chains that took `descs` slots, the last of them `id`. */
struct used {
	uint16_t id, chains, descs;
	uint32_t written_bytes;
};

/* The areas' sizes and alignments. */
struct areas {
	uint64_t desc_bytes, driver_bytes, device_bytes;
	uint64_t desc_align, driver_align, device_align;
};

/* What each format does. *_pop: fills in the chain up to its id and descs, and moves on only if all
 * is well. */
struct areas split_areas(uint16_t size);
bool split_has_work(struct virtqueue *vq);
enum vq_fault split_pop(struct virtqueue *vq, struct vq_chain *chain);
void split_unpop(struct virtqueue *vq, const struct vq_chain *chain);
void split_used(struct virtqueue *vq, const struct used *used);
bool split_publish(struct virtqueue *vq);
void split_notify(struct virtqueue *vq, bool on);

struct areas packed_areas(uint16_t size);
bool packed_has_work(struct virtqueue *vq);
enum vq_fault packed_pop(struct virtqueue *vq, struct vq_chain *chain);
void packed_unpop(struct virtqueue *vq, const struct vq_chain *chain);
void packed_used(struct virtqueue *vq, const struct used *used);
bool packed_publish(struct virtqueue *vq);
void packed_notify(struct virtqueue *vq, bool on);

#endif

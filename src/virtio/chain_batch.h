/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of a queue as one run of bytes, for readv and writev over several of them at once.
 *
 *   entries   | chain A | chain B   | chain C |       one entry a chain, oldest first
 *   iov       | a0 | a1 | b0 | b1   | c0      |       what is left of each, in the same order
 *                   ^ the transfer has come to here
 *
 * Home reactor. While a transfer is in flight nothing but the accessors may be called. */
#ifndef VIRTIO_CHAIN_BATCH_H
#define VIRTIO_CHAIN_BATCH_H

#include "virtio/virtqueue.h"

#define BATCH_CHAINS  64
#define BATCH_IOV_MAX 1024u /* UIO_MAXIOV: what one system call takes */

struct batch_entry {
	struct vq_chain chain;
	unsigned int iov_count; /* what is left of it in the batch's iov */
	uint64_t left_bytes, done_bytes;
};

/* Embedded in its device. */
struct chain_batch {
	struct virtqueue *vq;
	bool writable; /* the chains' writable parts are transferred; else the readable ones */
	unsigned int first, count;         /* entries */
	unsigned int iov_first, iov_count; /* both parts of `iov` that are used */
	struct iovec beginning;            /* of a buffer that is more than one transfer takes */
	struct batch_entry entries[BATCH_CHAINS];
	struct iovec iov[BATCH_IOV_MAX];
};

/* batch_init: empty. The queue's maximal size is at most BATCH_IOV_MAX. */
void batch_init(struct chain_batch *b, struct virtqueue *vq, bool writable);

/* batch_fill: takes chains from the queue while there are any and there is room; chains that have
 * nothing to transfer go back at once. True if anything was given back. */
bool batch_fill(struct chain_batch *b);

/* batch_advance: `len_bytes` more have been transferred; gives chains back that are done. Returns
 * how many. `end_part`: the chain that has only a part of its bytes is given back as well. */
unsigned int batch_advance(struct chain_batch *b, uint64_t len_bytes, bool end_part);

/* batch_part: what comes next in a batch that is not empty, at most max_bytes of it, for one
 * transfer. A socket whose other end keeps up with it would else take a guest's gigabytes in one
 * system call. */
const struct iovec *batch_part(struct chain_batch *b, uint64_t max_bytes, unsigned int *count);

/* batch_take: a batch that can be read, and has no more than `room` bytes left, is copied to `to`
 * and its chains given back; how many bytes, 0: it has more, or none. */
size_t batch_take(struct chain_batch *b, uint8_t *to, size_t room);
/* batch_drop: gives all chains back as if transferred (readable parts only); returns how many bytes
 * were left. batch_forget: the queue was reset. */
uint64_t batch_drop(struct chain_batch *b);
void batch_forget(struct chain_batch *b);

static inline bool batch_is_empty(const struct chain_batch *b)
{
	return b->count == 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of a queue as one run of bytes. */
#include "virtio/chain_batch.h"

#include <string.h>

#include "core/check.h"

void batch_init(struct chain_batch *b, struct virtqueue *vq, bool writable)
{
	CHECK(vq->max_size <= BATCH_IOV_MAX);
	b->vq = vq;
	b->writable = writable;
	batch_forget(b);
}

void batch_forget(struct chain_batch *b)
{
	b->first = b->count = 0;
	b->iov_first = b->iov_count = 0;
}

/* What is left moves to the front, so that there is room behind it. */
static void batch_compact(struct chain_batch *b)
{
	memmove(b->entries, b->entries + b->first, b->count * sizeof(b->entries[0]));
	memmove(b->iov, b->iov + b->iov_first, b->iov_count * sizeof(b->iov[0]));
	b->first = b->iov_first = 0;
}

/* The part that is transferred takes its place in `iov`; the other part is not needed again. */
static void entry_init(struct chain_batch *b, struct batch_entry *e)
{
	struct vq_chain *chain = &e->chain;

	if (b->writable)
		memmove(chain->iov, chain_in(chain), chain->in_count * sizeof(*chain->iov));
	e->iov_count = b->writable ? chain->in_count : chain->out_count;
	e->left_bytes = b->writable ? chain->in_bytes : chain->out_bytes;
	e->done_bytes = 0;
	b->iov_count += e->iov_count;
	b->count++;
}

static void entry_give_back(struct chain_batch *b)
{
	struct batch_entry *e = &b->entries[b->first];
	uint64_t written = b->writable ? e->done_bytes : 0;

	/* A chain of exactly 4 GiB has one byte more than its length field can say. */
	vq_push(b->vq, &e->chain, written > UINT32_MAX ? UINT32_MAX : (uint32_t)written);
	b->iov_first += e->iov_count;
	b->iov_count -= e->iov_count;
	b->first++;
	b->count--;
}

/* In order, so only from the front. */
static unsigned int give_back_done(struct chain_batch *b)
{
	unsigned int given = 0;

	while (b->count && !b->entries[b->first].left_bytes) {
		entry_give_back(b);
		given++;
	}
	return given;
}

bool batch_fill(struct chain_batch *b)
{
	bool given = false;

	batch_compact(b);
	while (b->count < BATCH_CHAINS && BATCH_IOV_MAX - b->iov_count >= b->vq->max_size) {
		struct batch_entry *e = &b->entries[b->count];

		e->chain.iov = b->iov + b->iov_count;
		e->chain.iov_max = b->vq->max_size;
		if (!vq_pop(b->vq, &e->chain))
			break;
		entry_init(b, e);
		if (give_back_done(b)) {
			given = true;
			batch_compact(b);
		}
	}
	return given;
}

/* Takes `len_bytes`, no more than the first chain has left, off its iovecs. */
static void entry_advance(struct chain_batch *b, struct batch_entry *e, uint64_t len_bytes)
{
	e->left_bytes -= len_bytes;
	e->done_bytes += len_bytes;
	while (len_bytes) {
		struct iovec *iov = &b->iov[b->iov_first];
		size_t part = len_bytes < iov->iov_len ? len_bytes : iov->iov_len;

		iov->iov_base = (uint8_t *)iov->iov_base + part;
		iov->iov_len -= part;
		len_bytes -= part;
		if (iov->iov_len)
			break;
		b->iov_first++;
		b->iov_count--;
		e->iov_count--;
	}
}

unsigned int batch_advance(struct chain_batch *b, uint64_t len_bytes, bool end_part)
{
	unsigned int given = 0;

	while (b->count) {
		struct batch_entry *e = &b->entries[b->first];
		uint64_t part = len_bytes < e->left_bytes ? len_bytes : e->left_bytes;

		entry_advance(b, e, part);
		len_bytes -= part;
		if (e->left_bytes && !(end_part && e->done_bytes))
			break;
		entry_give_back(b);
		given++;
	}
	CHECK(!len_bytes);
	return given;
}

const struct iovec *batch_part(struct chain_batch *b, uint64_t max_bytes, unsigned int *count)
{
	const struct iovec *iov = b->iov + b->iov_first;
	uint64_t left = max_bytes;
	unsigned int n = 0;

	CHECK(b->iov_count);
	while (n < b->iov_count && iov[n].iov_len <= left)
		left -= iov[n++].iov_len;
	*count = n ? n : 1;
	if (n)
		return iov;
	b->beginning = (struct iovec){.iov_base = iov->iov_base, .iov_len = max_bytes};
	return &b->beginning;
}

size_t batch_take(struct chain_batch *b, uint8_t *to, size_t room)
{
	const struct iovec *iov = b->iov + b->iov_first;
	size_t taken = 0;

	CHECK(!b->writable);
	for (unsigned int i = 0; i < b->iov_count; i++) {
		if (iov[i].iov_len > room - taken)
			return 0;
		memcpy(to + taken, iov[i].iov_base, iov[i].iov_len);
		taken += iov[i].iov_len;
	}
	batch_advance(b, taken, false);
	return taken;
}

uint64_t batch_drop(struct chain_batch *b)
{
	uint64_t left = 0;

	CHECK(!b->writable);
	while (b->count) {
		left += b->entries[b->first].left_bytes;
		entry_give_back(b);
	}
	return left;
}

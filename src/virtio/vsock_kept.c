/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that a client's socket did not take yet. */
#include "virtio/vsock_kept.h"

#include <errno.h>
#include <stdlib.h>

#include "core/check.h"
#include "virtio/iov.h"

int kept_put(struct vsock_kept *k, uint32_t size, const struct iovec *iov, unsigned int iov_count,
	uint64_t offset)
{
	uint64_t total = iov_bytes(iov, iov_count);
	uint32_t len = (uint32_t)(total - offset), at, run;

	CHECK(offset <= total && total - offset <= size - k->count);
	if (!len)
		return 0;
	if (!k->bytes) {
		k->bytes = malloc(size);
		k->size = size;
		k->first = 0;
	}
	if (!k->bytes)
		return -ENOMEM;
	CHECK(k->size == size);
	at = (k->first + k->count) % size;
	run = len < size - at ? len : size - at;
	iov_read(iov, iov_count, offset, k->bytes + at, run);
	iov_read(iov, iov_count, offset + run, k->bytes, len - run);
	k->count += len;
	return 0;
}

const uint8_t *kept_head(const struct vsock_kept *k, uint32_t *len_bytes)
{
	*len_bytes = k->count < k->size - k->first ? k->count : k->size - k->first;
	return k->bytes + k->first;
}

void kept_take(struct vsock_kept *k, uint32_t len_bytes)
{
	CHECK(len_bytes <= k->count);
	k->first = (k->first + len_bytes) % k->size;
	k->count -= len_bytes;
	if (!k->count)
		kept_drop(k);
}

void kept_drop(struct vsock_kept *k)
{
	free(k->bytes);
	free(k->ends);
	*k = (struct vsock_kept){0};
}

/* --- messages --- */

static uint64_t *end_word(const struct vsock_kept *k, uint32_t at, uint64_t *bit)
{
	*bit = 1ULL << at % 64;
	return &k->ends[at / 64];
}

int kept_end(struct vsock_kept *k)
{
	uint64_t bit, *word;

	CHECK(k->count);
	if (!k->ends)
		k->ends = calloc((k->size + 63) / 64, sizeof(*k->ends));
	if (!k->ends)
		return -ENOMEM;
	word = end_word(k, (k->first + k->count - 1) % k->size, &bit);
	/* A second end of the same byte would be an empty message. */
	k->messages += !(*word & bit);
	*word |= bit;
	return 0;
}

/* The first end in [from, to), or `to`: a word at a time. */
static uint32_t end_find(const struct vsock_kept *k, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint64_t word = k->ends[from / 64] >> from % 64;

		if (word) {
			uint32_t at = from + (uint32_t)__builtin_ctzll(word);

			return at < to ? at : to;
		}
		from += 64 - from % 64;
	}
	return to;
}

unsigned int kept_message(const struct vsock_kept *k, struct iovec iov[2])
{
	uint32_t end;

	if (!k->messages)
		return 0;
	end = end_find(k, k->first, k->size);
	if (end < k->size) {
		iov[0] = (struct iovec){k->bytes + k->first, end + 1 - k->first};
		return 1;
	}
	end = end_find(k, 0, k->first);
	CHECK(end < k->first);
	iov[0] = (struct iovec){k->bytes + k->first, k->size - k->first};
	iov[1] = (struct iovec){k->bytes, end + 1};
	return 2;
}

void kept_message_take(struct vsock_kept *k)
{
	struct iovec iov[2];
	unsigned int n = kept_message(k, iov);
	uint32_t len;
	uint64_t bit, *word;

	CHECK(n);
	len = (uint32_t)(iov[0].iov_len + (n > 1 ? iov[1].iov_len : 0));
	word = end_word(k, (k->first + len - 1) % k->size, &bit);
	*word &= ~bit;
	k->messages--;
	kept_take(k, len);
}

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
	*k = (struct vsock_kept){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes across an array of iovecs. */
#include "virtio/iov.h"

#include <stdbool.h>
#include <string.h>

uint64_t iov_bytes(const struct iovec *iov, unsigned int count)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

static size_t iov_copy(const struct iovec *iov, unsigned int count, uint64_t offset, uint8_t *buf,
	size_t len_bytes, bool to_iov)
{
	size_t copied = 0;

	for (unsigned int i = 0; i < count && copied < len_bytes; i++) {
		size_t n = iov[i].iov_len;
		uint8_t *at = iov[i].iov_base;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		at += offset;
		n -= offset;
		offset = 0;
		if (n > len_bytes - copied)
			n = len_bytes - copied;
		if (to_iov)
			memcpy(at, buf + copied, n);
		else
			memcpy(buf + copied, at, n);
		copied += n;
	}
	return copied;
}

size_t iov_read(
	const struct iovec *iov, unsigned int count, uint64_t offset, void *to, size_t len_bytes)
{
	return iov_copy(iov, count, offset, to, len_bytes, false);
}

size_t iov_write(const struct iovec *iov, unsigned int count, uint64_t offset, const void *from,
	size_t len_bytes)
{
	return iov_copy(iov, count, offset, (uint8_t *)from, len_bytes, true);
}

unsigned int iov_slice(const struct iovec *iov, unsigned int count, uint64_t offset,
	uint64_t len_bytes, struct iovec *to, unsigned int max)
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < count && used < max && len_bytes; i++) {
		struct iovec piece = iov[i];

		if (offset >= piece.iov_len) {
			offset -= piece.iov_len;
			continue;
		}
		piece.iov_base = (uint8_t *)piece.iov_base + offset;
		piece.iov_len -= offset;
		offset = 0;
		if (piece.iov_len > len_bytes)
			piece.iov_len = len_bytes;
		len_bytes -= piece.iov_len;
		to[used++] = piece;
	}
	return used;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes across an array of iovecs: copy in and out, cut a piece. Any thread; nothing is owned. */
#ifndef VIRTIO_IOV_H
#define VIRTIO_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* iov_bytes: the sum of the lengths. */
uint64_t iov_bytes(const struct iovec *iov, unsigned int count);

/* iov_read: copies up to len_bytes from `offset` bytes into the array. iov_write: the other way.
 * Both return how many bytes there were to copy. */
size_t iov_read(
	const struct iovec *iov, unsigned int count, uint64_t offset, void *to, size_t len_bytes);
size_t iov_write(const struct iovec *iov, unsigned int count, uint64_t offset, const void *from,
	size_t len_bytes);

/* iov_slice: describes [offset, offset + len_bytes) of the array in at most `max` entries of `to`
 * (which may be `iov` itself); returns how many. Less than asked for is described if the array ends
 * or `to` is full. */
unsigned int iov_slice(const struct iovec *iov, unsigned int count, uint64_t offset,
	uint64_t len_bytes, struct iovec *to, unsigned int max);

#endif

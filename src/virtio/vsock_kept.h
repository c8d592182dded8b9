/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that a client's socket did not take yet: a ring as large as the connection's credit, which
 * exists only while there is something in it. Home reactor. */
#ifndef VIRTIO_VSOCK_KEPT_H
#define VIRTIO_VSOCK_KEPT_H

#include <stdint.h>
#include <sys/uio.h>

struct vsock_kept {
	uint8_t *bytes; /* NULL: empty */
	uint32_t size, first, count;
};

/* kept_put: appends what the array has from `offset` on. -ENOMEM; that it fits is the caller's
 * check. `size`: of the ring; the same every time. */
int kept_put(struct vsock_kept *k, uint32_t size, const struct iovec *iov, unsigned int iov_count,
	uint64_t offset);

/* kept_head: the first run of bytes and its length; they stay where they are until kept_take. */
const uint8_t *kept_head(const struct vsock_kept *k, uint32_t *len_bytes);
/* kept_take: the first bytes are not needed any more. */
void kept_take(struct vsock_kept *k, uint32_t len_bytes);
void kept_drop(struct vsock_kept *k);

#endif

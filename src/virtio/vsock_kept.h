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
	/* Messages: a bit for each byte of the ring, set where it is a message's last. NULL: none
	 * is complete yet. */
	uint64_t *ends;
	uint32_t messages; /* complete ones */
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

/* kept_end: what was put last ends a message; -ENOMEM. There is something, and kept_take is not
 * used. kept_message: the first complete message, in one piece or two; 0: there is none.
 * kept_message_take: it is not needed any more. */
int kept_end(struct vsock_kept *k);
unsigned int kept_message(const struct vsock_kept *k, struct iovec iov[2]);
void kept_message_take(struct vsock_kept *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the guest's data one stream may have on its way to its client.
 *
 * Little makes the guest wait for each turn of the client's; and what all of them have on the way
 * should fit into a CPU's cache, because it is written there and read soon after. So the streams
 * that had data lately share VSOCK_SHARE_BYTES, each the same. The share is the credit that the
 * guest is told, and the send buffer of the socket. */
#include <sys/socket.h>

#include "virtio/vsock_conn.h"

#define LATELY_NS 10000000ULL

void vsock_share_used(struct vsock_conn *c)
{
	struct vsock_busy *b = &c->v->busy;
	uint64_t now_ns = reactor_now_ns(vsock_home(c->v));

	if (now_ns >= b->until_ns) {
		b->before = now_ns < b->until_ns + LATELY_NS ? b->count : 0;
		b->count = 0;
		b->period++;
		b->until_ns = now_ns + LATELY_NS;
	}
	if (c->busy_period != b->period) {
		c->busy_period = b->period;
		b->count++;
	}
}

/* A power of two, so that it seldom changes. */
static uint32_t share_bytes(const struct vsock_busy *b)
{
	uint64_t streams = b->count > b->before ? b->count : b->before;
	uint32_t bytes = VSOCK_BUF_ALLOC;

	while (bytes > VSOCK_BUF_ALLOC_MANY && bytes * streams > VSOCK_SHARE_BYTES)
		bytes /= 2;
	return bytes;
}

/* Twice as much of it is there in the end: the kernel adds its own overhead. */
void vsock_share_socket(struct vsock_conn *c, int fd, uint32_t bytes)
{
	int room = (int)bytes / 2;

	if (c->share_bytes == bytes)
		return;
	c->share_bytes = bytes;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

void vsock_share_adjust(struct vsock_conn *c)
{
	uint32_t had = c->credit.buf_alloc, share = share_bytes(&c->v->busy);

	if (c->type != VSOCK_TYPE_STREAM || c->state != VSOCK_CONNECTED)
		return;
	/* Who is slow, or one of very many, gets no more. */
	if (share > had && (c->kept.bytes || c->v->pledged_bytes - had + share > VSOCK_PLEDGE_MAX))
		return;
	credit_resize(&c->credit, share);
	c->v->pledged_bytes += c->credit.buf_alloc;
	c->v->pledged_bytes -= had;
	vsock_share_socket(c, c->file.fd, share);
}

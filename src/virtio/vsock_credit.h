/* SPDX-License-Identifier: Apache-2.0 */
/* Credit of one connection, both ways (virtio 1.2 §5.10.6.3). Counters wrap at 32 bits; only their
 * differences mean anything.
 *
 *   client → guest:  peer_fwd_cnt ── in flight ── tx_cnt ── free ── peer_fwd_cnt + peer_buf_alloc
 *   guest → client:  fwd_cnt ── not yet in the socket ── rx_cnt ── room ── fwd_cnt + buf_alloc */
#ifndef VIRTIO_VSOCK_CREDIT_H
#define VIRTIO_VSOCK_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

struct vsock_credit {
	/* Towards the guest. */
	uint32_t peer_buf_alloc, peer_fwd_cnt; /* as the guest said */
	uint32_t tx_cnt;
	bool peer_impossible; /* what it said last cannot be: it has got more than was sent */
	/* From the guest. */
	uint32_t buf_alloc;
	uint32_t rx_cnt, fwd_cnt;
	uint32_t told_fwd_cnt, told_buf_alloc; /* in the last header to the guest */
};

/* credit_peer: what the guest says in each of its headers. A fwd_cnt that runs ahead of what was
 * sent (or backwards) is not believed, and gives no credit until a sound one comes. */
static inline void credit_peer(struct vsock_credit *c, uint32_t buf_alloc, uint32_t fwd_cnt)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	c->peer_buf_alloc = buf_alloc;
	c->peer_impossible = fwd_cnt - c->peer_fwd_cnt > in_flight;
	if (!c->peer_impossible)
		c->peer_fwd_cnt = fwd_cnt;
}

/* credit_free: how many bytes may be sent to the guest. buf_alloc may shrink below what is in
 * flight. */
static inline uint32_t credit_free(const struct vsock_credit *c)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	if (c->peer_impossible || in_flight >= c->peer_buf_alloc)
		return 0;
	return c->peer_buf_alloc - in_flight;
}

/* credit_sent: at most credit_free of when it was asked for last. */
static inline void credit_sent(struct vsock_credit *c, uint32_t len_bytes)
{
	c->tx_cnt += len_bytes;
}

/* credit_room: how many bytes the guest may send. */
static inline uint32_t credit_room(const struct vsock_credit *c)
{
	return c->buf_alloc - (c->rx_cnt - c->fwd_cnt);
}

/* credit_received: false if the guest had no credit for that. */
static inline bool credit_received(struct vsock_credit *c, uint32_t len_bytes)
{
	if (len_bytes > credit_room(c))
		return false;
	c->rx_cnt += len_bytes;
	return true;
}

/* credit_forwarded: that many more bytes are in the client's socket. */
static inline void credit_forwarded(struct vsock_credit *c, uint32_t len_bytes)
{
	c->fwd_cnt += len_bytes;
}

/* credit_told: a header with fwd_cnt and buf_alloc is on its way to the guest. */
static inline void credit_told(struct vsock_credit *c)
{
	c->told_fwd_cnt = c->fwd_cnt;
	c->told_buf_alloc = c->buf_alloc;
}

/* credit_resize: buf_alloc becomes `want_bytes`, but not so little that the guest, by the header
 * that it had last, may have sent more already: it might count on that in whole numbers without a
 * sign. Then it goes down further as more is forwarded. */
static inline void credit_resize(struct vsock_credit *c, uint32_t want_bytes)
{
	uint32_t least = c->told_buf_alloc - (c->fwd_cnt - c->told_fwd_cnt);

	if (c->fwd_cnt - c->told_fwd_cnt > c->told_buf_alloc)
		least = 0;
	c->buf_alloc = want_bytes > least ? want_bytes : least;
}

/* credit_update_due: the guest may believe that less than half of the room is left, and what
 * appeared since then is worth a packet: an eighth of it, or all. A guest need not make use of all
 * that it is given: Linux has no more under way than its own buf_alloc, however large ours is. */
static inline bool credit_update_due(const struct vsock_credit *c)
{
	uint32_t used =
		c->told_buf_alloc < c->peer_buf_alloc ? c->told_buf_alloc : c->peer_buf_alloc;
	uint32_t under_way = c->rx_cnt - c->told_fwd_cnt;
	uint32_t appeared = c->fwd_cnt - c->told_fwd_cnt;

	if (!appeared || under_way <= used / 2)
		return false;
	return appeared >= used / 8 || c->fwd_cnt == c->rx_cnt;
}

#endif

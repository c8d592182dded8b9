/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock's transmit queue: the guest's bytes leave for the client's socket straight from its pages.
 *
 * Packets of one connection that come in one turn leave in one sendmsg, which never waits; while it
 * is on its way, those of the next turns gather in a second batch. What the socket does not take is
 * copied and its chains are given back, so that no client holds the guest's buffers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/check.h"
#include "virtio/iov.h"
#include "virtio/vsock_conn.h"

_Static_assert(VSOCK_BATCH_IOV >= VSOCK_QUEUE_SIZE, "a batch takes any chain");

static struct virtio_queue *tx_queue(struct vsock *v)
{
	return &v->dev.queues[VSOCK_TX];
}

/* --- batches --- */

static struct vsock_batch *batch_get(struct vsock *v)
{
	struct vsock_batch *b;

	if (!list_empty(&v->batches_free)) {
		b = list_first(&v->batches_free, struct vsock_batch, link);
		list_del(&b->link);
	} else {
		b = v->batches < VSOCK_BATCHES_MAX ? calloc(1, sizeof(*b)) : NULL;
		if (!b)
			return NULL;
		list_init(&b->link);
		v->batches++;
	}
	v->batches_busy++;
	b->chains = b->iov_count = 0;
	b->bytes = 0;
	return b;
}

/* Gives its chains back to the guest. */
static void batch_end(struct vsock *v, struct vsock_batch *b)
{
	struct virtio_queue *q = tx_queue(v);

	for (unsigned int i = 0; i < b->chains; i++)
		vq_push(&q->vq, &b->chain[i], 0);
	virtio_queue_flush(q);
	list_add_tail(v->batches_free.next, &b->link);
	v->batches_busy--;
	virtio_queue_wake(q); /* it may have waited for a batch */
}

static bool batch_has_room(const struct vsock_batch *b, const struct vq_chain *chain)
{
	return b->chains < VSOCK_BATCH_CHAINS && b->iov_count + chain->out_count <= VSOCK_BATCH_IOV;
}

static void batch_add(struct vsock_batch *b, const struct vq_chain *chain)
{
	uint64_t len = chain->out_bytes - VSOCK_HEADER_BYTES;

	b->iov_count += iov_slice(chain_out(chain), chain->out_count, VSOCK_HEADER_BYTES, len,
		b->iov + b->iov_count, VSOCK_BATCH_IOV - b->iov_count);
	b->chain[b->chains++] = *chain;
	b->bytes += (uint32_t)len;
}

static void batch_sent(struct io_op *op, int res, uint32_t cqe_flags);

static void batch_send(struct vsock_conn *c)
{
	struct vsock_batch *b = c->filling;

	list_del(&c->fill_link);
	c->filling = NULL;
	c->sending = b;
	b->conn = c;
	b->op.done = batch_sent;
	b->msg = (struct msghdr){.msg_iov = b->iov, .msg_iovlen = b->iov_count};
	io_sendmsg(vsock_home(c->v), &b->op, &c->file, &b->msg, MSG_DONTWAIT);
}

/* The connection's batch that this chain goes into; NULL: there is none now. */
static struct vsock_batch *batch_for(struct vsock_conn *c, const struct vq_chain *chain)
{
	if (c->filling && batch_has_room(c->filling, chain))
		return c->filling;
	if (c->filling && c->sending)
		return NULL;
	if (c->filling)
		batch_send(c);
	c->filling = batch_get(c->v);
	if (c->filling)
		list_add_tail(&c->v->tx_filled, &c->fill_link);
	return c->filling;
}

/* --- what is kept --- */

static void kept_send(struct vsock_conn *c)
{
	uint32_t len;
	const uint8_t *bytes;

	if (!c->kept.count || c->send.in_flight)
		return;
	if (c->type == VSOCK_TYPE_SEQPACKET) {
		vsock_seq_send(c);
		return;
	}
	bytes = kept_head(&c->kept, &len);
	io_send(vsock_home(c->v), &c->send, &c->file, bytes, len, 0);
}

void vsock_tx_make_blocking(struct vsock_conn *c)
{
	int flags = fcntl(c->file.fd, F_GETFL);

	if (flags >= 0 && (flags & O_NONBLOCK))
		fcntl(c->file.fd, F_SETFL, flags & ~O_NONBLOCK);
}

static void kept_sent(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_conn *c = container_of(op, struct vsock_conn, send);

	(void)cqe_flags;
	if (c->out_broken) {
		kept_drop(&c->kept);
	} else if (res >= 0) {
		VSOCK_PROBE(vsock_data, c, 0, res, &tx_queue(c->v)->vq);
		kept_take(&c->kept, (uint32_t)res);
		credit_forwarded(&c->credit, (uint32_t)res);
	} else if (res == -EAGAIN) {
		vsock_tx_make_blocking(c);
	} else if (!io_error_passes(res)) {
		vsock_tx_broken(c);
	}
	kept_send(c);
	vsock_conn_out_moved(c);
}

static bool keep(struct vsock_conn *c, const struct iovec *iov, unsigned int count, uint64_t offset)
{
	c->send.done = kept_sent;
	/* It is as large as the credit was when it was begun, and that has not grown since. */
	return !kept_put(
		&c->kept, c->kept.bytes ? c->kept.size : c->credit.buf_alloc, iov, count, offset);
}

/* --- the connection's side --- */

bool vsock_tx_waiting(const struct vsock_conn *c)
{
	/* The beginning of a message waits for its end, not for the client. */
	if (c->type == VSOCK_TYPE_SEQPACKET)
		return c->kept.messages || c->send.in_flight;
	return c->sending || c->filling || c->kept.count || c->send.in_flight;
}

void vsock_tx_drop(struct vsock_conn *c)
{
	if (c->out_broken)
		return;
	c->out_broken = true;
	if (c->filling) {
		list_del(&c->fill_link);
		credit_forwarded(&c->credit, c->filling->bytes);
		batch_end(c->v, c->filling);
		c->filling = NULL;
	}
	credit_forwarded(&c->credit, c->kept.count);
	if (c->send.in_flight)
		io_cancel(vsock_home(c->v), &c->send); /* kept_sent drops them */
	else
		kept_drop(&c->kept);
}

/* The client has closed the socket, or its reading side: the guest is told to send no more. */
void vsock_tx_broken(struct vsock_conn *c)
{
	vsock_tx_drop(c);
	if (c->state != VSOCK_CONNECTED)
		return;
	c->own_shutdown |= VSOCK_SHUTDOWN_RCV;
	vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_SHUTDOWN));
}

/* What the socket did not take, and what came meanwhile, in this order. */
static bool keep_rest(struct vsock_conn *c, const struct vsock_batch *b, uint32_t sent_bytes)
{
	struct vsock_batch *next = c->filling;

	if (!keep(c, b->iov, b->iov_count, sent_bytes))
		return false;
	if (!next)
		return true;
	if (!keep(c, next->iov, next->iov_count, 0))
		return false;
	list_del(&c->fill_link);
	c->filling = NULL;
	batch_end(c->v, next);
	return true;
}

void vsock_tx_lost(struct vsock_conn *c)
{
	if (c->state == VSOCK_CLOSED)
		vsock_tx_drop(c);
	else
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
}

static void batch_sent(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_batch *b = container_of(op, struct vsock_batch, op);
	struct vsock_conn *c = b->conn;
	struct vsock *v = c->v;
	uint32_t sent = res > 0 ? (uint32_t)res : 0;

	(void)cqe_flags;
	c->sending = NULL;
	if (res < 0 && !io_error_passes(res) && !c->out_broken)
		vsock_tx_broken(c);
	if (c->out_broken)
		sent = b->bytes;
	VSOCK_PROBE(vsock_data, c, 0, res, &tx_queue(v)->vq);
	credit_forwarded(&c->credit, sent);
	if (sent < b->bytes && !keep_rest(c, b, sent))
		vsock_tx_lost(c);
	batch_end(v, b);
	if (c->filling)
		batch_send(c);
	kept_send(c);
	vsock_conn_out_moved(c);
	vsock_io_ended(v);
}

/* --- the queue --- */

bool vsock_tx_room(struct vsock_conn *c, const struct vq_chain *chain)
{
	return c->out_broken || c->kept.count || batch_for(c, chain);
}

enum vsock_taken vsock_tx_data(struct vsock_conn *c, const struct vq_chain *chain)
{
	if (c->out_broken) {
		credit_forwarded(&c->credit, (uint32_t)(chain->out_bytes - VSOCK_HEADER_BYTES));
		return VSOCK_TAKEN_DONE;
	}
	if (c->kept.count) {
		if (!keep(c, chain_out(chain), chain->out_count, VSOCK_HEADER_BYTES))
			vsock_tx_lost(c);
		return VSOCK_TAKEN_DONE;
	}
	batch_add(c->filling, chain);
	return VSOCK_TAKEN_KEPT;
}

static enum vsock_taken take_chain(struct vsock *v, const struct vq_chain *chain)
{
	struct vsock_header h;

	if (chain_read(chain, 0, &h, sizeof(h)) < sizeof(h)) {
		v->figures.packets_dropped++;
		return VSOCK_TAKEN_DONE;
	}
	return vsock_guest_packet(v, &h, chain);
}

static enum virtio_serve take_chains(struct vsock *v, struct virtio_queue *q)
{
	struct vq_chain chain = {.iov = v->tx_iov, .iov_max = VSOCK_QUEUE_SIZE};
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS && bytes < VIRTIO_BUDGET_BYTES; i++) {
		enum vsock_taken taken;

		if (v->replies_count == VSOCK_REPLIES_MAX)
			return VIRTIO_SERVE_BLOCKED;
		if (!vq_pop(&q->vq, &chain))
			return VIRTIO_SERVE_IDLE;
		taken = take_chain(v, &chain);
		if (taken == VSOCK_TAKEN_BACK) {
			vq_unpop(&q->vq, &chain);
			return VIRTIO_SERVE_BLOCKED;
		}
		v->figures.packets_from_guest++;
		bytes += chain.out_bytes;
		if (taken == VSOCK_TAKEN_KEPT)
			continue;
		vq_push(&q->vq, &chain, 0);
		virtio_queue_flush(q);
	}
	return VIRTIO_SERVE_MORE;
}

enum virtio_serve vsock_tx_serve(struct virtio_queue *q)
{
	struct vsock *v = container_of(q->dev, struct vsock, dev);
	enum virtio_serve result = take_chains(v, q);

	while (!list_empty(&v->tx_filled)) {
		struct vsock_conn *c = list_first(&v->tx_filled, struct vsock_conn, fill_link);

		if (!c->sending)
			batch_send(c);
		else
			list_del(&c->fill_link); /* goes when that one has arrived */
	}
	return result;
}

/* One batch there always is, so that a queue that waits for one is woken. */
int vsock_tx_init(struct vsock *v, struct diag *d)
{
	struct vsock_batch *b;

	list_init(&v->tx_filled);
	list_init(&v->batches_free);
	b = batch_get(v);
	if (!b)
		return diag_fail(d, -ENOMEM, "no memory for a batch of chains");
	v->batches_busy--;
	list_add_tail(&v->batches_free, &b->link);
	return 0;
}

void vsock_tx_finish(struct vsock *v)
{
	CHECK(!v->batches_busy);
	while (v->batches_free.next && !list_empty(&v->batches_free)) {
		struct vsock_batch *b = list_first(&v->batches_free, struct vsock_batch, link);

		list_del(&b->link);
		free(b);
	}
}

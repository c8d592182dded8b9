/* SPDX-License-Identifier: Apache-2.0 */
/* SEQPACKET: messages keep their boundaries, as records of the client's SOCK_SEQPACKET socket.
 *
 *   guest → client: a message of one packet leaves at once, straight from guest memory; one of
 *     several packets, or that the socket does not take now, is kept until it is complete
 *   client → guest: the length of the next record is looked up first; when the guest has credit for
 *     all of it, it is read straight into receive buffers, or, where those at hand are too small,
 *     into a copy that is delivered piece by piece: one connection at a time, so that a guest
 *     without buffers costs one message of memory
 *
 * Calls on sockets here never wait. An empty message would be the end of file to a Unix socket's
 * reader, so it is dropped in both directions; MSG_EOR of a guest has no counterpart there and ends
 * with the message. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/check.h"
#include "trace/probe.h"
#include "virtio/iov.h"
#include "virtio/vsock_conn.h"

/* --- guest → client --- */

static void kept_sent(struct io_op *op, int res, uint32_t cqe_flags);

static void keep(struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	int err = 0;

	if (h->len)
		err = kept_put(&c->kept, c->credit.buf_alloc, chain_out(chain), chain->out_count,
			VSOCK_HEADER_BYTES);
	if (!err && (h->flags & VSOCK_SEQ_EOM) && c->kept.count)
		err = kept_end(&c->kept);
	if (err)
		vsock_tx_lost(c);
	else
		vsock_seq_send(c);
}

/* The socket cannot take a record of that size: the guest's message cannot be delivered. */
static void undeliverable(struct vsock_conn *c)
{
	if (c->state == VSOCK_CLOSED)
		vsock_tx_drop(c);
	else
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
}

/* One packet that is one message, with nothing before it. False: the socket is full. */
static bool send_now(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	struct iovec iov[VSOCK_QUEUE_SIZE];
	struct msghdr msg = {.msg_iov = iov};
	ssize_t n;

	msg.msg_iovlen = iov_slice(chain_out(chain), chain->out_count, VSOCK_HEADER_BYTES, h->len,
		iov, VSOCK_QUEUE_SIZE);
	do
		n = sendmsg(c->file.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	VSOCK_PROBE(vsock_data, c, 0, n, &c->v->dev.queues[VSOCK_TX].vq);
	credit_forwarded(&c->credit, h->len);
	if (n < 0 && errno == EMSGSIZE)
		undeliverable(c);
	else if (n < 0)
		vsock_tx_broken(c);
	return true;
}

void vsock_seq_data(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	bool whole = (h->flags & VSOCK_SEQ_EOM) && h->len && !c->kept.count;

	if (c->out_broken)
		credit_forwarded(&c->credit, h->len);
	else if (!whole || !send_now(c, h, chain))
		keep(c, h, chain);
	/* Nothing has to move for that: a message that needs more than the guest believes to be
	 * left comes to its end only if the guest is told. */
	if (c->state != VSOCK_CLOSED)
		vsock_conn_out_moved(c);
}

void vsock_seq_send(struct vsock_conn *c)
{
	unsigned int n;

	if (c->send.in_flight)
		return;
	n = kept_message(&c->kept, c->out_iov);
	if (!n)
		return;
	c->send.done = kept_sent;
	c->out = (struct msghdr){.msg_iov = c->out_iov, .msg_iovlen = n};
	io_sendmsg(vsock_home(c->v), &c->send, &c->file, &c->out, 0);
}

static void kept_result(struct vsock_conn *c, int res)
{
	VSOCK_PROBE(vsock_data, c, 0, res, &c->v->dev.queues[VSOCK_TX].vq);
	if (res >= 0) {
		kept_message_take(&c->kept);
		credit_forwarded(&c->credit, (uint32_t)res);
	} else if (res == -EAGAIN) {
		vsock_tx_make_blocking(c);
	} else if (res == -EMSGSIZE) {
		undeliverable(c);
	} else if (res != -EINTR && res != -ECANCELED) {
		vsock_tx_broken(c);
	}
}

static void kept_sent(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_conn *c = container_of(op, struct vsock_conn, send);

	(void)cqe_flags;
	if (c->out_broken)
		kept_drop(&c->kept);
	else
		kept_result(c, res);
	if (!c->out_broken)
		vsock_seq_send(c);
	vsock_conn_out_moved(c);
}

/* --- client → guest: a message in pieces --- */

static void piece_end(struct vsock_conn *c)
{
	struct vsock *v = c->v;
	struct vsock_conn *next;

	free(c->piece.bytes);
	c->piece = (struct vsock_piece){0};
	v->piecewise = NULL;
	if (list_empty(&v->piecewise_waiting))
		return;
	next = list_first(&v->piecewise_waiting, struct vsock_conn, piece_link);
	list_del(&next->piece_link);
	vsock_rx_data(next);
}

void vsock_seq_drop(struct vsock_conn *c)
{
	list_del(&c->piece_link);
	if (c->v->piecewise == c)
		piece_end(c);
}

static enum vsock_sent piece_send(struct vsock_conn *c, unsigned int *budget)
{
	struct vsock_piece *p = &c->piece;
	uint32_t credit = credit_free(&c->credit), len = p->len - p->done;
	struct vsock_rx_chain *rc;

	list_del(&c->data_link);
	if (!credit) {
		vsock_conn_read_check(c);
		return VSOCK_SENT;
	}
	rc = vsock_rx_take(c->v, 1, budget);
	if (!rc) {
		list_add_tail(c->v->data.next, &c->data_link); /* its turn is not over */
		return VSOCK_NO_BUFFER;
	}
	len = len < credit ? len : credit;
	len = len < rc->payload_bytes ? len : (uint32_t)rc->payload_bytes;
	chain_write(&rc->chain, VSOCK_HEADER_BYTES, p->bytes + p->done, len);
	p->done += len;
	VSOCK_PROBE(vsock_data, c, 1, len, &c->v->dev.queues[VSOCK_RX].vq);
	vsock_rx_put(c, rc, len, p->done == p->len ? VSOCK_SEQ_EOM : 0);
	if (p->done == p->len)
		piece_end(c);
	vsock_conn_read_check(c);
	return VSOCK_SENT;
}

/* --- client → guest: whole messages --- */

/* The buffers for one message. */
struct buffers {
	struct vsock_rx_chain *chain[VSOCK_RECV_CHAINS];
	struct iovec iov[VSOCK_RECV_IOV];
	unsigned int chains, iov_count;
	uint64_t bytes;
};

static void buffers_take(struct vsock *v, struct buffers *b, uint32_t len, unsigned int *budget)
{
	b->chains = b->iov_count = 0;
	b->bytes = 0;
	while (b->bytes < len && b->chains < VSOCK_RECV_CHAINS) {
		struct vsock_rx_chain *rc = vsock_rx_take(v, 1, budget);

		if (!rc)
			break;
		if (VSOCK_RECV_IOV - b->iov_count < rc->chain.in_count) {
			vsock_rx_spare(v, rc);
			break;
		}
		b->iov_count += iov_slice(chain_in(&rc->chain), rc->chain.in_count,
			VSOCK_HEADER_BYTES, rc->payload_bytes, b->iov + b->iov_count,
			VSOCK_RECV_IOV - b->iov_count);
		b->chain[b->chains++] = rc;
		b->bytes += rc->payload_bytes;
	}
}

static void buffers_spare(struct vsock *v, struct buffers *b, unsigned int first)
{
	for (unsigned int i = b->chains; i > first; i--)
		vsock_rx_spare(v, b->chain[i - 1]);
}

static void buffers_deliver(struct vsock_conn *c, struct buffers *b, uint32_t len_bytes)
{
	unsigned int n = 0;

	VSOCK_PROBE(vsock_data, c, 1, len_bytes, &c->v->dev.queues[VSOCK_RX].vq);
	while (len_bytes) {
		struct vsock_rx_chain *rc = b->chain[n++];
		uint32_t len =
			len_bytes < rc->payload_bytes ? len_bytes : (uint32_t)rc->payload_bytes;

		len_bytes -= len;
		vsock_rx_put(c, rc, len, len_bytes ? 0 : VSOCK_SEQ_EOM);
	}
	buffers_spare(c->v, b, n);
}

static ssize_t record_read(struct vsock_conn *c, struct msghdr *msg)
{
	ssize_t n;

	do
		n = recvmsg(c->file.fd, msg, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

/* What was read is not the record that was looked at: somebody else reads this socket. Where a part
 * of a record is lost, so is the connection. */
static bool record_is_whole(struct vsock_conn *c, const struct msghdr *msg, ssize_t n)
{
	if (n > 0 && !(msg->msg_flags & MSG_TRUNC))
		return true;
	if (n > 0)
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
	return false;
}

static void message_send(struct vsock_conn *c, struct buffers *b, uint32_t len)
{
	struct msghdr msg = {.msg_iov = b->iov};
	ssize_t n;

	msg.msg_iovlen = iov_slice(b->iov, b->iov_count, 0, len, b->iov, VSOCK_RECV_IOV);
	n = record_read(c, &msg);
	if (record_is_whole(c, &msg, n))
		buffers_deliver(c, b, (uint32_t)n);
	else
		buffers_spare(c->v, b, 0);
}

/* The buffers at hand are not enough for it. */
static void message_cut(struct vsock_conn *c, uint32_t len)
{
	struct vsock_piece *p = &c->piece;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (c->v->piecewise) {
		list_add_tail(&c->v->piecewise_waiting, &c->piece_link);
		return;
	}
	p->bytes = malloc(len);
	if (!p->bytes) {
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
		return;
	}
	c->v->piecewise = c;
	iov = (struct iovec){p->bytes, len};
	n = record_read(c, &msg);
	if (record_is_whole(c, &msg, n))
		p->len = (uint32_t)n;
	else if (c->v->piecewise == c)
		piece_end(c);
}

/* The end of file reads as an empty record does; where the client can still write, it is one. */
static void empty_read(struct vsock_conn *c)
{
	struct pollfd p = {.fd = c->file.fd, .events = POLLIN | POLLRDHUP};
	uint8_t none;

	poll(&p, 1, 0);
	(void)!recv(c->file.fd, &none, 0, MSG_DONTWAIT);
	if (p.revents & (POLLRDHUP | POLLHUP | POLLERR) &&
		recv(c->file.fd, &none, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		vsock_conn_in_ended(c, false);
}

/* The length of the next record. 0: there is none now. */
static uint32_t record_look(struct vsock_conn *c)
{
	ssize_t n = recv(c->file.fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	if (n > VSOCK_MESSAGE_MAX)
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
	else if (n > 0)
		return (uint32_t)n;
	else if (n == 0)
		empty_read(c);
	else if (errno == EAGAIN)
		c->readable = false; /* another edge will come */
	else if (errno != EINTR)
		vsock_conn_in_ended(c, true);
	return 0;
}

enum vsock_sent vsock_seq_rx(struct vsock_conn *c, unsigned int *budget)
{
	struct vsock *v = c->v;
	struct buffers b;

	if (c->piece.bytes)
		return piece_send(c, budget);
	if (!c->next_bytes)
		c->next_bytes = record_look(c);
	if (!c->next_bytes || credit_free(&c->credit) < c->next_bytes) {
		list_del(&c->data_link);
		vsock_conn_read_check(c);
		return VSOCK_SENT;
	}
	buffers_take(v, &b, c->next_bytes, budget);
	if (!b.chains)
		return VSOCK_NO_BUFFER;
	list_del(&c->data_link);
	if (b.bytes >= c->next_bytes) {
		message_send(c, &b, c->next_bytes);
	} else {
		buffers_spare(v, &b, 0);
		message_cut(c, c->next_bytes);
	}
	if (list_empty(&c->piece_link)) {
		c->next_bytes = 0;
		vsock_conn_read_check(c);
	}
	return VSOCK_SENT;
}

/* The guest has taken all that was sent, and its buffer is still smaller than the message. A buffer
 * of nothing may only be closed for the moment. */
static bool will_never_fit(const struct vsock_conn *c)
{
	const struct vsock_credit *credit = &c->credit;

	return credit->peer_buf_alloc && credit->peer_buf_alloc < c->next_bytes &&
	       credit->tx_cnt == credit->peer_fwd_cnt;
}

void vsock_seq_read_check(struct vsock_conn *c)
{
	uint32_t need = c->next_bytes && !c->piece.bytes ? c->next_bytes : 1;

	if (c->state != VSOCK_CONNECTED || c->in_ended || !list_empty(&c->piece_link) ||
		!(c->readable || c->piece.bytes))
		return;
	if (credit_free(&c->credit) >= need) {
		if (c->credit_asked)
			VSOCK_PROBE(vsock_stall, c, 0);
		c->credit_asked = false;
		vsock_rx_data(c);
	} else if (will_never_fit(c)) {
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
	} else if (!c->piece.bytes && vsock_conn_is_at_end(c)) {
		vsock_conn_in_ended(c, false);
	} else if (!c->credit_asked) {
		c->credit_asked = true;
		VSOCK_PROBE(vsock_stall, c, 1);
		vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_CREDIT_REQUEST));
	}
}

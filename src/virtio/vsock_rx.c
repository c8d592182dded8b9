/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock's receive queue, towards the guest: control packets first, then data in turns.
 *
 * A connection whose socket has something takes a few receive buffers and reads into them behind
 * the place of their headers; the read never waits, so that buffers are held for a moment only.
 * What it did not fill is spare, and is used before anything else is taken from the queue. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "core/check.h"
#include "virtio/iov.h"
#include "virtio/vsock_conn.h"

static struct virtio_queue *rx_queue(struct vsock *v)
{
	return &v->dev.queues[VSOCK_RX];
}

/* --- receive buffers --- */

static void chain_end(struct vsock *v, struct vsock_rx_chain *rc, uint32_t written_bytes)
{
	struct virtio_queue *q = rx_queue(v);

	vq_push(&q->vq, &rc->chain, written_bytes);
	virtio_queue_flush(q);
	list_add_tail(v->rx_unused.next, &rc->link); /* first: the one that is in the cache */
}

static struct vsock_rx_chain *chain_pop(struct vsock *v)
{
	struct vsock_rx_chain *rc;

	if (list_empty(&v->rx_unused))
		return NULL;
	rc = list_first(&v->rx_unused, struct vsock_rx_chain, link);
	rc->chain = (struct vq_chain){.iov = rc->iov, .iov_max = VSOCK_RX_SEGMENTS};
	if (!vq_pop(&rx_queue(v)->vq, &rc->chain))
		return NULL;
	list_del(&rc->link);
	return rc;
}

struct vsock_rx_chain *vsock_rx_take(struct vsock *v, uint64_t min_bytes, unsigned int *budget)
{
	while (*budget) {
		struct vsock_rx_chain *rc;

		if (list_empty(&v->rx_spare)) {
			rc = chain_pop(v);
		} else {
			rc = list_first(&v->rx_spare, struct vsock_rx_chain, link);
			list_del(&rc->link);
		}
		if (!rc)
			return NULL;
		if (rc->chain.in_bytes >= VSOCK_HEADER_BYTES + min_bytes) {
			rc->payload_bytes = rc->chain.in_bytes - VSOCK_HEADER_BYTES;
			return rc;
		}
		chain_end(v, rc, 0);
		--*budget;
	}
	return NULL;
}

void vsock_rx_spare(struct vsock *v, struct vsock_rx_chain *rc)
{
	list_add_tail(v->rx_spare.next, &rc->link);
}

static void packet_put(struct vsock *v, struct vsock_rx_chain *rc, const struct vsock_header *h)
{
	chain_write(&rc->chain, 0, h, sizeof(*h));
	chain_end(v, rc, VSOCK_HEADER_BYTES + h->len);
	v->figures.packets_to_guest++;
}

/* --- control --- */

static struct vsock_header header_of(struct vsock_conn *c, uint16_t op, uint32_t len_bytes)
{
	const struct vsock_key *key = &c->node.key;

	credit_told(&c->credit);
	return (struct vsock_header){
		.src_cid = key->host_cid,
		.dst_cid = key->guest_cid,
		.src_port = key->host_port,
		.dst_port = key->guest_port,
		.len = len_bytes,
		.type = c->type,
		.op = op,
		.flags = op == VSOCK_OP_SHUTDOWN ? c->own_shutdown : 0,
		.buf_alloc = c->credit.buf_alloc,
		.fwd_cnt = c->credit.fwd_cnt,
	};
}

void vsock_rx_put(
	struct vsock_conn *c, struct vsock_rx_chain *rc, uint32_t len_bytes, uint32_t flags)
{
	struct vsock_header h = header_of(c, VSOCK_OP_RW, len_bytes);

	h.flags = flags;
	credit_sent(&c->credit, len_bytes);
	c->v->figures.bytes_to_guest += len_bytes;
	packet_put(c->v, rc, &h);
}

void vsock_rx_control(struct vsock_conn *c, uint32_t pending)
{
	struct vsock *v = c->v;

	c->pending |= pending;
	if (list_empty(&c->control_link))
		list_add_tail(&v->control, &c->control_link);
	virtio_queue_wake(rx_queue(v));
}

void vsock_rx_reply(struct vsock *v, const struct vsock_header *h)
{
	CHECK(v->replies_count < VSOCK_REPLIES_MAX);
	v->replies[(v->replies_first + v->replies_count++) % VSOCK_REPLIES_MAX] = *h;
	virtio_queue_wake(rx_queue(v));
}

static void reply_put(struct vsock *v, struct vsock_rx_chain *rc)
{
	packet_put(v, rc, &v->replies[v->replies_first]);
	v->replies_first = (v->replies_first + 1) % VSOCK_REPLIES_MAX;
	if (v->replies_count-- == VSOCK_REPLIES_MAX)
		virtio_queue_wake(&v->dev.queues[VSOCK_TX]);
}

/* The order in which one connection's packets go. */
static uint16_t op_first(uint32_t pending)
{
	static const uint16_t order[] = {VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
		VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_CREDIT_REQUEST, VSOCK_OP_SHUTDOWN, VSOCK_OP_RST};

	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
		if (pending & VSOCK_PENDING(order[i]))
			return order[i];
	CHECK(!"nothing is pending");
	return VSOCK_OP_INVALID;
}

/* Only now it is sure what the driver has negotiated. */
static bool type_is_known(const struct vsock_conn *c)
{
	return c->type == VSOCK_TYPE_STREAM || vsock_rules(c->v).seqpacket;
}

static void control_put(struct vsock *v, struct vsock_rx_chain *rc)
{
	struct vsock_conn *c = list_first(&v->control, struct vsock_conn, control_link);
	uint16_t op = op_first(c->pending);
	struct vsock_header h = header_of(c, op, 0);

	if (op == VSOCK_OP_REQUEST && !type_is_known(c)) {
		vsock_rx_spare(v, rc);
		vsock_conn_close(c, VSOCK_CLOSE_CLEAN);
		return;
	}
	packet_put(v, rc, &h);
	c->pending &= ~VSOCK_PENDING(op);
	if (c->pending)
		return;
	list_del(&c->control_link);
	vsock_conn_release(c);
}

/* --- data --- */

static struct vsock_recv *recv_get(struct vsock *v)
{
	struct vsock_recv *rv;

	if (!list_empty(&v->rx_ops_free)) {
		rv = list_first(&v->rx_ops_free, struct vsock_recv, link);
		list_del(&rv->link);
	} else {
		rv = v->rx_ops < VSOCK_RECV_MAX ? calloc(1, sizeof(*rv)) : NULL;
		if (!rv)
			return NULL;
		list_init(&rv->link);
		v->rx_ops++;
	}
	v->rx_ops_busy++;
	rv->chains = rv->iov_count = 0;
	return rv;
}

static void recv_put(struct vsock *v, struct vsock_recv *rv)
{
	list_add_tail(v->rx_ops_free.next, &rv->link);
	v->rx_ops_busy--;
}

/* One more buffer, if it fits. */
static bool recv_add(struct vsock_recv *rv, struct vsock_rx_chain *rc)
{
	const struct vq_chain *chain = &rc->chain;
	unsigned int room = VSOCK_RECV_IOV - rv->iov_count;

	if (room < chain->in_count)
		return false;
	rv->iov_count += iov_slice(chain_in(chain), chain->in_count, VSOCK_HEADER_BYTES,
		rc->payload_bytes, rv->iov + rv->iov_count, room);
	rv->chain[rv->chains++] = rc;
	return true;
}

/* Takes as many buffers as the connection had use for lately, and not more than its credit fills,
 * or than one system call should copy. */
static uint64_t recv_fill(
	struct vsock_conn *c, struct vsock_recv *rv, uint32_t credit, unsigned int *budget)
{
	uint64_t bytes = 0;

	credit = credit < VIRTIO_BUDGET_BYTES ? credit : VIRTIO_BUDGET_BYTES;
	while (rv->chains < c->window && bytes < credit) {
		struct vsock_rx_chain *rc = vsock_rx_take(c->v, 1, budget);

		if (!rc)
			break;
		if (!recv_add(rv, rc)) {
			vsock_rx_spare(c->v, rc);
			break;
		}
		bytes += rc->payload_bytes;
	}
	return bytes < credit ? bytes : credit;
}

static void recv_done(struct io_op *op, int res, uint32_t cqe_flags);

/* Starts the read of the connection whose turn it is. False: there is no buffer. */
static bool recv_start(struct vsock *v, struct vsock_recv *rv, unsigned int *budget)
{
	struct vsock_conn *c = list_first(&v->data, struct vsock_conn, data_link);
	uint32_t credit = credit_free(&c->credit);
	uint64_t bytes;

	if (!credit) { /* buf_alloc has shrunk since */
		list_del(&c->data_link);
		recv_put(v, rv);
		vsock_conn_read_check(c);
		return true;
	}
	bytes = recv_fill(c, rv, credit, budget);
	if (!rv->chains) {
		recv_put(v, rv);
		return false;
	}
	list_del(&c->data_link);
	rv->asked_bytes = (uint32_t)bytes;
	v->asked_bytes += bytes;
	rv->iov_count = iov_slice(rv->iov, rv->iov_count, 0, bytes, rv->iov, VSOCK_RECV_IOV);
	rv->generation = rx_queue(v)->vq.generation;
	rv->conn = c;
	rv->op.done = recv_done;
	rv->msg = (struct msghdr){.msg_iov = rv->iov, .msg_iovlen = rv->iov_count};
	c->recv = rv;
	io_recvmsg(vsock_home(v), &rv->op, &c->file, &rv->msg, MSG_DONTWAIT);
	return true;
}

/* Gives the buffers that were filled to the guest; returns how many. */
static unsigned int recv_deliver(struct vsock_conn *c, struct vsock_recv *rv, uint32_t len_bytes)
{
	unsigned int n = 0;

	VSOCK_PROBE(vsock_data, c, 1, len_bytes, &rx_queue(c->v)->vq);
	while (len_bytes) {
		struct vsock_rx_chain *rc = rv->chain[n++];
		uint32_t len =
			len_bytes < rc->payload_bytes ? len_bytes : (uint32_t)rc->payload_bytes;

		vsock_rx_put(c, rc, len, 0);
		len_bytes -= len;
	}
	return n;
}

/* Those from `first` on were not needed; they go before all others again. */
static void recv_spare(struct vsock *v, struct vsock_recv *rv, unsigned int first)
{
	bool stale = rv->generation != rx_queue(v)->vq.generation;

	for (unsigned int i = rv->chains; i > first; i--) {
		struct list *to = stale ? &v->rx_unused : &v->rx_spare;

		list_add_tail(to->next, &rv->chain[i - 1]->link);
	}
}

/* A short read may have ended where a message with descriptors ended; one more system call here is
 * cheaper than one more read that finds nothing. */
static bool is_empty(const struct vsock_conn *c)
{
	int bytes;

	return !ioctl(c->file.fd, FIONREAD, &bytes) && !bytes;
}

static void recv_result(struct vsock_conn *c, struct vsock_recv *rv, int res)
{
	unsigned int used = 0;
	bool full = res > 0 && (uint32_t)res == rv->asked_bytes;

	if (c->state != VSOCK_CONNECTED || c->in_ended) {
		recv_spare(c->v, rv, 0);
		return;
	}
	if (res > 0 && rv->generation != rx_queue(c->v)->vq.generation) {
		/* The queue was reset under it: these bytes are lost, and the stream with them. */
		recv_spare(c->v, rv, 0);
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
		return;
	}
	if (res > 0)
		used = recv_deliver(c, rv, (uint32_t)res);
	recv_spare(c->v, rv, used);
	/* No more than was used last: a message that needs one buffer and a little more comes in
	 * two reads, and the guest answers the first while the second is made
	 * (docs/PERFORMANCE.md). */
	c->window = full ? 2 * c->window : used;
	c->window = c->window < VSOCK_RECV_CHAINS ? c->window : VSOCK_RECV_CHAINS;
	c->window = c->window ? c->window : 1;
	/* Another edge will come, unless the end is near. */
	if (res == -EAGAIN || (res > 0 && !full && !c->poll_seen && is_empty(c)))
		c->readable = false;
	else if (res == 0)
		vsock_conn_in_ended(c, false);
	else if (res < 0 && res != -EINTR && res != -ECANCELED)
		vsock_conn_in_ended(c, true);
}

static void recv_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_recv *rv = container_of(op, struct vsock_recv, op);
	struct vsock_conn *c = rv->conn;
	struct vsock *v = c->v;

	(void)cqe_flags;
	c->recv = NULL;
	recv_result(c, rv, res);
	recv_put(v, rv);
	if (c->state == VSOCK_CLOSED)
		vsock_conn_release(c);
	else
		vsock_conn_read_check(c);
	if (!list_empty(&v->data))
		virtio_queue_wake(rx_queue(v));
	vsock_io_ended(v);
}

void vsock_rx_data(struct vsock_conn *c)
{
	struct vsock *v = c->v;

	if (list_empty(&c->data_link))
		list_add_tail(&v->data, &c->data_link);
	virtio_queue_wake(rx_queue(v));
}

/* --- the queue --- */

static enum vsock_sent data_send(struct vsock *v, unsigned int *budget)
{
	struct vsock_conn *c = list_first(&v->data, struct vsock_conn, data_link);
	struct vsock_recv *rv;

	if (c->type == VSOCK_TYPE_SEQPACKET)
		return vsock_seq_rx(c, budget);
	rv = recv_get(v);
	if (!rv)
		return VSOCK_NO_OP;
	return recv_start(v, rv, budget) ? VSOCK_SENT : VSOCK_NO_BUFFER;
}

static enum vsock_sent send_one(struct vsock *v, unsigned int *budget)
{
	struct vsock_rx_chain *rc;

	if (v->replies_count || !list_empty(&v->control)) {
		rc = vsock_rx_take(v, 0, budget);
		if (!rc)
			return VSOCK_NO_BUFFER;
		if (v->replies_count)
			reply_put(v, rc);
		else
			control_put(v, rc);
		return VSOCK_SENT;
	}
	return list_empty(&v->data) ? VSOCK_NOTHING_TO_SEND : data_send(v, budget);
}

static void starved(struct vsock *v, bool is)
{
	if (!is)
		v->starved_since_ns = 0;
	else if (!v->starved_since_ns)
		v->starved_since_ns = reactor_now_ns(vsock_home(v));
}

/* What a turn copies: messages at once, a stream's bytes when its read is submitted, which may be
 * fewer than were asked for. */
static uint64_t bytes_moved(const struct vsock *v)
{
	return v->figures.bytes_to_guest + v->asked_bytes;
}

enum virtio_serve vsock_rx_serve(struct virtio_queue *q)
{
	struct vsock *v = container_of(q->dev, struct vsock, dev);
	unsigned int bad = VIRTIO_BUDGET_CHAINS;
	uint64_t before = bytes_moved(v);

	for (unsigned int i = 0;
		i < VIRTIO_BUDGET_CHAINS && bytes_moved(v) - before < VIRTIO_BUDGET_BYTES; i++) {
		enum vsock_sent result = send_one(v, &bad);

		if (result != VSOCK_SENT)
			starved(v, result == VSOCK_NO_BUFFER && bad);
		if (result == VSOCK_NO_BUFFER)
			return bad ? VIRTIO_SERVE_IDLE : VIRTIO_SERVE_MORE;
		if (result != VSOCK_SENT)
			return VIRTIO_SERVE_BLOCKED;
	}
	return VIRTIO_SERVE_MORE;
}

/* --- init, reset --- */

int vsock_rx_init(struct vsock *v, struct diag *d)
{
	list_init(&v->rx_unused);
	list_init(&v->rx_spare);
	list_init(&v->rx_ops_free);
	v->rx_chains = calloc(VSOCK_QUEUE_SIZE, sizeof(*v->rx_chains));
	if (!v->rx_chains)
		return diag_fail(d, -ENOMEM, "no memory for %u chains", VSOCK_QUEUE_SIZE);
	for (unsigned int i = 0; i < VSOCK_QUEUE_SIZE; i++)
		list_add_tail(&v->rx_unused, &v->rx_chains[i].link);
	return 0;
}

void vsock_rx_forget(struct vsock *v)
{
	while (!list_empty(&v->rx_spare)) {
		struct list *l = v->rx_spare.next;

		list_del(l);
		list_add_tail(&v->rx_unused, l);
	}
	v->starved_since_ns = 0;
}

void vsock_rx_finish(struct vsock *v)
{
	CHECK(!v->rx_ops_busy);
	while (v->rx_chains && !list_empty(&v->rx_ops_free)) {
		struct vsock_recv *rv = list_first(&v->rx_ops_free, struct vsock_recv, link);

		list_del(&rv->link);
		free(rv);
	}
	free(v->rx_chains);
	v->rx_chains = NULL;
}

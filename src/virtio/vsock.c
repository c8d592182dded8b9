/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio vsock: the device; queues, resets, the end. */
#include "virtio/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "virtio/vsock_conn.h"

/* So many connections and resting keys a turn, where there may be thousands: other guests wait no
 * longer for that than for a turn of a queue. */
#define TURN_CONNS VIRTIO_BUDGET_CHAINS

static struct vsock *vsock_of(struct virtio_device *dev)
{
	return container_of(dev, struct vsock, dev);
}

/* Its buffers wait for an event; one that is too small for it goes back empty. */
static enum virtio_serve event_serve(struct vsock *v, struct virtio_queue *q)
{
	static const uint32_t transport_reset = VSOCK_EVENT_TRANSPORT_RESET;
	struct vq_chain chain = {.iov = v->event_iov, .iov_max = ARRAY_SIZE(v->event_iov)};

	for (unsigned int i = 0; v->event_pending && i < VSOCK_EVENT_QUEUE_SIZE; i++) {
		size_t written = 0;

		if (!vq_pop(&q->vq, &chain))
			return VIRTIO_SERVE_IDLE;
		if (chain.in_bytes >= sizeof(transport_reset)) {
			written = chain_write(&chain, 0, &transport_reset, sizeof(transport_reset));
			v->event_pending = false;
		}
		vq_push(&q->vq, &chain, (uint32_t)written);
		virtio_queue_flush(q);
	}
	return v->event_pending ? VIRTIO_SERVE_MORE : VIRTIO_SERVE_BLOCKED;
}

static enum virtio_serve vsock_serve(struct virtio_queue *q)
{
	struct vsock *v = vsock_of(q->dev);

	if (q->index == VSOCK_RX)
		return vsock_rx_serve(q);
	if (q->index == VSOCK_TX)
		return vsock_tx_serve(q);
	return event_serve(v, q);
}

/* --- freeing --- */

static bool reap(struct reactor_task *t)
{
	struct vsock *v = container_of(t, struct vsock, reap_task);

	for (unsigned int i = 0; i < TURN_CONNS && !list_empty(&v->reap); i++) {
		struct vsock_conn *c = list_first(&v->reap, struct vsock_conn, link);

		list_del(&c->link);
		v->pledged_bytes -= c->credit.buf_alloc;
		v->count--;
		v->neighbour_conns -= vsock_is_neighbour(&c->node.key);
		free(c);
	}
	if (!list_empty(&v->reap))
		return true;
	if (v->closing && !v->count && v->closed) {
		void (*closed)(struct vsock *) = v->closed;

		v->closed = NULL;
		closed(v);
	}
	return false;
}

/* --- resets --- */

static void rx_reset_check(struct vsock *v)
{
	struct virtio_queue *q = &v->dev.queues[VSOCK_RX];

	if (!q->resetting || v->rx_ops_busy)
		return;
	vsock_rx_forget(v);
	virtio_queue_reset_done(q);
}

static void tx_reset_check(struct vsock *v)
{
	struct virtio_queue *q = &v->dev.queues[VSOCK_TX];

	if (q->resetting && !v->batches_busy)
		virtio_queue_reset_done(q);
}

static void reset_check(struct vsock *v)
{
	if (!v->dev.resetting || v->forgetting || v->rx_ops_busy || v->batches_busy)
		return;
	vsock_rx_forget(v);
	virtio_reset_done(&v->dev);
}

void vsock_io_ended(struct vsock *v)
{
	rx_reset_check(v);
	tx_reset_check(v);
	reset_check(v);
}

/* The reads and writes on guest memory never wait, so their end is near. */
static void vsock_queue_reset(struct virtio_queue *q)
{
	struct vsock *v = vsock_of(q->dev);

	if (q->index == VSOCK_RX)
		rx_reset_check(v);
	else if (q->index == VSOCK_TX)
		tx_reset_check(v);
	else
		virtio_queue_reset_done(q);
}

/* The driver knows of no connection any more. A REQUEST that it has never seen waits on: drivers
 * reset the device before they use it for the first time. */
static void conn_reset(struct vsock_conn *c)
{
	if (c->state == VSOCK_CONNECTING && (c->pending & VSOCK_PENDING(VSOCK_OP_REQUEST)))
		return;
	if (c->state != VSOCK_CLOSED) {
		vsock_conn_close(c, VSOCK_CLOSE_DEVICE);
		return;
	}
	c->pending = 0;
	list_del(&c->control_link);
	vsock_conn_release(c);
}

static void conn_end(struct vsock_conn *c)
{
	if (c->state != VSOCK_CLOSED)
		vsock_conn_close(c, VSOCK_CLOSE_DEVICE);
	vsock_tx_drop(c);
	vsock_conn_release(c);
}

/* Callbacks may close others, or open new ones, which are not visited. */
static void leaving_begin(struct vsock *v)
{
	CHECK(list_empty(&v->leaving));
	list_take(&v->conns, &v->leaving);
}

/* At most `max` of those; true: there are more. */
static bool leaving_go_on(struct vsock *v, void (*f)(struct vsock_conn *c), uint32_t max)
{
	for (; max && !list_empty(&v->leaving); max--) {
		struct vsock_conn *c = list_first(&v->leaving, struct vsock_conn, link);

		list_del(&c->link);
		list_add_tail(&v->conns, &c->link);
		f(c);
	}
	return !list_empty(&v->leaving);
}

static void forget_begin(struct vsock *v)
{
	v->replies_first = v->replies_count = 0;
	leaving_begin(v);
}

static bool forget_go_on(struct vsock *v, uint32_t max)
{
	return leaving_go_on(v, conn_reset, max) || vsock_ports_forget(&v->ports, max);
}

void vsock_restored(struct vsock *v)
{
	forget_begin(v);
	forget_go_on(v, UINT32_MAX);
	v->event_pending = true;
	virtio_queue_wake(&v->dev.queues[VSOCK_EVENT]);
	virtio_queue_wake(&v->dev.queues[VSOCK_TX]); /* it may have waited for room for a reply */
}

static bool reset_run(struct reactor_task *t)
{
	struct vsock *v = container_of(t, struct vsock, reset_task);

	if (forget_go_on(v, TURN_CONNS))
		return true;
	v->forgetting = false;
	reset_check(v);
	return false;
}

static void vsock_reset(struct virtio_device *dev)
{
	struct vsock *v = vsock_of(dev);

	v->event_pending = false;
	v->forgetting = true;
	forget_begin(v);
	if (reset_run(&v->reset_task))
		reactor_defer(vsock_home(v), &v->reset_task);
}

void vsock_close(struct vsock *v, void (*closed)(struct vsock *v))
{
	CHECK(!v->closing);
	v->closing = true;
	v->closed = closed;
	while (!list_empty(&v->ports.listening)) {
		struct vsock_listener *l =
			list_first(&v->ports.listening, struct vsock_listener, link);
		struct vsock_acceptor *a = l->acceptor;

		while (!list_empty(&l->pending))
			vsock_conn_close(list_first(&l->pending, struct vsock_conn, accept_link),
				VSOCK_CLOSE_DEVICE);
		vsock_ports_unlisten(&v->ports, l);
		if (a)
			a->closed(a);
	}
	leaving_begin(v);
	leaving_go_on(v, conn_end, UINT32_MAX);
	reactor_defer(vsock_home(v), &v->reap_task);
}

/* --- init --- */

static const struct virtio_device_ops vsock_ops = {
	.serve = vsock_serve,
	.queue_reset = vsock_queue_reset,
	.reset = vsock_reset,
};

static void lists_init(struct vsock *v)
{
	list_init(&v->conns);
	list_init(&v->control);
	list_init(&v->data);
	list_init(&v->leaving);
	list_init(&v->reap);
	list_init(&v->piecewise_waiting);
	reactor_task_init(&v->reset_task, reset_run);
	reactor_task_init(&v->reap_task, reap);
}

int vsock_init(struct vsock *v, struct virtio_env *env, uint32_t guest_cid, struct diag *d)
{
	static const uint16_t sizes[VSOCK_QUEUES] = {
		VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE, VSOCK_EVENT_QUEUE_SIZE};
	int err;

	memset(v, 0, sizeof(*v));
	v->guest_cid = guest_cid;
	v->conns_max = VSOCK_CONNS_MAX;
	memcpy(v->config, &guest_cid, sizeof(guest_cid));
	lists_init(v);
	err = virtio_device_init(&v->dev, &vsock_ops, env, "virtio-vsock",
		VSOCK_F_STREAM | VSOCK_F_SEQPACKET, VSOCK_QUEUES, sizes, d);
	if (err)
		return err;
	/* Receive buffers are used up in another order than they come. */
	v->dev.offered &= ~VIRTIO_F_IN_ORDER;
	v->dev.config = v->config;
	v->dev.config_bytes = sizeof(v->config);
	err = vsock_rx_init(v, d);
	if (!err)
		err = vsock_tx_init(v, d);
	if (!err)
		err = vsock_table_init(&v->table, d);
	if (!err)
		err = vsock_ports_init(&v->ports, d);
	if (err)
		vsock_finish(v);
	return err;
}

void vsock_finish(struct vsock *v)
{
	CHECK(!v->count);
	vsock_ports_finish(&v->ports);
	vsock_table_finish(&v->table);
	vsock_tx_finish(v);
	vsock_rx_finish(v);
	virtio_device_finish(&v->dev);
}

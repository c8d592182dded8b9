/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock connection's life, and what its client does. */
#include "virtio/vsock_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "core/passrights.h"
#include "trace/probe.h"

#define TO(state) (1u << (state))

static const uint8_t allowed[VSOCK_STATES] = {
	[VSOCK_CONNECTING] = TO(VSOCK_CONNECTED) | TO(VSOCK_CLOSED),
	[VSOCK_ACCEPTING] = TO(VSOCK_CONNECTED) | TO(VSOCK_CLOSED),
	[VSOCK_CONNECTED] = TO(VSOCK_CLOSING) | TO(VSOCK_DRAINING) | TO(VSOCK_CLOSED),
	[VSOCK_CLOSING] = TO(VSOCK_CLOSED),
	[VSOCK_DRAINING] = TO(VSOCK_CLOSED),
};

static void conn_enter(struct vsock_conn *c, enum vsock_state next)
{
	CHECK(allowed[c->state] & TO(next));
	PROBE(vsock_state, probe_string(c->v->dev.env->guest), c->node.key.host_port,
		c->node.key.guest_port, c->state, next, c);
	c->state = next;
}

/* --- what the socket tells --- */

/* Errors and hang-ups are always reported. */
static void poll_start(struct vsock_conn *c)
{
	io_poll(vsock_home(c->v), &c->poll, &c->file, POLLIN | POLLRDHUP);
}

static bool is_gone(const struct vsock_conn *c)
{
	return c->poll_seen & (POLLHUP | POLLERR);
}

/* The client is gone and all it wrote is with the guest. */
static void closing_start(struct vsock_conn *c)
{
	conn_enter(c, VSOCK_CLOSING);
	c->in_ended = true;
	vsock_seq_drop(c);
	c->own_shutdown = VSOCK_SHUTDOWN_BOTH;
	vsock_tx_drop(c);
	vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_SHUTDOWN));
	reactor_timer_start(vsock_home(c->v), &c->timer, VSOCK_ANSWER_NS);
}

void vsock_conn_in_ended(struct vsock_conn *c, bool gone)
{
	if (c->state != VSOCK_CONNECTED)
		return;
	c->in_ended = true;
	if (gone || is_gone(c)) {
		closing_start(c);
		return;
	}
	c->own_shutdown |= VSOCK_SHUTDOWN_SEND;
	vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_SHUTDOWN));
}

void vsock_conn_drain(struct vsock_conn *c)
{
	conn_enter(c, VSOCK_DRAINING);
	c->in_ended = true;
	vsock_seq_drop(c);
	vsock_conn_out_moved(c);
}

void vsock_conn_unwanted(struct vsock_conn *c)
{
	c->in_ended = true;
	vsock_seq_drop(c);
	if (is_gone(c))
		closing_start(c);
}

/* Without credit nothing can be read to see whether the end has come; a look costs a system call,
 * but only when the client has shut something down. */
bool vsock_conn_is_at_end(const struct vsock_conn *c)
{
	uint8_t byte;
	ssize_t n = c->poll_seen ? recv(c->file.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;

	/* An error is told once, and is the end as well. */
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void vsock_conn_read_check(struct vsock_conn *c)
{
	if (c->type == VSOCK_TYPE_SEQPACKET) {
		vsock_seq_read_check(c);
		return;
	}
	if (c->state != VSOCK_CONNECTED || c->in_ended || !c->readable || c->recv)
		return;
	if (credit_free(&c->credit)) {
		if (c->credit_asked)
			VSOCK_PROBE(vsock_stall, c, 0);
		c->credit_asked = false;
		vsock_rx_data(c);
		return;
	}
	if (vsock_conn_is_at_end(c)) {
		vsock_conn_in_ended(c, false);
	} else if (!c->credit_asked) {
		c->credit_asked = true;
		VSOCK_PROBE(vsock_stall, c, 1);
		c->v->figures.credit_stalls++;
		vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_CREDIT_REQUEST));
	}
}

static void poll_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_conn *c = container_of(op, struct vsock_conn, poll);

	if (c->state == VSOCK_CLOSED) {
		vsock_conn_release(c);
		return;
	}
	/* An edge may have been lost with the end of the poll. */
	c->readable |= res < 0 || (res & (POLLIN | POLLRDHUP | POLLHUP | POLLERR));
	if (res > 0)
		c->poll_seen |= (uint32_t)res & (POLLRDHUP | POLLHUP | POLLERR);
	else if (res < 0 && res != -ECANCELED)
		c->poll_seen |= POLLERR; /* nothing will ever be told about it again */
	if (!(cqe_flags & IO_MORE) && !is_gone(c))
		poll_start(c);
	if (c->state == VSOCK_CONNECTED && c->in_ended && is_gone(c))
		closing_start(c);
	else
		vsock_conn_read_check(c);
}

/* --- life --- */

static void answer_missing(struct reactor_timer *t)
{
	struct vsock_conn *c = container_of(t, struct vsock_conn, timer);
	bool unsent = c->pending & VSOCK_PENDING(VSOCK_OP_REQUEST);

	/* Of a REQUEST that was never sent the guest need not be told. */
	vsock_conn_fail(c, unsent ? VSOCK_CLOSE_CLEAN : VSOCK_CLOSE_FORCED, -ETIMEDOUT);
}

struct vsock_conn *vsock_conn_find(struct vsock *v, const struct vsock_key *key)
{
	struct vsock_node *n = vsock_table_find(&v->table, key);

	return n ? container_of(n, struct vsock_conn, node) : NULL;
}

bool vsock_conns_full(struct vsock *v)
{
	uint64_t now_ns = reactor_now_ns(vsock_home(v));

	return v->count >= v->conns_max ||
	       v->count + vsock_ports_resting(&v->ports, now_ns) >= VSOCK_CONNS_MAX;
}

static uint32_t buf_alloc(const struct vsock *v, uint16_t type)
{
	uint32_t bytes = VSOCK_BUF_ALLOC_SEQ;

	if (type != VSOCK_TYPE_SEQPACKET)
		bytes = v->pledged_bytes + VSOCK_BUF_ALLOC <= VSOCK_SHARE_BYTES
				? VSOCK_BUF_ALLOC
				: VSOCK_BUF_ALLOC_MANY;
	return v->pledged_bytes + bytes <= VSOCK_PLEDGE_MAX ? bytes : VSOCK_BUF_ALLOC_SMALL;
}

static void links_init(struct vsock_conn *c)
{
	list_init(&c->data_link);
	list_init(&c->control_link);
	list_init(&c->fill_link);
	list_init(&c->accept_link);
	list_init(&c->piece_link);
	reactor_timer_init(&c->timer, answer_missing);
	c->poll.done = poll_done;
}

struct vsock_conn *vsock_conn_create(
	struct vsock *v, const struct vsock_key *key, enum vsock_state state, uint16_t type)
{
	struct vsock_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->v = v;
	c->state = state;
	c->type = type;
	c->node.key = *key;
	c->serial = ++v->serial;
	c->file = IO_FILE_NONE;
	c->given_fd = -1;
	c->window = 1;
	c->credit.buf_alloc = c->credit.told_buf_alloc = buf_alloc(v, type);
	v->pledged_bytes += c->credit.buf_alloc;
	links_init(c);
	list_add_tail(&v->conns, &c->link);
	vsock_table_add(&v->table, &c->node);
	vsock_ports_use(&v->ports, key);
	v->count++;
	v->neighbour_conns += vsock_is_neighbour(key);
	return c;
}

void vsock_conn_open(struct vsock_conn *c, int fd, uint32_t pending)
{
	int room = (int)c->credit.buf_alloc;

	conn_enter(c, VSOCK_CONNECTED);
	reactor_timer_stop(vsock_home(c->v), &c->timer);
	passrights_refuse(fd);
	/* A message leaves as a whole or not at all. */
	if (c->type == VSOCK_TYPE_SEQPACKET)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	else
		vsock_share_socket(c, fd, c->credit.buf_alloc);
	io_file_open(vsock_home(c->v), &c->file, fd);
	poll_start(c);
	vsock_rx_control(c, pending);
}

static void connect_done(struct vsock_conn *c, int err)
{
	struct vsock_connect *connect = c->connect;

	c->connect = NULL;
	if (c->given_fd >= 0)
		close(c->given_fd);
	c->given_fd = -1;
	if (!connect)
		return;
	connect->conn = NULL;
	connect->done(connect, err, c->node.key.host_port, -1);
}

/* Replaces what was still to be sent. */
static void pending_last(struct vsock_conn *c, bool reset)
{
	c->pending = 0;
	list_del(&c->control_link);
	if (reset)
		vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_RST));
}

static void leave_table(struct vsock_conn *c, bool rest)
{
	struct vsock *v = c->v;

	vsock_table_remove(&v->table, &c->node);
	vsock_ports_unuse(&v->ports, &c->node.key);
	if (!rest)
		return;
	vsock_ports_rest(&v->ports, &c->node.key, reactor_now_ns(vsock_home(v)));
	v->figures.forced++;
}

void vsock_conn_fail(struct vsock_conn *c, enum vsock_close how, int err)
{
	struct reactor *r = vsock_home(c->v);
	/* The guest has said that it is done with sending; its reset is no reason to lose what the
	 * client has not read yet. */
	bool lingers = c->state == VSOCK_DRAINING && how == VSOCK_CLOSE_CLEAN;

	VSOCK_PROBE(vsock_close, c, how);
	c->v->figures.refused += c->state == VSOCK_ACCEPTING && how == VSOCK_CLOSE_FORCED;
	conn_enter(c, VSOCK_CLOSED);
	leave_table(c, how == VSOCK_CLOSE_FORCED || how == VSOCK_CLOSE_QUIET);
	reactor_timer_stop(r, &c->timer);
	list_del(&c->data_link);
	list_del(&c->accept_link);
	vsock_seq_drop(c);
	pending_last(c, how == VSOCK_CLOSE_FORCED || how == VSOCK_CLOSE_RST);
	if (!lingers) {
		vsock_tx_drop(c);
		if (c->file.fd >= 0)
			shutdown(c->file.fd, SHUT_RDWR);
	}
	io_cancel(r, &c->poll);
	connect_done(c, err);
	vsock_conn_release(c);
}

void vsock_conn_close(struct vsock_conn *c, enum vsock_close how)
{
	vsock_conn_fail(c, how, -ECONNREFUSED);
}

void vsock_conn_release(struct vsock_conn *c)
{
	struct vsock *v = c->v;

	if (c->state != VSOCK_CLOSED || c->poll.in_flight || c->send.in_flight || c->recv ||
		vsock_tx_waiting(c))
		return;
	kept_drop(&c->kept); /* the beginning of a message */
	io_file_close(vsock_home(v), &c->file);
	if (c->pending)
		return;
	list_del(&c->link);
	list_add_tail(&v->reap, &c->link);
	reactor_defer(vsock_home(v), &v->reap_task);
}

/* --- output --- */

void vsock_conn_out_moved(struct vsock_conn *c)
{
	if (c->state == VSOCK_CONNECTED && credit_update_due(&c->credit) &&
		!(c->peer_shutdown & VSOCK_SHUTDOWN_SEND)) {
		vsock_share_adjust(c);
		vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_CREDIT_UPDATE));
	}
	if (vsock_tx_waiting(c))
		return;
	if (c->state == VSOCK_CLOSED)
		vsock_conn_release(c);
	else if (c->state == VSOCK_DRAINING)
		vsock_conn_close(c, VSOCK_CLOSE_RST);
	else if (c->state == VSOCK_CONNECTED && (c->peer_shutdown & VSOCK_SHUTDOWN_SEND))
		shutdown(c->file.fd, SHUT_WR);
}

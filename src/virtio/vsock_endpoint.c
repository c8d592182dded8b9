/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of vsock: listeners, connections that the guest asks for, connections to it. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "virtio/vsock_conn.h"
#include "virtio/vsock_neighbour.h"

/* --- listeners --- */

int vsock_reserve(struct vsock *v, uint32_t port)
{
	struct vsock_listener *l;

	return vsock_ports_listen(&v->ports, port, &l);
}

int vsock_listen(struct vsock *v, uint32_t port, struct vsock_acceptor *a)
{
	struct vsock_listener *l;
	int err = v->closing ? -ECONNREFUSED : vsock_ports_listen(&v->ports, port, &l);

	if (!err)
		l->acceptor = a;
	return err;
}

int vsock_adopt(struct vsock *v, uint32_t port, struct vsock_acceptor *a)
{
	struct vsock_listener *l = vsock_ports_listener(&v->ports, port);

	if (!l)
		return -ENOENT;
	if (l->acceptor)
		return -EADDRINUSE;
	l->acceptor = a;
	return 0;
}

static void refuse_pending(struct vsock_listener *l)
{
	while (!list_empty(&l->pending))
		vsock_conn_close(list_first(&l->pending, struct vsock_conn, accept_link),
			VSOCK_CLOSE_FORCED);
}

void vsock_unlisten(struct vsock *v, uint32_t port, struct vsock_acceptor *a)
{
	struct vsock_listener *l = vsock_ports_listener(&v->ports, port);

	if (!l || l->acceptor != a)
		return;
	refuse_pending(l);
	vsock_ports_unlisten(&v->ports, l);
}

/* --- the guest connects --- */

/* May there be one more connection to another guest? */
static bool conns_open(const struct vsock *v)
{
	return v->neighbour_conns < VSOCK_NEIGHBOUR_CONNS_MAX;
}

bool vsock_request(struct vsock *v, const struct vsock_header *h, const struct vsock_key *key)
{
	bool neighbour = vsock_is_neighbour(key);
	struct vsock_listener *l =
		neighbour ? NULL : vsock_ports_listener(&v->ports, key->host_port);
	struct vsock_acceptor *acceptor = l ? l->acceptor : v->fallback;
	struct vsock_accept request = {.src_cid = key->guest_cid,
		.src_port = key->guest_port,
		.port = key->host_port,
		.type = h->type};
	struct vsock_conn *c;

	if (neighbour ? !conns_open(v) : !l && !acceptor)
		return false;
	if (vsock_conns_full(v) ||
		vsock_ports_is_resting(&v->ports, key, reactor_now_ns(vsock_home(v))))
		return false;
	c = vsock_conn_create(v, key, VSOCK_ACCEPTING, h->type);
	if (!c)
		return false;
	VSOCK_PROBE(vsock_accept, c);
	credit_peer(&c->credit, h->buf_alloc, h->fwd_cnt);
	if (neighbour) {
		if (!vsock_guests_call(v->guests, c))
			vsock_conn_close(c, VSOCK_CLOSE_RST);
		return true;
	}
	if (!acceptor) {
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
		return true;
	}
	if (l)
		list_add_tail(&l->pending, &c->accept_link);
	request.serial = c->serial;
	acceptor->accept(acceptor, &request);
	return true;
}

static int socket_option(int fd, int name)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

/* The type of connections over this socket; -EPROTOTYPE: there is none. Unix sockets only: closing
 * another may wait (SO_LINGER), and of its messages it may say that they have 0 bytes, which we
 * would ask again and again. */
static int type_of(int fd)
{
	int type = socket_option(fd, SO_TYPE);

	if (socket_option(fd, SO_DOMAIN) != AF_UNIX)
		return -EPROTOTYPE;
	if (type == SOCK_SEQPACKET)
		return VSOCK_TYPE_SEQPACKET;
	return type == SOCK_STREAM ? VSOCK_TYPE_STREAM : -EPROTOTYPE;
}

/* What another guest refuses is over at once: its key need not rest. */
static void refused(struct vsock_conn *c)
{
	vsock_conn_close(
		c, vsock_is_neighbour(&c->node.key) ? VSOCK_CLOSE_RST : VSOCK_CLOSE_FORCED);
}

void vsock_accepted_from(struct vsock *v, const struct vsock_key *key, uint64_t serial, int fd)
{
	struct vsock_conn *c = vsock_conn_find(v, key);

	if (c && (c->serial != serial || c->state != VSOCK_ACCEPTING))
		c = NULL;
	if (!c || fd < 0 || type_of(fd) != c->type) {
		if (fd >= 0)
			close(fd);
		if (c)
			refused(c);
		return;
	}
	list_del(&c->accept_link);
	v->figures.accepted++;
	vsock_conn_open(
		c, fd, VSOCK_PENDING(VSOCK_OP_RESPONSE) | VSOCK_PENDING(VSOCK_OP_CREDIT_UPDATE));
}

void vsock_accepted(struct vsock *v, const struct vsock_accept *request, int fd)
{
	const struct vsock_key key = {
		VSOCK_CID_HOST, request->port, request->src_cid, request->src_port};

	vsock_accepted_from(v, &key, request->serial, fd);
}

/* --- connections to the guest --- */

static int connect_start(struct vsock *v, const struct vsock_key *key, uint16_t type,
	struct vsock_connect *connect, int fd)
{
	struct vsock_conn *c = vsock_conn_create(v, key, VSOCK_CONNECTING, type);

	if (!c)
		return -ENOMEM;
	c->connect = connect;
	c->given_fd = fd;
	connect->conn = c;
	VSOCK_PROBE(vsock_connect, c);
	reactor_timer_start(vsock_home(v), &c->timer, VSOCK_ANSWER_NS);
	vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_REQUEST));
	return 0;
}

int vsock_connect_from(struct vsock *v, const struct vsock_key *key, uint16_t type,
	struct vsock_connect *connect, int fd)
{
	if (v->closing || !v->guests || !conns_open(v) || vsock_conn_find(v, key) ||
		vsock_ports_is_resting(&v->ports, key, reactor_now_ns(vsock_home(v))))
		return -ECONNREFUSED;
	if (vsock_conns_full(v))
		return -ENOSPC;
	return connect_start(v, key, type, connect, fd);
}

int vsock_connect_over(struct vsock *v, uint32_t guest_port, struct vsock_connect *connect, int fd)
{
	struct vsock_key key = {
		.host_cid = VSOCK_CID_HOST, .guest_cid = v->guest_cid, .guest_port = guest_port};
	int type = fd < 0 ? VSOCK_TYPE_STREAM : type_of(fd);

	if (v->closing)
		return -ECONNREFUSED;
	if (type < 0)
		return type;
	if (vsock_conns_full(v) ||
		vsock_ports_pick(&v->ports, reactor_now_ns(vsock_home(v)), &key.host_port))
		return -ENOSPC;
	return connect_start(v, &key, (uint16_t)type, connect, fd);
}

int vsock_connect(struct vsock *v, uint32_t guest_port, struct vsock_connect *connect)
{
	return vsock_connect_over(v, guest_port, connect, -1);
}

void vsock_connect_cancel(struct vsock *v, struct vsock_connect *connect)
{
	struct vsock_conn *c = connect->conn;

	(void)v;
	if (!c)
		return;
	connect->conn = NULL;
	c->connect = NULL;
	vsock_conn_close(c, c->pending & VSOCK_PENDING(VSOCK_OP_REQUEST) ? VSOCK_CLOSE_CLEAN
									 : VSOCK_CLOSE_FORCED);
}

void vsock_connect_answered(struct vsock_conn *c)
{
	struct vsock_connect *connect = c->connect;
	int pair[2] = {c->given_fd, -1};

	if (c->given_fd < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		vsock_conn_fail(c, VSOCK_CLOSE_FORCED, -errno);
		return;
	}
	c->connect = NULL;
	c->given_fd = -1;
	connect->conn = NULL;
	c->v->figures.connected++;
	/* Reads and writes of the socket start after this, at the end of the turn. */
	vsock_conn_open(c, pair[0], VSOCK_PENDING(VSOCK_OP_CREDIT_UPDATE));
	connect->done(connect, 0, c->node.key.host_port, pair[1]);
}

/* --- figures --- */

void vsock_figures(struct vsock *v, struct vsock_figures *to)
{
	*to = v->figures;
	to->connections = v->table.count;
	to->listeners = v->ports.listeners.count;
	to->quarantined = vsock_ports_resting(&v->ports, reactor_now_ns(vsock_home(v)));
	to->rx_starved_ns =
		v->starved_since_ns ? reactor_now_ns(vsock_home(v)) - v->starved_since_ns : 0;
}

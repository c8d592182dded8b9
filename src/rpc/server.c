/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting clients, and the daemon's orderly end. */
#include "rpc/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/connection.h"
#include "rpc/reclaim.h"

static void server_check_end(struct server *s);

/* --- accepting --- */

static bool uid_allowed(const struct server *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	for (unsigned int i = 0; i < s->params.uid_count; i++)
		if (s->uids[i] == peer.uid)
			return true;
	return false;
}

/* The socket is new and its buffer empty: what fits does so at once, and nobody is waited for. */
static void refuse_one_too_many(int fd)
{
	struct codec_message event;
	struct codec_fault fault;
	uint8_t data[512];
	int len;

	codec_fault_set(&fault, CODEC_VIOLATION, DOMAIN_STATUS, STATUS_NO_RESOURCES, 0,
		"the daemon has %d connections; close one of them", SERVER_CONNECTIONS_MAX);
	codec_violation_init(&event, &fault);
	len = codec_encode(&event, data, sizeof(data));
	if (len > 0)
		(void)!send(fd, data, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_RDWR);
}

static void server_admit(struct server *s, int fd)
{
	struct connection *c;

	s->accepted++;
	if (!uid_allowed(s, fd)) {
		s->refused++;
		close(fd);
		return;
	}
	if (s->connection_count >= SERVER_CONNECTIONS_MAX) {
		s->refused++;
		refuse_one_too_many(fd);
		close(fd);
		return;
	}
	c = connection_create(s, fd);
	if (!c)
		return;
	list_add_tail(&s->connections, &c->link);
	s->connection_count++;
}

static void server_accepted(struct io_op *op, int res, uint32_t flags)
{
	struct server *s = container_of(op, struct server, accept_op);

	if (res >= 0) {
		if (s->stopping)
			close(res);
		else
			server_admit(s, res);
	}
	if (flags & IO_MORE)
		return;
	if (s->stopping)
		server_check_end(s);
	else
		reactor_timer_start(s->control, &s->accept_timer, res < 0 ? 100000000 : 0);
}

/* Anew: a multishot accept ends with an error, such as running out of descriptors. */
static void server_accept(struct reactor_timer *t)
{
	struct server *s = container_of(t, struct server, accept_timer);

	if (!s->stopping && !s->accept_op.in_flight)
		io_accept(s->control, &s->accept_op, &s->file);
}

/* --- the end --- */

static bool server_report_stopped(struct reactor_task *t)
{
	struct server *s = container_of(t, struct server, stopped_task);

	io_file_close(s->control, &s->file);
	s->params.stopped(s);
	return false;
}

static void server_check_end(struct server *s)
{
	if (!s->stopping || s->over)
		return;
	if (!s->quiet && slots_quiet(&s->slots)) {
		s->quiet = true;
		/* What the guests' ends had to say is queued by now. */
		list_for_each (l, &s->connections)
			connection_close(list_entry(l, struct connection, link));
	}
	if (!s->quiet || s->connection_count || s->accept_op.in_flight || !slots_empty(&s->slots) ||
		s->reclaiming)
		return;
	s->over = true;
	reactor_defer(s->control, &s->stopped_task);
}

static void server_slots_changed(struct slots *slots)
{
	server_check_end(container_of(slots, struct server, slots));
}

static void server_reclaim_ended(struct reclaim *r)
{
	struct server *s = r->ctx;

	s->reclaiming = false;
	server_check_end(s);
}

void server_connection_over(struct server *s)
{
	s->connection_count--;
	server_check_end(s);
}

void server_stop(struct server *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	reactor_timer_stop(s->control, &s->accept_timer);
	io_cancel(s->control, &s->accept_op);
	list_for_each (l, &s->connections)
		connection_stop_reading(list_entry(l, struct connection, link));
	if (s->reclaiming)
		reclaim_end(s->params.reclaim);
	slots_stop(&s->slots);
	server_check_end(s);
}

void server_init(struct server *s, const struct server_params *p)
{
	memset(s, 0, sizeof(*s));
	s->params = *p;
	CHECK(p->uid_count <= SERVER_UIDS_MAX);
	memcpy(s->uids, p->uids, p->uid_count * sizeof(*p->uids));
	s->control = p->reactors[0];
	s->file = IO_FILE_NONE;
	s->accept_op.done = server_accepted;
	list_init(&s->connections);
	reactor_task_init(&s->stopped_task, server_report_stopped);
	reactor_timer_init(&s->accept_timer, server_accept);
	slots_init(&s->slots, s->control, p->reactors, p->reactor_count, p->env);
	s->slots.changed = server_slots_changed;
}

void server_start(struct server *s)
{
	io_file_open(s->control, &s->file, listener_take_fd(s->params.listener));
	server_accept(&s->accept_timer);
	if (!s->params.reclaim)
		return;
	s->reclaiming = true;
	reclaim_start(s->params.reclaim, &s->slots, server_reclaim_ended, s);
}

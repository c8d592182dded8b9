/* SPDX-License-Identifier: Apache-2.0 */
/* Guest to guest. */
#include "virtio/vsock_neighbour.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "virtio/vsock_conn.h"

/* One connection that a guest asks another for. It is in the hands of one reactor at a time, which
 * alone may touch it; `cancel` goes after it, and comes back after it. */
struct vsock_call {
	struct reactor_msg msg, cancel;
	struct list link; /* in the asking device's `calls` */
	struct vsock_guests *asker;
	struct neighbours *all;
	struct reactor *from, *to;
	struct vsock_key key; /* as the asking device has it: host_cid is the other guest */
	uint16_t type;
	uint64_t serial;
	int ours, theirs; /* the pair; -1: passed on */
	int err;
	bool cancelled;
	struct vsock_connect connect; /* of the device that is asked */
};

static struct reactor *home(const struct vsock_guests *g)
{
	return g->v->dev.env->reactor;
}

static void end_check(struct vsock_guests *g)
{
	if (g->stopped && list_empty(&g->calls))
		reactor_defer(home(g), &g->end_task);
}

static void call_free(struct vsock_call *call)
{
	struct vsock_guests *g = call->asker;

	list_del(&call->link);
	g->call_count--;
	free(call);
	end_check(g);
}

/* --- on the reactor of the guest that asks --- */

static void call_answered(struct reactor_msg *msg)
{
	struct vsock_call *call = container_of(msg, struct vsock_call, msg);

	if (call->err) {
		close(call->ours);
		call->ours = -1;
	}
	vsock_accepted_from(
		call->asker->v, &call->key, call->serial, call->err ? call->err : call->ours);
	if (!call->cancelled)
		call_free(call);
}

/* Sent after the call, to the same reactor and back, so the call itself has been answered. */
static void call_cancelled(struct reactor_msg *msg)
{
	call_free(container_of(msg, struct vsock_call, cancel));
}

/* --- on the reactor of the guest that is asked --- */

static void call_answer(struct vsock_call *call, int err)
{
	if (err && call->theirs >= 0) {
		close(call->theirs);
		call->theirs = -1;
	}
	call->err = err;
	call->msg.run = call_answered;
	reactor_post(call->from, &call->msg);
}

static void call_connected(struct vsock_connect *c, int err, uint32_t host_port, int fd)
{
	struct vsock_call *call = container_of(c, struct vsock_call, connect);

	(void)host_port;
	CHECK(fd < 0);
	call_answer(call, err);
}

static int call_start(struct vsock_call *call)
{
	struct neighbour *n = neighbours_find(call->all, call->key.host_cid, call->to);
	const struct vsock_key key = {
		.host_cid = call->key.guest_cid,
		.host_port = call->key.guest_port,
		.guest_cid = call->key.host_cid,
		.guest_port = call->key.host_port,
	};
	int err;

	if (!n)
		return -ECONNREFUSED;
	call->connect.done = call_connected;
	err = vsock_connect_from(container_of(n, struct vsock_guests, me)->v, &key, call->type,
		&call->connect, call->theirs);
	if (!err)
		call->theirs = -1; /* the connection's */
	return err;
}

static void call_arrived(struct reactor_msg *msg)
{
	struct vsock_call *call = container_of(msg, struct vsock_call, msg);
	int err = call_start(call);

	if (err)
		call_answer(call, err);
}

static void call_cancel_arrived(struct reactor_msg *msg)
{
	struct vsock_call *call = container_of(msg, struct vsock_call, cancel);
	struct vsock_conn *c = call->connect.conn;

	if (c) {
		vsock_connect_cancel(c->v, &call->connect);
		call_answer(call, -ECONNREFUSED);
	}
	call->cancel.run = call_cancelled;
	reactor_post(call->from, &call->cancel);
}

/* --- the guest asks --- */

bool vsock_guests_call(struct vsock_guests *g, const struct vsock_conn *c)
{
	struct reactor *to = neighbours_home(g->all, c->node.key.host_cid);
	int pair[2], type = c->type == VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
	struct vsock_call *call;

	if (!to || g->call_count >= VSOCK_CALLS_MAX || g->stopped)
		return false;
	call = calloc(1, sizeof(*call));
	if (!call || socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0) {
		free(call);
		return false;
	}
	*call = (struct vsock_call){.msg = {.run = call_arrived},
		.cancel = {.run = call_cancel_arrived},
		.asker = g,
		.all = g->all,
		.from = home(g),
		.to = to,
		.key = c->node.key,
		.type = c->type,
		.serial = c->serial,
		.ours = pair[0],
		.theirs = pair[1]};
	list_add_tail(&g->calls, &call->link);
	g->call_count++;
	reactor_post(to, &call->msg);
	return true;
}

/* --- life --- */

static bool end_run(struct reactor_task *t)
{
	struct vsock_guests *g = container_of(t, struct vsock_guests, end_task);
	void (*stopped)(struct vsock_guests *) = g->stopped;

	if (stopped && list_empty(&g->calls)) {
		g->v->guests = NULL;
		g->stopped = NULL;
		stopped(g);
	}
	return false;
}

int vsock_guests_init(
	struct vsock_guests *g, struct vsock *v, struct neighbours *all, struct diag *d)
{
	int err = 0;

	*g = (struct vsock_guests){.v = v};
	list_init(&g->calls);
	reactor_task_init(&g->end_task, end_run);
	if (all)
		err = neighbours_join(all, &g->me, v->guest_cid, d);
	if (err)
		return err;
	g->all = all;
	v->guests = all ? g : NULL;
	return 0;
}

void vsock_guests_finish(struct vsock_guests *g)
{
	if (!g->v)
		return;
	CHECK(list_empty(&g->calls));
	if (g->all)
		neighbours_leave(g->all, &g->me);
	g->v->guests = NULL;
	*g = (struct vsock_guests){0};
}

void vsock_guests_attach(struct vsock_guests *g)
{
	if (g->all)
		neighbours_attach(g->all, &g->me, home(g));
}

void vsock_guests_stop(struct vsock_guests *g, void (*stopped)(struct vsock_guests *g))
{
	g->stopped = stopped;
	if (g->all)
		neighbours_detach(g->all, &g->me);
	list_for_each_safe (l, &g->calls) {
		struct vsock_call *call = list_entry(l, struct vsock_call, link);

		call->cancelled = true;
		reactor_post(call->to, &call->cancel);
	}
	end_check(g);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* HostVsockEndpoint: Listen and Connect. Connects run side by side, as each may wait for the guest;
 * the answers go out in the order of the calls. */
#include "rpc/object_vsock.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/connection.h"
#include "rpc/object_acceptor.h"
#include "rpc/object_device.h"
#include "rpc/object_guest.h"
#include "rpc/slot_vsock.h"

/* What the object holds; freed when that lets go and the last answer is out. */
struct endpoint {
	struct guest_link *link; /* NULL: the VMM is gone, or nobody holds it any more */
	struct list answers;     /* struct answer, in the order of the calls */
	bool released;
	unsigned int flushing;
};

/* One call, until it is answered. */
struct answer {
	struct list link;
	struct endpoint *endpoint;
	struct call *call;
	struct slot_op *connect; /* a Connect that is out; NULL: none */
	bool ready;
	struct codec_fault fault; /* the call fails; text "" and code 0: it does not */
	char *detail;
	uint32_t host_port;
	int fd;
	struct slot_listener *listener;
};

/* --- answers --- */

static void endpoint_free_if_over(struct endpoint *e)
{
	if (e->released && !e->flushing && list_empty(&e->answers))
		free(e);
}

static void answer_connected(struct answer *a)
{
	struct codec_message reply;

	codec_reply_init(&reply, &a->call->msg);
	reply.p.vsock_connected.host_port = a->host_port;
	call_reply(a->call, &reply, &a->fd);
}

static void answer_give(struct answer *a)
{
	if (a->fault.code)
		call_fail(
			a->call, a->fault.domain, a->fault.code, "%s", a->detail ? a->detail : "");
	else if (a->listener)
		acceptor_object_open(a->call, a->listener);
	else
		answer_connected(a);
	free(a->detail);
	free(a);
}

/* An answer may start the next call, which may bring us here again. */
static void endpoint_flush(struct endpoint *e)
{
	e->flushing++;
	while (!list_empty(&e->answers)) {
		struct answer *a = list_first(&e->answers, struct answer, link);

		if (!a->ready)
			break;
		list_del(&a->link);
		answer_give(a);
	}
	e->flushing--;
	endpoint_free_if_over(e);
}

static void op_answered(struct slot_op *op)
{
	struct answer *a = op->ctx;

	a->connect = NULL;
	a->ready = true;
	if (op->err || op->status) {
		a->fault.domain = op->err ? DOMAIN_GUEST_ERROR : DOMAIN_STATUS;
		a->fault.code = op->err ? (uint32_t)op->err : (uint32_t)op->status;
	} else {
		a->listener = op->listener;
		op->listener = NULL;
	}
	a->detail = op->detail;
	op->detail = NULL;
	a->host_port = op->host_port;
	a->fd = op->fd;
	op->fd = -1;
	endpoint_flush(a->endpoint);
}

static struct answer *answer_new(struct call *call)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->endpoint = call->object->held;
	a->call = call;
	a->fd = -1;
	list_init(&a->link);
	list_add_tail(&a->endpoint->answers, &a->link);
	return a;
}

static void answer_drop(struct answer *a)
{
	if (!a)
		return;
	list_del(&a->link);
	free(a);
}

/* --- calls --- */

static bool endpoint_listen(struct call *call, struct endpoint *e, struct answer *a)
{
	const struct listen_call *p = &call->msg.p.listen;
	struct slot_listener *l = slot_listener_new(e->link->slot, p->port, p->acceptor_id);

	return l && slot_vsock_listen(e->link, l, op_answered, a);
}

static void endpoint_handle(struct call *call)
{
	struct endpoint *e = call->object->held;
	struct answer *a = answer_new(call);
	bool ok = a;

	if (ok && call->msg.message->method == METHOD_VSOCK_LISTEN) {
		ok = endpoint_listen(call, e, a);
	} else if (ok) {
		CHECK(call->msg.message->method == METHOD_VSOCK_CONNECT);
		a->connect = slot_vsock_connect(
			e->link, call->msg.p.vsock_connect.guest_port, op_answered, a);
		ok = a->connect;
	}
	if (ok)
		return;
	answer_drop(a);
	device_no_memory(call);
}

/* --- life --- */

/* The client is gone: who still wants a connection? */
static void endpoint_cancel(struct endpoint *e)
{
	list_for_each (l, &e->answers) {
		struct answer *a = list_entry(l, struct answer, link);

		if (a->connect && a->call->conn && a->call->conn->state != CONNECTION_OPEN)
			slot_vsock_cancel(a->connect);
	}
}

static void endpoint_release(void *held)
{
	struct endpoint *e = held;

	endpoint_cancel(e);
	if (e->link)
		guest_link_drop(e->link);
	e->link = NULL;
	e->released = true;
	endpoint_free_if_over(e);
}

static void endpoint_gone(struct guest_link *l, enum status epitaph)
{
	struct object *o = l->holder;
	struct endpoint *e = o->held;

	e->link = NULL;
	object_end(o, epitaph, "the guest has come to its end");
	endpoint_release(e);
}

static void opened(struct slot_op *op)
{
	struct call *call = op->ctx;
	struct endpoint *e;

	if (op->err) {
		device_failed(op);
		return;
	}
	e = calloc(1, sizeof(*e));
	if (!e) {
		guest_link_drop(op->child_link);
		device_no_memory(call);
		return;
	}
	list_init(&e->answers);
	e->link = op->child_link;
	e->link->holder = call->child;
	call_open(call, e);
}

void vsock_object_open(struct call *call)
{
	struct guest_link *parent = call->object->held;
	struct guest_link *l = guest_link_new(parent->slot, endpoint_gone);

	if (!l || !slot_vsock_open(parent, l, opened, call))
		device_no_memory(call);
}

const struct object_class vsock_endpoint_class = {
	.kind = OBJECT_VSOCK_ENDPOINT,
	.name = "HostVsockEndpoint",
	.handle = endpoint_handle,
	.release = endpoint_release,
};

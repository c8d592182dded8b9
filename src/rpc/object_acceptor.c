/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptors: from the listener to the client and back; all that a client calls on one is Close. */
#include "rpc/object_acceptor.h"

#include "core/check.h"
#include "rpc/connection.h"

static struct object *object_of(const struct slot_listener *l)
{
	return l->holder;
}

static void listener_asked(struct slot_listener *l, struct slot_accept *a)
{
	accepts_ask(&object_of(l)->conn->accepts, a);
}

/* What the object held is let go; it may have been closed by its client meanwhile. */
static void acceptor_release(void *held)
{
	struct slot_listener *l = held;

	if (l->holder)
		accepts_drop(&object_of(l)->conn->accepts, l);
	slot_listener_release(l);
}

static void listener_gone(struct slot_listener *l, enum status epitaph)
{
	struct object *o = object_of(l);

	acceptor_release(l);
	object_end(o, epitaph, NULL);
}

static void listener_set_up(struct slot_listener *l)
{
	l->asked = listener_asked;
	l->gone = listener_gone;
}

void acceptor_object_open(struct call *call, struct slot_listener *l)
{
	struct object *child = call->child;
	bool wanted = child && !child->closing;

	listener_set_up(l);
	l->holder = child;
	call_open(call, l);
	if (wanted)
		slot_listener_deliver(l);
}

static struct object *find_acceptor(const struct call *call, uint32_t id)
{
	list_for_each (l, &call->acceptors) {
		struct object *o = list_entry(l, struct object, opener_link);

		if (o->id == id)
			return o;
	}
	return NULL;
}

void acceptor_objects_open(struct call *call, struct slot_op *op)
{
	if (!call)
		return;
	list_for_each_safe (at, &op->listeners) {
		struct slot_listener *l = list_entry(at, struct slot_listener, link);
		struct object *o = find_acceptor(call, l->id);

		if (!o || !l->listens)
			continue;
		list_del(&l->link);
		listener_set_up(l);
		l->holder = o;
		call_open_acceptor(o, l);
	}
	/* The VMM is at its end already. */
	while (!list_empty(&call->acceptors))
		object_end(list_first(&call->acceptors, struct object, opener_link),
			STATUS_INTERNAL, NULL);
}

static void acceptor_handle(struct call *call)
{
	CHECK(!call || !"no message of a client is for an acceptor");
}

const struct object_class vsock_acceptor_class = {
	.kind = OBJECT_VSOCK_ACCEPTOR,
	.name = "HostVsockAcceptor",
	.handle = acceptor_handle,
	.release = acceptor_release,
};

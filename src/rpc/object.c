/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an object: which of its calls run, which wait, and its end. */
#include "rpc/object.h"

#include <stdlib.h>

#include "core/check.h"
#include "rpc/connection.h"
#include "rpc/object_private.h"

static const struct object_class *const classes[] = {
	&host_class,
	&lifecycle_class,
	&guest_class,
	&vsock_endpoint_class,
	&vsock_acceptor_class,
	&balloon_class,
	&mem_class,
};

const struct object_class *object_class_find(enum object_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i]->kind == kind)
			return classes[i];
	return NULL;
}

void object_init(
	struct object *o, struct connection *c, uint32_t id, const struct object_class *class)
{
	*o = (struct object){.id = id, .conn = c, .class = class, .state = OBJECT_OPENING};
	list_init(&o->link);
	list_init(&o->opener_link);
	list_init(&o->waiting);
	list_init(&o->running);
}

/* Calls that run go on without it; those that wait are dropped with it. */
static void object_detach_calls(struct object *o)
{
	o->active = NULL;
	while (!list_empty(&o->running)) {
		struct call *call = list_first(&o->running, struct call, link);

		list_del(&call->link);
		call->object = NULL;
	}
	while (!list_empty(&o->waiting)) {
		struct call *call = list_first(&o->waiting, struct call, link);

		call->object = NULL;
		call_end_children(call, STATUS_BAD_STATE);
		call_free(call);
	}
}

/* Nothing leads to it any more; if its pump is on the stack, that frees it. */
static void object_dispose(struct object *o)
{
	o->state = OBJECT_GONE;
	object_detach_calls(o);
	if (o->opener && o->opener->child == o)
		o->opener->child = NULL;
	o->opener = NULL;
	list_del(&o->opener_link);
	list_del(&o->link);
	if (!o->pumping && o != &o->conn->host)
		free(o);
}

static void object_release(struct object *o)
{
	if (o->state == OBJECT_OPEN && o->class->release)
		o->class->release(o->held);
	object_dispose(o);
}

/* Answers what is pending on an object that was open. */
static void object_fail_calls(struct object *o, const char *detail)
{
	struct codec_fault fault;

	codec_fault_set(&fault, CODEC_REFUSED, DOMAIN_STATUS, STATUS_PEER_CLOSED, 0, "%s", detail);
	list_for_each (l, &o->running) {
		struct call *call = list_entry(l, struct call, link);

		call_refuse(call, &fault);
		call_leave(call); /* whoever works on it still holds it */
	}
	list_for_each (l, &o->waiting)
		call_refuse(list_entry(l, struct call, link), &fault);
}

void object_end(struct object *o, enum status epitaph, const char *detail)
{
	struct connection *c = o->conn;
	uint32_t id = o->id;
	bool closing = o->closing;

	/* On an object that never opened they are dropped: Closed tells. But its own client gets no
	 * Closed any more once it has closed the object. */
	if (o->state == OBJECT_OPEN || closing)
		object_fail_calls(o, detail ? detail : "the object is gone");
	object_dispose(o);
	if (closing)
		return;
	c->object_count--;
	connection_closed(c, id, epitaph);
}

static void call_start(struct call *call)
{
	struct object *o = call->object;

	list_add_tail(&o->running, &call->link);
	if (!call->msg.message->concurrent)
		o->active = call;
	if (call->refusal) {
		call_refuse(call, call->refusal);
		call_free(call);
	} else {
		o->class->handle(call);
	}
}

void object_pump(struct object *o)
{
	if (o->pumping || o->state != OBJECT_OPEN)
		return;
	o->pumping = true;
	while (o->state == OBJECT_OPEN && !o->active && !list_empty(&o->waiting)) {
		struct call *call = list_first(&o->waiting, struct call, link);

		list_del(&call->link);
		call_start(call);
	}
	o->pumping = false;
	if (o->state == OBJECT_GONE)
		object_dispose(o);
	else if (o->closing && !o->active && list_empty(&o->waiting))
		object_release(o);
}

void object_close(struct object *o)
{
	o->closing = true;
	list_del(&o->link);
	list_add_tail(&o->conn->closing, &o->link);
	o->conn->object_count--;
	object_pump(o);
}

static void release_list(struct list *objects)
{
	while (!list_empty(objects))
		object_release(list_first(objects, struct object, link));
}

void object_release_all(struct connection *c)
{
	for (unsigned int i = 0; i < CONNECTION_BUCKETS; i++)
		release_list(&c->objects[i]);
	release_list(&c->closing);
	object_release(&c->host);
	while (!list_empty(&c->calls))
		call_outlives(list_first(&c->calls, struct call, calls_link));
	c->object_count = 0;
}

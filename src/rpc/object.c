/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and calls: who waits for whom, and what is legal on which object. */
#include "rpc/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/connection.h"
#include "trace/probe.h"

static const struct object_class *const classes[] = {
	&host_class,
	&lifecycle_class,
	&guest_class,
	&vsock_endpoint_class,
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

static void object_pump(struct object *o);
static void object_resume(struct object *o);

/* --- the life of a call --- */

static bool call_has_reply(const struct call *call)
{
	return call->msg.message->shape == SHAPE_CALL;
}

static void call_enter(struct call *call, struct connection *c)
{
	call->conn = c;
	list_add_tail(&c->calls, &call->calls_link);
	if (call_has_reply(call))
		c->call_count++;
	else
		c->one_ways++;
	PROBE(rpc_begin, call, probe_string(call->msg.message->name), call->msg.object,
		call->msg.txid);
}

/* From here on its answer goes nowhere. */
static void call_leave(struct call *call)
{
	struct connection *c = call->conn;

	if (!c)
		return;
	PROBE(rpc_end, call, probe_string(call->msg.message->name), call->msg.object,
		call->msg.txid);
	list_del(&call->calls_link);
	if (call_has_reply(call))
		c->call_count--;
	else
		c->one_ways--;
	call->conn = NULL;
}

static void call_free(struct call *call)
{
	struct object *o = call->object;

	call_leave(call);
	list_del(&call->link);
	frame_finish(&call->frame);
	free(call->kept);
	free(call->refusal);
	if (o && o->active == call)
		o->active = NULL;
	free(call);
	if (o)
		object_pump(o);
}

/* The payload's bytes are the reader's; a call that waits gets a copy, decoded anew. */
static bool call_keep(struct call *call)
{
	struct codec_fault ignored;

	if (!call->frame.payload_bytes)
		return true;
	call->kept = malloc(call->frame.payload_bytes);
	if (!call->kept)
		return false;
	memcpy(call->kept, call->frame.payload, call->frame.payload_bytes);
	call->frame.payload = call->kept;
	CHECK(codec_decode(CODEC_SERVER, &call->frame, &call->msg, &ignored) != CODEC_VIOLATION);
	return true;
}

struct server *call_server(const struct call *call)
{
	return call->conn ? call->conn->server : NULL;
}

void call_reply(struct call *call, struct codec_message *reply, const int *fds)
{
	if (call->conn)
		connection_send(call->conn, reply, fds);
	else
		for (unsigned int i = 0; i < reply->nfds; i++)
			close(fds[i]);
	call_free(call);
}

void call_done(struct call *call)
{
	struct codec_message reply;

	if (call_has_reply(call)) {
		codec_reply_init(&reply, &call->msg);
		CHECK(reply.nfds == 0);
		call_reply(call, &reply, NULL);
	} else {
		call_free(call);
	}
}

/* Which kind of object the message creates, and under which id; OBJECT_ANY: none. */
static enum object_kind created_kind(const struct codec_message *m, uint32_t *id)
{
	switch (m->message->method) {
	case METHOD_HOST_OPEN_LIFECYCLE:
		*id = m->p.open.new_id;
		return OBJECT_LIFECYCLE;
	case METHOD_HOST_CONNECT:
		*id = m->p.open.new_id;
		return OBJECT_GUEST;
	case METHOD_HOST_LAUNCH:
		*id = m->p.launch.new_id;
		return OBJECT_GUEST;
	case METHOD_LIFECYCLE_BIND:
		*id = m->p.new_id.new_id;
		return OBJECT_GUEST;
	case METHOD_GUEST_GET_VSOCK:
		*id = m->p.new_id.new_id;
		return OBJECT_VSOCK_ENDPOINT;
	case METHOD_GUEST_GET_BALLOON:
		*id = m->p.new_id.new_id;
		return OBJECT_BALLOON;
	case METHOD_GUEST_GET_MEM:
		*id = m->p.new_id.new_id;
		return OBJECT_MEM;
	default:
		*id = 0;
		return OBJECT_ANY;
	}
}

void call_open(struct call *call, void *held)
{
	struct object *child = call->child;
	uint32_t id;

	call->child = NULL;
	if (!child) {
		object_class_find(created_kind(&call->msg, &id))->release(held);
		call_done(call);
		return;
	}
	child->held = held;
	child->opener = NULL;
	child->state = OBJECT_OPEN;
	child->pumping = true; /* its first reply comes behind this one */
	call_done(call);
	object_resume(child);
}

void call_done_ended(struct call *call, enum status epitaph)
{
	struct object *child = call->child;

	call->child = NULL;
	if (child)
		child->opener = NULL;
	call_done(call);
	if (child)
		object_end(child, epitaph, NULL);
}

/* What the Closed event of a refused creation says. */
static enum status refusal_epitaph(enum error_domain domain, unsigned int code)
{
	switch (domain) {
	case DOMAIN_STATUS:
		return (enum status)code;
	case DOMAIN_MANAGER:
		return code == MANAGER_BAD_CONFIG      ? STATUS_INVALID_ARGS
		       : code == MANAGER_START_FAILURE ? STATUS_INTERNAL
						       : STATUS_BAD_STATE;
	default:
		return code == GUEST_DEVICE_NOT_PRESENT ? STATUS_NOT_FOUND : STATUS_BAD_STATE;
	}
}

/* Closes what the call was to create. */
static void call_end_child(struct call *call, enum status epitaph)
{
	struct object *child = call->child;

	call->child = NULL;
	if (!child)
		return;
	child->opener = NULL;
	object_end(child, epitaph, NULL);
}

static void call_refuse(struct call *call, const struct codec_fault *fault)
{
	struct codec_message reply;

	if (call->conn && call_has_reply(call)) {
		codec_error_init(&reply, &call->msg, fault);
		connection_send(call->conn, &reply, NULL);
	}
	call_end_child(call, refusal_epitaph(fault->domain, fault->code));
}

void call_fail(struct call *call, enum error_domain domain, unsigned int code, const char *fmt, ...)
{
	struct codec_fault fault;
	char text[DIAG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	codec_fault_set(&fault, CODEC_REFUSED, domain, code, call->msg.txid, "%s", text);
	call_refuse(call, &fault);
	call_free(call);
}

void call_fail_guest(struct call *call, enum guest_error err, const char *detail)
{
	call_fail(call, DOMAIN_GUEST_ERROR, err, "%s", detail);
}

/* --- the life of an object --- */

void object_init(
	struct object *o, struct connection *c, uint32_t id, const struct object_class *class)
{
	*o = (struct object){.id = id, .conn = c, .class = class, .state = OBJECT_OPENING};
	list_init(&o->link);
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
		call_end_child(call, STATUS_BAD_STATE);
		call_free(call);
	}
}

/* Nothing leads to it any more; if its pump is on the stack, that frees it. */
static void object_dispose(struct object *o)
{
	o->state = OBJECT_GONE;
	object_detach_calls(o);
	if (o->opener)
		o->opener->child = NULL;
	o->opener = NULL;
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

/* Starts what may start. The object may be gone afterwards. */
static void object_pump(struct object *o)
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

/* Ends a pause that was made by setting `pumping`. */
static void object_resume(struct object *o)
{
	o->pumping = false;
	if (o->state == OBJECT_GONE)
		object_dispose(o);
	else
		object_pump(o);
}

/* The client lets go: calls that it made before still run, its id is free at once. */
static void object_close(struct object *o)
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
		call_leave(list_first(&c->calls, struct call, calls_link));
	c->object_count = 0;
}

/* --- what came from the client --- */

static enum codec_verdict bad_call(struct codec_fault *fault, const struct call *call,
	enum status code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static enum codec_verdict bad_call(
	struct codec_fault *fault, const struct call *call, enum status code, const char *fmt, ...)
{
	char text[DIAG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return codec_fault_set(fault, CODEC_VIOLATION, DOMAIN_STATUS, code, call->msg.txid,
		"%s: %s", call->msg.message->name, text);
}

static enum codec_verdict check_pending(
	struct connection *c, const struct call *call, struct codec_fault *fault)
{
	if (!call_has_reply(call)) {
		if (c->one_ways < CONNECTION_ONE_WAYS_MAX)
			return CODEC_OK;
		return bad_call(fault, call, STATUS_NO_RESOURCES,
			"more than %d one-way messages wait for earlier calls",
			CONNECTION_ONE_WAYS_MAX);
	}
	if (c->call_count >= CONNECTION_CALLS_MAX)
		return bad_call(fault, call, STATUS_NO_RESOURCES,
			"more than %d calls are pending on this connection", CONNECTION_CALLS_MAX);
	list_for_each (l, &c->calls)
		if (list_entry(l, struct call, calls_link)->msg.txid == call->msg.txid)
			return bad_call(fault, call, STATUS_INVALID_ARGS,
				"txid %u is that of a call that is still pending", call->msg.txid);
	return CODEC_OK;
}

/* Makes the object that the call is to create, opening. */
static enum codec_verdict make_child(
	struct connection *c, struct call *call, struct codec_fault *fault)
{
	uint32_t id;
	enum object_kind kind = created_kind(&call->msg, &id);

	if (kind == OBJECT_ANY)
		return CODEC_OK;
	if (connection_object(c, id))
		return bad_call(fault, call, STATUS_INVALID_ARGS,
			"new_id %u is in use on this connection", id);
	if (c->object_count >= CONNECTION_OBJECTS_MAX)
		return bad_call(fault, call, STATUS_NO_RESOURCES,
			"more than %d objects on this connection", CONNECTION_OBJECTS_MAX);
	call->child = malloc(sizeof(*call->child));
	if (!call->child)
		return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
	object_init(call->child, c, id, object_class_find(kind));
	call->child->opener = call;
	list_add_tail(&c->objects[id % CONNECTION_BUCKETS], &call->child->link);
	c->object_count++;
	return CODEC_OK;
}

/* A call on an object that has been closed: nothing is said, but what it was to create is gone as
 * well, lest calls on that look like nonsense. */
static void drop_call(struct connection *c, const struct call *call)
{
	uint32_t id;

	if (created_kind(&call->msg, &id) != OBJECT_ANY && !connection_object(c, id))
		connection_closed(c, id, STATUS_BAD_STATE);
}

static bool queue_call(struct object *o, struct call *call)
{
	bool waits = o->state != OBJECT_OPEN || o->active || o->pumping || !list_empty(&o->waiting);

	if (waits && !call_keep(call))
		return false;
	call->object = o;
	list_add_tail(&o->waiting, &call->link);
	return true;
}

/* Understood as a message; is it legal on this object, on this connection? */
static enum codec_verdict take_call(
	struct connection *c, struct call *call, struct codec_fault *fault, bool *used)
{
	const struct message *m = call->msg.message;
	struct object *o = connection_object(c, call->msg.object);
	enum codec_verdict verdict;

	if (call->msg.form != CODEC_CALL)
		return bad_call(fault, call, STATUS_INVALID_ARGS,
			"a reply with txid 0x%08x, of which no call is pending", call->msg.txid);
	if (!o && !connection_was_open(c, call->msg.object))
		return bad_call(fault, call, STATUS_NOT_FOUND, "object %u was never opened",
			call->msg.object);
	if (o && m->kind != OBJECT_ANY && m->kind != o->class->kind)
		return bad_call(fault, call, STATUS_INVALID_ARGS, "object %u is a %s", o->id,
			o->class->name);
	if (!o) {
		drop_call(c, call);
		return CODEC_OK;
	}
	if (m->method == METHOD_CLOSE) {
		connection_remember_gone(c, o->id);
		object_close(o);
		return CODEC_OK;
	}
	verdict = check_pending(c, call, fault);
	if (verdict == CODEC_OK)
		verdict = make_child(c, call, fault);
	if (verdict != CODEC_OK)
		return verdict;
	call_enter(call, c);
	*used = queue_call(o, call);
	if (!*used)
		return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
	object_pump(o);
	return CODEC_OK;
}

static bool keep_refusal(struct call *call, const struct codec_fault *fault)
{
	call->refusal = malloc(sizeof(*fault));
	if (call->refusal)
		*call->refusal = *fault;
	return call->refusal;
}

enum codec_verdict object_take(struct connection *c, struct frame *f, struct codec_fault *fault)
{
	struct call *call = calloc(1, sizeof(*call));
	enum codec_verdict verdict;
	bool used = false;

	if (!call)
		return codec_fault_set(fault, CODEC_VIOLATION, DOMAIN_STATUS, STATUS_NO_RESOURCES,
			f->header.txid, "out of memory");
	call->frame = *f;
	f->header.nfds = 0;
	list_init(&call->link);
	list_init(&call->calls_link);
	verdict = codec_decode(CODEC_SERVER, &call->frame, &call->msg, fault);
	if (verdict == CODEC_REFUSED && !keep_refusal(call, fault))
		verdict = codec_fault_set(fault, CODEC_VIOLATION, DOMAIN_STATUS,
			STATUS_NO_RESOURCES, call->msg.txid, "out of memory");
	if (verdict != CODEC_VIOLATION)
		verdict = take_call(c, call, fault, &used);
	if (!used) {
		if (call->child)
			call->child->opener = NULL;
		call_free(call);
	}
	return verdict;
}

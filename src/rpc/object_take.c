/* SPDX-License-Identifier: Apache-2.0 */
/* What came from the client: is it legal on this object, on this connection? */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/config_table.h"
#include "rpc/connection.h"
#include "rpc/object_private.h"

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

static enum codec_verdict check_room(
	const struct connection *c, const struct call *call, struct codec_fault *fault)
{
	if (c->object_count < CONNECTION_OBJECTS_MAX)
		return CODEC_OK;
	return bad_call(fault, call, STATUS_NO_RESOURCES, "more than %d objects on this connection",
		CONNECTION_OBJECTS_MAX);
}

/* An object that the call creates, opening; NULL: out of memory. */
static struct object *make_object(
	struct connection *c, struct call *call, uint32_t id, enum object_kind kind)
{
	struct object *o = malloc(sizeof(*o));

	if (!o)
		return NULL;
	object_init(o, c, id, object_class_find(kind));
	o->opener = call;
	list_add_tail(&c->objects[id % CONNECTION_BUCKETS], &o->link);
	c->object_count++;
	return o;
}

static enum codec_verdict make_child(
	struct connection *c, struct call *call, struct codec_fault *fault)
{
	uint32_t id;
	enum object_kind kind = call_created_kind(&call->msg, &id);

	if (kind == OBJECT_ANY)
		return CODEC_OK;
	if (connection_object(c, id))
		return bad_call(fault, call, STATUS_INVALID_ARGS,
			"new_id %u is in use on this connection", id);
	if (check_room(c, call, fault) != CODEC_OK)
		return CODEC_VIOLATION;
	call->child = make_object(c, call, id, kind);
	if (!call->child)
		return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
	return CODEC_OK;
}

static bool keep_refusal(struct call *call, const struct codec_fault *fault)
{
	if (!call->refusal)
		call->refusal = malloc(sizeof(*fault));
	if (call->refusal)
		*call->refusal = *fault;
	return call->refusal;
}

/* An id that cannot be is the config's fault, of which its turn will tell; the others are made all
 * the same, as they are closed with the refusal. */
static enum codec_verdict make_acceptor(struct connection *c, struct call *call,
	const struct config_listener *l, struct codec_fault *fault)
{
	bool launch = call->msg.message->method == METHOD_HOST_LAUNCH;
	struct object *o;

	if (l->acceptor_id && !connection_object(c, l->acceptor_id)) {
		if (check_room(c, call, fault) != CODEC_OK)
			return CODEC_VIOLATION;
		o = make_object(c, call, l->acceptor_id, OBJECT_VSOCK_ACCEPTOR);
		if (!o)
			return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
		list_add_tail(&call->acceptors, &o->opener_link);
		return CODEC_OK;
	}
	codec_fault_set(fault, CODEC_REFUSED, launch ? DOMAIN_MANAGER : DOMAIN_GUEST_ERROR,
		launch ? (unsigned int)MANAGER_BAD_CONFIG : (unsigned int)GUEST_BAD_CONFIG,
		call->msg.txid, "vsock_listeners: port %u: acceptor_id %u is %s", l->port,
		l->acceptor_id,
		l->acceptor_id ? "in use on this connection" : "no id; it has to be non-zero");
	if (!keep_refusal(call, fault))
		return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
	return CODEC_OK;
}

/* Makes the objects that the call is to create, opening. */
static enum codec_verdict make_children(
	struct connection *c, struct call *call, struct codec_fault *fault)
{
	enum codec_verdict verdict = make_child(c, call, fault);
	struct config_listener l;
	struct wire_cursor cursor;

	config_table_listeners(&call->msg, &cursor);
	while (verdict == CODEC_OK && wire_cursor_next(&cursor, &l))
		verdict = make_acceptor(c, call, &l, fault);
	return verdict;
}

/* A call on an object that has been closed: nothing is said, but what it was to create is gone as
 * well, lest calls on that look like nonsense. */
static void drop_call(struct connection *c, const struct call *call)
{
	struct config_listener l;
	struct wire_cursor cursor;
	uint32_t id;

	if (call_created_kind(&call->msg, &id) != OBJECT_ANY && !connection_object(c, id))
		connection_closed(c, id, STATUS_BAD_STATE);
	config_table_listeners(&call->msg, &cursor);
	while (wire_cursor_next(&cursor, &l))
		if (l.acceptor_id && !connection_object(c, l.acceptor_id))
			connection_closed(c, l.acceptor_id, STATUS_BAD_STATE);
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

/* The answer to an Accept. That of an object which is gone may have crossed with the end of it. */
static enum codec_verdict take_reply(
	struct connection *c, struct call *call, struct object *o, struct codec_fault *fault)
{
	if (!o || o->state != OBJECT_OPEN ||
		accepts_answered(&c->accepts, &call->msg, &call->frame))
		return CODEC_OK;
	return bad_call(fault, call, STATUS_INVALID_ARGS,
		"a reply with txid 0x%08x, of which no call is pending", call->msg.txid);
}

/* Understood as a message; is it legal on this object, on this connection? */
static enum codec_verdict take_call(
	struct connection *c, struct call *call, struct codec_fault *fault, bool *used)
{
	const struct message *m = call->msg.message;
	struct object *o = connection_object(c, call->msg.object);
	enum codec_verdict verdict;

	if (!o && !connection_was_open(c, call->msg.object))
		return bad_call(fault, call, STATUS_NOT_FOUND, "object %u was never opened",
			call->msg.object);
	if (o && m->kind != OBJECT_ANY && m->kind != o->class->kind)
		return bad_call(fault, call, STATUS_INVALID_ARGS, "object %u is a %s", o->id,
			o->class->name);
	if (call->msg.form != CODEC_CALL)
		return take_reply(c, call, o, fault);
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
		verdict = make_children(c, call, fault);
	if (verdict != CODEC_OK)
		return verdict;
	call_enter(call, c);
	*used = queue_call(o, call);
	if (!*used)
		return bad_call(fault, call, STATUS_NO_RESOURCES, "out of memory");
	object_pump(o);
	return CODEC_OK;
}

/* The connection is at its end, and they with it. */
static void forget_children(struct call *call)
{
	if (call->child)
		call->child->opener = NULL;
	call->child = NULL;
	while (!list_empty(&call->acceptors)) {
		struct object *o = list_first(&call->acceptors, struct object, opener_link);

		list_del(&o->opener_link);
		o->opener = NULL;
	}
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
	list_init(&call->acceptors);
	verdict = codec_decode(CODEC_SERVER, &call->frame, &call->msg, fault);
	if (verdict == CODEC_REFUSED && !keep_refusal(call, fault))
		verdict = codec_fault_set(fault, CODEC_VIOLATION, DOMAIN_STATUS,
			STATUS_NO_RESOURCES, call->msg.txid, "out of memory");
	if (verdict != CODEC_VIOLATION)
		verdict = take_call(c, call, fault, &used);
	if (!used) {
		forget_children(call);
		call_free(call);
	}
	return verdict;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a call: from its arrival to its answer, and the objects that it creates. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/connection.h"
#include "rpc/object_private.h"
#include "trace/probe.h"

bool call_has_reply(const struct call *call)
{
	return call->msg.message->shape == SHAPE_CALL;
}

void call_enter(struct call *call, struct connection *c)
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

void call_leave(struct call *call)
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

/* A Run lasts as long as its guest, which others may keep; of those a guest has one at most. */
void call_outlives(struct call *call)
{
	struct connection *c = call->conn;

	call_leave(call);
	if (call->msg.message->method == METHOD_LIFECYCLE_RUN)
		return;
	call->left = c;
	connection_call_left(c);
}

void call_free(struct call *call)
{
	struct object *o = call->object;

	call_leave(call);
	if (call->left)
		connection_call_ended(call->left);
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

/* The payload's bytes are the reader's; the copy is decoded anew. */
bool call_keep(struct call *call)
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

/* The empty reply, if the message has one; the call stays. */
static void call_send_done(struct call *call)
{
	struct codec_message reply;

	if (!call_has_reply(call) || !call->conn)
		return;
	codec_reply_init(&reply, &call->msg);
	CHECK(reply.nfds == 0);
	connection_send(call->conn, &reply, NULL);
}

void call_done(struct call *call)
{
	call_send_done(call);
	call_free(call);
}

enum object_kind call_created_kind(const struct codec_message *m, uint32_t *id)
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
	case METHOD_VSOCK_LISTEN:
		*id = m->p.listen.acceptor_id;
		return OBJECT_VSOCK_ACCEPTOR;
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
		object_class_find(call_created_kind(&call->msg, &id))->release(held);
		call_done(call);
		return;
	}
	/* Its replies come behind this one; but if its client has let go of it already, it goes
	 * before the next call on this call's object starts. */
	call_send_done(call);
	child->held = held;
	child->opener = NULL;
	child->state = OBJECT_OPEN;
	object_pump(child);
	call_free(call);
}

void call_open_acceptor(struct object *acceptor, void *held)
{
	list_del(&acceptor->opener_link);
	acceptor->held = held;
	acceptor->opener = NULL;
	acceptor->state = OBJECT_OPEN;
	object_pump(acceptor);
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

void call_end_children(struct call *call, enum status epitaph)
{
	struct object *child = call->child;

	call->child = NULL;
	if (child) {
		child->opener = NULL;
		object_end(child, epitaph, NULL);
	}
	while (!list_empty(&call->acceptors))
		object_end(list_first(&call->acceptors, struct object, opener_link), epitaph, NULL);
}

void call_refuse(struct call *call, const struct codec_fault *fault)
{
	struct codec_message reply;

	if (call->conn && call_has_reply(call)) {
		codec_error_init(&reply, &call->msg, fault);
		connection_send(call->conn, &reply, NULL);
	}
	call_end_children(call, refusal_epitaph(fault->domain, fault->code));
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

/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon sends: replies, Closed, Violation, and calls of acceptors. */
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "rpc/client_private.h"

/* The end: no more callbacks after this one. */
static void end_client(struct rv_client *c, const struct rv_error *why)
{
	if (c->state != CLIENT_OPEN)
		return;
	c->state = CLIENT_ENDED;
	/* What the daemon said of us is the better reason. */
	if (!c->end_known)
		c->end = *why;
	c->end_known = true;
	client_output_drop(c);
	close(c->sock);
	c->sock = -1;
	client_calls_fail(c, true, 0, &c->end);
	c->object_count = 0;
	c->accept_count = 0;
	if (c->events.disconnected && c->state != CLIENT_DESTROYED)
		c->events.disconnected(c, c->user, &c->end);
}

void client_end(struct rv_client *c, int err, const char *fmt, ...)
{
	struct rv_error e;
	va_list ap;

	va_start(ap, fmt);
	client_fail_va(&e, RV_DOMAIN_SYSTEM, (uint32_t)err, fmt, ap);
	va_end(ap);
	end_client(c, &e);
}

static void handle_reply(struct rv_client *c, const struct codec_message *m, struct frame *f)
{
	struct client_call *call = client_call_find(c, m->txid), taken;
	struct client_reply r;

	/* Nobody waits: the object was closed in the meantime. */
	if (!call)
		return;
	if (call->message != m->message || call->object != m->object) {
		client_end(c, EPROTO, "the daemon replied %s on object %u to %s on object %u",
			m->message->name, m->object, call->message->name, call->object);
		return;
	}
	taken = client_call_take(c, call);
	client_reply_decode(&r, m, f);
	client_call_finish(c, &taken, &r.reply);
	client_reply_finish(&r);
}

/* True if a call that would make `object` is not answered yet: that answer tells of the refusal. */
static bool being_created(const struct rv_client *c, rv_object object)
{
	for (unsigned int i = 0; i < c->call_count; i++)
		if (c->calls[i].created == object)
			return true;
	return false;
}

void client_accepts_drop(struct rv_client *c, rv_object acceptor)
{
	for (unsigned int i = 0; i < c->accept_count;)
		if (c->accepts[i].acceptor == acceptor)
			c->accepts[i] = c->accepts[--c->accept_count];
		else
			i++;
}

static void handle_closed(struct rv_client *c, rv_object object, uint32_t epitaph)
{
	bool tell = !being_created(c, object) && client_object_kind(c, object) != OBJECT_ANY;
	struct rv_error e;

	client_object_remove(c, object);
	client_accepts_drop(c, object);
	if (tell && c->events.closed)
		c->events.closed(c, c->user, object, epitaph);
	client_fail(&e, RV_DOMAIN_STATUS, RV_STATUS_PEER_CLOSED,
		"object %u was closed by the daemon: %s", object, status_name(epitaph));
	client_calls_fail(c, false, object, &e);
}

static void handle_violation(struct rv_client *c, const struct violation_event *v)
{
	struct error_reply reply = {.domain = DOMAIN_STATUS, .code = v->code, .detail = v->detail};

	client_error_copy(&c->end, &reply);
	c->end_known = true;
	if (c->events.violation)
		c->events.violation(c, c->user, &c->end);
}

static void handle_accept(struct rv_client *c, const struct codec_message *m)
{
	struct rv_accept request = {
		.acceptor = m->object,
		.id = m->txid,
		.src_cid = m->p.accept.src_cid,
		.src_port = m->p.accept.src_port,
		.port = m->p.accept.port,
	};
	struct codec_fault fault;
	struct codec_message refusal;

	if (client_object_kind(c, m->object) == OBJECT_VSOCK_ACCEPTOR && c->events.accept &&
		c->accept_count < CLIENT_ACCEPTS_MAX) {
		c->accepts[c->accept_count++] = (struct client_accept){m->txid, m->object};
		c->events.accept(c, c->user, &request);
		return;
	}
	codec_fault_set(&fault, CODEC_REFUSED, DOMAIN_STATUS, STATUS_CONNECTION_REFUSED, m->txid,
		"nobody accepts on port %u", request.port);
	codec_error_init(&refusal, m, &fault);
	client_send(c, &refusal, NULL, NULL);
}

static bool take_accept(struct rv_client *c, uint32_t id, struct codec_message *call)
{
	for (unsigned int i = 0; i < c->accept_count; i++) {
		if (c->accepts[i].txid != id)
			continue;
		codec_call_init(call, METHOD_ACCEPTOR_ACCEPT, c->accepts[i].acceptor, id);
		c->accepts[i] = c->accepts[--c->accept_count];
		return true;
	}
	return false;
}

int rv_accept_answer(struct rv_client *c, uint32_t id, int fd, struct rv_error *e)
{
	struct codec_message call, reply;

	if (!take_accept(c, id, &call)) {
		close(fd);
		return client_fail_errno(e, ENOENT, "no accept request %u waits", id);
	}
	codec_reply_init(&reply, &call);
	return client_send(c, &reply, &fd, e);
}

int rv_accept_refuse(struct rv_client *c, uint32_t id, enum rv_status status, const char *detail,
	struct rv_error *e)
{
	struct codec_message call, reply;
	struct codec_fault fault;

	if (!take_accept(c, id, &call))
		return client_fail_errno(e, ENOENT, "no accept request %u waits", id);
	codec_fault_set(&fault, CODEC_REFUSED, DOMAIN_STATUS, (uint32_t)status, id, "%s",
		detail ? detail : "");
	codec_error_init(&reply, &call, &fault);
	return client_send(c, &reply, NULL, e);
}

int rv_acceptor_create(struct rv_client *c, rv_object *acceptor, struct rv_error *e)
{
	return client_object_create(c, OBJECT_VSOCK_ACCEPTOR, acceptor, e);
}

static void handle_frame(struct rv_client *c, struct frame *f)
{
	struct codec_message m;
	struct codec_fault fault;

	if (codec_decode(CODEC_CLIENT, f, &m, &fault) != CODEC_OK)
		client_end(c, EPROTO, "the daemon broke the protocol: %s", fault.text.text);
	else if (m.form != CODEC_CALL)
		handle_reply(c, &m, f);
	else if (m.message->method == METHOD_CLOSE)
		handle_closed(c, m.object, (uint32_t)m.p.closed.epitaph);
	else if (m.message->method == METHOD_VIOLATION)
		handle_violation(c, &m.p.violation);
	else
		handle_accept(c, &m);
	frame_finish(f);
}

void client_handle_input(struct rv_client *c)
{
	struct frame f;
	struct diag d;
	int got = 0;

	while (c->state == CLIENT_OPEN && (got = frame_reader_next(&c->reader, &f, &d)) == 1)
		handle_frame(c, &f);
	if (got < 0)
		client_end(c, EPROTO, "the daemon broke the protocol: %s", d.text);
}

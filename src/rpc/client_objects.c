/* SPDX-License-Identifier: Apache-2.0 */
/* A client's objects and the calls that wait for a reply. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "rpc/client_private.h"

static struct client_object *find_object(const struct rv_client *c, rv_object id)
{
	for (unsigned int i = 0; i < c->object_count; i++)
		if (c->objects[i].id == id)
			return (struct client_object *)&c->objects[i];
	return NULL;
}

int client_object_create(
	struct rv_client *c, enum object_kind kind, rv_object *id, struct rv_error *e)
{
	if (c->object_count == RV_OBJECTS_MAX)
		return client_fail_errno(
			e, EMFILE, "%d objects are open; close some first", RV_OBJECTS_MAX);
	do {
		c->last_object++;
	} while (!c->last_object || find_object(c, c->last_object));
	c->objects[c->object_count++] = (struct client_object){c->last_object, kind};
	*id = c->last_object;
	return 0;
}

enum object_kind client_object_kind(const struct rv_client *c, rv_object id)
{
	const struct client_object *o = find_object(c, id);

	if (!id)
		return OBJECT_HOST;
	return o ? o->kind : OBJECT_ANY;
}

bool client_object_remove(struct rv_client *c, rv_object id)
{
	struct client_object *o = find_object(c, id);

	if (o)
		*o = c->objects[--c->object_count];
	return o;
}

struct client_call *client_call_find(struct rv_client *c, uint32_t txid)
{
	for (unsigned int i = 0; i < c->call_count; i++)
		if (c->calls[i].txid == txid)
			return &c->calls[i];
	return NULL;
}

/* Keeps the order, so that calls fail in the order in which they were made. */
struct client_call client_call_take(struct rv_client *c, struct client_call *call)
{
	struct client_call taken = *call;
	size_t behind = (size_t)(&c->calls[c->call_count] - (call + 1));

	memmove(call, call + 1, behind * sizeof(*call));
	c->call_count--;
	return taken;
}

void client_call_finish(struct rv_client *c, const struct client_call *call, struct rv_reply *reply)
{
	if (reply->error && call->created)
		client_object_remove(c, call->created);
	if (call->done)
		call->done(c, call->user, reply);
}

static struct client_call *find_waiting(struct rv_client *c, bool all_objects, rv_object object)
{
	for (unsigned int i = 0; i < c->call_count; i++)
		if (all_objects || c->calls[i].object == object)
			return &c->calls[i];
	return NULL;
}

void client_calls_fail(
	struct rv_client *c, bool all_objects, rv_object object, const struct rv_error *e)
{
	struct rv_error error = *e;
	struct client_call *call;

	/* From the start each time: a callback may have changed the list. */
	while ((call = find_waiting(c, all_objects, object))) {
		struct client_call taken = client_call_take(c, call);
		struct rv_reply reply = {.error = &error, .fd = -1};

		client_call_finish(c, &taken, &reply);
	}
}

/* Wraps before the server's half; a call may wait (Run) while all others have been used. */
static uint32_t next_txid(struct rv_client *c)
{
	uint32_t txid = c->last_txid;

	do {
		txid = txid % (CODEC_TXID_SERVER - 1) + 1;
	} while (client_call_find(c, txid));
	return txid;
}

int client_call_begin(struct rv_client *c, enum message_method method, rv_object object,
	struct codec_message *m, struct rv_error *e)
{
	const struct message *message = message_find((uint16_t)method, false);
	bool waits = message->shape == SHAPE_CALL;

	if (c->state != CLIENT_OPEN)
		return client_fail_errno(e, ENOTCONN, "the connection has ended");
	if (message->kind != client_object_kind(c, object))
		return client_fail_errno(e, EBADF, "%s: object %u is not open or not of that kind",
			message->name, object);
	if (waits && c->call_count == RV_CALLS_MAX)
		return client_fail_errno(e, EAGAIN, "%s: %d calls wait for their replies already",
			message->name, RV_CALLS_MAX);
	if (waits)
		c->last_txid = next_txid(c);
	codec_call_init(m, method, object, waits ? c->last_txid : 0);
	m->nfds = 0;
	return 0;
}

/* The message's descriptors stay the caller's: what is sent later needs its own. */
static int duplicate_fds(int *out, const int *fds, unsigned int count, struct rv_error *e)
{
	for (unsigned int i = 0; i < count; i++) {
		out[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (out[i] >= 0)
			continue;
		client_fail_errno(
			e, errno, "cannot duplicate descriptor %d: %s", fds[i], strerror(errno));
		while (i--)
			close(out[i]);
		return -1;
	}
	return 0;
}

int client_call_send(struct rv_client *c, const struct codec_message *m, const int *fds,
	rv_object created, rv_done_fn done, void *user, struct rv_error *e)
{
	int own[FRAME_FDS_MAX];

	if (duplicate_fds(own, fds, m->nfds, e) || client_send(c, m, own, e)) {
		if (created)
			client_object_remove(c, created);
		return -1;
	}
	if (m->message->shape == SHAPE_CALL)
		c->calls[c->call_count++] = (struct client_call){
			.txid = m->txid,
			.object = m->object,
			.created = created,
			.message = m->message,
			.done = done,
			.user = user,
		};
	return 0;
}

void client_call_forget(struct rv_client *c, uint32_t txid)
{
	struct client_call *call = client_call_find(c, txid);
	rv_object created = call ? call->created : 0;

	if (!call)
		return;
	call->done = NULL;
	call->created = 0;
	if (created)
		rv_close(c, created);
}

void rv_close(struct rv_client *c, rv_object object)
{
	struct codec_message m;
	struct rv_error e;

	if (!client_object_remove(c, object))
		return;
	client_accepts_drop(c, object);
	if (c->state == CLIENT_OPEN) {
		codec_call_init(&m, METHOD_CLOSE, object, 0);
		client_send(c, &m, NULL, NULL);
	}
	client_fail_errno(&e, ECANCELED, "object %u was closed", object);
	client_enter(c);
	client_calls_fail(c, false, object, &e);
	client_leave(c);
}

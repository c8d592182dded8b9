/* SPDX-License-Identifier: Apache-2.0 */
/* A command's end of a vsock connection. */
#include "vsock_stream.h"

#include "lib.h"
#include "shell.h"

static struct {
	struct vsock_stream *stream;
	uint32_t port;
} listening;

static bool stream_receive(struct vsock_conn *c, const uint8_t *data, uint32_t len)
{
	struct vsock_stream *s = c->owner;
	if (s && s->received < s->size) {
		uint64_t part = s->size - s->received;
		memcpy(s->text + s->received, data, part < len ? part : len);
	}
	if (s) {
		s->received += len;
		s->news = 1;
	}
	vsock_consumed(c, len);
	return true;
}

static uint32_t stream_offer(struct vsock_conn *c, uint32_t max, const uint8_t **data)
{
	struct vsock_stream *s = c->owner;
	if (!s)
		return 0;
	uint64_t len = s->left < max ? s->left : max;
	if (len > s->packet_bytes)
		len = s->packet_bytes;
	*data = s->data + (s->period ? s->sent % s->period : s->sent);
	s->sent += len;
	s->left -= len;
	return (uint32_t)len;
}

static void stream_sent(struct vsock_conn *c, uint32_t len)
{
	struct vsock_stream *s = c->owner;
	if (s)
		s->taken += len;
}

static uint32_t stream_ends(const struct vsock_conn *c)
{
	const struct vsock_stream *s = c->owner;
	return !s || s->left ? 0 : s->ends;
}

static void stream_changed(struct vsock_conn *c)
{
	struct vsock_stream *s = c->owner;
	if (!s)
		return;
	s->news = 1;
	if (c->state == VSOCK_OPEN) {
		s->conn = c;
		s->opened = 1;
		s->peer_ended = c->peer_ended & VSOCK_SHUTDOWN_SEND;
		if (listening.stream == s)
			listening.stream = NULL;
		return;
	}
	s->refused = !s->opened;
	s->reset = s->opened && !(c->peer_ended & VSOCK_SHUTDOWN_SEND) &&
		   c->own_ended != VSOCK_SHUTDOWN_BOTH;
	s->peer_ended = s->closed = 1;
	s->conn = NULL;
	c->owner = NULL;
	if (s->also)
		++*s->also;
}

static const struct vsock_service stream_service = {.name = "stream",
	.receive = stream_receive,
	.offer = stream_offer,
	.sent = stream_sent,
	.ends = stream_ends,
	.changed = stream_changed};

bool vsock_stream_connect(struct vsock_stream *s, struct vsock_address to)
{
	if (!s->packet_bytes)
		s->packet_bytes = VSOCK_PACKET_MAX;
	s->conn = vsock_conn_open(&stream_service, s, 0, to.cid, to.port);
	return s->conn ? true : fail("no room for another connection");
}

void vsock_stream_listen(struct vsock_stream *s, uint32_t port)
{
	if (s && !s->packet_bytes)
		s->packet_bytes = VSOCK_PACKET_MAX;
	listening.stream = s;
	listening.port = port;
}

const struct vsock_service *vsock_stream_listener(uint32_t port, void **owner)
{
	if (!listening.stream || listening.port != port)
		return NULL;
	*owner = listening.stream;
	return &stream_service;
}

void vsock_stream_push(struct vsock_stream *s, const uint8_t *data, uint64_t len)
{
	s->data = data;
	s->sent = 0;
	s->left = len;
	if (s->conn)
		vsock_conn_wake(s->conn);
}

void vsock_stream_close(struct vsock_stream *s)
{
	if (listening.stream == s)
		listening.stream = NULL;
	if (s->conn)
		vsock_conn_abort(s->conn);
}

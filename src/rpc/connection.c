/* SPDX-License-Identifier: Apache-2.0 */
/* A client's socket: one receive and one send in flight, and the way to its end. */
#include "rpc/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/server.h"

#define LINGER_NS   1000000000ULL
#define DRAIN_READS 64
#define REPLY_USUAL 64 /* bytes */

static void connection_receive(struct connection *c);
static void connection_leave_open(struct connection *c);

/* --- objects' ids --- */

struct object *connection_object(struct connection *c, uint32_t id)
{
	if (id == 0)
		return &c->host;
	list_for_each (l, &c->objects[id % CONNECTION_BUCKETS]) {
		struct object *o = list_entry(l, struct object, link);

		if (o->id == id)
			return o;
	}
	return NULL;
}

void connection_remember_gone(struct connection *c, uint32_t id)
{
	if (!c->gone)
		c->gone = malloc(CONNECTION_GONE_MAX * sizeof(*c->gone));
	if (c->gone)
		c->gone[c->gone_count++ % CONNECTION_GONE_MAX] = id;
}

bool connection_was_open(const struct connection *c, uint32_t id)
{
	unsigned int known = c->gone_count;

	if (known > CONNECTION_GONE_MAX)
		known = CONNECTION_GONE_MAX;
	for (unsigned int i = 0; i < known; i++)
		if (c->gone[i] == id)
			return true;
	return false;
}

void connection_closed(struct connection *c, uint32_t id, enum status epitaph)
{
	struct codec_message event;

	connection_remember_gone(c, id);
	codec_closed_init(&event, id, epitaph);
	connection_send(c, &event, NULL);
}

/* --- the end --- */

/* What the client still sends is thrown away, so that the socket's end does not look like an error
 * to it before it has read our last words. */
static void connection_drain(struct connection *c)
{
	uint8_t data[4096];

	shutdown(c->file.fd, SHUT_RDWR);
	for (unsigned int i = 0; i < DRAIN_READS; i++)
		if (recv(c->file.fd, data, sizeof(data), MSG_DONTWAIT) <= 0)
			break;
}

/* Nothing is in flight any more. */
static void connection_shut(struct connection *c)
{
	struct reactor *r = c->server->control;

	c->state = CONNECTION_LEFT;
	reactor_timer_stop(r, &c->linger_timer);
	reactor_task_cancel(&c->flush_task);
	connection_drain(c);
	io_file_close(r, &c->file);
	frame_reader_finish(&c->reader);
	outbox_finish(&c->outbox);
}

static void connection_settle(struct connection *c)
{
	struct server *s = c->server;

	if (c->state == CONNECTION_DEAD && !c->recv_op.in_flight && !c->send_op.in_flight)
		connection_shut(c);
	if (c->state != CONNECTION_LEFT || c->calls_left)
		return;
	reactor_task_cancel(&c->end_task);
	free(c->gone);
	list_del(&c->link);
	free(c);
	server_connection_over(s);
}

static void connection_die(struct connection *c)
{
	struct reactor *r = c->server->control;

	connection_leave_open(c);
	if (c->state >= CONNECTION_DEAD)
		return;
	c->state = CONNECTION_DEAD;
	io_cancel(r, &c->recv_op);
	io_cancel(r, &c->send_op);
	/* Never within a completion or a handler: who called may still look at the connection. */
	reactor_defer(r, &c->end_task);
}

static void connection_leave_open(struct connection *c)
{
	if (c->state != CONNECTION_OPEN)
		return;
	c->state = CONNECTION_CLOSING;
	object_release_all(c);
	accepts_finish(&c->accepts);
	io_cancel(c->server->control, &c->recv_op);
	if (!c->outbox.queued_bytes) {
		connection_die(c);
		return;
	}
	reactor_timer_start(c->server->control, &c->linger_timer, LINGER_NS);
	reactor_at_turn_end(c->server->control, &c->flush_task);
}

/* A descriptor in the queue costs few bytes, but what it stands for. */
static bool output_is_over(const struct connection *c)
{
	return c->outbox.queued_bytes > CONNECTION_OUTPUT_MAX ||
	       c->outbox.queued_fds > CONNECTION_FDS_MAX;
}

static bool connection_end_run(struct reactor_task *t)
{
	struct connection *c = container_of(t, struct connection, end_task);

	if (c->state == CONNECTION_OPEN)
		connection_leave_open(c);
	if (output_is_over(c))
		connection_die(c);
	connection_settle(c);
	return false;
}

void connection_call_left(struct connection *c)
{
	c->calls_left++;
}

void connection_call_ended(struct connection *c)
{
	CHECK(c->calls_left > 0);
	if (--c->calls_left == 0)
		reactor_defer(c->server->control, &c->end_task);
}

static void connection_linger_over(struct reactor_timer *t)
{
	connection_die(container_of(t, struct connection, linger_timer));
}

void connection_close(struct connection *c)
{
	connection_leave_open(c);
}

void connection_stop_reading(struct connection *c)
{
	c->deaf = true;
	io_cancel(c->server->control, &c->recv_op);
}

/* --- output --- */

/* What the next send takes; false: nothing is queued. */
static bool connection_prepare_send(struct connection *c)
{
	unsigned int count, nfds;
	const int *fds;

	count = outbox_front(&c->outbox, c->send_iov, &fds, &nfds);
	if (!count)
		return false;
	c->send_msg = (struct msghdr){.msg_iov = c->send_iov, .msg_iovlen = count};
	frame_control_put(&c->send_msg, &c->send_control, fds, nfds);
	return true;
}

/* A reader that keeps up takes it at once. That is one system call, as a request in the ring would
 * be, but its completion would end the turn's sleep before it began. The ring is for the others. */
static bool connection_flush(struct reactor_task *t)
{
	struct connection *c = container_of(t, struct connection, flush_task);

	if (c->send_op.in_flight || c->state >= CONNECTION_DEAD)
		return false;
	while (connection_prepare_send(c)) {
		ssize_t n = sendmsg(c->file.fd, &c->send_msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0) {
			io_sendmsg(c->server->control, &c->send_op, &c->file, &c->send_msg, 0);
			return false;
		}
		outbox_sent(&c->outbox, (uint32_t)n);
	}
	if (c->state == CONNECTION_CLOSING)
		connection_die(c);
	return false;
}

static void connection_sent(struct io_op *op, int res, uint32_t flags)
{
	struct connection *c = container_of(op, struct connection, send_op);

	(void)flags;
	if (res > 0)
		outbox_sent(&c->outbox, (uint32_t)res);
	else if (res != -EINTR && res != -EAGAIN)
		connection_die(c);
	if (c->state == CONNECTION_CLOSING && !c->outbox.queued_bytes)
		connection_die(c);
	if (c->state == CONNECTION_DEAD)
		reactor_defer(c->server->control, &c->end_task);
	else if (c->outbox.queued_bytes)
		reactor_at_turn_end(c->server->control, &c->flush_task);
}

static void close_fds(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		close(fds[i]);
}

/* A reply that cannot be made must not be missing without a word: the client is cut off. */
static void connection_send_failed(struct connection *c)
{
	reactor_defer(c->server->control, &c->end_task);
}

/* Where there is room for the usual reply it is written at once, else it is measured first. */
static int connection_encode(struct connection *c, const struct codec_message *m)
{
	uint32_t room;
	uint8_t *at = outbox_reserve(&c->outbox, REPLY_USUAL, m->nfds, &room);
	int len = at ? codec_encode(m, at, room) : -ENOMEM;

	if (len != -EMSGSIZE)
		return len;
	len = codec_encode(m, NULL, FRAME_SIZE_MAX);
	if (len < 0)
		return len;
	at = outbox_reserve(&c->outbox, (uint32_t)len, m->nfds, &room);
	return at ? codec_encode(m, at, room) : -ENOMEM;
}

void connection_send(struct connection *c, const struct codec_message *m, const int *fds)
{
	int len;

	if (c->state != CONNECTION_OPEN) {
		close_fds(fds, m->nfds);
		return;
	}
	len = connection_encode(c, m);
	if (len < 0) {
		close_fds(fds, m->nfds);
		connection_send_failed(c);
		return;
	}
	outbox_commit(&c->outbox, (uint32_t)len, fds, m->nfds);
	if (output_is_over(c))
		reactor_defer(c->server->control, &c->end_task);
	else
		reactor_at_turn_end(c->server->control, &c->flush_task);
}

/* --- input --- */

static void connection_violation(struct connection *c, const struct codec_fault *fault)
{
	struct codec_message event;

	codec_violation_init(&event, fault);
	connection_send(c, &event, NULL);
	connection_leave_open(c);
}

static void connection_read_frames(struct connection *c)
{
	struct codec_fault fault;
	struct frame frame;
	int got;

	while ((got = frame_reader_next(&c->reader, &frame, &fault.text)) > 0) {
		enum codec_verdict verdict = object_take(c, &frame, &fault);

		frame_finish(&frame);
		if (verdict == CODEC_VIOLATION) {
			connection_violation(c, &fault);
			return;
		}
	}
	if (got < 0) {
		codec_fault_frame(&fault, &frame);
		connection_violation(c, &fault);
	}
}

static void connection_received(struct io_op *op, int res, uint32_t flags)
{
	struct connection *c = container_of(op, struct connection, recv_op);
	int fds[FRAME_FDS_MAX], count = 0;

	(void)flags;
	if (res >= 0)
		count = frame_control_get(&c->recv_msg, fds);
	if (c->state != CONNECTION_OPEN) {
		if (count > 0)
			close_fds(fds, (unsigned int)count);
		reactor_defer(c->server->control, &c->end_task);
		return;
	}
	if (res > 0) {
		frame_reader_commit(&c->reader, (uint32_t)res, fds, count);
		connection_read_frames(c);
	} else if (res != -EINTR && res != -EAGAIN && !(c->deaf && res == -ECANCELED)) {
		connection_leave_open(c);
	}
	connection_receive(c);
}

static void connection_receive(struct connection *c)
{
	uint8_t *at;
	uint32_t room;

	if (c->state != CONNECTION_OPEN || c->deaf)
		return;
	if (frame_reader_space(&c->reader, &at, &room)) {
		connection_leave_open(c);
		return;
	}
	c->recv_iov = (struct iovec){at, room};
	c->recv_msg = (struct msghdr){
		.msg_iov = &c->recv_iov,
		.msg_iovlen = 1,
		.msg_control = &c->recv_control,
		.msg_controllen = sizeof(c->recv_control),
	};
	io_recvmsg(c->server->control, &c->recv_op, &c->file, &c->recv_msg, MSG_CMSG_CLOEXEC);
}

struct connection *connection_create(struct server *s, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->server = s;
	list_init(&c->link);
	c->recv_op.done = connection_received;
	c->send_op.done = connection_sent;
	frame_reader_init(&c->reader);
	outbox_init(&c->outbox);
	reactor_task_init(&c->flush_task, connection_flush);
	reactor_task_init(&c->end_task, connection_end_run);
	reactor_timer_init(&c->linger_timer, connection_linger_over);
	object_init(&c->host, c, 0, object_class_find(OBJECT_HOST));
	c->host.state = OBJECT_OPEN;
	for (unsigned int i = 0; i < CONNECTION_BUCKETS; i++)
		list_init(&c->objects[i]);
	list_init(&c->closing);
	list_init(&c->calls);
	accepts_init(&c->accepts, c);
	io_file_open(s->control, &c->file, fd);
	connection_receive(c);
	return c;
}

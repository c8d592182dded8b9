/* SPDX-License-Identifier: Apache-2.0 */
/* One write and one read in flight, a ring of kept output between them and the device. */
#include "core/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/check.h"

#define LINGER_NS 2000000000ULL
/* A terminal that somebody made non-blocking answers -EAGAIN: io_uring does not wait for it. */
#define RETRY_NS 10000000ULL

static void stream_flush(struct stream *s);
static void stream_read(struct stream *s);
static void stream_finish_close(struct stream *s);

static uint32_t kept_bytes(const struct stream *s)
{
	return s->kept_head - s->kept_tail;
}

static void stream_written(struct io_op *op, int res, uint32_t flags)
{
	struct stream *s = container_of(op, struct stream, write_op);
	bool old = stream_end_let_go(s->home, &s->end.old_out);

	(void)flags;
	if (res > 0) {
		s->kept_tail += (uint32_t)res;
		s->bytes_out += (uint64_t)res;
	} else if (!old && res != -EINTR && res != -EAGAIN && res != -ECANCELED) {
		/* Nobody will ever read: what comes from now on is dropped and counted. */
		s->out_broken = true;
		stream_end_broken(&s->end, res);
		s->dropped_bytes += kept_bytes(s);
		s->kept_tail = s->kept_head;
	}
	if (s->closing && (!s->linger || !kept_bytes(s)))
		stream_finish_close(s);
	else if (res == -EAGAIN)
		reactor_timer_start(s->home, &s->retry_timer, RETRY_NS);
	else
		stream_flush(s);
}

static void stream_got(struct io_op *op, int res, uint32_t flags)
{
	struct stream *s = container_of(op, struct stream, read_op);
	bool old = stream_end_let_go(s->home, &s->end.old_in);

	(void)flags;
	if (s->closing) {
		stream_finish_close(s);
		return;
	}
	if ((res <= 0 && old) || res == -EINTR) {
		stream_read(s);
		return;
	}
	if (res == -EAGAIN) {
		reactor_timer_start(s->home, &s->retry_timer, RETRY_NS);
		return;
	}
	if (res <= 0) {
		s->in_ended = true;
		return;
	}
	s->bytes_in += (uint64_t)res;
	s->in_start = 0;
	s->in_end = (uint32_t)res;
	stream_input_ready(s);
}

static void stream_linger_over(struct reactor_timer *t)
{
	struct stream *s = container_of(t, struct stream, linger_timer);

	/* Whatever the write in flight still comes to, there is no other. */
	s->linger = false;
	io_cancel(s->home, &s->write_op);
	stream_finish_close(s);
}

static void stream_retry(struct reactor_timer *t)
{
	struct stream *s = container_of(t, struct stream, retry_timer);

	stream_flush(s);
	if (s->in_start == s->in_end)
		stream_read(s);
}

static bool stream_flush_task(struct reactor_task *t)
{
	stream_flush(container_of(t, struct stream, flush_task));
	return false;
}

void stream_init(struct stream *s, struct reactor *home,
	uint32_t (*input)(void *, const uint8_t *, uint32_t), void *ctx)
{
	memset(s, 0, sizeof(*s));
	s->home = home;
	s->input = input;
	s->ctx = ctx;
	s->end = STREAM_END_NONE;
	s->write_op.done = stream_written;
	s->read_op.done = stream_got;
	reactor_task_init(&s->flush_task, stream_flush_task);
	reactor_timer_init(&s->retry_timer, stream_retry);
	reactor_timer_init(&s->linger_timer, stream_linger_over);
}

static void stream_flush(struct stream *s)
{
	uint32_t at = s->kept_tail % STREAM_KEPT_BYTES;
	uint32_t len = kept_bytes(s);

	if (s->end.out.fd < 0 || s->write_op.in_flight || !len || s->out_broken)
		return;
	if (len > STREAM_KEPT_BYTES - at)
		len = STREAM_KEPT_BYTES - at;
	stream_end_write(&s->end, s->home, &s->write_op, s->kept + at, len);
}

static void stream_read(struct stream *s)
{
	if (s->end.in.fd < 0 || s->read_op.in_flight || s->in_ended || s->closing)
		return;
	io_read(s->home, &s->read_op, &s->end.in, s->in_data, sizeof(s->in_data), (uint64_t)-1);
}

void stream_input_ready(struct stream *s)
{
	if (s->in_start < s->in_end)
		s->in_start += s->input ? s->input(s->ctx, s->in_data + s->in_start,
						  s->in_end - s->in_start)
					: s->in_end - s->in_start;
	if (s->in_start == s->in_end)
		stream_read(s);
}

/* The clients' end was shut down by one of them, and there is a new pair. */
static void stream_renew(struct stream *s)
{
	s->in_ended = s->out_broken = false;
	if (s->read_op.in_flight)
		io_cancel(s->home, &s->read_op);
	else
		stream_end_let_go(s->home, &s->end.old_in);
	if (s->write_op.in_flight)
		io_cancel(s->home, &s->write_op);
	else
		stream_end_let_go(s->home, &s->end.old_out);
}

int stream_client(struct stream *s, struct diag *d)
{
	int fd;

	if (s->closing)
		return diag_fail(d, -ESHUTDOWN, "the stream is at its end");
	fd = stream_end_client(&s->end, s->home, s->out_broken, d);
	if (stream_end_is_renewed(&s->end))
		stream_renew(s);
	stream_flush(s);
	stream_read(s);
	return fd;
}

void stream_open_files(struct stream *s, int in, int out, struct stream_loss *loss)
{
	s->linger = true;
	stream_end_open_files(&s->end, s->home, in, out, loss);
	stream_flush(s);
	stream_read(s);
}

uint32_t stream_room(const struct stream *s)
{
	return STREAM_KEPT_BYTES - kept_bytes(s);
}

void stream_write(struct stream *s, const void *data, uint32_t len_bytes)
{
	const uint8_t *from = data;
	uint32_t take = len_bytes;

	if (!s->kept && !s->out_broken)
		s->kept = malloc(STREAM_KEPT_BYTES);
	if (!s->kept || s->out_broken || s->closing)
		take = 0;
	else if (take > stream_room(s))
		take = stream_room(s);
	s->dropped_bytes += len_bytes - take;
	if (!take)
		return;
	while (take) {
		uint32_t at = s->kept_head % STREAM_KEPT_BYTES;
		uint32_t part = take < STREAM_KEPT_BYTES - at ? take : STREAM_KEPT_BYTES - at;

		memcpy(s->kept + at, from, part);
		s->kept_head += part;
		from += part;
		take -= part;
	}
	reactor_at_turn_end(s->home, &s->flush_task);
}

/* What fits the socket now; the reader finds it there after our end is closed. */
static void stream_last_words(struct stream *s)
{
	while (kept_bytes(s) && s->end.client_end >= 0) {
		uint32_t at = s->kept_tail % STREAM_KEPT_BYTES;
		uint32_t len = kept_bytes(s);
		ssize_t n;

		if (len > STREAM_KEPT_BYTES - at)
			len = STREAM_KEPT_BYTES - at;
		n = send(s->end.out.fd, s->kept + at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			break;
		s->kept_tail += (uint32_t)n;
	}
	s->dropped_bytes += kept_bytes(s);
	s->kept_tail = s->kept_head;
}

static void stream_closed_msg(struct reactor_timer *t)
{
	struct stream *s = container_of(t, struct stream, linger_timer);

	s->closed(s);
}

static void stream_finish_close(struct stream *s)
{
	bool to_write = s->linger && kept_bytes(s) && reactor_timer_armed(&s->retry_timer);

	if (s->write_op.in_flight || s->read_op.in_flight || to_write)
		return;
	reactor_timer_stop(s->home, &s->retry_timer);
	reactor_timer_stop(s->home, &s->linger_timer);
	stream_last_words(s);
	stream_end_close(&s->end, s->home, s->dropped_bytes);
	free(s->kept);
	s->kept = NULL;
	s->linger_timer.fire = stream_closed_msg;
	reactor_timer_start(s->home, &s->linger_timer, 0);
}

void stream_close(struct stream *s, void (*closed)(struct stream *s))
{
	CHECK(!s->closing);
	reactor_task_cancel(&s->flush_task);
	stream_flush(s);
	s->closing = true;
	s->closed = closed;
	if (s->read_op.in_flight)
		io_cancel(s->home, &s->read_op);
	if (s->write_op.in_flight) {
		if (s->linger)
			reactor_timer_start(s->home, &s->linger_timer, LINGER_NS);
		else
			io_cancel(s->home, &s->write_op);
	}
	stream_finish_close(s);
}

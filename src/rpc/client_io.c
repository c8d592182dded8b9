/* SPDX-License-Identifier: Apache-2.0 */
/* The client's socket: output that never waits, input into the frame reader. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/client_private.h"

static void close_fds(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void chunk_destroy(struct client_chunk *chunk)
{
	close_fds(chunk->fds, chunk->nfds);
	free(chunk);
}

static void drop_first(struct rv_client *c)
{
	struct client_chunk *chunk = c->out_first;

	c->out_first = chunk->next;
	if (!c->out_first)
		c->out_last = &c->out_first;
	c->out_bytes -= chunk->len_bytes;
	chunk_destroy(chunk);
}

void client_output_drop(struct rv_client *c)
{
	while (c->out_first)
		drop_first(c);
}

/* rv_fd is to wake its owner for output only while there is some. */
static void watch_output(struct rv_client *c)
{
	bool wanted = c->out_first && !c->out_broken;
	struct epoll_event event = {.events = EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0u)};

	if (wanted == c->out_polled || c->sock < 0)
		return;
	if (!epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->sock, &event))
		c->out_polled = wanted;
}

static ssize_t send_chunk(struct rv_client *c, struct client_chunk *chunk)
{
	struct iovec iov = {chunk->bytes + chunk->sent_bytes, chunk->len_bytes - chunk->sent_bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union frame_control control;
	ssize_t n;

	frame_control_put(&msg, &control, chunk->fds, chunk->nfds);
	do {
		n = sendmsg(c->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n > 0 && chunk->nfds) {
		/* They went with the first byte. */
		close_fds(chunk->fds, chunk->nfds);
		chunk->nfds = 0;
	}
	return n;
}

void client_flush(struct rv_client *c)
{
	while (c->out_first && !c->out_broken) {
		ssize_t n = send_chunk(c, c->out_first);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			/* Not the end yet: a last event may wait to be read. */
			c->out_broken = true;
			client_output_drop(c);
			break;
		}
		c->out_first->sent_bytes += (uint32_t)n;
		if (c->out_first->sent_bytes == c->out_first->len_bytes)
			drop_first(c);
	}
	watch_output(c);
}

static int send_error(const struct codec_message *m, int err, struct rv_error *e)
{
	if (err == -EMSGSIZE)
		return client_fail_errno(e, EMSGSIZE, "%s: the message would be over %d bytes",
			m->message->name, FRAME_SIZE_MAX);
	return client_fail_errno(e, -err, "%s: a string is not UTF-8", m->message->name);
}

static int queue_message(
	struct rv_client *c, const struct codec_message *m, const int *fds, struct rv_error *e)
{
	int len = codec_encode(m, NULL, FRAME_SIZE_MAX);
	struct client_chunk *chunk;

	if (len < 0)
		return send_error(m, len, e);
	if (c->out_broken)
		return client_fail_errno(e, EPIPE, "the daemon has closed the connection");
	if (c->out_bytes + (size_t)len > CLIENT_OUTPUT_MAX)
		return client_fail_errno(
			e, EAGAIN, "the daemon does not read: %zu bytes wait", c->out_bytes);
	chunk = calloc(1, sizeof(*chunk) + (size_t)len);
	if (!chunk)
		return client_fail_errno(e, ENOMEM, "out of memory");
	codec_encode(m, chunk->bytes, (uint32_t)len);
	chunk->len_bytes = (uint32_t)len;
	chunk->nfds = m->nfds;
	if (m->nfds)
		memcpy(chunk->fds, fds, sizeof(int) * m->nfds);
	*c->out_last = chunk;
	c->out_last = &chunk->next;
	c->out_bytes += (size_t)len;
	return 0;
}

int client_send(
	struct rv_client *c, const struct codec_message *m, const int *fds, struct rv_error *e)
{
	if (queue_message(c, m, fds, e)) {
		close_fds(fds, m->nfds);
		return -1;
	}
	client_flush(c);
	return 0;
}

int client_receive(struct rv_client *c)
{
	union frame_control control;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int fds[FRAME_FDS_MAX], count;
	uint32_t room;
	uint8_t *at;
	ssize_t n;

	if (frame_reader_space(&c->reader, &at, &room))
		return -ENOMEM;
	iov.iov_base = at;
	iov.iov_len = room;
	do {
		n = recvmsg(c->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	count = frame_control_get(&msg, fds);
	frame_reader_commit(&c->reader, (uint32_t)n, fds, count);
	return (int)n;
}

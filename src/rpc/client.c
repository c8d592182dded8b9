/* SPDX-License-Identifier: Apache-2.0 */
/* A client's connection: objects, calls that wait, and what the daemon sends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "core/utf8.h"
#include "rpc/client_private.h"
#include "rpc/endpoint.h"

/* Receives in one rv_dispatch: a daemon that talks without a pause does not keep its owner. */
#define RECEIVES_MAX 64

int client_fail_va(struct rv_error *e, uint32_t domain, uint32_t code, const char *fmt, va_list ap)
{
	if (!e)
		return -1;
	e->domain = domain;
	e->code = code;
	vsnprintf(e->detail, sizeof(e->detail), fmt, ap);
	utf8_scrub(e->detail);
	return -1;
}

int client_fail(struct rv_error *e, uint32_t domain, uint32_t code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	client_fail_va(e, domain, code, fmt, ap);
	va_end(ap);
	return -1;
}

int client_fail_errno(struct rv_error *e, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	client_fail_va(e, RV_DOMAIN_SYSTEM, (uint32_t)err, fmt, ap);
	va_end(ap);
	return -1;
}

static void free_client(struct rv_client *c)
{
	struct rv_error e;

	/* Callbacks of the last calls may still name the client. */
	c->busy++;
	client_fail_errno(&e, ECANCELED, "the client was destroyed");
	client_calls_fail(c, true, 0, &e);
	client_output_drop(c);
	frame_reader_finish(&c->reader);
	if (c->sock >= 0)
		close(c->sock);
	if (c->epoll >= 0)
		close(c->epoll);
	free(c);
}

void client_enter(struct rv_client *c)
{
	c->busy++;
}

/* *c may be gone behind this. */
void client_leave(struct rv_client *c)
{
	if (--c->busy == 0 && c->state == CLIENT_DESTROYED)
		free_client(c);
}

static void receive_all(struct rv_client *c)
{
	for (int i = 0; i < RECEIVES_MAX && c->state == CLIENT_OPEN; i++) {
		int n = client_receive(c);

		if (n == -EAGAIN)
			return;
		if (n > 0)
			client_handle_input(c);
		else if (n == 0)
			client_end(c, ECONNRESET, "the daemon closed the connection");
		else
			client_end(c, -n, "receiving failed: %s", strerror(-n));
	}
}

int rv_dispatch(struct rv_client *c, struct rv_error *e)
{
	int result = 0;

	if (c->busy)
		return client_fail_errno(e, EDEADLK, "called from a callback");
	client_enter(c);
	if (c->state == CLIENT_OPEN)
		client_flush(c);
	receive_all(c);
	if (c->state == CLIENT_OPEN)
		client_flush(c);
	if (c->state != CLIENT_OPEN) {
		if (e)
			*e = c->end;
		result = -1;
	}
	client_leave(c);
	return result;
}

int rv_wait(struct rv_client *c, int timeout_ms, struct rv_error *e)
{
	struct pollfd p = {.fd = c->epoll, .events = POLLIN};
	int n;

	if (c->busy)
		return client_fail_errno(e, EDEADLK, "called from a callback");
	if (c->state != CLIENT_OPEN)
		return rv_dispatch(c, e);
	n = poll(&p, 1, timeout_ms);
	if (n < 0 && errno != EINTR)
		return client_fail_errno(e, errno, "poll: %s", strerror(errno));
	if (n <= 0)
		return 0;
	return rv_dispatch(c, e) ? -1 : 1;
}

int rv_fd(const struct rv_client *c)
{
	return c->epoll;
}

static int watch_socket(struct rv_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int flags = fcntl(c->sock, F_GETFL);

	if (flags < 0 || fcntl(c->sock, F_SETFL, flags | O_NONBLOCK) < 0)
		return -1;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll < 0)
		return -1;
	return epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->sock, &event);
}

struct rv_client *rv_connect_fd(
	int fd, const struct rv_events *events, void *user, struct rv_error *e)
{
	struct rv_client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		client_fail_errno(e, ENOMEM, "out of memory for a client");
		return NULL;
	}
	c->sock = fd;
	c->epoll = -1;
	c->out_last = &c->out_first;
	c->user = user;
	if (events)
		c->events = *events;
	frame_reader_init(&c->reader);
	if (watch_socket(c)) {
		client_fail_errno(e, errno, "cannot watch the socket: %s", strerror(errno));
		free_client(c);
		return NULL;
	}
	return c;
}

/* A Unix socket's connect waits only while the daemon's backlog is full, and SO_SNDTIMEO bounds it;
 * a non-blocking one could not be polled for the end of that. */
static int connect_socket(const struct sockaddr_un *address, int timeout_ms, struct rv_error *e)
{
	struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
	int fd = socket(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (timeout_ms == 0 ? SOCK_NONBLOCK : 0), 0);

	if (fd < 0)
		return client_fail_errno(e, errno, "socket: %s", strerror(errno));
	if (timeout_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		goto fail;
	if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)))
		return fd;
	if (errno == EAGAIN)
		errno = ETIMEDOUT;
fail:
	client_fail_errno(e, errno, "%s: %s", address->sun_path, strerror(errno));
	close(fd);
	return -1;
}

struct rv_client *rv_connect(const char *path, const struct rv_events *events, void *user,
	int timeout_ms, struct rv_error *e)
{
	struct sockaddr_un address;
	struct diag d;
	int fd, err = endpoint_address(&address, path, &d);

	if (err) {
		client_fail_errno(e, -err, "%s", d.text);
		return NULL;
	}
	fd = connect_socket(&address, timeout_ms, e);
	return fd < 0 ? NULL : rv_connect_fd(fd, events, user, e);
}

void rv_destroy(struct rv_client *c)
{
	if (!c || c->state == CLIENT_DESTROYED)
		return;
	c->events = (struct rv_events){0};
	c->state = CLIENT_DESTROYED;
	if (!c->end_known)
		client_fail_errno(&c->end, ECANCELED, "the client was destroyed");
	if (!c->busy)
		free_client(c);
}

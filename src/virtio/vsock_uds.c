/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock over Unix sockets. */
#include "virtio/vsock_uds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/check.h"
#include "core/passrights.h"

/* One peer whose first line is being read, or whose connect the guest has not answered. The
 * descriptor is not registered: it passes on to the connection. */
struct handshake {
	struct vsock_uds *u;
	struct list link;
	struct io_file file; /* the socket, until it is the connection's */
	int fd;              /* since then; not owned */
	struct io_op op;
	struct reactor_timer timer;
	struct vsock_connect connect;
	bool ended; /* freed as soon as `op` is back */
	unsigned int len;
	char line[UDS_LINE_MAX + 1];
};

/* One connection that the guest asked for. */
struct dial {
	struct vsock_uds *u;
	struct list link;
	struct vsock_accept request;
	struct reactor_job job;
	struct reactor_timer timer;
	unsigned int tries;
	int fd; /* or -errno */
};

static struct reactor *home(const struct vsock_uds *u)
{
	return u->v->dev.env->reactor;
}

/* --- handshakes --- */

static void end_check(struct vsock_uds *u)
{
	if (u->stopped && list_empty(&u->handshakes) && list_empty(&u->dials) &&
		!u->accept.in_flight)
		reactor_defer(home(u), &u->end_task);
}

static void handshake_free(struct handshake *h)
{
	struct vsock_uds *u = h->u;

	h->ended = true;
	reactor_timer_stop(home(u), &h->timer);
	if (h->op.in_flight) {
		io_cancel(home(u), &h->op);
		return;
	}
	if (h->file.fd >= 0)
		close(h->file.fd);
	list_del(&h->link);
	u->handshake_count--;
	free(h);
	end_check(u);
}

static void handshake_end(struct handshake *h)
{
	if (h->connect.conn)
		vsock_connect_cancel(h->u->v, &h->connect); /* closes the socket */
	handshake_free(h);
}

static void handshake_late(struct reactor_timer *t)
{
	handshake_free(container_of(t, struct handshake, timer));
}

/* The peer's socket is the connection's by now, and nothing has been written to it: a few bytes
 * find room. If not, the peer is gone, which the connection finds out. */
static void handshake_connected(struct vsock_connect *c, int err, uint32_t host_port, int fd)
{
	struct handshake *h = container_of(c, struct handshake, connect);
	char text[32];
	int len = snprintf(text, sizeof(text), "OK %u\n", host_port);

	CHECK(fd < 0);
	if (!err)
		(void)!send(h->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	handshake_free(h);
}

/* "CONNECT <port>\n", nothing else. */
static bool line_parse(const char *line, uint32_t *port)
{
	static const char verb[] = "CONNECT ";
	const char *at = line + sizeof(verb) - 1;
	uint64_t value = 0;

	if (strncmp(line, verb, sizeof(verb) - 1) || *at == '\n')
		return false;
	for (; *at >= '0' && *at <= '9' && value <= UINT32_MAX; at++)
		value = 10 * value + (uint64_t)(*at - '0');
	*port = (uint32_t)value;
	return *at == '\n' && value <= UINT32_MAX;
}

static void line_complete(struct handshake *h)
{
	uint32_t port;
	int fd = h->file.fd;

	reactor_timer_stop(home(h->u), &h->timer);
	if (!line_parse(h->line, &port) || vsock_connect_over(h->u->v, port, &h->connect, fd)) {
		handshake_free(h);
		return;
	}
	h->file = IO_FILE_NONE;
	h->fd = fd;
}

static void line_read(struct handshake *h)
{
	io_recv(home(h->u), &h->op, &h->file, h->line + h->len, UDS_LINE_MAX - h->len, MSG_PEEK);
}

/* Takes what was seen out of the socket, up to the end of the line. */
static void line_seen(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct handshake *h = container_of(op, struct handshake, op);
	char *end = res > 0 ? memchr(h->line + h->len, '\n', (size_t)res) : NULL;
	size_t take = end ? (size_t)(end - h->line) + 1 - h->len : res > 0 ? (size_t)res : 0;

	(void)cqe_flags;
	if (h->ended || res <= 0 || h->len + take > UDS_LINE_MAX ||
		recv(h->file.fd, h->line + h->len, take, MSG_DONTWAIT) != (ssize_t)take) {
		handshake_free(h);
		return;
	}
	h->len += (unsigned int)take;
	if (end && h->line[h->len - 1] == '\n')
		line_complete(h);
	else if (end || h->len == UDS_LINE_MAX)
		handshake_free(h);
	else
		line_read(h);
}

static void handshake_start(struct vsock_uds *u, int fd)
{
	struct handshake *h = u->handshake_count < UDS_HANDSHAKES_MAX && !u->stopped
				      ? calloc(1, sizeof(*h))
				      : NULL;

	if (!h) {
		close(fd);
		return;
	}
	h->u = u;
	h->file = (struct io_file){.fd = fd, .slot = -1};
	h->fd = -1;
	h->op.done = line_seen;
	h->connect.done = handshake_connected;
	reactor_timer_init(&h->timer, handshake_late);
	reactor_timer_start(home(u), &h->timer, UDS_LINE_NS);
	list_add_tail(&u->handshakes, &h->link);
	u->handshake_count++;
	line_read(h);
}

static void accept_start(struct reactor_timer *t)
{
	struct vsock_uds *u = container_of(t, struct vsock_uds, accept_again);

	if (!u->accept.in_flight && !u->stopped)
		io_accept(home(u), &u->accept, &u->listener);
}

static void accepted(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct vsock_uds *u = container_of(op, struct vsock_uds, accept);

	if (res >= 0)
		handshake_start(u, res);
	if (cqe_flags & IO_MORE)
		return;
	if (u->stopped)
		end_check(u);
	else
		reactor_timer_start(home(u), &u->accept_again, res < 0 ? UDS_RETRY_NS : 0);
}

/* --- dials --- */

static void dial_end(struct dial *d)
{
	struct vsock_uds *u = d->u;

	vsock_accepted(u->v, &d->request, d->fd);
	list_del(&d->link);
	u->dial_count--;
	free(d);
	end_check(u);
}

/* Does not wait for the listener, but perhaps for the file system. */
static void dial_connect(struct dial *d)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int n = snprintf(to.sun_path, sizeof(to.sun_path), "%s_%u", d->u->path, d->request.port);

	if (n < 0 || (size_t)n >= sizeof(to.sun_path)) {
		d->fd = -ENAMETOOLONG;
		return;
	}
	d->fd = socket(AF_UNIX,
		(d->request.type == VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM) |
			SOCK_CLOEXEC | SOCK_NONBLOCK,
		0);
	if (d->fd < 0) {
		d->fd = -errno;
	} else if (connect(d->fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		int err = -errno;

		close(d->fd);
		d->fd = err;
	}
}

static void dial_work(struct reactor_job *job)
{
	dial_connect(container_of(job, struct dial, job));
}

static void dial_result(struct dial *d)
{
	if (d->fd == -EAGAIN && ++d->tries < UDS_TRIES && !d->u->stopped)
		reactor_timer_start(home(d->u), &d->timer, UDS_RETRY_NS);
	else
		dial_end(d);
}

static void dial_done(struct reactor_job *job)
{
	dial_result(container_of(job, struct dial, job));
}

/* A helper thread costs two switches of threads, and a place on a processor that the guest may
 * need; a name that a listener holds is in the kernel's cache if the file system is local. */
static void dial_try(struct dial *d)
{
	if (!d->u->near) {
		reactor_offload(home(d->u), &d->job);
		return;
	}
	dial_connect(d);
	dial_result(d);
}

static void dial_again(struct reactor_timer *t)
{
	dial_try(container_of(t, struct dial, timer));
}

static void dial_start(struct vsock_acceptor *a, const struct vsock_accept *request)
{
	struct vsock_uds *u = container_of(a, struct vsock_uds, acceptor);
	struct dial *d =
		u->dial_count < UDS_DIALS_MAX && !u->stopped ? calloc(1, sizeof(*d)) : NULL;

	if (!d) {
		vsock_accepted(u->v, request, -ENOMEM);
		return;
	}
	d->u = u;
	d->request = *request;
	d->job = (struct reactor_job){.work = dial_work, .done = dial_done};
	reactor_timer_init(&d->timer, dial_again);
	list_add_tail(&u->dials, &d->link);
	u->dial_count++;
	dial_try(d);
}

/* --- life --- */

static bool end_run(struct reactor_task *t)
{
	struct vsock_uds *u = container_of(t, struct vsock_uds, end_task);
	void (*stopped)(struct vsock_uds *) = u->stopped;

	u->stopped = NULL;
	io_file_close(home(u), &u->listener);
	stopped(u);
	return false;
}

void vsock_uds_attach(struct vsock_uds *u)
{
	if (!u->path[0])
		return;
	io_file_open(home(u), &u->listener, u->fd);
	u->fd = -1;
	u->v->fallback = &u->acceptor;
	io_accept(home(u), &u->accept, &u->listener);
}

void vsock_uds_stop(struct vsock_uds *u, void (*stopped)(struct vsock_uds *u))
{
	u->stopped = stopped;
	u->v->fallback = NULL;
	reactor_timer_stop(home(u), &u->accept_again);
	io_cancel(home(u), &u->accept);
	list_for_each_safe (l, &u->handshakes)
		handshake_end(list_entry(l, struct handshake, link));
	list_for_each_safe (l, &u->dials) {
		struct dial *d = list_entry(l, struct dial, link);

		if (!reactor_timer_armed(&d->timer))
			continue; /* its job will be back soon */
		reactor_timer_stop(home(u), &d->timer);
		dial_end(d);
	}
	end_check(u);
}

/* --- the socket --- */

static bool somebody_listens(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 &&
		   (!connect(fd, (const struct sockaddr *)at, sizeof(*at)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

/* A socket that a daemon left behind that is gone may go. */
static void stale_remove(const struct sockaddr_un *at)
{
	struct stat st;

	if (!lstat(at->sun_path, &st) && S_ISSOCK(st.st_mode) && !somebody_listens(at))
		unlink(at->sun_path);
}

/* File systems that ask nobody for a name. */
static bool is_near(const char *path)
{
	static const long types[] = {TMPFS_MAGIC, RAMFS_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
		BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC};
	struct statfs s;

	if (statfs(path, &s))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((long)s.f_type == types[i])
			return true;
	return false;
}

static enum guest_error socket_make(struct vsock_uds *u, struct diag *d)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct stat st;

	strcpy(at.sun_path, u->path);
	u->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0) {
		diag_errno(d, -errno, "vsock_uds_path: making a socket");
		return GUEST_FAILED_SERVICE_CONNECT;
	}
	passrights_refuse(u->fd);
	if (somebody_listens(&at)) {
		diag_fail(d, -EADDRINUSE,
			"vsock_uds_path \"%s\": somebody listens there already; choose another "
			"path",
			u->path);
		return GUEST_DUPLICATE_PUBLIC_SERVICES;
	}
	stale_remove(&at);
	/* The name gets the socket's own mode. */
	if (fchmod(u->fd, 0600) || bind(u->fd, (struct sockaddr *)&at, sizeof(at)) ||
		stat(at.sun_path, &st) || listen(u->fd, 128)) {
		diag_errno(d, -errno, "vsock_uds_path \"%s\": listening", u->path);
		return GUEST_FAILED_SERVICE_CONNECT;
	}
	u->near = is_near(at.sun_path);
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	return GUEST_OK;
}

enum guest_error vsock_uds_init(
	struct vsock_uds *u, struct vsock *v, const char *path, struct diag *d)
{
	enum guest_error err;

	*u = (struct vsock_uds){.v = v, .fd = -1, .listener = IO_FILE_NONE};
	list_init(&u->handshakes);
	list_init(&u->dials);
	u->accept.done = accepted;
	u->acceptor.accept = dial_start;
	reactor_timer_init(&u->accept_again, accept_start);
	reactor_task_init(&u->end_task, end_run);
	if (!path)
		return GUEST_OK;
	CHECK(strlen(path) < sizeof(u->path));
	strcpy(u->path, path);
	err = socket_make(u, d);
	if (err)
		vsock_uds_finish(u);
	return err;
}

void vsock_uds_finish(struct vsock_uds *u)
{
	struct stat st;

	if (!u->v)
		return;
	if (u->fd >= 0)
		close(u->fd);
	/* Only if the name is still ours. */
	if (u->ino && !lstat(u->path, &st) && st.st_dev == u->dev && st.st_ino == u->ino)
		unlink(u->path);
	*u = (struct vsock_uds){.fd = -1};
}

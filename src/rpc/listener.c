/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon listens. */
#include "rpc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */
#define PROBES           4
#define PROBE_MS         500
#define BACKLOG          128
#define LOCK_PATH_MAX    (sizeof(((struct listener *)0)->path) + 8)

static int default_path(char *path, size_t room, struct diag *d)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		dir = "/run";
	else if (!dir || !*dir)
		return diag_fail(d, -ENOENT,
			"XDG_RUNTIME_DIR is not set; tell where to listen with --socket PATH");
	if ((size_t)snprintf(path, room, "%s/ringvisor.sock", dir) >= room)
		return diag_fail(d, -ENAMETOOLONG,
			"XDG_RUNTIME_DIR is too long for a socket's path (%zu bytes)", room - 1);
	return 0;
}

/* --- handed over --- */

static bool number_is(const char *text, long want)
{
	char *end;

	return text && *text && strtol(text, &end, 10) == want && !*end;
}

/* The descriptor, -1 if none was handed over, or an error. */
static int handed_over(struct diag *d)
{
	const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	int type = 0, listening = 0;
	socklen_t len = sizeof(type);

	if (!count || !number_is(pid, getpid()))
		return -1;
	if (!number_is(count, 1))
		return diag_fail(d, -EINVAL,
			"LISTEN_FDS is %s; the daemon takes one socket: one ListenStream= in the "
			"socket unit",
			count);
	if (getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
		type != SOCK_STREAM || !listening)
		return diag_fail(d, -EINVAL,
			"descriptor %d, handed over by LISTEN_FDS, is no listening stream socket",
			LISTEN_FDS_START);
	fcntl(LISTEN_FDS_START, F_SETFD, FD_CLOEXEC);
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	return LISTEN_FDS_START;
}

/* --- our own --- */

/* A lock on a file that somebody removed meanwhile locks nobody out. */
static bool is_at_path(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

static void lock_name(const struct listener *l, char path[LOCK_PATH_MAX])
{
	snprintf(path, LOCK_PATH_MAX, "%s.lock", l->path);
}

/* Whoever holds the lock may judge and replace the socket file; it is ours while we live, and the
 * kernel takes it back however we end. */
static int lock_path(struct listener *l, struct diag *d)
{
	char path[LOCK_PATH_MAX];

	lock_name(l, path);
	for (;;) {
		l->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (l->lock_fd < 0)
			return diag_errno(d, -errno, "%s", path);
		if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0)
			break;
		if (is_at_path(l->lock_fd, path))
			return 0;
		close(l->lock_fd);
	}
	if (errno == EWOULDBLOCK)
		return diag_fail(d, -EADDRINUSE,
			"%s: another daemon serves there; stop it, or choose --socket PATH",
			l->path);
	return diag_errno(d, -errno, "%s", path);
}

/* 0 or -errno of one attempt; a connection that is made is watched for its end. */
static int probe(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
	struct pollfd end = {.fd = fd, .events = POLLIN | POLLRDHUP};

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		err = -errno;
	else
		poll(&end, 1, PROBE_MS);
	close(fd);
	return err;
}

/* True if nobody listens. The socket of a daemon that was killed goes on listening for a moment,
 * until the kernel has taken its rings apart; a connection to it then ends. */
static bool nobody_listens(const struct sockaddr_un *addr, int *err)
{
	for (unsigned int i = 0; i < PROBES; i++) {
		*err = probe(addr);
		if (*err == -ECONNREFUSED || *err == -ENOENT)
			return true;
		if (*err)
			return false;
	}
	return false;
}

/* 0: nothing is in the way any more. */
static int remove_stale(const struct sockaddr_un *addr, struct diag *d)
{
	struct stat st;
	int err;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : diag_errno(d, -errno, "%s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return diag_fail(d, -EEXIST,
			"%s exists and is no socket; remove it, or choose --socket PATH",
			addr->sun_path);
	if (!nobody_listens(addr, &err)) {
		/* -EAGAIN: somebody listens, and its queue is full. */
		if (err && err != -EAGAIN)
			return diag_errno(d, err, "%s", addr->sun_path);
		return diag_fail(d, -EADDRINUSE,
			"%s: another process listens there; stop it, or choose --socket PATH",
			addr->sun_path);
	}
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return diag_errno(d, -errno, "%s: removing what is left over", addr->sun_path);
	return 0;
}

/* With the umask the file never exists with a wider mode than it is to have. */
static int bind_private(int fd, const struct sockaddr_un *addr)
{
	mode_t old = umask(0177);
	int err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

	umask(old);
	return err;
}

static int listen_there(struct listener *l, struct diag *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int err;

	memcpy(addr.sun_path, l->path, sizeof(addr.sun_path));
	err = lock_path(l, d);
	if (!err)
		err = remove_stale(&addr, d);
	if (err)
		return err;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return diag_errno(d, -errno, "socket");
	err = bind_private(l->fd, &addr);
	if (err)
		return diag_errno(d, err, "%s", l->path);
	l->ours = true;
	if (listen(l->fd, BACKLOG) < 0)
		return diag_errno(d, -errno, "%s: listen", l->path);
	return 0;
}

int listener_open(struct listener *l, const char *path, struct diag *d)
{
	int err = 0;

	*l = (struct listener){.fd = -1, .lock_fd = -1};
	l->fd = handed_over(d);
	if (l->fd < -1)
		return l->fd;
	if (l->fd >= 0)
		return 0;
	if (!path)
		err = default_path(l->path, sizeof(l->path), d);
	else if (strlen(path) >= sizeof(l->path))
		err = diag_fail(d, -ENAMETOOLONG,
			"--socket: %zu bytes; a socket's path has at most %zu", strlen(path),
			sizeof(l->path) - 1);
	else
		strcpy(l->path, path);
	if (!err)
		err = listen_there(l, d);
	if (err)
		listener_close(l);
	return err;
}

int listener_take_fd(struct listener *l)
{
	int fd = l->fd;

	l->fd = -1;
	return fd;
}

void listener_close(struct listener *l)
{
	char lock[LOCK_PATH_MAX];

	if (l->fd >= 0)
		close(l->fd);
	if (l->ours)
		unlink(l->path);
	if (l->ours) {
		lock_name(l, lock);
		unlink(lock);
	}
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	l->fd = l->lock_fd = -1;
	l->ours = false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fake reactor's verbs: each op is a record, done later by the system call of its name. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/fake_io_private.h"

void io_file_open(struct reactor *r, struct io_file *f, int fd)
{
	CHECK(reactor_is_current(r));
	*f = (struct io_file){.fd = fd, .slot = -1};
}

void io_file_close(struct reactor *r, struct io_file *f)
{
	CHECK(reactor_is_current(r));
	if (f->fd >= 0) {
		CHECK(fake_io_in_flight(r, f->fd) == 0);
		close(f->fd);
	}
	*f = IO_FILE_NONE;
}

static struct fake_op *op_start(
	struct reactor *r, struct io_op *op, const struct io_file *file, enum fake_kind kind)
{
	struct fake_op *f = calloc(1, sizeof(*f));

	CHECK(f && reactor_is_current(r));
	CHECK(!op->in_flight && op->done);
	f->kind = kind;
	f->op = op;
	f->fd = file ? file->fd : -1;
	f->epoll_fd = -1;
	op->in_flight = true;
	list_add_tail(&r->ops, &f->link);
	r->stats.sqes++;
	return f;
}

static struct fake_op *op_start_buffer(struct reactor *r, struct io_op *op,
	const struct io_file *file, enum fake_kind kind, const void *buf, uint32_t len_bytes)
{
	struct fake_op *f = op_start(r, op, file, kind);

	f->one = (struct iovec){(void *)(uintptr_t)buf, len_bytes};
	f->iov = &f->one;
	f->iov_count = 1;
	return f;
}

void io_read(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, uint64_t off)
{
	op_start_buffer(r, op, f, FAKE_READ, buf, len_bytes)->off = off;
}

void io_write(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, uint64_t off)
{
	op_start_buffer(r, op, f, FAKE_WRITE, buf, len_bytes)->off = off;
}

static void vector_start(struct reactor *r, struct io_op *op, const struct io_file *file,
	enum fake_kind kind, const struct iovec *iov, unsigned int count, uint64_t off)
{
	struct fake_op *f = op_start(r, op, file, kind);

	f->iov = iov;
	f->iov_count = count;
	f->off = off;
}

void io_readv(struct reactor *r, struct io_op *op, const struct io_file *f, const struct iovec *iov,
	unsigned int count, uint64_t off)
{
	vector_start(r, op, f, FAKE_READ, iov, count, off);
}

void io_writev(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct iovec *iov, unsigned int count, uint64_t off)
{
	vector_start(r, op, f, FAKE_WRITE, iov, count, off);
}

void io_recv(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, int flags)
{
	op_start_buffer(r, op, f, FAKE_RECV, buf, len_bytes)->flags = flags;
}

void io_send(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, int flags)
{
	op_start_buffer(r, op, f, FAKE_SEND, buf, len_bytes)->flags = flags;
}

void io_recvmsg(struct reactor *r, struct io_op *op, const struct io_file *file, struct msghdr *msg,
	int flags)
{
	struct fake_op *f = op_start(r, op, file, FAKE_RECV);

	f->msg = msg;
	f->flags = flags;
}

void io_sendmsg(struct reactor *r, struct io_op *op, const struct io_file *file,
	const struct msghdr *msg, int flags)
{
	struct fake_op *f = op_start(r, op, file, FAKE_SEND);

	f->msg = (struct msghdr *)(uintptr_t)msg;
	f->flags = flags;
}

void io_accept(struct reactor *r, struct io_op *op, const struct io_file *f)
{
	op_start(r, op, f, FAKE_ACCEPT);
}

void io_connect(struct reactor *r, struct io_op *op, const struct io_file *file,
	const struct sockaddr *addr, socklen_t len_bytes)
{
	struct fake_op *f = op_start(r, op, file, FAKE_CONNECT);

	CHECK(len_bytes <= sizeof(f->name));
	memcpy(&f->name, addr, len_bytes);
	f->name_len = len_bytes;
}

void io_poll(struct reactor *r, struct io_op *op, const struct io_file *file, uint32_t events)
{
	op_start(r, op, file, FAKE_POLL)->events = events;
}

void io_fallocate(struct reactor *r, struct io_op *op, const struct io_file *file, int mode,
	uint64_t off, uint64_t len_bytes)
{
	struct fake_op *f = op_start(r, op, file, FAKE_FALLOCATE);

	f->flags = mode;
	f->off = off;
	f->len_bytes = len_bytes;
}

void io_madvise(struct reactor *r, struct io_op *op, void *addr, uint64_t len_bytes, int advice)
{
	struct fake_op *f = op_start(r, op, NULL, FAKE_MADVISE);

	f->addr = addr;
	f->len_bytes = len_bytes;
	f->flags = advice;
}

void io_fsync(struct reactor *r, struct io_op *op, const struct io_file *f, bool data_only)
{
	op_start(r, op, f, FAKE_FSYNC)->flags = data_only;
}

void io_signal(struct reactor *r, const struct io_file *f)
{
	const uint64_t one = 1;

	CHECK(reactor_is_current(r));
	/* A full counter stays as it is. */
	CHECK(write(f->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

void io_nop(struct reactor *r, struct io_op *op)
{
	op_start(r, op, NULL, FAKE_NOP);
}

void io_cancel(struct reactor *r, struct io_op *op)
{
	CHECK(reactor_is_current(r));
	list_for_each (pos, &r->ops)
		if (list_entry(pos, struct fake_op, link)->op == op)
			list_entry(pos, struct fake_op, link)->cancelled = true;
}

void fake_op_free(struct fake_op *f)
{
	list_del(&f->link);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	free(f->iov_copy);
	free(f);
}

static void op_submit(struct fake_op *f)
{
	f->submitted = true;
	if (f->msg) {
		f->msg_copy = *f->msg;
		f->iov = f->msg->msg_iov;
		f->iov_count = (unsigned int)f->msg->msg_iovlen;
	}
	if (f->iov_count == 0)
		return;
	f->iov_copy = calloc(f->iov_count, sizeof(*f->iov_copy));
	CHECK(f->iov_copy);
	memcpy(f->iov_copy, f->iov, f->iov_count * sizeof(*f->iov_copy));
}

void fake_ops_submit(struct reactor *r)
{
	list_for_each (pos, &r->ops) {
		struct fake_op *f = list_entry(pos, struct fake_op, link);

		if (!f->submitted)
			op_submit(f);
	}
}

static bool fd_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) != 0;
}

/* On a descriptor with O_NONBLOCK the ring does not wait either: -EAGAIN is the result. */
static bool fd_waits(int fd, short events)
{
	return !fd_ready(fd, events) && !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static int sys_result(ssize_t n)
{
	return n < 0 ? -errno : (int)n;
}

static bool is_eventfd(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 &&
	       strcmp(target, "anon_inode:[eventfd]") == 0;
}

/* Cuts the transfer to a random length of at least 1, sometimes. Gives the number of entries. */
static unsigned int iov_cut(struct reactor *r, struct fake_op *f)
{
	uint64_t total = 0, left;

	for (unsigned int i = 0; i < f->iov_count; i++)
		total += f->iov_copy[i].iov_len;
	if (total < 2 || !fake_chance(r, r->faults.short_percent) || is_eventfd(f->fd))
		return f->iov_count;
	left = 1 + fake_random(r, total - 1);
	for (unsigned int i = 0; i < f->iov_count; i++) {
		if (f->iov_copy[i].iov_len >= left) {
			f->iov_copy[i].iov_len = left;
			return i + 1;
		}
		left -= f->iov_copy[i].iov_len;
	}
	return f->iov_count;
}

static int do_read(struct reactor *r, struct fake_op *f)
{
	int count = (int)iov_cut(r, f);
	ssize_t n = f->off == UINT64_MAX ? readv(f->fd, f->iov_copy, count)
					 : preadv(f->fd, f->iov_copy, count, (off_t)f->off);

	/* The ring ignores the offset of what has none. */
	if (n < 0 && errno == ESPIPE)
		n = readv(f->fd, f->iov_copy, count);
	return sys_result(n);
}

static int do_write(struct reactor *r, struct fake_op *f)
{
	int count = (int)iov_cut(r, f);
	ssize_t n = f->off == UINT64_MAX ? writev(f->fd, f->iov_copy, count)
					 : pwritev(f->fd, f->iov_copy, count, (off_t)f->off);

	if (n < 0 && errno == ESPIPE)
		n = writev(f->fd, f->iov_copy, count);
	return sys_result(n);
}

static int do_message(struct reactor *r, struct fake_op *f)
{
	struct msghdr *m = &f->msg_copy;
	int flags = f->flags | MSG_DONTWAIT | MSG_NOSIGNAL;
	int res;

	m->msg_iov = f->iov_copy;
	m->msg_iovlen = iov_cut(r, f);
	if (f->kind == FAKE_SEND)
		return sys_result(sendmsg(f->fd, m, flags));
	res = sys_result(recvmsg(f->fd, m, flags));
	if (res >= 0 && f->msg) {
		f->msg->msg_namelen = m->msg_namelen;
		f->msg->msg_controllen = m->msg_controllen;
		f->msg->msg_flags = m->msg_flags;
	}
	return res;
}

static bool never_waits(const struct fake_op *f)
{
	return (f->kind == FAKE_SEND || f->kind == FAKE_RECV) && (f->flags & MSG_DONTWAIT);
}

static enum fake_outcome try_transfer(struct reactor *r, struct fake_op *f, int *res)
{
	bool in = f->kind == FAKE_READ || f->kind == FAKE_RECV;

	bool waits = !never_waits(f);

	if (waits && fd_waits(f->fd, in ? POLLIN : POLLOUT))
		return FAKE_PENDING;
	if (f->kind == FAKE_READ)
		*res = do_read(r, f);
	else if (f->kind == FAKE_WRITE)
		*res = do_write(r, f);
	else
		*res = do_message(r, f);
	/* Less room than the write wants: the ring would wait as well. */
	if (waits && *res == -EAGAIN && !(fcntl(f->fd, F_GETFL) & O_NONBLOCK))
		return FAKE_PENDING;
	return FAKE_DONE;
}

static int failure_take(struct reactor *r, const struct fake_op *f)
{
	int err = 0;

	for (unsigned int i = 0; i < FAKE_SPECIALS && err == 0; i++) {
		if (r->fails[i].err == 0 || (r->fails[i].fd >= 0 && r->fails[i].fd != f->fd))
			continue;
		err = r->fails[i].err;
		r->fails[i].err = 0;
	}
	if (err == 0 && r->faults.error < 0 && fake_chance(r, r->faults.error_percent))
		err = r->faults.error;
	return err;
}

static enum fake_outcome multishot(struct reactor *r)
{
	return fake_chance(r, r->faults.end_percent) ? FAKE_DONE : FAKE_GOES_ON;
}

static enum fake_outcome try_accept(struct reactor *r, struct fake_op *f, int *res)
{
	if (fd_waits(f->fd, POLLIN))
		return FAKE_PENDING;
	*res = sys_result(accept4(f->fd, NULL, NULL, SOCK_CLOEXEC));
	return *res < 0 ? FAKE_DONE : multishot(r);
}

static enum fake_outcome try_poll(struct reactor *r, struct fake_op *f, int *res)
{
	struct epoll_event event = {.events = f->events | EPOLLET};

	if (f->epoll_fd < 0) {
		f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		CHECK(f->epoll_fd >= 0);
		*res = sys_result(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->fd, &event));
		if (*res < 0)
			return FAKE_DONE;
	}
	if (epoll_wait(f->epoll_fd, &event, 1, 0) != 1)
		return FAKE_PENDING;
	/* Only now: that the descriptor is ready says little, what counts is a new wake-up. */
	*res = failure_take(r, f);
	if (*res < 0)
		return FAKE_DONE;
	*res = (int)(event.events & (f->events | POLLERR | POLLHUP));
	return multishot(r);
}

static enum fake_outcome connect_finish(struct fake_op *f, int *res)
{
	socklen_t len = sizeof(*res);

	if (!fd_ready(f->fd, POLLOUT))
		return FAKE_PENDING;
	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, res, &len) < 0)
		*res = errno;
	*res = -*res;
	return FAKE_DONE;
}

static enum fake_outcome try_connect(struct fake_op *f, int *res)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (f->connecting)
		return connect_finish(f, res);
	fcntl(f->fd, F_SETFL, flags | O_NONBLOCK);
	*res = sys_result(connect(f->fd, (struct sockaddr *)&f->name, f->name_len));
	fcntl(f->fd, F_SETFL, flags);
	f->connecting = *res == -EINPROGRESS;
	/* -EAGAIN: a Unix listener's queue is full. */
	return f->connecting || *res == -EAGAIN ? FAKE_PENDING : FAKE_DONE;
}

static enum fake_outcome op_attempt(struct reactor *r, struct fake_op *f, int *res)
{
	switch (f->kind) {
	case FAKE_READ:
	case FAKE_WRITE:
	case FAKE_RECV:
	case FAKE_SEND:
		return try_transfer(r, f, res);
	case FAKE_ACCEPT:
		return try_accept(r, f, res);
	case FAKE_CONNECT:
		return try_connect(f, res);
	case FAKE_NOP:
		*res = 0;
		break;
	case FAKE_POLL:
		break; /* has been dealt with */
	case FAKE_FALLOCATE:
		*res = sys_result(fallocate(f->fd, f->flags, (off_t)f->off, (off_t)f->len_bytes));
		break;
	case FAKE_MADVISE:
		*res = sys_result(madvise(f->addr, f->len_bytes, f->flags));
		break;
	case FAKE_FSYNC:
		*res = sys_result(f->flags ? fdatasync(f->fd) : fsync(f->fd));
		break;
	}
	return FAKE_DONE;
}

static bool is_held(const struct reactor *r, int fd)
{
	for (unsigned int i = 0; i < FAKE_SPECIALS; i++)
		if (fd >= 0 && r->held[i] == fd)
			return true;
	return false;
}

/* Would it complete by itself, now? */
static bool op_is_due(const struct fake_op *f)
{
	switch (f->kind) {
	case FAKE_READ:
	case FAKE_RECV:
	case FAKE_ACCEPT:
		return never_waits(f) || !fd_waits(f->fd, POLLIN);
	case FAKE_WRITE:
	case FAKE_SEND:
		return never_waits(f) || !fd_waits(f->fd, POLLOUT);
	case FAKE_POLL:
		return fd_ready(f->fd, (short)f->events);
	default:
		return true;
	}
}

enum fake_outcome fake_op_try(struct reactor *r, struct fake_op *f, int *res)
{
	bool due;

	if (!f->submitted)
		return FAKE_PENDING;
	due = op_is_due(f) && !is_held(r, f->fd);
	/* A cancel comes too late for what is done already, or not. */
	if (f->cancelled &&
		(!due || f->kind == FAKE_POLL || f->kind == FAKE_ACCEPT || fake_chance(r, 50))) {
		*res = -ECANCELED;
		return FAKE_DONE;
	}
	if (!due)
		return FAKE_PENDING;
	if (f->kind == FAKE_POLL)
		return try_poll(r, f, res);
	*res = failure_take(r, f);
	if (*res < 0)
		return FAKE_DONE;
	return op_attempt(r, f, res);
}

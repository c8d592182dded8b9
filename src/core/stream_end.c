/* SPDX-License-Identifier: Apache-2.0 */
/* Our end of a byte stream: a socket pair or files. */
#include "core/stream_end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "core/check.h"
#include "core/passrights.h"

static int duplicate(int fd, struct diag *d)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? diag_errno(d, -errno, "duplicating a stream's descriptor") : copy;
}

static int pair_make(struct stream_end *e, struct reactor *r, struct diag *d)
{
	static const int buffer_bytes = 512 << 10;
	int pair[2], in;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return diag_errno(d, -errno, "making a socket pair for a stream");
	/* Two descriptors, because files come as two as well. */
	in = duplicate(pair[0], d);
	if (in < 0) {
		close(pair[0]);
		close(pair[1]);
		return in;
	}
	/* Up to twice that, as far as the kernel allows it, in each direction: fewer switches
	 * between the two sides. */
	for (unsigned int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
	passrights_refuse(pair[0]);
	io_file_open(r, &e->out, pair[0]);
	io_file_open(r, &e->in, in);
	e->client_end = pair[1];
	return 0;
}

static bool pair_is_shut(const struct stream_end *e)
{
	struct pollfd p = {.fd = e->in.fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP));
}

static void pair_retire(struct stream_end *e)
{
	e->old_in = e->in;
	e->old_out = e->out;
	e->in = e->out = IO_FILE_NONE;
	close(e->client_end);
	e->client_end = -1;
}

int stream_end_client(struct stream_end *e, struct reactor *r, bool broken, struct diag *d)
{
	int err;

	if (e->client_end >= 0 && !stream_end_is_renewed(e) && (broken || pair_is_shut(e)))
		pair_retire(e);
	if (e->client_end < 0) {
		if (stream_end_is_open(e))
			return diag_fail(d, -EBUSY, "the stream is connected to a file already");
		err = pair_make(e, r, d);
		if (err)
			return err;
	}
	return duplicate(e->client_end, d);
}

bool stream_end_is_renewed(const struct stream_end *e)
{
	return e->old_in.fd >= 0 || e->old_out.fd >= 0;
}

bool stream_end_let_go(struct reactor *r, struct io_file *old)
{
	bool was = old->fd >= 0;

	io_file_close(r, old);
	return was;
}

void stream_end_open_files(
	struct stream_end *e, struct reactor *r, int in, int out, struct stream_loss *loss)
{
	CHECK(!stream_end_is_open(e));
	e->loss = loss;
	if (in >= 0)
		io_file_open(r, &e->in, in);
	if (out >= 0)
		io_file_open(r, &e->out, out);
}

void stream_end_broken(struct stream_end *e, int err)
{
	if (e->loss && !e->loss->error)
		e->loss->error = -err;
}

void stream_end_close(struct stream_end *e, struct reactor *r, uint64_t dropped_bytes)
{
	if (e->loss)
		e->loss->bytes = dropped_bytes;
	io_file_close(r, &e->old_in);
	io_file_close(r, &e->old_out);
	io_file_close(r, &e->in);
	io_file_close(r, &e->out);
	if (e->client_end >= 0)
		close(e->client_end);
	e->client_end = -1;
}

void stream_end_writev(struct stream_end *e, struct reactor *r, struct io_op *op,
	const struct iovec *iov, unsigned int count)
{
	if (e->client_end < 0) {
		io_writev(r, op, &e->out, iov, count, (uint64_t)-1);
		return;
	}
	e->msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};
	io_sendmsg(r, op, &e->out, &e->msg, 0);
}

void stream_end_write(struct stream_end *e, struct reactor *r, struct io_op *op, const void *data,
	uint32_t len_bytes)
{
	e->one = (struct iovec){(void *)(uintptr_t)data, len_bytes};
	stream_end_writev(e, r, op, &e->one, 1);
}

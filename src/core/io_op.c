/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that start an operation, and the registered file table. */
#include "core/io_op.h"

#include <unistd.h>

#include "core/reactor_private.h"
#include "trace/probe.h"

static int slot_take(struct ring_files *files)
{
	uint32_t words = (files->slots + 63) / 64;

	for (uint32_t i = 0; i < words; i++) {
		uint32_t word = (files->hint + i) % words;
		uint32_t slot;

		if (files->used[word] == UINT64_MAX)
			continue;
		slot = word * 64 + (uint32_t)__builtin_ctzll(~files->used[word]);
		if (slot >= files->slots)
			continue;
		files->used[word] |= 1ull << (slot % 64);
		files->hint = word;
		return (int)slot;
	}
	return -1;
}

static void slot_give(struct ring_files *files, int slot)
{
	files->used[slot / 64] &= ~(1ull << (slot % 64));
	files->hint = (uint32_t)slot / 64;
}

void io_file_open(struct reactor *r, struct io_file *f, int fd)
{
	CHECK(reactor_is_current(r));
	*f = (struct io_file){.fd = fd, .slot = -1};
	if (fd < 0)
		return;
	f->slot = slot_take(&r->files);
	if (f->slot < 0)
		return;
	if (io_uring_register_files_update(&r->ring, (unsigned int)f->slot, &fd, 1) != 1) {
		slot_give(&r->files, f->slot);
		f->slot = -1; /* the plain descriptor does as well, only slower */
	}
}

void io_file_close(struct reactor *r, struct io_file *f)
{
	const int none = -1;

	CHECK(reactor_is_current(r));
	if (f->slot >= 0) {
		io_uring_register_files_update(&r->ring, (unsigned int)f->slot, &none, 1);
		slot_give(&r->files, f->slot);
	}
	if (f->fd >= 0)
		close(f->fd);
	*f = IO_FILE_NONE;
}

static struct io_uring_sqe *op_sqe(struct reactor *r, const struct io_op *op)
{
	CHECK(reactor_is_current(r));
	CHECK(!op->in_flight);
	return ring_sqe(r);
}

/* After the prep function, which clears flags. */
static void op_start(struct reactor *r, struct io_uring_sqe *sqe, struct io_op *op)
{
	sqe->user_data = (uintptr_t)op;
	op->in_flight = true;
	op->on_worker = false;
	r->in_flight++;
	PROBE(sqe_queued, r->index, op, sqe->opcode, sqe->fd, sqe->len);
}

/* One that the kernel never does at once (io_uring leaves it to its workers). */
static void op_on_worker(struct reactor *r, struct io_op *op)
{
	op->on_worker = true;
	r->on_workers++;
}

static int file_ref(const struct io_file *f)
{
	return f->slot >= 0 ? f->slot : f->fd;
}

static void file_op_start(
	struct reactor *r, struct io_uring_sqe *sqe, struct io_op *op, const struct io_file *f)
{
	if (f->slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	op_start(r, sqe, op);
}

void io_read(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, uint64_t off)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_read(sqe, file_ref(f), buf, len_bytes, off);
	file_op_start(r, sqe, op, f);
}

void io_write(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, uint64_t off)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_write(sqe, file_ref(f), buf, len_bytes, off);
	file_op_start(r, sqe, op, f);
}

void io_readv(struct reactor *r, struct io_op *op, const struct io_file *f, const struct iovec *iov,
	unsigned int count, uint64_t off)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_readv(sqe, file_ref(f), iov, count, off);
	file_op_start(r, sqe, op, f);
}

void io_writev(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct iovec *iov, unsigned int count, uint64_t off)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_writev(sqe, file_ref(f), iov, count, off);
	file_op_start(r, sqe, op, f);
}

void io_recv(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, int flags)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_recv(sqe, file_ref(f), buf, len_bytes, flags);
	file_op_start(r, sqe, op, f);
}

void io_send(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, int flags)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_send(sqe, file_ref(f), buf, len_bytes, flags | MSG_NOSIGNAL);
	file_op_start(r, sqe, op, f);
}

void io_recvmsg(
	struct reactor *r, struct io_op *op, const struct io_file *f, struct msghdr *msg, int flags)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_recvmsg(sqe, file_ref(f), msg, (unsigned int)flags);
	file_op_start(r, sqe, op, f);
}

void io_sendmsg(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct msghdr *msg, int flags)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_sendmsg(sqe, file_ref(f), msg, (unsigned int)flags | MSG_NOSIGNAL);
	file_op_start(r, sqe, op, f);
}

void io_accept(struct reactor *r, struct io_op *op, const struct io_file *f)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_multishot_accept(sqe, file_ref(f), NULL, NULL, SOCK_CLOEXEC);
	file_op_start(r, sqe, op, f);
}

void io_connect(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct sockaddr *addr, socklen_t len_bytes)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_connect(sqe, file_ref(f), addr, len_bytes);
	file_op_start(r, sqe, op, f);
}

void io_poll(struct reactor *r, struct io_op *op, const struct io_file *f, uint32_t events)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_poll_multishot(sqe, file_ref(f), events);
	file_op_start(r, sqe, op, f);
}

void io_fallocate(struct reactor *r, struct io_op *op, const struct io_file *f, int mode,
	uint64_t off, uint64_t len_bytes)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	/* By hand: liburing 2.3's helper takes off_t and warns about nothing when that is cut. */
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->fd = file_ref(f);
	sqe->len = (uint32_t)mode;
	sqe->off = off;
	sqe->addr = len_bytes;
	file_op_start(r, sqe, op, f);
	op_on_worker(r, op);
}

void io_madvise(struct reactor *r, struct io_op *op, void *addr, uint64_t len_bytes, int advice)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	/* Lengths of 4 GiB and more go into `off`, which Linux before 6.11 answers by -EINVAL. */
	sqe->opcode = IORING_OP_MADVISE;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)addr;
	if (len_bytes <= UINT32_MAX)
		sqe->len = (uint32_t)len_bytes;
	else
		sqe->off = len_bytes;
	sqe->fadvise_advice = (uint32_t)advice;
	op_start(r, sqe, op);
	op_on_worker(r, op);
}

void io_fsync(struct reactor *r, struct io_op *op, const struct io_file *f, bool data_only)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_fsync(sqe, file_ref(f), data_only ? IORING_FSYNC_DATASYNC : 0);
	file_op_start(r, sqe, op, f);
	op_on_worker(r, op);
}

void io_signal(struct reactor *r, const struct io_file *f)
{
	static const uint64_t one = 1;
	struct io_uring_sqe *sqe;

	CHECK(reactor_is_current(r));
	sqe = ring_sqe(r);
	io_uring_prep_write(sqe, file_ref(f), &one, sizeof(one), (uint64_t)-1);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	if (f->slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = (uintptr_t)&r->silent;
}

void io_nop(struct reactor *r, struct io_op *op)
{
	struct io_uring_sqe *sqe = op_sqe(r, op);

	io_uring_prep_nop(sqe);
	op_start(r, sqe, op);
}

void io_cancel(struct reactor *r, struct io_op *op)
{
	struct io_uring_sqe *sqe;

	CHECK(reactor_is_current(r));
	if (!op->in_flight)
		return;
	sqe = ring_sqe(r);
	io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
	/* That the op is over already is no news: the op's own completion says it. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uintptr_t)&r->silent;
}

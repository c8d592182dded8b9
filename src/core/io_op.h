/* SPDX-License-Identifier: Apache-2.0 */
/* One asynchronous operation: a completion embedded in its owner, and the verbs that start one.
 *
 * The verbs only queue an SQE; everything queued in a turn goes to the kernel with the turn's one
 * io_uring_enter. A verb cannot fail: if the submission queue is full it is submitted at once; an
 * error comes to `done` as a negative errno. Buffers and iovec arrays stay untouched by the owner
 * until `done` (iovec arrays: until the end of the turn at least). An owner is not freed while an
 * op of it is in flight: cancel, wait for `done`, then free. A completion runs on the reactor's
 * thread, never inside the verb that started it. This header and reactor.h are all that anybody
 * sees of io_uring. */
#ifndef CORE_IO_OP_H
#define CORE_IO_OP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct reactor;

struct io_op {
	/* res: as the system call, or -errno. cqe_flags: IO_MORE if a multishot op goes on (then
	 * the op is still in flight). May free the owner when IO_MORE is not set. */
	void (*done)(struct io_op *op, int res, uint32_t cqe_flags);
	bool in_flight; /* from the verb until the `done` without IO_MORE has been entered */
	bool on_worker; /* private: a thread of the kernel's carries it out */
};

#define IO_MORE (1u << 1) /* IORING_CQE_F_MORE */

/* io_error_passes: `res` is an error that is no news about the file: the same can be tried again.
 */
static inline bool io_error_passes(int res)
{
	return res == -EINTR || res == -EAGAIN || res == -ECANCELED;
}

/* A file as ops name it: in the ring's registered table if there was room, else a plain descriptor.
 */
struct io_file {
	int fd;   /* owned by the io_file's owner; -1: none */
	int slot; /* index in the registered table; -1: not registered */
};

#define IO_FILE_NONE ((struct io_file){.fd = -1, .slot = -1})

/* io_file_open: wraps `fd` (ownership passes to `f`) and registers it if there is room.
 * io_file_close: unregisters and closes; no op on it may be in flight. Safe on IO_FILE_NONE. */
void io_file_open(struct reactor *r, struct io_file *f, int fd);
void io_file_close(struct reactor *r, struct io_file *f);

/* off: file offset, or -1 for the current position (pipes, sockets, terminals, eventfds). */
void io_read(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, uint64_t off);
void io_write(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, uint64_t off);
void io_readv(struct reactor *r, struct io_op *op, const struct io_file *f, const struct iovec *iov,
	unsigned int count, uint64_t off);
void io_writev(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct iovec *iov, unsigned int count, uint64_t off);
/* flags: MSG_*; sends always add MSG_NOSIGNAL. */
void io_recv(struct reactor *r, struct io_op *op, const struct io_file *f, void *buf,
	uint32_t len_bytes, int flags);
void io_send(struct reactor *r, struct io_op *op, const struct io_file *f, const void *buf,
	uint32_t len_bytes, int flags);
void io_recvmsg(struct reactor *r, struct io_op *op, const struct io_file *f, struct msghdr *msg,
	int flags);
void io_sendmsg(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct msghdr *msg, int flags);
/* io_accept: multishot; each completion's res is a new descriptor (CLOEXEC), owned by the op's
 * owner. */
void io_accept(struct reactor *r, struct io_op *op, const struct io_file *f);
void io_connect(struct reactor *r, struct io_op *op, const struct io_file *f,
	const struct sockaddr *addr, socklen_t len_bytes);
/* io_poll: multishot: a completion for every wake-up; events is a POLL* mask. On an eventfd whose
 * counter is never read this gives one completion a write and does not spin (kicks use it). */
void io_poll(struct reactor *r, struct io_op *op, const struct io_file *f, uint32_t events);
void io_fallocate(struct reactor *r, struct io_op *op, const struct io_file *f, int mode,
	uint64_t off, uint64_t len_bytes);
/* len_bytes ≥ 4 GiB: Linux before 6.11 completes it with -EINVAL. */
void io_madvise(struct reactor *r, struct io_op *op, void *addr, uint64_t len_bytes, int advice);
void io_fsync(struct reactor *r, struct io_op *op, const struct io_file *f, bool data_only);
/* io_signal: adds 1 to an eventfd, and nobody is told: no completion, so no turn for it. A counter
 * that is full stays as it is. io_nop: completes when everything that was queued before it has been
 * started; for closing a file that was signalled. */
void io_signal(struct reactor *r, const struct io_file *f);
void io_nop(struct reactor *r, struct io_op *op);
/* io_cancel: asks for the end of `op`, which completes with -ECANCELED or with what it reached.
 * Harmless if it is not in flight. */
void io_cancel(struct reactor *r, struct io_op *op);

#endif

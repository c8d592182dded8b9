/* SPDX-License-Identifier: Apache-2.0 */
/* Our end of a byte stream between a device and people: a socket pair, of whose other end every
 * client gets a duplicate, or files. Home reactor. */
#ifndef CORE_STREAM_END_H
#define CORE_STREAM_END_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/diag.h"
#include "core/io_op.h"
#include "core/reactor.h"

/* What of the output did not get into a file, for whoever opened it; complete when the stream is
 * closed. */
struct stream_loss {
	int error; /* errno of the write that failed; 0: none has */
	uint64_t bytes;
};

struct stream_end {
	struct io_file in, out;   /* IO_FILE_NONE until opened */
	int client_end;           /* the clients' end; -1: none, or files */
	struct stream_loss *loss; /* NULL: nobody wants to know */
	/* Of a pair that a client has shut down for all: until the operations on it have ended. */
	struct io_file old_in, old_out;
	struct msghdr msg; /* of the write in flight */
	struct iovec one;
};

#define STREAM_END_NONE                                                                            \
	((struct stream_end){.in = IO_FILE_NONE,                                                   \
		.out = IO_FILE_NONE,                                                               \
		.client_end = -1,                                                                  \
		.old_in = IO_FILE_NONE,                                                            \
		.old_out = IO_FILE_NONE})

/* stream_end_client: a duplicate of the clients' end: a SOCK_STREAM descriptor, close-on-exec,
 * owned by the caller. The first call makes the socket pair. -EBUSY: there are files; -errno; all
 * with text. A client can shut the socket down for all who share it. The next one gets a fresh pair
 * then: also if `broken` (a write said so). stream_end_is_renewed is true from then on until both
 * old files have been let go, each by stream_end_let_go when its operation has ended, or at once if
 * there is none (true: there was an old one). */
int stream_end_client(struct stream_end *e, struct reactor *r, bool broken, struct diag *d);
bool stream_end_is_renewed(const struct stream_end *e);
bool stream_end_let_go(struct reactor *r, struct io_file *old);

/* stream_end_open_files: uses these descriptors instead (ownership passes; either may be -1). Not
 * open yet. `loss` outlives the stream, or is NULL. */
void stream_end_open_files(
	struct stream_end *e, struct reactor *r, int in, int out, struct stream_loss *loss);
/* stream_end_broken: a write came back with -errno, and nothing more will be written. */
void stream_end_broken(struct stream_end *e, int err);

/* stream_end_close: closes all. Nothing is in flight. Safe on STREAM_END_NONE. `dropped_bytes`: of
 * the output, in all. */
void stream_end_close(struct stream_end *e, struct reactor *r, uint64_t dropped_bytes);

/* stream_end_write, stream_end_writev: to `out`, as io_write and io_writev, one at a time; a peer
 * that has shut the socket down is -EPIPE and no signal. */
void stream_end_write(struct stream_end *e, struct reactor *r, struct io_op *op, const void *data,
	uint32_t len_bytes);
void stream_end_writev(struct stream_end *e, struct reactor *r, struct io_op *op,
	const struct iovec *iov, unsigned int count);

static inline bool stream_end_is_open(const struct stream_end *e)
{
	return e->out.fd >= 0 || e->in.fd >= 0;
}

#endif

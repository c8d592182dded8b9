/* SPDX-License-Identifier: Apache-2.0 */
/* Our end of a byte stream between a device and people: a socket pair, of whose other end every
 * client gets a duplicate, or files. Home reactor. */
#ifndef CORE_ENDPOINT_H
#define CORE_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/diag.h"
#include "core/io_op.h"
#include "core/reactor.h"

struct endpoint {
	struct io_file in, out; /* IO_FILE_NONE until opened */
	int client_end;         /* the clients' end; -1: none, or files */
	struct msghdr msg;      /* of the write in flight */
	struct iovec one;
};

#define ENDPOINT_NONE ((struct endpoint){.in = IO_FILE_NONE, .out = IO_FILE_NONE, .client_end = -1})

/* endpoint_client: a duplicate of the clients' end: a SOCK_STREAM descriptor, close-on-exec, owned
 * by the caller. The first call makes the socket pair. -EBUSY: there are files; -errno; all with
 * text. */
int endpoint_client(struct endpoint *e, struct reactor *r, struct diag *d);

/* endpoint_open_files: uses these descriptors instead (ownership passes; either may be -1). Not
 * open yet. */
void endpoint_open_files(struct endpoint *e, struct reactor *r, int in, int out);

/* endpoint_close: closes all. Nothing is in flight. Safe on ENDPOINT_NONE. */
void endpoint_close(struct endpoint *e, struct reactor *r);

/* endpoint_write, endpoint_writev: to `out`, as io_write and io_writev, one at a time; a peer that
 * has shut the socket down is -EPIPE and no signal. */
void endpoint_write(struct endpoint *e, struct reactor *r, struct io_op *op, const void *data,
	uint32_t len_bytes);
void endpoint_writev(struct endpoint *e, struct reactor *r, struct io_op *op,
	const struct iovec *iov, unsigned int count);

static inline bool endpoint_is_open(const struct endpoint *e)
{
	return e->out.fd >= 0 || e->in.fd >= 0;
}

#endif

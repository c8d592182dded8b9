/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: made here, or handed over by the service manager. Any thread, before the
 * reactors run; these calls may block for a moment. */
#ifndef RPC_LISTENER_H
#define RPC_LISTENER_H

#include <stdbool.h>

#include "core/diag.h"

struct listener {
	int fd;      /* -1: taken */
	int lock_fd; /* held as long as the socket file is ours; -1: none */
	char path[108];
	bool ours; /* the socket file is to be removed at the end */
};

/* listener_open: the socket that LISTEN_FDS names if there is one, else `path` (NULL: the default
 * of wire.md, "Transport"), mode 0600. A socket file that is left over is replaced; one on which a
 * daemon listens is not: -EADDRINUSE. Errors with the remedy in `d`. */
int listener_open(struct listener *l, const char *path, struct diag *d);
/* listener_take_fd: the caller owns it from now on. */
int listener_take_fd(struct listener *l);
/* listener_close: removes the socket file if it is ours. Safe after a failed open, and twice. */
void listener_close(struct listener *l);

#endif

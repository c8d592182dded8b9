/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon's socket is when nobody says (wire.md, "Transport"). */
#ifndef RPC_ENDPOINT_H
#define RPC_ENDPOINT_H

#include <sys/un.h>

#include "core/diag.h"

/* endpoint_address: the address of `path`; NULL: $XDG_RUNTIME_DIR/ringvisor.sock, or
 * /run/ringvisor.sock for root. 0, -ENAMETOOLONG, or -ENOENT when nothing says where; text in `d`.
 * Reads the environment: not while another thread changes it. */
int endpoint_address(struct sockaddr_un *address, const char *path, struct diag *d);

#endif

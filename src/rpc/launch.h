/* SPDX-License-Identifier: Apache-2.0 */
/* Host.Launch: Create and Run on the daemon's own behalf, with the manager's errors
 * (conformance.md, "Manager calls"). Control reactor. */
#ifndef RPC_LAUNCH_H
#define RPC_LAUNCH_H

#include "rpc/object.h"

struct server;

/* launch_start: takes the call and answers it once the guest runs, or could not be started. */
void launch_start(struct call *call, struct server *s);

#endif

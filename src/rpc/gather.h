/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of all guests, gathered from their home reactors. Control reactor. */
#ifndef RPC_GATHER_H
#define RPC_GATHER_H

#include "rpc/slots.h"

struct gather {
	struct guest_snapshot **snapshots; /* sorted by name */
	unsigned int count;
	void *ctx;

	/* --- private --- */
	unsigned int left;
	void (*ready)(struct gather *g);
};

/* gather_start: calls `ready` once all have come, perhaps at once; the gather and its snapshots are
 * freed behind that. A guest for whose snapshot there is no memory is left out. False: out of
 * memory, `ready` is not called. */
bool gather_start(struct slots *s, void (*ready)(struct gather *), void *ctx);

#endif

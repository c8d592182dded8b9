/* SPDX-License-Identifier: Apache-2.0 */
/* `--reclaim pressure`: watches the memory pressure, and asks guests' balloons for memory while
 * there is much, as reclaim_policy.h says. While there is none it costs nothing. Control reactor.
 *
 *   trigger ──▶ timer ──▶ read pressure ──▶ policy ──▶ slot_reclaim for each guest ──▶ its figures
 *                 ▲──────── every 2 s, until all is given back ────────┘ */
#ifndef RPC_RECLAIM_H
#define RPC_RECLAIM_H

#include "rpc/pressure.h"
#include "rpc/reclaim_policy.h"

struct slots;

struct reclaim {
	struct slots *slots;
	struct pressure pressure;
	struct reactor_timer timer;
	struct reclaim_policy policy;
	bool active;       /* between a trigger and the policy's rest */
	uint64_t read_ns;  /* when the pressure was last read; 0: not since the trigger */
	uint64_t total_us; /* what it was */
	uint32_t last_ppm; /* figures */
	uint64_t events, steps;
	void (*ended)(struct reclaim *r);
	void *ctx;
};

/* reclaim_open: finds and opens what tells the pressure; errors as pressure_open's; before the
 * reactor runs. reclaim_close: it was never started. reclaim_start: on the reactor. reclaim_end:
 * asks nothing more of anybody and closes; `ended` follows, perhaps from inside. */
int reclaim_open(struct reclaim *r, struct diag *d);
void reclaim_close(struct reclaim *r);
void reclaim_start(
	struct reclaim *r, struct slots *slots, void (*ended)(struct reclaim *r), void *ctx);
void reclaim_end(struct reclaim *r);

#endif

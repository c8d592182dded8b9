/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a real reactor on the test's own thread. */
#ifndef SUPPORT_RUN_REACTOR_H
#define SUPPORT_RUN_REACTOR_H

#include "core/reactor.h"

/* run_reactor: creates a reactor (p NULL: all defaults, not pinned), calls start(r, ctx) as its
 * first message, turns until something calls reactor_stop, and destroys it. `stats` may be NULL. */
void run_reactor(const struct reactor_params *p, void (*start)(struct reactor *r, void *ctx),
	void *ctx, struct reactor_stats *stats);

/* run_reactor_create: a reactor or the end of the test, with the reason. */
struct reactor *run_reactor_create(const struct reactor_params *p);

#endif

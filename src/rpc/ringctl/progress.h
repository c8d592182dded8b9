/* SPDX-License-Identifier: Apache-2.0 */
/* One line on the terminal that says what is waited for, and since when. */
#ifndef RINGCTL_PROGRESS_H
#define RINGCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc/ringctl/ctl.h"

/* How often progress_tick is wanted. */
#define PROGRESS_TICK_MS 100

struct progress {
	const char *what; /* borrowed */
	uint64_t start_ns;
	bool wanted, shown;
};

/* progress_start: nothing is shown yet, and nothing at all if stderr is no terminal or with --json.
 * progress_tick: shows the line once the wait is long enough to be noticed. progress_end: takes it
 * away. */
void progress_start(struct progress *p, const struct ctl *ctl, const char *what);
void progress_tick(struct progress *p);
void progress_end(struct progress *p);

#endif

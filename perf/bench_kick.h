/* SPDX-License-Identifier: Apache-2.0 */
/* The bare kick, as the limit of others: a write to an eventfd until a thread that sleeps in
 * read(2) on the other CPU has seen it. A variant's functions and its `arg`. */
#ifndef PERF_BENCH_KICK_H
#define PERF_BENCH_KICK_H

#include "perf/harness.h"

extern const struct watcher kick_read_idle;

int kick_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d);
int kick_slice(void *state, struct bench_slice *s, struct diag *d);
void kick_teardown(void *state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The variants of the benchmark `wake` that go through the reactor. */
#ifndef PERF_BENCH_WAKE_H
#define PERF_BENCH_WAKE_H

#include "perf/harness.h"

/* The variant's arg: the enum reactor_wake of both reactors. */
extern const int wake_reactor_ring, wake_reactor_call, wake_reactor_eventfd;

int wake_reactor_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d);
int wake_reactor_slice(void *state, struct bench_slice *s, struct diag *d);
void wake_reactor_teardown(void *state);

#endif

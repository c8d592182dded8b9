/* SPDX-License-Identifier: Apache-2.0 */
/* The harness's own floor: what a measured interval contains when nothing happens in it, and what
 * recording it costs. Any figure near this one is a figure of the harness. */
#include "perf/bench.h"

#include <sys/syscall.h>
#include <unistd.h>

static int nothing_slice(void *state, struct bench_slice *s, struct diag *d)
{
	uint64_t start, end;

	(void)state;
	(void)d;
	do {
		start = bench_now(s);
		end = bench_now(s);
	} while (bench_record(s, start, end));
	return 0;
}

static int syscall_slice(void *state, struct bench_slice *s, struct diag *d)
{
	uint64_t start, end;

	(void)state;
	(void)d;
	do {
		start = bench_now(s);
		syscall(SYS_getppid);
		end = bench_now(s);
	} while (bench_record(s, start, end));
	return 0;
}

static const struct bench_variant variants[] = {
	{.name = "nothing", .role = BENCH_LIMIT, .slice = nothing_slice},
	{.name = "system call", .slice = syscall_slice},
};

const struct bench bench_clock_cost = {
	.name = "clock",
	.summary = "the harness's floor: an empty interval, and the cheapest system call",
	.variant = variants,
	.variants = sizeof(variants) / sizeof(variants[0]),
};

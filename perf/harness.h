/* SPDX-License-Identifier: Apache-2.0 */
/* The one harness of all benchmarks: what a benchmark declares, and what it calls while it runs.
 *
 *   setup A, setup B        once each
 *   warm up A, B            one slice each, thrown away
 *   A B A B A B …           `repeat` slices each, interleaved, so that drift hits all alike
 *   teardown B, teardown A
 *
 * or, where it says `fresh`, set-up, warm-up and teardown around each slice.
 *
 * A benchmark is a constant table of variants. One of them may be the limit or the peer that the
 * others are held against: it is measured in the same run and the rest is printed as a ratio to
 * it. Targets are judged and printed as met or missed; no time ever makes a run fail.
 *
 * Everything here is for the thread that calls bench_run, unless it says otherwise. That thread is
 * pinned to the first of the chosen CPUs for the slices; set-ups run with the affinity that the
 * process came with, so that the threads that they start can pin themselves. */
#ifndef PERF_HARNESS_H
#define PERF_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "perf/hist.h"

#define BENCH_CPUS_MAX   64
#define BENCH_VALUES_MAX 12 /* named values of one variant, ops/s and bytes/s included */
#define BENCH_REPEAT_MAX 1000

typedef uint64_t (*bench_clock)(void); /* nanoseconds, never going back */

/* What the command line chose. */
struct bench_options {
	unsigned int repeat; /* slices a variant; 1 … BENCH_REPEAT_MAX */
	uint64_t slice_ns;   /* length of one slice */
	uint64_t warm_up_ns; /* length of the slice before the first that counts; 0: none */
	bool smoke;          /* a run for the structure only: do as little as shows that it works */
	bool progress;       /* a progress line on stderr */
	unsigned int cpus;   /* how many of cpu[] are chosen; 0: pin nothing */
	int cpu[BENCH_CPUS_MAX];
	bench_clock now; /* NULL: CLOCK_MONOTONIC */
};

struct bench_value {
	const char *name, *unit; /* constants */
	double value;
};

/* One slice of one variant; the variant's `slice` fills it. */
struct bench_slice {
	const struct bench_options *options;
	bench_clock now;
	uint64_t start_ns, deadline_ns;
	struct hist *latency; /* ns */
	uint64_t ops, bytes;  /* reported as rates over the slice's own time */
	struct bench_value value[BENCH_VALUES_MAX];
	unsigned int values;
};

enum bench_role {
	BENCH_MEASURED,
	BENCH_LIMIT, /* what the machine can do at all */
	BENCH_PEER,  /* another way or another program */
};

struct bench_variant {
	const char *name;
	enum bench_role role; /* the first that is not BENCH_MEASURED is the ratios' reference */
	const void *arg;      /* a constant for `setup`, e.g. a size */

	/* setup: makes *state, quiet: between its slices a variant uses no CPU. -ENOTSUP with the
	 * reason in `d`: this machine cannot run it, the variant is reported as skipped. NULL: no
	 * state. */
	int (*setup)(const struct bench_variant *v, const struct bench_options *o, void **state,
		struct diag *d);
	/* slice: works until bench_record or bench_more says false, at least once. */
	int (*slice)(void *state, struct bench_slice *s, struct diag *d);
	/* teardown: only after a setup that succeeded. May be NULL. */
	void (*teardown)(void *state);
};

enum bench_stat { BENCH_P50, BENCH_P90, BENCH_P99, BENCH_P999, BENCH_MAX, BENCH_MIN };

#define BENCH_LATENCY "latency"
#define BENCH_OPS     "operations"
#define BENCH_BYTES   "throughput"

/* One figure of a run: BENCH_LATENCY, BENCH_OPS, BENCH_BYTES or the name of a bench_set value. The
 * P50 of a value is the median over the slices; a value has only P50, MIN and MAX. */
struct bench_figure {
	const char *variant, *metric;
	enum bench_stat stat;
};

struct bench_target {
	struct bench_figure of;
	struct bench_figure over; /* variant NULL: the target is absolute, in the metric's unit */
	bool at_least;            /* false: at most */
	double bound;
};

struct bench {
	const char *name, *summary;
	const struct bench_variant *variant;
	unsigned int variants;
	const struct bench_target *target;
	unsigned int targets;
	/* Where what a process happens to get (pages, addresses), or what another program does
	 * while it should rest, counts for more than what is measured. */
	bool fresh;
};

/* --- for a benchmark's slice --- */

static inline uint64_t bench_now(const struct bench_slice *s)
{
	return s->now();
}

static inline bool bench_more(const struct bench_slice *s)
{
	return s->now() < s->deadline_ns;
}

/* bench_record: one operation that took from start_ns to end_ns; true while the slice goes on. */
static inline bool bench_record(struct bench_slice *s, uint64_t start_ns, uint64_t end_ns)
{
	hist_record(s->latency, end_ns > start_ns ? end_ns - start_ns : 0);
	s->ops++;
	return end_ns < s->deadline_ns;
}

/* bench_count: operations and bytes without a time of their own. */
static inline void bench_count(struct bench_slice *s, uint64_t ops, uint64_t bytes)
{
	s->ops += ops;
	s->bytes += bytes;
}

/* bench_set: one named figure of this slice (KiB, calls a chain, …); the last one set counts.
 * `name` and `unit` are constants. */
void bench_set(struct bench_slice *s, const char *name, const char *unit, double value);

/* bench_cpu: the i-th chosen CPU, starting over after the last; -1: do not pin. Any thread. */
int bench_cpu(const struct bench_options *o, unsigned int i);

/* bench_pin: pins the calling thread. -1 does nothing. -errno if the CPU is not allowed. */
int bench_pin(int cpu);

/* bench_monotonic_ns: CLOCK_MONOTONIC. Any thread. */
uint64_t bench_monotonic_ns(void);

/* --- for main and the reports --- */

struct bench_metric {
	const char *name, *unit;
	double *sample; /* one a slice that set it, in order of time */
	unsigned int samples;
};

struct bench_result_variant {
	char skipped[DIAG_TEXT_MAX];     /* empty: it ran */
	struct hist latency;             /* all slices; ns */
	double p50_ns[BENCH_REPEAT_MAX]; /* of each slice with samples */
	unsigned int p50s;
	struct bench_metric metric[BENCH_VALUES_MAX];
	unsigned int metrics;
};

struct bench_result {
	const struct bench *bench;
	const struct bench_options *options;
	struct bench_result_variant *variant; /* bench->variants of them */
};

/* bench_run: runs one benchmark; *result is the caller's, also after an error. Errors: those of
 * setup and slice, with the variant named in `d`. */
int bench_run(const struct bench *b, const struct bench_options *o, struct bench_result **result,
	struct diag *d);
void bench_result_destroy(struct bench_result *r);

/* bench_figure_get: false if the variant was skipped or has no such metric. Latencies in ns. */
bool bench_figure_get(const struct bench_result *r, const struct bench_figure *f, double *value);

enum bench_verdict { BENCH_MET, BENCH_MISSED, BENCH_NOT_MEASURED };

/* bench_target_judge: *value is the figure or the ratio. */
enum bench_verdict bench_target_judge(
	const struct bench_result *r, const struct bench_target *t, double *value);

/* bench_reference: the variant that the others are held against, or NULL. */
const struct bench_variant *bench_reference(const struct bench *b);

/* bench_median: of `n` > 0 samples, the lower middle one; `sample` is not changed. 0 for n = 0. */
double bench_median(const double *sample, unsigned int n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* ringbench's command line. */
#ifndef PERF_OPTIONS_H
#define PERF_OPTIONS_H

#include "perf/harness.h"

struct options {
	struct bench_options bench;
	bool json, list, help;
	char **name; /* the benchmarks asked for: a part of argv */
	int names;
};

/* options_parse: -EINVAL with one line for people in `d`. Defaults: 10 slices, 3 s a variant in
 * all, the CPUs that this process may use. */
int options_parse(struct options *o, int argc, char **argv, struct diag *d);

/* The text of --help, without the list of benchmarks. */
extern const char options_help[];

#endif

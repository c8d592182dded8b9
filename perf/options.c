/* SPDX-License-Identifier: Apache-2.0 */
/* Parses ringbench's command line. */
#include "perf/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DURATION_MAX_S 3600.0

const char options_help[] =
	"usage: ringbench [options] BENCHMARK...|all\n"
	"\n"
	"Runs benchmarks and prints their figures, each with its limit or peer measured in the\n"
	"same run. Targets are printed as met or missed; the exit status does not depend on time:\n"
	"0 it ran, 1 a benchmark could not be run, 2 usage.\n"
	"\n"
	"  --duration S   measured seconds a variant, over all slices (3)\n"
	"  --repeat N     slices a variant, interleaved with the other variants' (10)\n"
	"  --warm-up S    seconds a variant before the first slice that counts (one slice, at most "
	"1)\n"
	"  --cpus LIST    CPUs to pin to, in order, as 0,2; none: do not pin (all that are "
	"allowed)\n"
	"  --json         print one JSON object instead of tables\n"
	"  --smoke        as short as shows that it works: 2 slices of 10 ms\n"
	"  --list         print the benchmarks' names, one a line\n"
	"  --help         print this\n";

enum option_id { DURATION = 1, REPEAT, WARM_UP, CPUS, JSON, SMOKE, LIST, HELP };

static const struct option long_options[] = {
	{"duration", required_argument, NULL, DURATION},
	{"repeat", required_argument, NULL, REPEAT},
	{"warm-up", required_argument, NULL, WARM_UP},
	{"cpus", required_argument, NULL, CPUS},
	{"json", no_argument, NULL, JSON},
	{"smoke", no_argument, NULL, SMOKE},
	{"list", no_argument, NULL, LIST},
	{"help", no_argument, NULL, HELP},
	{0},
};

static int seconds_parse(const char *what, const char *text, double *to, struct diag *d)
{
	char *end;

	*to = strtod(text, &end);
	if (end == text || *end || !isfinite(*to) || *to < 0 || *to > DURATION_MAX_S)
		return diag_fail(d, -EINVAL, "--%s %s: seconds between 0 and %.0f are expected",
			what, text, DURATION_MAX_S);
	return 0;
}

static int repeat_parse(const char *text, unsigned int *to, struct diag *d)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 1 || n > BENCH_REPEAT_MAX)
		return diag_fail(d, -EINVAL, "--repeat %s: a number between 1 and %d is expected",
			text, BENCH_REPEAT_MAX);
	*to = (unsigned int)n;
	return 0;
}

static int cpus_parse(const char *text, struct bench_options *o, struct diag *d)
{
	const char *at = text;

	o->cpus = 0;
	if (strcmp(text, "none") == 0)
		return 0;
	for (;;) {
		char *end;
		long cpu = strtol(at, &end, 10);

		if (end == at || (*end && *end != ',') || cpu < 0 || cpu >= CPU_SETSIZE)
			return diag_fail(d, -EINVAL,
				"--cpus %s: CPU numbers as 0,1 or none are expected", text);
		if (o->cpus == BENCH_CPUS_MAX)
			return diag_fail(d, -EINVAL, "--cpus: more than %d CPUs", BENCH_CPUS_MAX);
		o->cpu[o->cpus++] = (int)cpu;
		if (!*end)
			return 0;
		at = end + 1;
	}
}

static void cpus_default(struct bench_options *o)
{
	cpu_set_t set;

	o->cpus = 0;
	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	for (int i = 0; i < CPU_SETSIZE && o->cpus < BENCH_CPUS_MAX; i++)
		if (CPU_ISSET(i, &set))
			o->cpu[o->cpus++] = i;
}

/* From what was said to slices: --smoke decides the lengths that were not given. */
static void slices_plan(struct bench_options *o, double duration_s, double warm_up_s)
{
	if (o->repeat == 0)
		o->repeat = o->smoke ? 2 : 10;
	if (duration_s < 0)
		duration_s = o->smoke ? 0.01 * o->repeat : 3;
	o->slice_ns = (uint64_t)(duration_s * 1e9 / o->repeat);
	if (warm_up_s < 0)
		warm_up_s = o->slice_ns > 1000000000 ? 1 : (double)o->slice_ns / 1e9;
	o->warm_up_ns = (uint64_t)(warm_up_s * 1e9);
}

int options_parse(struct options *o, int argc, char **argv, struct diag *d)
{
	double duration_s = -1, warm_up_s = -1;
	int err = 0, c;

	memset(o, 0, sizeof(*o));
	cpus_default(&o->bench);
	opterr = 0;
	optind = 1;
	while (!err && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch ((enum option_id)c) {
		case DURATION:
			err = seconds_parse("duration", optarg, &duration_s, d);
			break;
		case REPEAT:
			err = repeat_parse(optarg, &o->bench.repeat, d);
			break;
		case WARM_UP:
			err = seconds_parse("warm-up", optarg, &warm_up_s, d);
			break;
		case CPUS:
			err = cpus_parse(optarg, &o->bench, d);
			break;
		case JSON:
			o->json = true;
			break;
		case SMOKE:
			o->bench.smoke = true;
			break;
		case LIST:
			o->list = true;
			break;
		case HELP:
			o->help = true;
			break;
		default:
			err = diag_fail(d, -EINVAL, "%s: not an option, or its value is missing",
				argv[optind - 1]);
		}
	}
	if (err)
		return err;
	slices_plan(&o->bench, duration_s, warm_up_s);
	o->bench.progress = isatty(STDERR_FILENO);
	o->name = argv + optind;
	o->names = argc - optind;
	if (o->names == 0 && !o->list && !o->help)
		return diag_fail(d, -EINVAL, "name a benchmark, or all; --list names them");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* trace-instructions: how many instructions the idle probes add to the device code, by callgrind on
 * the same work of a fake driver (trace_load.c), with and without them; and to a real reactor's
 * turns (trace_turns.c). Exact, whatever the load of the machine is. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/child.h"

#define VALGRIND "/usr/bin/valgrind"
#define FEW      200
#define MANY     700 /* the difference is without the set-up */
#define SMOKE    10

struct counted {
	double vsock, console, turns; /* instructions a round */
};

/* Only what the reactor runs: the driver's and the client's part is not counted. */
struct load {
	const char *program, *arguments, *function;
};

static const struct load vsock_load = {"trace_load", "vsock", "fake_io_run"},
			 console_load = {"trace_load", "console", "fake_io_run"},
			 turns_load = {"trace_turns", "", "reactor_run"};

static int count(const struct load *load, const char *variant, unsigned int rounds, double *to,
	struct diag *d)
{
	char program[4096], command[5000], line[512];
	unsigned long long n = 0;
	FILE *f;

	snprintf(line, sizeof(line), "%s%s", load->program, variant);
	child_path(program, sizeof(program), "", line);
	if (access(program, X_OK))
		return diag_fail(d, -ENOTSUP,
			"no %s: cmake --build BUILD --target trace_load "
			"trace_load-noprobes",
			program);
	snprintf(command, sizeof(command),
		VALGRIND " --tool=callgrind --callgrind-out-file=/dev/null "
			 "--toggle-collect=%s '%s' %s %u 2>&1",
		load->function, program, load->arguments, rounds);
	f = popen(command, "re");
	if (!f)
		return diag_errno(d, -errno, VALGRIND);
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "Collected : ");

		if (at)
			n = strtoull(at + strlen("Collected : "), NULL, 10);
	}
	*to = (double)n;
	if (pclose(f) == 0 && n)
		return 0;
	return diag_fail(d, -EIO, "no count of %s by " VALGRIND, program);
}

static int count_round(
	const struct load *load, const char *variant, bool smoke, double *to, struct diag *d)
{
	unsigned int less = smoke ? SMOKE : FEW, more = smoke ? 2 * SMOKE : MANY;
	double few, many;
	int err = count(load, variant, less, &few, d);

	if (!err)
		err = count(load, variant, more, &many, d);
	if (!err)
		*to = (many - few) / (more - less);
	return err;
}

static int instructions_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct counted *c = calloc(1, sizeof(*c));
	int err = 0;

	if (!c)
		return -ENOMEM;
	if (access(VALGRIND, X_OK))
		err = diag_fail(d, -ENOTSUP, "no " VALGRIND " (Debian: valgrind)");
	if (!err)
		err = count_round(&vsock_load, v->arg, o->smoke, &c->vsock, d);
	if (!err)
		err = count_round(&console_load, v->arg, o->smoke, &c->console, d);
	if (!err)
		err = count_round(&turns_load, v->arg, o->smoke, &c->turns, d);
	if (err)
		free(c);
	else
		*state = c;
	return err;
}

/* The same in each slice: counts do not vary. */
static int instructions_slice(void *state, struct bench_slice *s, struct diag *d)
{
	const struct counted *c = state;

	(void)d;
	bench_set(s, "vsock", "instructions per round trip", c->vsock);
	bench_set(s, "console", "instructions per 8 chains", c->console);
	bench_set(s, "reactor", "instructions per turn", c->turns);
	return 0;
}

static const struct bench_variant variants[] = {
	{"no probes", BENCH_LIMIT, "-noprobes", instructions_setup, instructions_slice, free},
	{"detached", BENCH_MEASURED, "", instructions_setup, instructions_slice, free},
};

#define AGAINST_PLAIN(metric)                                                                      \
	{                                                                                          \
		.of = {"detached", metric, BENCH_P50}, .over = {"no probes", metric, BENCH_P50},   \
		.bound = 1.01                                                                      \
	}

static const struct bench_target targets[] = {AGAINST_PLAIN("vsock"), AGAINST_PLAIN("console")};

const struct bench bench_trace_instructions = {
	.name = "trace-instructions",
	.summary = "idle probes: instructions of the device code, counted by callgrind",
	.variant = variants,
	.variants = ARRAY_SIZE(variants),
	.target = targets,
	.targets = ARRAY_SIZE(targets),
};

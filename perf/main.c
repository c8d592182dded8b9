/* SPDX-License-Identifier: Apache-2.0 */
/* ringbench: the table of benchmarks, and running those that the command line names. */
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/options.h"
#include "perf/report.h"

static const struct bench *const benches[] = {
	&bench_clock_cost,
	&bench_wake,
	&bench_kick_idle,
	&bench_kick_busy,
	&bench_queue_kick,
	&bench_queue_push,
	&bench_exit,
	&bench_boot,
	&bench_idle,
	&bench_serve_start,
	&bench_ping,
	&bench_calls,
	&bench_receive_ping,
	&bench_receive_calls,
	&bench_density,
	&bench_console_echo,
	&bench_console_echo_together,
	&bench_console_echo_apart,
	&bench_console_echo_spin,
	&bench_console_out,
	&bench_console_in,
	&bench_vsock_ping,
	&bench_vsock_out,
	&bench_vsock_in,
	&bench_vsock_streams,
	&bench_vsock_connect,
	&bench_trace_vsock,
	&bench_trace_console,
	&bench_trace_instructions,
	&bench_inflate,
	&bench_unplug,
	&bench_plug,
};

static const struct bench *bench_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		if (strcmp(benches[i]->name, name) == 0)
			return benches[i];
	return NULL;
}

static void help_print(void)
{
	fputs(options_help, stdout);
	puts("\nbenchmarks:");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		printf("  %-14s %s\n", benches[i]->name, benches[i]->summary);
}

static void list_print(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
		puts(benches[i]->name);
}

/* Runs one and adds it to the report: `to`, or standard output if that is NULL. */
static int bench_show(const struct bench *b, const struct bench_options *o, json_t *to)
{
	struct bench_result *result;
	struct diag d = {.text = ""};
	int err = bench_run(b, o, &result, &d);

	if (err)
		fprintf(stderr, "ringbench: %s\n", d.text);
	else if (to)
		json_array_append_new(to, report_json(result));
	else
		report_text(stdout, result);
	fflush(stdout);
	bench_result_destroy(result);
	return err;
}

static int benches_run(const struct options *o, json_t *to)
{
	int failed = 0;

	if (o->names == 1 && strcmp(o->name[0], "all") == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
			failed |= bench_show(benches[i], &o->bench, to) != 0;
		return failed;
	}
	for (int i = 0; i < o->names; i++)
		failed |= bench_show(bench_find(o->name[i]), &o->bench, to) != 0;
	return failed;
}

static int names_check(const struct options *o)
{
	for (int i = 0; i < o->names; i++) {
		if (bench_find(o->name[i]) || (o->names == 1 && strcmp(o->name[i], "all") == 0))
			continue;
		fprintf(stderr, "ringbench: %s: no such benchmark; --list names them\n",
			o->name[i]);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct diag d;
	struct env env;
	json_t *list = NULL;
	int failed;

	if (options_parse(&o, argc, argv, &d)) {
		fprintf(stderr, "ringbench: %s\n", d.text);
		return 2;
	}
	if (o.help || o.list) {
		(o.help ? help_print : list_print)();
		return 0;
	}
	if (names_check(&o))
		return 2;
	env_read(&env);
	if (o.json)
		list = json_array();
	else
		report_env(stdout, &env, &o.bench);
	failed = benches_run(&o, list);
	if (o.json) {
		json_t *all = json_pack("{s:i, s:o, s:o}", "format", 1, "environment",
			report_env_json(&env, &o.bench), "benchmarks", list);

		json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		putchar('\n');
		json_decref(all);
	}
	return failed ? 1 : 0;
}

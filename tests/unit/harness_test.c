/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark harness under a clock that the tests turn: order of slices, figures, verdicts,
 * reports and the command line. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/harness.h"
#include "perf/options.h"
#include "perf/report.h"

static uint64_t fake_ns; /* each test is a process of its own */
static char trail[256];

static uint64_t fake_now(void)
{
	return fake_ns;
}

static void trail_add(const char *what)
{
	strncat(trail, what, sizeof(trail) - strlen(trail) - 1);
}

static int letter_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	(void)o;
	(void)d;
	*state = (void *)v;
	trail_add("+");
	trail_add(v->name);
	return 0;
}

/* Operations of `arg` nanoseconds each, until the slice is over. */
static int letter_slice(void *state, struct bench_slice *s, struct diag *d)
{
	const struct bench_variant *v = state;
	uint64_t start;

	(void)d;
	trail_add(v->name);
	do {
		start = bench_now(s);
		fake_ns += *(const uint64_t *)v->arg;
	} while (bench_record(s, start, bench_now(s)));
	return 0;
}

static void letter_teardown(void *state)
{
	trail_add("-");
	trail_add(((const struct bench_variant *)state)->name);
}

static const uint64_t ten = 10, twenty = 20;

static const struct bench_variant letters[] = {
	{.name = "a",
		.arg = &twenty,
		.setup = letter_setup,
		.slice = letter_slice,
		.teardown = letter_teardown},
	{.name = "b",
		.role = BENCH_LIMIT,
		.arg = &ten,
		.setup = letter_setup,
		.slice = letter_slice,
		.teardown = letter_teardown},
};

static const struct bench_target letter_targets[] = {
	{.of = {"a", BENCH_LATENCY, BENCH_P50},
		.over = {"b", BENCH_LATENCY, BENCH_P50},
		.bound = 2},
	{.of = {"a", BENCH_LATENCY, BENCH_P99},
		.over = {"b", BENCH_LATENCY, BENCH_P50},
		.bound = 1.9},
	{.of = {"a", BENCH_OPS, BENCH_P50},
		.over = {"b", BENCH_OPS, BENCH_P50},
		.at_least = true,
		.bound = 0.5},
	{.of = {"a", BENCH_LATENCY, BENCH_MAX}, .at_least = true, .bound = 21},
	{.of = {"a", "no such figure", BENCH_P50}, .bound = 1},
	{.of = {"a", BENCH_LATENCY, BENCH_P50},
		.over = {"c", BENCH_LATENCY, BENCH_P50},
		.bound = 1},
};

static const struct bench letter_bench = {
	.name = "letters",
	.summary = "two variants of known speed",
	.variant = letters,
	.variants = 2,
	.target = letter_targets,
	.targets = 6,
};

static const struct bench_options fast = {
	.repeat = 3,
	.slice_ns = 1000,
	.warm_up_ns = 100,
	.now = fake_now,
};

static struct bench_result *letters_run(void)
{
	struct bench_result *r;
	struct diag d;

	cr_assert_eq(bench_run(&letter_bench, &fast, &r, &d), 0, "%s", d.text);
	return r;
}

Test(harness, interleaves_slices_after_warm_up_and_tears_down_backwards)
{
	bench_result_destroy(letters_run());
	cr_assert_str_eq(trail, "+a+bab"
				"ababab"
				"-b-a");
}

Test(harness, counts_only_the_slices_after_the_warm_up)
{
	struct bench_result *r = letters_run();

	cr_assert_eq(r->variant[0].latency.count, 3 * 1000 / 20);
	cr_assert_eq(r->variant[1].latency.count, 3 * 1000 / 10);
	cr_assert_eq(r->variant[0].p50s, 3);
	cr_assert_float_eq(r->variant[0].p50_ns[2], 20, 1e-9);
	bench_result_destroy(r);
}

Test(harness, derives_rates_from_a_slices_own_time)
{
	struct bench_result *r = letters_run();
	double value;

	cr_assert(bench_figure_get(r, &(struct bench_figure){"a", BENCH_OPS, BENCH_P50}, &value));
	cr_assert_float_eq(value, 50e6, 1);
	cr_assert(bench_figure_get(r, &(struct bench_figure){"b", BENCH_OPS, BENCH_MIN}, &value));
	cr_assert_float_eq(value, 100e6, 1);
	cr_assert_not(
		bench_figure_get(r, &(struct bench_figure){"b", BENCH_BYTES, BENCH_P50}, &value));
	bench_result_destroy(r);
}

Test(harness, judges_targets)
{
	static const enum bench_verdict want[] = {BENCH_MET, BENCH_MISSED, BENCH_MET, BENCH_MISSED,
		BENCH_NOT_MEASURED, BENCH_NOT_MEASURED};
	struct bench_result *r = letters_run();
	double value;

	for (unsigned int i = 0; i < 6; i++)
		cr_assert_eq(
			bench_target_judge(r, &letter_targets[i], &value), want[i], "target %u", i);
	bench_target_judge(r, &letter_targets[0], &value);
	cr_assert_float_eq(value, 2.0, 1e-9);
	bench_result_destroy(r);
}

static int absent_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	(void)v;
	(void)o;
	(void)state;
	return diag_fail(d, -ENOTSUP, "no such device here");
}

Test(harness, reports_a_variant_that_this_machine_lacks_as_skipped)
{
	const struct bench_variant variants[] = {letters[0], {.name = "b",
								     .setup = absent_setup,
								     .slice = letter_slice,
								     .teardown = letter_teardown}};
	const struct bench b = {.name = "half",
		.summary = "s",
		.variant = variants,
		.variants = 2,
		.target = letter_targets,
		.targets = 1};
	struct bench_result *r;
	struct diag d;
	double value;

	cr_assert_eq(bench_run(&b, &fast, &r, &d), 0);
	cr_assert_str_eq(r->variant[1].skipped, "no such device here");
	cr_assert_str_eq(trail, "+aaaaa-a");
	cr_assert_eq(bench_target_judge(r, &letter_targets[0], &value), BENCH_NOT_MEASURED);
	bench_result_destroy(r);
}

static int broken_slice(void *state, struct bench_slice *s, struct diag *d)
{
	(void)state;
	(void)s;
	return diag_fail(d, -EIO, "the wire is cut");
}

Test(harness, names_the_variant_that_failed_and_still_tears_down)
{
	const struct bench_variant variants[] = {letters[0], {.name = "c",
								     .setup = letter_setup,
								     .slice = broken_slice,
								     .teardown = letter_teardown}};
	const struct bench b = {.name = "cut", .summary = "s", .variant = variants, .variants = 2};
	struct bench_result *r;
	struct diag d;

	cr_assert_eq(bench_run(&b, &fast, &r, &d), -EIO);
	cr_assert_str_eq(d.text, "cut, variant c: the wire is cut");
	cr_assert_str_eq(trail, "+a+ca-c-a");
	bench_result_destroy(r);
}

Test(harness, last_value_set_in_a_slice_counts)
{
	struct bench_slice s = {0};

	bench_set(&s, "memory", "KiB", 1);
	bench_set(&s, "calls", "1", 7);
	bench_set(&s, "memory", "KiB", 2);
	cr_assert_eq(s.values, 2);
	cr_assert_float_eq(s.value[0].value, 2, 1e-9);
}

Test(harness, median_is_the_lower_middle_and_leaves_the_samples_alone)
{
	double four[] = {4, 1, 3, 2};

	cr_assert_float_eq(bench_median(four, 4), 2, 1e-9);
	cr_assert_float_eq(bench_median(four, 1), 4, 1e-9);
	cr_assert_float_eq(bench_median(four, 0), 0, 1e-9);
	cr_assert_float_eq(four[0], 4, 1e-9);
}

Test(harness, wraps_around_the_chosen_cpus)
{
	struct bench_options o = {.cpus = 2, .cpu = {3, 5}};

	cr_assert_eq(bench_cpu(&o, 0), 3);
	cr_assert_eq(bench_cpu(&o, 3), 5);
	o.cpus = 0;
	cr_assert_eq(bench_cpu(&o, 1), -1);
}

Test(report, json_has_every_variant_and_target)
{
	struct bench_result *r = letters_run();
	json_t *j = report_json(r), *a, *t;

	cr_assert_not_null(j);
	cr_assert_eq(json_array_size(json_object_get(j, "variants")), 2);
	a = json_array_get(json_object_get(j, "variants"), 0);
	cr_assert_eq(
		json_integer_value(json_object_get(json_object_get(a, "latency"), "p99.9")), 20);
	cr_assert(json_is_null(json_object_get(a, "skipped")));
	cr_assert_eq(json_array_size(json_object_get(j, "targets")), 6);
	t = json_array_get(json_object_get(j, "targets"), 1);
	cr_assert(json_is_false(json_object_get(t, "met")));
	t = json_array_get(json_object_get(j, "targets"), 4);
	cr_assert(json_is_null(json_object_get(t, "met")));
	json_decref(j);
	bench_result_destroy(r);
}

Test(report, text_prints_ratio_and_verdicts)
{
	struct bench_result *r = letters_run();
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	report_text(to, r);
	fclose(to);
	cr_assert_not_null(strstr(text, "a latency p50 / b latency p50 ≤ 2: 2.000, met\n"));
	cr_assert_not_null(strstr(text, "a latency p99 / b latency p50 ≤ 1.9: 2.000, MISSED\n"));
	cr_assert_not_null(strstr(text, "a latency max ≥ 0.021 µs: 0.020, MISSED\n"));
	cr_assert_not_null(strstr(text, "a no such figure p50 ≤ 1: not measured\n"));
	cr_assert_not_null(strstr(text, "p50 / limit"));
	cr_assert_not_null(strstr(text, "      2.000\n"));
	free(text);
	bench_result_destroy(r);
}

static int parse(struct options *o, struct diag *d, char *first, char *second, char *third)
{
	static char *argv[5]; /* options.name points into it afterwards */
	int argc = 1;

	memcpy(argv, (char *[]){"ringbench", first, second, third, NULL}, sizeof(argv));
	while (argv[argc])
		argc++;
	return options_parse(o, argc, argv, d);
}

Test(options, divide_the_duration_among_the_slices)
{
	struct options o;
	struct diag d;

	cr_assert_eq(parse(&o, &d, "--duration=6", "--repeat=3", "wake"), 0);
	cr_assert_eq(o.bench.repeat, 3);
	cr_assert_eq(o.bench.slice_ns, 2000000000);
	cr_assert_eq(o.bench.warm_up_ns, 1000000000);
	cr_assert_eq(o.names, 1);
	cr_assert_str_eq(o.name[0], "wake");
}

Test(options, smoke_is_short_but_can_be_overruled)
{
	struct options o;
	struct diag d;

	cr_assert_eq(parse(&o, &d, "--smoke", "x", NULL), 0);
	cr_assert_eq(o.bench.repeat, 2);
	cr_assert_eq(o.bench.slice_ns, 10000000);
	cr_assert_eq(parse(&o, &d, "--smoke", "--repeat=5", "x"), 0);
	cr_assert_eq(o.bench.repeat, 5);
}

Test(options, read_a_cpu_list)
{
	struct options o;
	struct diag d;

	cr_assert_eq(parse(&o, &d, "--cpus=4,0,7", "x", NULL), 0);
	cr_assert_eq(o.bench.cpus, 3);
	cr_assert_eq(o.bench.cpu[0], 4);
	cr_assert_eq(o.bench.cpu[2], 7);
	cr_assert_eq(parse(&o, &d, "--cpus=none", "x", NULL), 0);
	cr_assert_eq(o.bench.cpus, 0);
}

Test(options, refuse_what_makes_no_sense_and_name_it)
{
	static char *const wrong[] = {"--repeat=0", "--repeat=1001", "--repeat=3x", "--duration=-1",
		"--duration=nan", "--duration=", "--warm-up=1e9", "--cpus=", "--cpus=1,",
		"--cpus=-1", "--cpus=99999", "--json=1", "--unknown"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct options o;
		struct diag d = {.text = ""};

		cr_assert_eq(parse(&o, &d, wrong[i], "x", NULL), -EINVAL, "%s", wrong[i]);
		cr_assert_eq(strncmp(d.text, wrong[i], 5), 0, "%s", d.text);
	}
}

Test(options, want_a_benchmark)
{
	struct options o;
	struct diag d;

	cr_assert_eq(parse(&o, &d, NULL, NULL, NULL), -EINVAL);
	cr_assert_eq(parse(&o, &d, "--list", NULL, NULL), 0);
}

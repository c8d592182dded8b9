/* SPDX-License-Identifier: Apache-2.0 */
/* The report as aligned text: environment, times, other figures, targets. */
#include "perf/report.h"

#include <string.h>

#define NAME_WIDTH 24

const char *report_stat_name(enum bench_stat stat)
{
	static const char *const name[] = {
		[BENCH_P50] = "p50",
		[BENCH_P90] = "p90",
		[BENCH_P99] = "p99",
		[BENCH_P999] = "p99.9",
		[BENCH_MAX] = "max",
		[BENCH_MIN] = "min",
	};

	return name[stat];
}

void report_env(FILE *to, const struct env *e, const struct bench_options *o)
{
	fprintf(to, "%s  commit %s  %s\n", e->time, e->commit, e->build);
	fprintf(to, "kernel %s  CPU %s, %u online  hypervisor %s\n", e->kernel, e->cpu, e->online,
		e->hypervisor);
	fprintf(to, "hardware virtualization %s  KVM %s  governor %s  load %.2f\n",
		e->hardware_virtualization ? "yes" : "no", e->kvm ? "yes" : "no", e->governor,
		e->load);
	fprintf(to, "%u slices of %.3f s a variant, interleaved, after %.3f s of warm-up",
		o->repeat, (double)o->slice_ns / 1e9, (double)o->warm_up_ns / 1e9);
	fprintf(to, o->cpus ? "; CPUs" : "; not pinned");
	for (unsigned int i = 0; i < o->cpus; i++)
		fprintf(to, " %d", o->cpu[i]);
	fprintf(to,
		"\npercentiles within %.2f %% (max exact); reading the clock takes %.0f ns of each "
		"time\n",
		HIST_ERROR * 100, e->clock_ns);
	if (e->sanitized)
		fprintf(to, "built with a sanitizer: these figures say nothing about speed\n");
}

/* The ratio column: the variant's median over the reference's; blank for the reference itself. */
static void ratio_print(
	FILE *to, const struct bench_result *r, const struct bench_variant *v, const char *metric)
{
	const struct bench_variant *ref = bench_reference(r->bench);
	double ratio;

	if (!ref) {
		fprintf(to, "\n");
		return;
	}
	if (ref == v) {
		fprintf(to, "  %10s\n", v->role == BENCH_LIMIT ? "limit" : "peer");
		return;
	}
	if (bench_target_judge(r,
		    &(struct bench_target){.of = {v->name, metric, BENCH_P50},
			    .over = {ref->name, metric, BENCH_P50}},
		    &ratio) == BENCH_NOT_MEASURED)
		fprintf(to, "  %10s\n", "-");
	else
		fprintf(to, "  %10.3f\n", ratio);
}

static const char *ratio_header(const struct bench_result *r)
{
	const struct bench_variant *ref = bench_reference(r->bench);

	if (!ref)
		return "";
	return ref->role == BENCH_LIMIT ? "  p50 / limit" : "  p50 / peer";
}

static void latency_print(FILE *to, const struct bench_result *r, unsigned int index)
{
	const struct bench_result_variant *v = &r->variant[index];
	double low = v->p50_ns[0], high = v->p50_ns[0];

	for (unsigned int i = 1; i < v->p50s; i++) {
		low = v->p50_ns[i] < low ? v->p50_ns[i] : low;
		high = v->p50_ns[i] > high ? v->p50_ns[i] : high;
	}
	fprintf(to, "  %-*s %10lu", NAME_WIDTH, r->bench->variant[index].name,
		(unsigned long)v->latency.count);
	for (enum bench_stat s = BENCH_P50; s <= BENCH_MAX; s++) {
		double value = 0;

		bench_figure_get(r,
			&(struct bench_figure){r->bench->variant[index].name, BENCH_LATENCY, s},
			&value);
		fprintf(to, " %11.3f", value / 1e3);
	}
	fprintf(to, " %11.3f %11.3f", low / 1e3, high / 1e3);
	ratio_print(to, r, &r->bench->variant[index], BENCH_LATENCY);
}

static void latencies_print(FILE *to, const struct bench_result *r)
{
	bool header = false;

	for (unsigned int i = 0; i < r->bench->variants; i++) {
		if (r->variant[i].latency.count == 0)
			continue;
		if (!header)
			/* "µ" has two bytes: the first column is padded by hand. */
			fprintf(to, "\n  time in µs%*s %10s %11s %11s %11s %11s %11s %11s %11s%s\n",
				NAME_WIDTH - 10, "", "count", "p50", "p90", "p99", "p99.9", "max",
				"lowest p50", "highest p50", ratio_header(r));
		header = true;
		latency_print(to, r, i);
	}
}

static void values_print(FILE *to, const struct bench_result *r)
{
	bool header = false;

	for (unsigned int i = 0; i < r->bench->variants; i++) {
		const struct bench_variant *v = &r->bench->variant[i];

		for (unsigned int m = 0; m < r->variant[i].metrics; m++) {
			const struct bench_metric *metric = &r->variant[i].metric[m];
			struct bench_figure f = {v->name, metric->name, BENCH_P50};
			double median = 0, low = 0, high = 0;

			bench_figure_get(r, &f, &median);
			f.stat = BENCH_MIN;
			bench_figure_get(r, &f, &low);
			f.stat = BENCH_MAX;
			bench_figure_get(r, &f, &high);
			if (!header)
				fprintf(to, "\n  %-*s %-20s %-8s %14s %14s %14s%s\n", NAME_WIDTH,
					"over the slices", "figure", "unit", "median", "lowest",
					"highest", ratio_header(r));
			header = true;
			fprintf(to, "  %-*s %-20s %-8s %14.2f %14.2f %14.2f", NAME_WIDTH, v->name,
				metric->name, metric->unit, median, low, high);
			ratio_print(to, r, v, metric->name);
		}
	}
}

static void target_print(FILE *to, const struct bench_result *r, const struct bench_target *t)
{
	static const char *const verdict[] = {
		[BENCH_MET] = "met",
		[BENCH_MISSED] = "MISSED",
		[BENCH_NOT_MEASURED] = "not measured",
	};
	bool us = !t->over.variant && strcmp(t->of.metric, BENCH_LATENCY) == 0;
	double value = 0;
	enum bench_verdict met = bench_target_judge(r, t, &value);

	fprintf(to, "  %s %s %s", t->of.variant, t->of.metric, report_stat_name(t->of.stat));
	if (t->over.variant)
		fprintf(to, " / %s %s %s", t->over.variant, t->over.metric,
			report_stat_name(t->over.stat));
	fprintf(to, " %s %g%s: ", t->at_least ? "≥" : "≤", us ? t->bound / 1e3 : t->bound,
		us ? " µs" : "");
	if (met == BENCH_NOT_MEASURED)
		fprintf(to, "%s\n", verdict[met]);
	else
		fprintf(to, "%.3f, %s\n", us ? value / 1e3 : value, verdict[met]);
}

void report_text(FILE *to, const struct bench_result *r)
{
	fprintf(to, "\n%s: %s\n", r->bench->name, r->bench->summary);
	latencies_print(to, r);
	values_print(to, r);
	for (unsigned int i = 0; i < r->bench->variants; i++)
		if (r->variant[i].skipped[0])
			fprintf(to, "\n  %s skipped: %s\n", r->bench->variant[i].name,
				r->variant[i].skipped);
	if (r->bench->targets)
		fprintf(to, "\n  targets\n");
	for (unsigned int i = 0; i < r->bench->targets; i++)
		target_print(to, r, &r->bench->target[i]);
}

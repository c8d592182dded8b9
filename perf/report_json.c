/* SPDX-License-Identifier: Apache-2.0 */
/* The report as JSON. Times are nanoseconds; a figure that was not measured is null. */
#include "perf/report.h"

json_t *report_env_json(const struct env *e, const struct bench_options *o)
{
	json_t *cpus = json_array();

	for (unsigned int i = 0; i < o->cpus; i++)
		json_array_append_new(cpus, json_integer(o->cpu[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:b, s:b, s:b, s:f, s:f}",
		"time", e->time, "commit", e->commit, "build", e->build, "kernel", e->kernel, "cpu",
		e->cpu, "governor", e->governor, "hypervisor", e->hypervisor, "cpus_online",
		(int)e->online, "cpus_used", cpus, "sanitized", e->sanitized, "kvm", e->kvm,
		"hardware_virtualization", e->hardware_virtualization, "load", e->load, "clock_ns",
		e->clock_ns);
}

static json_t *samples_json(const double *sample, unsigned int n)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(list, json_real(sample[i]));
	return list;
}

static json_t *latency_json(const struct bench_result *r, unsigned int index)
{
	const struct bench_result_variant *v = &r->variant[index];
	struct bench_figure f = {r->bench->variant[index].name, BENCH_LATENCY, BENCH_P50};
	json_t *to;

	if (v->latency.count == 0)
		return json_null();
	to = json_pack("{s:s, s:I, s:f, s:f, s:o}", "unit", "ns", "count",
		(json_int_t)v->latency.count, "mean", hist_mean(&v->latency), "relative_error",
		HIST_ERROR, "p50_by_slice", samples_json(v->p50_ns, v->p50s));
	for (f.stat = BENCH_P50; f.stat <= BENCH_MIN; f.stat++) {
		double value = 0;

		bench_figure_get(r, &f, &value);
		json_object_set_new(to, report_stat_name(f.stat), json_integer((json_int_t)value));
	}
	return to;
}

static json_t *values_json(const struct bench_result *r, unsigned int index)
{
	const struct bench_result_variant *v = &r->variant[index];
	json_t *list = json_array();

	for (unsigned int i = 0; i < v->metrics; i++) {
		const struct bench_metric *m = &v->metric[i];

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:f, s:o}", "name", m->name, "unit", m->unit,
				      "median", bench_median(m->sample, m->samples), "samples",
				      samples_json(m->sample, m->samples)));
	}
	return list;
}

static json_t *variant_json(const struct bench_result *r, unsigned int index)
{
	static const char *const role[] = {
		[BENCH_MEASURED] = "measured",
		[BENCH_LIMIT] = "limit",
		[BENCH_PEER] = "peer",
	};
	const struct bench_variant *v = &r->bench->variant[index];
	const char *skipped = r->variant[index].skipped;

	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", v->name, "role", role[v->role],
		"skipped", skipped[0] ? json_string(skipped) : json_null(), "latency",
		latency_json(r, index), "values", values_json(r, index));
}

static json_t *figure_json(const struct bench_figure *f)
{
	if (!f->variant)
		return json_null();
	return json_pack("{s:s, s:s, s:s}", "variant", f->variant, "metric", f->metric, "stat",
		report_stat_name(f->stat));
}

static json_t *target_json(const struct bench_result *r, const struct bench_target *t)
{
	double value = 0;
	enum bench_verdict v = bench_target_judge(r, t, &value);
	bool measured = v != BENCH_NOT_MEASURED;

	return json_pack("{s:o, s:o, s:s, s:f, s:o, s:o}", "of", figure_json(&t->of), "over",
		figure_json(&t->over), "sense", t->at_least ? "at_least" : "at_most", "bound",
		t->bound, "value", measured ? json_real(value) : json_null(), "met",
		measured ? json_boolean(v == BENCH_MET) : json_null());
}

json_t *report_json(const struct bench_result *r)
{
	const struct bench *b = r->bench;
	json_t *variants = json_array(), *targets = json_array();

	for (unsigned int i = 0; i < b->variants; i++)
		json_array_append_new(variants, variant_json(r, i));
	for (unsigned int i = 0; i < b->targets; i++)
		json_array_append_new(targets, target_json(r, &b->target[i]));
	return json_pack("{s:s, s:s, s:i, s:f, s:f, s:o, s:o}", "name", b->name, "summary",
		b->summary, "slices", (int)r->options->repeat, "slice_s",
		(double)r->options->slice_ns / 1e9, "warm_up_s",
		(double)r->options->warm_up_ns / 1e9, "variants", variants, "targets", targets);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a run's samples to its figures: medians, ratios, and targets met or missed. */
#include "perf/harness.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(const double *sample, unsigned int n)
{
	double sorted[BENCH_REPEAT_MAX];

	if (n == 0 || n > BENCH_REPEAT_MAX)
		return 0;
	memcpy(sorted, sample, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare);
	return sorted[(n - 1) / 2];
}

const struct bench_variant *bench_reference(const struct bench *b)
{
	for (unsigned int i = 0; i < b->variants; i++)
		if (b->variant[i].role != BENCH_MEASURED)
			return &b->variant[i];
	return NULL;
}

static const struct bench_result_variant *variant_find(
	const struct bench_result *r, const char *name)
{
	for (unsigned int i = 0; i < r->bench->variants; i++)
		if (strcmp(r->bench->variant[i].name, name) == 0)
			return &r->variant[i];
	return NULL;
}

static bool latency_get(const struct hist *h, enum bench_stat stat, double *value)
{
	static const uint32_t ppm[] = {
		[BENCH_P50] = HIST_P50,
		[BENCH_P90] = HIST_P90,
		[BENCH_P99] = HIST_P99,
		[BENCH_P999] = HIST_P999,
		[BENCH_MAX] = 1000000,
		[BENCH_MIN] = 0,
	};

	if (h->count == 0)
		return false;
	*value = (double)hist_quantile(h, ppm[stat]);
	return true;
}

static bool metric_get(const struct bench_metric *m, enum bench_stat stat, double *value)
{
	if (m->samples == 0)
		return false;
	*value = m->sample[0];
	switch (stat) {
	case BENCH_P50:
		*value = bench_median(m->sample, m->samples);
		return true;
	case BENCH_MIN:
		for (unsigned int i = 1; i < m->samples; i++)
			*value = m->sample[i] < *value ? m->sample[i] : *value;
		return true;
	case BENCH_MAX:
		for (unsigned int i = 1; i < m->samples; i++)
			*value = m->sample[i] > *value ? m->sample[i] : *value;
		return true;
	default:
		return false;
	}
}

bool bench_figure_get(const struct bench_result *r, const struct bench_figure *f, double *value)
{
	const struct bench_result_variant *v = variant_find(r, f->variant);

	if (!v || v->skipped[0])
		return false;
	if (strcmp(f->metric, BENCH_LATENCY) == 0)
		return latency_get(&v->latency, f->stat, value);
	for (unsigned int i = 0; i < v->metrics; i++)
		if (strcmp(v->metric[i].name, f->metric) == 0)
			return metric_get(&v->metric[i], f->stat, value);
	return false;
}

enum bench_verdict bench_target_judge(
	const struct bench_result *r, const struct bench_target *t, double *value)
{
	double over = 1;

	if (!bench_figure_get(r, &t->of, value))
		return BENCH_NOT_MEASURED;
	if (t->over.variant && (!bench_figure_get(r, &t->over, &over) || over == 0))
		return BENCH_NOT_MEASURED;
	*value /= over;
	if (t->at_least)
		return *value >= t->bound ? BENCH_MET : BENCH_MISSED;
	return *value <= t->bound ? BENCH_MET : BENCH_MISSED;
}

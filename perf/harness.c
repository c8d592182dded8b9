/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a benchmark's variants: set-up, warm-up, interleaved slices, and the figures that follow. */
#include "perf/harness.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/check.h"

struct run {
	const struct bench *bench;
	const struct bench_options *options;
	struct bench_result *result;
	void **state;
	bool *ready;        /* setup succeeded */
	cpu_set_t affinity; /* that the process came with */
	struct hist scratch;
};

uint64_t bench_monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int bench_cpu(const struct bench_options *o, unsigned int i)
{
	return o->cpus ? o->cpu[i % o->cpus] : -1;
}

int bench_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

void bench_set(struct bench_slice *s, const char *name, const char *unit, double value)
{
	unsigned int i;

	for (i = 0; i < s->values; i++)
		if (strcmp(s->value[i].name, name) == 0)
			break;
	CHECK(i < BENCH_VALUES_MAX);
	if (i == s->values)
		s->values++;
	s->value[i] = (struct bench_value){.name = name, .unit = unit, .value = value};
}

static int metric_add(
	struct bench_result_variant *v, const struct bench_value *value, unsigned int repeat)
{
	struct bench_metric *m;
	unsigned int i;

	for (i = 0; i < v->metrics; i++)
		if (strcmp(v->metric[i].name, value->name) == 0)
			break;
	CHECK(i < BENCH_VALUES_MAX);
	m = &v->metric[i];
	if (i == v->metrics) {
		m->sample = calloc(repeat, sizeof(*m->sample));
		if (!m->sample)
			return -ENOMEM;
		m->name = value->name;
		m->unit = value->unit;
		v->metrics++;
	}
	m->sample[m->samples++] = value->value;
	return 0;
}

/* Takes what a slice left behind into the variant's result. */
static int slice_keep(
	struct run *run, struct bench_result_variant *v, struct bench_slice *s, uint64_t end_ns)
{
	double seconds = (double)(end_ns - s->start_ns) / 1e9;
	int err = 0;

	if (s->latency->count) {
		v->p50_ns[v->p50s++] = (double)hist_quantile(s->latency, HIST_P50);
		hist_merge(&v->latency, s->latency);
	}
	if (s->ops && seconds > 0)
		bench_set(s, BENCH_OPS, "1/s", (double)s->ops / seconds);
	if (s->bytes && seconds > 0)
		bench_set(s, BENCH_BYTES, "MB/s", (double)s->bytes / seconds / 1e6);
	for (unsigned int i = 0; i < s->values && !err; i++)
		err = metric_add(v, &s->value[i], run->options->repeat);
	return err;
}

static int slice_run(
	struct run *run, unsigned int index, uint64_t length_ns, bool keep, struct diag *d)
{
	struct bench_slice s = {.options = run->options, .latency = &run->scratch};
	int err;

	hist_init(&run->scratch);
	s.now = run->options->now ? run->options->now : bench_monotonic_ns;
	s.start_ns = s.now();
	s.deadline_ns = s.start_ns + length_ns;
	d->text[0] = '\0';
	err = run->bench->variant[index].slice(run->state[index], &s, d);
	if (!err && keep)
		err = slice_keep(run, &run->result->variant[index], &s, s.now());
	if (!err)
		return 0;
	if (!d->text[0])
		diag_errno(d, err, "the slice failed");
	return diag_prefix(
		d, err, "%s, variant %s", run->bench->name, run->bench->variant[index].name);
}

static void progress_show(const struct run *run, unsigned int done, unsigned int index)
{
	if (!run->options->progress)
		return;
	fprintf(stderr, "\r%s: %u of %u, %s\033[K", run->bench->name, done, run->options->repeat,
		run->bench->variant[index].name);
	fflush(stderr);
}

static void progress_clear(const struct run *run)
{
	if (run->options->progress)
		fputs("\r\033[K", stderr);
}

static int variant_setup(struct run *run, unsigned int index, struct diag *d)
{
	const struct bench_variant *v = &run->bench->variant[index];
	struct bench_result_variant *to = &run->result->variant[index];
	int err;

	if (to->skipped[0])
		return 0;
	d->text[0] = '\0';
	err = v->setup ? v->setup(v, run->options, &run->state[index], d) : 0;
	if (!err) {
		run->ready[index] = true;
		return 0;
	}
	if (!d->text[0])
		diag_errno(d, err, "set-up failed");
	if (err != -ENOTSUP)
		return diag_prefix(d, err, "%s, variant %s", run->bench->name, v->name);
	memcpy(to->skipped, d->text, sizeof(to->skipped));
	return 0;
}

static void variant_teardown(struct run *run, unsigned int index)
{
	const struct bench_variant *v = &run->bench->variant[index];

	if (run->ready[index] && v->teardown)
		v->teardown(run->state[index]);
	run->ready[index] = false;
	run->state[index] = NULL;
}

/* Only for the slices: what the set-ups start must not inherit the one CPU. */
static int client_pin(const struct run *run, struct diag *d)
{
	int cpu = bench_cpu(run->options, 0);
	int err = bench_pin(cpu);

	return err ? diag_errno(d, err, "cannot run on CPU %d", cpu) : 0;
}

static void client_unpin(const struct run *run)
{
	sched_setaffinity(0, sizeof(run->affinity), &run->affinity);
}

static int setups(struct run *run, struct diag *d)
{
	int err = 0;

	for (unsigned int i = 0; i < run->bench->variants && !err; i++)
		err = variant_setup(run, i, d);
	return err ? err : client_pin(run, d);
}

static void teardowns(struct run *run)
{
	client_unpin(run);
	for (unsigned int i = run->bench->variants; i-- > 0;)
		variant_teardown(run, i);
}

static int warm_up(struct run *run, unsigned int index, struct diag *d)
{
	uint64_t length_ns = run->options->warm_up_ns;

	return length_ns && run->ready[index] ? slice_run(run, index, length_ns, false, d) : 0;
}

static int slice_fresh(struct run *run, unsigned int index, struct diag *d)
{
	int err = variant_setup(run, index, d);

	if (err || !run->ready[index])
		return err;
	err = client_pin(run, d);
	if (!err)
		err = warm_up(run, index, d);
	if (!err)
		err = slice_run(run, index, run->options->slice_ns, true, d);
	client_unpin(run);
	variant_teardown(run, index);
	return err;
}

static int run_slices(struct run *run, struct diag *d)
{
	const struct bench *b = run->bench;
	int err = b->fresh ? 0 : setups(run, d);

	for (unsigned int i = 0; i < b->variants && !err && !b->fresh; i++) {
		progress_show(run, 0, i);
		err = warm_up(run, i, d);
	}
	for (unsigned int n = 0; n < run->options->repeat && !err; n++) {
		for (unsigned int i = 0; i < b->variants && !err; i++) {
			progress_show(run, n, i);
			if (b->fresh)
				err = slice_fresh(run, i, d);
			else if (run->ready[i])
				err = slice_run(run, i, run->options->slice_ns, true, d);
		}
	}
	progress_clear(run);
	teardowns(run);
	return err;
}

static struct bench_result *result_create(const struct bench *b, const struct bench_options *o)
{
	struct bench_result *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->bench = b;
	r->options = o;
	r->variant = calloc(b->variants, sizeof(*r->variant));
	if (!r->variant) {
		free(r);
		return NULL;
	}
	return r;
}

void bench_result_destroy(struct bench_result *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < r->bench->variants; i++)
		for (unsigned int m = 0; m < r->variant[i].metrics; m++)
			free(r->variant[i].metric[m].sample);
	free(r->variant);
	free(r);
}

int bench_run(const struct bench *b, const struct bench_options *o, struct bench_result **result,
	struct diag *d)
{
	struct run run = {.bench = b, .options = o};
	int err = 0;

	*result = NULL;
	if (o->repeat < 1 || o->repeat > BENCH_REPEAT_MAX)
		return diag_fail(
			d, -EINVAL, "%u repetitions; the limit is %d", o->repeat, BENCH_REPEAT_MAX);
	if (sched_getaffinity(0, sizeof(run.affinity), &run.affinity))
		return diag_errno(d, -errno, "sched_getaffinity");
	run.result = result_create(b, o);
	run.state = calloc(b->variants, sizeof(*run.state));
	run.ready = calloc(b->variants, sizeof(*run.ready));
	if (!run.result || !run.state || !run.ready) {
		err = diag_errno(d, -ENOMEM, "%s", b->name);
		goto out;
	}
	for (unsigned int i = 0; i < b->variants; i++)
		hist_init(&run.result->variant[i].latency);
	err = run_slices(&run, d);
out:
	free(run.state);
	free(run.ready);
	*result = run.result;
	return err;
}

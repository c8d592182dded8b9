/* SPDX-License-Identifier: Apache-2.0 */
/* The histogram against the exact order statistics of the same samples. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "perf/hist.h"

#define SAMPLES 20000

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Nearest rank on sorted data: the definition that hist_quantile promises. */
static uint64_t exact_quantile(const uint64_t *sorted, uint64_t n, uint32_t ppm)
{
	uint64_t rank = (n * ppm + 999999) / 1000000;

	return sorted[rank ? rank - 1 : 0];
}

static void expect_close(uint64_t got, uint64_t want, const char *what)
{
	double error = fabs((double)got - (double)want);

	cr_assert_leq(error, HIST_ERROR * (double)want, "%s: %llu instead of %llu", what,
		(unsigned long long)got, (unsigned long long)want);
}

/* Records the samples and compares quantiles all over; sorts `sample`. */
static void expect_quantiles(uint64_t *sample, uint64_t n, const char *what)
{
	static struct hist h;

	hist_init(&h);
	for (uint64_t i = 0; i < n; i++)
		hist_record(&h, sample[i]);
	qsort(sample, n, sizeof(*sample), compare);
	cr_assert_eq(h.count, n);
	for (uint32_t ppm = 0; ppm <= 1000000; ppm += 1250)
		expect_close(hist_quantile(&h, ppm), exact_quantile(sample, n, ppm), what);
	expect_close(hist_quantile(&h, HIST_P999), exact_quantile(sample, n, HIST_P999), what);
	cr_assert_eq(hist_quantile(&h, 0), sample[0], "%s: the minimum is exact", what);
	cr_assert_eq(hist_quantile(&h, 1000000), sample[n - 1], "%s: the maximum is exact", what);
}

Test(hist, is_empty_at_first)
{
	static struct hist h;

	hist_init(&h);
	cr_assert_eq(hist_quantile(&h, HIST_P50), 0);
	cr_assert_eq(hist_mean(&h), 0);
}

Test(hist, error_is_what_the_reports_state)
{
	cr_assert_leq(HIST_ERROR, 0.016);
}

Test(hist, single_sample_is_every_quantile_exactly)
{
	static const uint64_t values[] = {
		0, 1, 63, 64, 127, 128, 129, 1000003, UINT64_MAX - 1, UINT64_MAX};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		static struct hist h;

		hist_init(&h);
		hist_record(&h, values[i]);
		for (uint32_t ppm = 0; ppm <= 1000000; ppm += 100000)
			cr_assert_eq(hist_quantile(&h, ppm), values[i]);
	}
}

Test(hist, small_values_are_exact)
{
	static struct hist h;

	hist_init(&h);
	for (uint64_t v = 0; v < 2 * HIST_SUB; v++)
		hist_record(&h, v);
	for (uint32_t rank = 1; rank <= 2 * HIST_SUB; rank++)
		cr_assert_eq(hist_quantile(&h, (uint32_t)(rank * 1000000ull / (2 * HIST_SUB))),
			rank - 1);
	cr_assert_float_eq(hist_mean(&h), HIST_SUB - 0.5, 1e-9);
}

Test(hist, every_power_of_two_and_its_neighbours_stay_within_the_error)
{
	for (unsigned int k = 1; k < 64; k++) {
		uint64_t at = 1ull << k;
		/* An outlier at each end, so that the value is not clamped to the extremes. */
		uint64_t sample[] = {0, at - 1, at, at + 1, UINT64_MAX};

		expect_quantiles(sample, 5, "power of two");
	}
}

Test(hist, follows_exact_quantiles_of_uniform_data)
{
	static uint64_t sample[SAMPLES];
	uint64_t seed = 0x9e3779b97f4a7c15;

	for (unsigned int i = 0; i < SAMPLES; i++)
		sample[i] = random_next(&seed) % 1000000;
	expect_quantiles(sample, SAMPLES, "uniform");
}

Test(hist, follows_exact_quantiles_over_all_magnitudes)
{
	static uint64_t sample[SAMPLES];
	uint64_t seed = 42;

	for (unsigned int i = 0; i < SAMPLES; i++) {
		uint64_t value = random_next(&seed);

		sample[i] = value >> (random_next(&seed) % 64);
	}
	expect_quantiles(sample, SAMPLES, "all magnitudes");
}

Test(hist, follows_exact_quantiles_of_two_far_peaks)
{
	static uint64_t sample[SAMPLES];
	uint64_t seed = 7;

	for (unsigned int i = 0; i < SAMPLES; i++)
		sample[i] = (i % 200 ? 5000 : 9000000) + random_next(&seed) % 300;
	expect_quantiles(sample, SAMPLES, "two peaks");
}

Test(hist, merging_is_recording_both)
{
	static struct hist a, b, both;
	uint64_t seed = 99;

	hist_init(&a);
	hist_init(&b);
	hist_init(&both);
	for (unsigned int i = 0; i < SAMPLES; i++) {
		uint64_t value = random_next(&seed) >> 40;

		hist_record(i % 3 ? &a : &b, value);
		hist_record(&both, value);
	}
	hist_merge(&a, &b);
	cr_assert_eq(a.count, both.count);
	cr_assert_float_eq(hist_mean(&a), hist_mean(&both), 1e-6 * hist_mean(&both));
	for (uint32_t ppm = 0; ppm <= 1000000; ppm += 1000)
		cr_assert_eq(hist_quantile(&a, ppm), hist_quantile(&both, ppm));
}

Test(hist, merging_with_nothing_changes_nothing)
{
	static struct hist a, none;

	hist_init(&a);
	hist_init(&none);
	hist_record(&a, 500);
	hist_merge(&a, &none);
	cr_assert_eq(a.count, 1);
	cr_assert_eq(a.min, 500);
	hist_merge(&none, &a);
	cr_assert_eq(none.min, 500);
	cr_assert_eq(none.max, 500);
}

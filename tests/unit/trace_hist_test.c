/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of the histograms that BPF programs fill, and what is read out of them. */
#include <criterion/criterion.h>
#include <string.h>

#include "trace/hist.h"

static void check_value(uint64_t v)
{
	unsigned int slot = trace_slot(v);
	uint64_t start = trace_slot_start(slot), end = trace_slot_start(slot + 1);

	cr_assert(slot < TRACE_SLOTS);
	cr_assert(start <= v, "%llu", (unsigned long long)v);
	if (slot == TRACE_SLOTS - 1)
		return;
	cr_assert(v < end, "%llu", (unsigned long long)v);
	cr_assert(
		(end - start - 1) * 4 <= v, "a slot that is too wide: %llu", (unsigned long long)v);
}

Test(trace_hist, each_value_is_in_its_slot)
{
	for (uint64_t v = 0; v < 100000; v++)
		check_value(v);
	for (unsigned int bit = 0; bit < 64; bit++)
		for (int d = -1; d <= 1; d++)
			check_value((1ULL << bit) + (uint64_t)(int64_t)d);
	cr_assert_eq(trace_slot(UINT64_MAX), TRACE_SLOTS - 1);
	cr_assert(trace_slot(2ULL * 3600 * 1000000000) < TRACE_SLOTS - 1);
}

Test(trace_hist, slots_ascend_without_gaps)
{
	for (unsigned int slot = 0; slot + 1 < TRACE_SLOTS; slot++) {
		cr_assert(trace_slot_start(slot) < trace_slot_start(slot + 1));
		cr_assert_eq(trace_slot(trace_slot_start(slot)), slot);
	}
}

static void add(struct trace_hist *h, uint64_t v, uint64_t times)
{
	h->slots[trace_slot(v)] += times;
	h->ended += times;
	h->sum += v * times;
	if (v > h->max)
		h->max = v;
}

Test(trace_hist, quantiles)
{
	struct trace_hist h = {0};

	cr_assert_eq(hist_quantile(&h, 0.5), 0);
	add(&h, 100, 90);
	add(&h, 100000, 10);
	cr_assert(hist_quantile(&h, 0.5) >= 96 && hist_quantile(&h, 0.5) < 112);
	cr_assert(hist_quantile(&h, 0.99) > 80000 && hist_quantile(&h, 0.99) <= 100000);
	cr_assert(hist_quantile(&h, 1) <= h.max);
}

Test(trace_hist, a_quantile_is_not_over_the_maximum)
{
	struct trace_hist h = {0};

	add(&h, 1030, 1);
	cr_assert_eq(hist_quantile(&h, 0.5), 1030);
}

Test(trace_hist, rows_are_found_by_their_whole_key)
{
	struct trace_row row[2] = {0};
	const struct trace_rows rows = {.row = row, .count = 2};
	struct trace_key key = {.kind = TRACE_EXITS, .index = 2, .address = 0x80};

	row[0].key = row[1].key = key;
	row[0].key.is_write = 1;
	cr_assert(rows_find(&rows, &key) == &row[1]);
	strcpy(key.guest, "tiny");
	cr_assert(rows_find(&rows, &key) == NULL);
}

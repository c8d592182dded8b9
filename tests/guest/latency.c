/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles of the times of rounds. */
#include "latency.h"

#include "clock.h"
#include "lib.h"

static void ticks_sort(uint64_t *ticks, uint64_t count)
{
	for (uint64_t gap = count / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
		for (uint64_t i = gap; i < count; i++) {
			uint64_t value = ticks[i], at = i;
			for (; at >= gap && ticks[at - gap] > value; at -= gap)
				ticks[at] = ticks[at - gap];
			ticks[at] = value;
		}
}

void latency_print(uint64_t *ticks, uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count; i++)
		sum += ticks[i];
	ticks_sort(ticks, count);
	print(" min_ns=%lu p50_ns=%lu p99_ns=%lu max_ns=%lu mean_ns=%lu\n", clock_ns(ticks[0]),
		clock_ns(ticks[count / 2]), clock_ns(ticks[count * 99 / 100]),
		clock_ns(ticks[count - 1]), clock_ns(sum / count));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles of a log-linear histogram; apart from the loader, so that a test needs no kernel. */
#include "trace/hist.h"

uint64_t hist_quantile(const struct trace_hist *h, double share)
{
	uint64_t want = (uint64_t)(share * (double)h->ended), seen = 0;

	if (!h->ended)
		return 0;
	for (unsigned int i = 0; i < TRACE_SLOTS; i++) {
		uint64_t middle;

		seen += h->slots[i];
		if (seen <= want && seen < h->ended)
			continue;
		middle = (trace_slot_start(i) + trace_slot_start(i + 1)) / 2;
		return middle < h->max ? middle : h->max;
	}
	return h->max;
}

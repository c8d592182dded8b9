/* SPDX-License-Identifier: Apache-2.0 */
/* A log-linear histogram of times: constant memory, constant cost a sample, a known error.
 *
 * Values below 2 × HIST_SUB have a bucket each. From there on every octave [2^k, 2^(k+1)) has
 * HIST_SUB buckets of equal width, so that a bucket is at most 1/HIST_SUB of its lower bound wide,
 * and its middle is within 1/(2 × HIST_SUB) of anything in it. */
#ifndef PERF_HIST_H
#define PERF_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS + 1) * HIST_SUB)

/* The bound on |reported − true| / true of any quantile: 0.78 %. Minimum, maximum, count and mean
 * are exact. */
#define HIST_ERROR (1.0 / (2 * HIST_SUB))

/* Parts a million, as hist_quantile takes them. */
#define HIST_P50  500000u
#define HIST_P90  900000u
#define HIST_P99  990000u
#define HIST_P999 999000u

/* Some 30 KiB. Owned by its holder; one thread at a time. */
struct hist {
	uint64_t count;
	uint64_t min, max; /* exact; meaningless while count is 0 */
	double sum;
	uint64_t buckets[HIST_BUCKETS];
};

/* hist_init: empties it. */
void hist_init(struct hist *h);

/* hist_record: one sample, of any unit; never fails. */
void hist_record(struct hist *h, uint64_t value);

/* hist_merge: adds all of `from` to `to`, as if its samples had been recorded there. */
void hist_merge(struct hist *to, const struct hist *from);

/* hist_quantile: the sample of rank ceil(count × ppm / 1e6) in ascending order (nearest rank),
 * within HIST_ERROR; `ppm` of 0 is the minimum, 1000000 the maximum. 0 if there are no samples. */
uint64_t hist_quantile(const struct hist *h, uint32_t ppm);

/* hist_mean: 0 if there are no samples. */
double hist_mean(const struct hist *h);

#endif

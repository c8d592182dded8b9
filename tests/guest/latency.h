/* SPDX-License-Identifier: Apache-2.0 */
/* Times of rounds, measured in ticks of the TSC. */
#ifndef GUEST_LATENCY_H
#define GUEST_LATENCY_H

#include <stdint.h>

/* Prints " min_ns=N p50_ns=N p99_ns=N max_ns=N mean_ns=N" and a line feed; sorts them, count > 0.
 */
void latency_print(uint64_t *ticks, uint64_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Time by the TSC, which every host offers in ring 3 without an exit. CPU 0 only. */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include <stdint.h>

/* TSC ticks a millisecond; found at the first call, which may take 10 ms. Never 0. */
uint64_t clock_tsc_khz(void);

/* Where clock_tsc_khz has it from, for people. */
const char *clock_source(void);

/* Nanoseconds of `ticks` of the TSC. */
uint64_t clock_ns(uint64_t ticks);

/* Spins for so many microseconds. */
void clock_delay_us(uint64_t us);

/* While it runs CPU 0 is interrupted twice a second, so that who sleeps can look at a time limit.
 */
void clock_tick_start(void);
void clock_tick_stop(void);

#endif

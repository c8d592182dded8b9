/* SPDX-License-Identifier: Apache-2.0 */
/* What a slice used besides time: processor time, sleeps, system calls. On a machine that others
 * use as well these vary far less than a wake's time does. */
#ifndef PERF_USAGE_H
#define PERF_USAGE_H

#include <pthread.h>
#include <stdint.h>

#include "perf/harness.h"

struct usage {
	uint64_t cpu_ns;   /* of all threads of the process */
	uint64_t sleeps;   /* voluntary context switches of the same */
	uint64_t syscalls; /* the variant's own count */
};

/* usage_read: now. `syscalls` is what the variant has counted so far. */
struct usage usage_read(uint64_t syscalls);

/* usage_set: what was used since `from`, as values of the slice by operation. */
void usage_set(struct bench_slice *s, const struct usage *from, uint64_t syscalls);

/* usage_thread_ns: the processor time of one thread that has not been joined. */
uint64_t usage_thread_ns(pthread_t thread);

#endif

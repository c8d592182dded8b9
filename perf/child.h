/* SPDX-License-Identifier: Apache-2.0 */
/* A program that a benchmark starts and watches: its standard output, memory and CPU time. */
#ifndef PERF_CHILD_H
#define PERF_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/diag.h"

struct child {
	pid_t pid;
	int in, out; /* our ends of its standard input and output */
};

/* child_path: the path of one of this build's programs: $RINGVISOR or the like if `env` is set,
 * else `relative` to the folder of ringbench itself. */
void child_path(char *to, size_t room, const char *env, const char *relative);

/* child_start: runs argv[0] (looked up in PATH), standard error thrown away. -errno. */
int child_start(struct child *c, char *const argv[], struct diag *d);
/* child_expect: reads until `text` has come; false at end of file or after 60 s. */
bool child_expect(struct child *c, const char *text);
/* child_thread_pin: pins its thread of that name, which may still be about to start, to a CPU.
 * -errno; -ESRCH: there was none for 60 s. */
int child_thread_pin(const struct child *c, const char *name, int cpu);
/* child_end: kills it if it is still there, and waits. */
void child_end(struct child *c);

/* Its memory now, in bytes: private and proportional, without mappings whose name has `except`.
 * False if it is gone. */
struct child_memory {
	uint64_t private_bytes, pss_bytes, rss_bytes;
};
bool child_memory_read(const struct child *c, const char *except, struct child_memory *m);
/* CPU time of all its threads so far. */
uint64_t child_cpu_ns(const struct child *c);

#endif

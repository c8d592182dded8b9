/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and counters of the kernel's. */
#include "perf/usage.h"

#include <sys/resource.h>
#include <time.h>

#include "core/check.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct usage usage_read(uint64_t syscalls)
{
	struct rusage r;

	CHECK(getrusage(RUSAGE_SELF, &r) == 0);
	return (struct usage){.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
		.sleeps = (uint64_t)r.ru_nvcsw,
		.syscalls = syscalls};
}

void usage_set(struct bench_slice *s, const struct usage *from, uint64_t syscalls)
{
	struct usage now = usage_read(syscalls);
	double ops = (double)s->ops;

	bench_set(s, "processor time", "us each", (double)(now.cpu_ns - from->cpu_ns) / 1e3 / ops);
	bench_set(s, "sleeps", "each", (double)(now.sleeps - from->sleeps) / ops);
	bench_set(s, "system calls", "each", (double)(now.syscalls - from->syscalls) / ops);
}

uint64_t usage_thread_ns(pthread_t thread)
{
	clockid_t clock;

	CHECK(pthread_getcpuclockid(thread, &clock) == 0);
	return clock_ns(clock);
}

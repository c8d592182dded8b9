/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the record of the environment. */
#include "perf/env.h"

#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "perf/harness.h"
#include "perf_commit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#ifdef __clang__
#define COMPILER "clang "
#else
#define COMPILER "gcc "
#endif

static void line_read(const char *path, char *to, size_t size, const char *otherwise)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(to, (int)size, f))
		snprintf(to, size, "%s", otherwise);
	to[strcspn(to, "\n")] = '\0';
	if (f)
		fclose(f);
}

static void cpu_read(struct env *e)
{
	uint32_t a, b, c, d;
	char brand[49] = "unknown";
	const char *start = brand;

	if ((unsigned int)__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
		for (unsigned int i = 0; i < 3; i++) {
			__cpuid(0x80000002 + i, a, b, c, d);
			memcpy(brand + 16 * i, (uint32_t[]){a, b, c, d}, 16);
		}
		brand[48] = '\0';
	}
	while (*start == ' ')
		start++;
	snprintf(e->cpu, sizeof(e->cpu), "%s", start);

	__cpuid(1, a, b, c, d);
	e->hardware_virtualization = c & (1u << 5); /* VMX */
	snprintf(e->hypervisor, sizeof(e->hypervisor), "none");
	if (c & (1u << 31)) {
		__cpuid(0x40000000, a, b, c, d);
		memcpy(e->hypervisor, (uint32_t[]){b, c, d}, 12);
		e->hypervisor[12] = '\0';
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2))) /* SVM */
		e->hardware_virtualization = true;
}

/* The cheapest of many tries: what every measured interval contains at least. */
static double clock_cost(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned int i = 0; i < 32; i++) {
		uint64_t start = bench_monotonic_ns(), end = start;

		for (unsigned int n = 0; n < 64; n++)
			end = bench_monotonic_ns();
		if (end - start < best)
			best = end - start;
	}
	return (double)best / 64;
}

void env_read(struct env *e)
{
	struct utsname u;
	struct tm utc;
	time_t now = time(NULL);
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	memset(e, 0, sizeof(*e));
	e->kvm = fd >= 0;
	if (fd >= 0)
		close(fd);
	gmtime_r(&now, &utc);
	strftime(e->time, sizeof(e->time), "%Y-%m-%dT%H:%M:%SZ", &utc);
	snprintf(e->commit, sizeof(e->commit), "%s", PERF_COMMIT);
	snprintf(e->build, sizeof(e->build), COMPILER "%s, %s", __VERSION__, PERF_BUILD_TYPE);
	e->sanitized = SANITIZED;
	uname(&u);
	snprintf(e->kernel, sizeof(e->kernel), "%s", u.release);
	cpu_read(e);
	line_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", e->governor,
		sizeof(e->governor), "none");
	e->online = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (getloadavg(&e->load, 1) != 1)
		e->load = -1;
	e->clock_ns = clock_cost();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Slices of the kernel's scheduler, by sched_setattr. */
#include "core/slice.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel takes 0.1 to 100 ms. Reactors measured their completions in tens of microseconds. */
#define SHORT_NS 200000u

/* As in include/uapi/linux/sched/types.h, which cannot be included beside <sched.h>; the first
 * version of it. */
struct attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns; /* SCHED_OTHER: the slice; 0: the system's */
	uint64_t deadline_ns;
	uint64_t period_ns;
};

static void slice_set(uint64_t ns)
{
	struct attr a;

	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) || a.policy != SCHED_OTHER)
		return;
	a.runtime_ns = ns;
	a.deadline_ns = a.period_ns = 0;
	syscall(SYS_sched_setattr, 0, &a, 0);
}

void slice_short(void)
{
	slice_set(SHORT_NS);
}

void slice_default(void)
{
	slice_set(0);
}

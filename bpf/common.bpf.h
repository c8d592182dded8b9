/* SPDX-License-Identifier: Apache-2.0 */
/* What every program needs: types, helpers, the filter by guest, the count of what was lost. */
#ifndef BPF_COMMON_H
#define BPF_COMMON_H

/* clang-format off: each needs the one before */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/usdt.bpf.h>
/* clang-format on */

#include "layout.h"

typedef __u32 u32;
typedef __u64 u64;

/* The little that is used of the kernel's own types. Offsets are the running kernel's, found at
 * load time, so that building needs no kernel's headers. */
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

/* Set before loading; "" for all guests. */
const volatile char only_guest[TRACE_GUEST_MAX];

/* Read by the loader: values that no map or buffer had room for. */
__u64 lost;

static __always_inline void count_lost(void)
{
	__sync_fetch_and_add(&lost, 1);
}

static __always_inline bool guest_wanted(const char *guest)
{
	if (!only_guest[0])
		return true;
	for (int i = 0; i < TRACE_GUEST_MAX; i++) {
		if (guest[i] != only_guest[i])
			return false;
		if (!guest[i])
			break;
	}
	return true;
}

/* A probe's string; "" for NULL. */
static __always_inline void read_string(char *to, u32 room, const void *from)
{
	if (from)
		bpf_probe_read_user_str(to, room, from);
}

#endif

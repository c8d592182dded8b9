/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of where a reactor's thread is, counted by stack. */
#include "common.bpf.h"

#define STACKS_MAX  8192
#define STACK_DEPTH 127

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, STACKS_MAX);
	__uint(key_size, sizeof(u32));
	__uint(value_size, STACK_DEPTH * sizeof(u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STACKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flame_key);
	__type(value, u64);
} samples SEC(".maps");

/* Stacks that could not be taken are -errno, and are shown so. */
static __always_inline void sample_count(void *ctx)
{
	struct flame_key key = {.tid = (u32)bpf_get_current_pid_tgid()};
	u64 one = 1, *count;

	key.user = (int)bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	key.kernel = (int)bpf_get_stackid(ctx, &stacks, 0);
	if (key.user == -17 || key.kernel == -17) /* EEXIST: another stack is in that place */
		count_lost();
	count = bpf_map_lookup_elem(&samples, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else if (bpf_map_update_elem(&samples, &key, &one, BPF_NOEXIST))
		count_lost();
}

SEC("perf_event")
int flame_sample(struct bpf_perf_event_data *ctx)
{
	sample_count(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

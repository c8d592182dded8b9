/* SPDX-License-Identifier: Apache-2.0 */
/* The maps of the histograms' programs, and what is done to them. */
#ifndef BPF_HIST_MAPS_H
#define BPF_HIST_MAPS_H

#include "common.bpf.h"

#define KEYS_MAX   8192
#define STARTS_MAX 16384

struct start {
	u64 time_ns;
	u64 off_ns;   /* of a turn: not running until now */
	u64 since_ns; /* of a turn: not running since then; 0: it runs */
	u32 id;
	u32 zero;
	struct trace_key key;
};

/* What ties an operation's submission to its completion. */
struct ring_op {
	u64 ring, user_data;
};

#define MAP(name_, type_, key_, value_, max_)                                                      \
	struct {                                                                                   \
		__uint(type, type_);                                                               \
		__uint(max_entries, max_);                                                         \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, key_);                                                                 \
		__type(value, value_);                                                             \
	} name_ SEC(".maps")

MAP(hists, BPF_MAP_TYPE_HASH, struct trace_key, struct trace_hist, KEYS_MAX);
MAP(exits, BPF_MAP_TYPE_HASH, u32, struct start, STARTS_MAX);     /* by thread */
MAP(kvm_exits, BPF_MAP_TYPE_HASH, u32, struct start, STARTS_MAX); /* by thread */
MAP(vcpus, BPF_MAP_TYPE_HASH, u32, struct trace_key,
	STARTS_MAX);                                          /* by thread: whose; index: vCPU */
MAP(kicks, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);          /* by queue: when */
MAP(pushes, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);         /* by queue: when */
MAP(calls, BPF_MAP_TYPE_HASH, u64, struct start, STARTS_MAX); /* by call */
MAP(turns, BPF_MAP_TYPE_HASH, u32, struct start, STARTS_MAX); /* by thread */

MAP(vsock_opens, BPF_MAP_TYPE_HASH, u64, struct start, STARTS_MAX); /* by connection */
MAP(vsock_kicks, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);          /* by queue: when */
MAP(vsock_asked, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);          /* by connection: when */
MAP(vsock_stalls, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);         /* by connection: when */
MAP(writes, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);               /* by console: when */
MAP(reactors, BPF_MAP_TYPE_HASH, u32, u32, STARTS_MAX);             /* by thread; the loader's */
MAP(ring_ops, BPF_MAP_TYPE_HASH, struct ring_op, struct start, STARTS_MAX);
MAP(run_waits, BPF_MAP_TYPE_HASH, u32, u64, STARTS_MAX); /* by thread: runnable since */

static const struct trace_hist empty;

/* Joined kernel tracepoints that have fired at all: the loader says which are silent. */
__u64 kvm_userspace_exits, kvm_exits_seen;

static __always_inline struct trace_hist *hist_get(const struct trace_key *key)
{
	struct trace_hist *h = bpf_map_lookup_elem(&hists, key);

	if (h)
		return h;
	bpf_map_update_elem(&hists, key, &empty, BPF_NOEXIST);
	h = bpf_map_lookup_elem(&hists, key);
	if (!h)
		count_lost();
	return h;
}

static __always_inline void hist_count(const struct trace_key *key)
{
	struct trace_hist *h = hist_get(key);

	if (h)
		__sync_fetch_and_add(&h->count, 1);
}

static __always_inline void hist_add(struct trace_hist *h, u64 value)
{
	u64 slot = trace_slot(value);

	/* What is compared has to be what is used: the verifier of Linux 6.1 does not follow a
	 * bound from one to the other. */
	asm volatile("" : "+r"(slot));
	if (slot >= TRACE_SLOTS)
		return;
	__sync_fetch_and_add(&h->slots[slot], 1);
	__sync_fetch_and_add(&h->ended, 1);
	__sync_fetch_and_add(&h->sum, value);
	/* Two at once may leave the smaller: good enough for a maximum that is shown to people. */
	if (value > h->max)
		h->max = value;
}

static __always_inline void hist_end(const struct trace_key *key, u64 value)
{
	struct trace_hist *h = hist_get(key);

	if (h)
		hist_add(h, value);
}

/* A value that is no time between two probes. */
static __always_inline void hist_value(const struct trace_key *key, u64 value)
{
	struct trace_hist *h = hist_get(key);

	if (!h)
		return;
	__sync_fetch_and_add(&h->count, 1);
	hist_add(h, value);
}

static __always_inline u32 thread_id(void)
{
	return (u32)bpf_get_current_pid_tgid();
}

/* --- by the earliest beginning --- */

/* The earliest counts: what comes before the end that clears it has waited less. */
static __always_inline void mark(void *map, u64 id)
{
	u64 now = bpf_ktime_get_ns();

	if (!bpf_map_lookup_elem(map, &id) && bpf_map_update_elem(map, &id, &now, BPF_ANY))
		count_lost();
}

static __always_inline void mark_end(void *map, u64 id, const struct trace_key *key)
{
	u64 *since = bpf_map_lookup_elem(map, &id);

	if (!since)
		return;
	hist_end(key, bpf_ktime_get_ns() - *since);
	bpf_map_delete_elem(map, &id);
}

/* A key of a guest's; false if nobody asked for this guest. */
static __always_inline bool guest_key(struct trace_key *key, u32 kind, const void *guest)
{
	key->kind = kind;
	read_string(key->guest, sizeof(key->guest), guest);
	return guest_wanted(key->guest);
}

#endif

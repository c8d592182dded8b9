/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies between two probes, as histograms that are kept in the kernel. */
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
MAP(vcpus, BPF_MAP_TYPE_HASH, u32, struct trace_key, STARTS_MAX); /* by thread: whose it is */
MAP(kicks, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);              /* by queue: when */
MAP(pushes, BPF_MAP_TYPE_HASH, u64, u64, STARTS_MAX);             /* by queue: when */
MAP(calls, BPF_MAP_TYPE_HASH, u64, struct start, STARTS_MAX);     /* by call */
MAP(turns, BPF_MAP_TYPE_HASH, u32, struct start, STARTS_MAX);     /* by thread */

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
	u32 slot = trace_slot(value);

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

/* --- virtual CPUs --- */

SEC("usdt")
int BPF_USDT(count_vcpu_exit, void *guest, u32 vcpu, u32 reason, u64 address, u32 size_bytes,
	u32 is_write)
{
	struct start s = {.key = {.kind = TRACE_EXITS}};
	u32 tid = thread_id();

	read_string(s.key.guest, sizeof(s.key.guest), guest);
	if (!guest_wanted(s.key.guest))
		return 0;
	s.key.index = reason;
	s.key.address = address;
	s.key.is_write = is_write;
	hist_count(&s.key);
	s.time_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&exits, &tid, &s, BPF_ANY))
		count_lost();
	return 0;
}

SEC("usdt")
int BPF_USDT(count_vcpu_entry, void *guest, u32 vcpu)
{
	struct trace_key whose = {.kind = TRACE_KVM_EXITS};
	u32 tid = thread_id();
	struct start *s = bpf_map_lookup_elem(&exits, &tid);

	if (s) {
		hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
		bpf_map_delete_elem(&exits, &tid);
	}
	if (bpf_map_lookup_elem(&vcpus, &tid))
		return 0;
	read_string(whose.guest, sizeof(whose.guest), guest);
	if (guest_wanted(whose.guest))
		bpf_map_update_elem(&vcpus, &tid, &whose, BPF_ANY);
	return 0;
}

/* The head of every tracepoint's record, then this one's fields. */
struct kvm_exit_record {
	u64 common;
	u32 exit_reason;
};

SEC("tp/kvm/kvm_userspace_exit")
int kvm_userspace_exit(void *ctx)
{
	u32 tid = thread_id();

	if (bpf_map_lookup_elem(&vcpus, &tid))
		__sync_fetch_and_add(&kvm_userspace_exits, 1);
	return 0;
}

SEC("tp/kvm/kvm_exit")
int kvm_exit(struct kvm_exit_record *record)
{
	struct start s = {};
	u32 tid = thread_id();
	struct trace_key *whose = bpf_map_lookup_elem(&vcpus, &tid);

	if (!whose)
		return 0;
	__sync_fetch_and_add(&kvm_exits_seen, 1);
	s.key = *whose;
	s.key.index = record->exit_reason;
	hist_count(&s.key);
	s.time_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&kvm_exits, &tid, &s, BPF_ANY))
		count_lost();
	return 0;
}

SEC("tp/kvm/kvm_entry")
int kvm_entry(void *ctx)
{
	u32 tid = thread_id();
	struct start *s = bpf_map_lookup_elem(&kvm_exits, &tid);

	if (!s)
		return 0;
	hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
	bpf_map_delete_elem(&kvm_exits, &tid);
	return 0;
}

/* --- virtqueues --- */

static __always_inline bool queue_key(
	struct trace_key *key, u32 kind, const void *guest, const void *device, u32 queue)
{
	key->kind = kind;
	key->index = queue;
	read_string(key->guest, sizeof(key->guest), guest);
	read_string(key->what, sizeof(key->what), device);
	return guest_wanted(key->guest);
}

/* The earliest counts: what comes before the end that clears it has waited less. */
static __always_inline void queue_mark(void *map, u64 vq)
{
	u64 now = bpf_ktime_get_ns();

	if (!bpf_map_lookup_elem(map, &vq) && bpf_map_update_elem(map, &vq, &now, BPF_ANY))
		count_lost();
}

static __always_inline void queue_end(void *map, u64 vq, const struct trace_key *key)
{
	u64 *since = bpf_map_lookup_elem(map, &vq);

	if (!since)
		return;
	hist_end(key, bpf_ktime_get_ns() - *since);
	bpf_map_delete_elem(map, &vq);
}

SEC("usdt")
int BPF_USDT(count_kick, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (!queue_key(&key, TRACE_KICK, guest, device, queue))
		return 0;
	hist_count(&key);
	queue_mark(&kicks, vq);
	return 0;
}

SEC("usdt")
int BPF_USDT(end_kick, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (queue_key(&key, TRACE_KICK, guest, device, queue))
		queue_end(&kicks, vq, &key);
	return 0;
}

SEC("usdt")
int BPF_USDT(mark_push, void *guest, void *device, u32 queue, u64 vq)
{
	queue_mark(&pushes, vq);
	return 0;
}

SEC("usdt")
int BPF_USDT(count_irq, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (!queue_key(&key, TRACE_IRQ, guest, device, queue))
		return 0;
	hist_count(&key);
	queue_end(&pushes, vq, &key);
	return 0;
}

SEC("usdt")
int BPF_USDT(count_pop, void *guest, void *device, u32 queue)
{
	struct trace_key key = {};
	long in_flight = 0;

	bpf_usdt_arg(ctx, 7, &in_flight);
	if (queue_key(&key, TRACE_QUEUE_DEPTH, guest, device, queue))
		hist_value(&key, (u32)in_flight);
	return 0;
}

/* --- calls --- */

SEC("usdt")
int BPF_USDT(count_rpc_begin, u64 call, void *method)
{
	struct start s = {.key = {.kind = TRACE_RPC}};

	read_string(s.key.what, sizeof(s.key.what), method);
	hist_count(&s.key);
	s.time_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&calls, &call, &s, BPF_ANY))
		count_lost();
	return 0;
}

SEC("usdt")
int BPF_USDT(count_rpc_end, u64 call)
{
	struct start *s = bpf_map_lookup_elem(&calls, &call);

	if (!s)
		return 0;
	hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
	bpf_map_delete_elem(&calls, &call);
	return 0;
}

/* --- turns --- */

SEC("usdt")
int BPF_USDT(count_turn_begin, u32 reactor)
{
	struct start s = {.time_ns = bpf_ktime_get_ns()};
	u32 tid = thread_id();

	if (bpf_map_update_elem(&turns, &tid, &s, BPF_ANY))
		count_lost();
	return 0;
}

static __always_inline void reactor_add(u32 kind, u32 reactor, u64 value)
{
	struct trace_key key = {.kind = kind, .index = reactor};

	hist_value(&key, value);
}

SEC("usdt")
int BPF_USDT(count_turn_end, u32 reactor, u32 batch)
{
	u32 tid = thread_id();
	struct start *s = bpf_map_lookup_elem(&turns, &tid);

	if (!s)
		return 0;
	reactor_add(TRACE_TURN, reactor, bpf_ktime_get_ns() - s->time_ns);
	reactor_add(TRACE_BATCH, reactor, batch);
	if (s->off_ns)
		reactor_add(TRACE_OFF_CPU, reactor, s->off_ns);
	bpf_map_delete_elem(&turns, &tid);
	return 0;
}

SEC("usdt")
int BPF_USDT(count_ring, u32 reactor, u32 batch, u32 in_flight)
{
	reactor_add(TRACE_RING_DEPTH, reactor, in_flight);
	return 0;
}

static __always_inline void turn_leaves(u32 tid)
{
	struct start *s = bpf_map_lookup_elem(&turns, &tid);

	if (s)
		s->since_ns = bpf_ktime_get_ns();
}

static __always_inline void turn_comes_back(u32 tid)
{
	struct start *s = bpf_map_lookup_elem(&turns, &tid);

	if (!s || !s->since_ns)
		return;
	s->off_ns += bpf_ktime_get_ns() - s->since_ns;
	s->since_ns = 0;
}

SEC("raw_tp/sched_switch")
int sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (void *)ctx->args[1], *next = (void *)ctx->args[2];

	turn_leaves((u32)BPF_CORE_READ(prev, pid));
	turn_comes_back((u32)BPF_CORE_READ(next, pid));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

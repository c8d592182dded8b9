/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies between two probes, as histograms that are kept in the kernel. */
#include "hist_maps.bpf.h"

#include "hist_kernel.bpf.h"
#include "hist_vsock.bpf.h"

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
	u32 tid = thread_id();
	struct start *s = bpf_map_lookup_elem(&exits, &tid);

	if (s) {
		hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
		bpf_map_delete_elem(&exits, &tid);
	}
	vcpu_learn(tid, guest, vcpu);
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

SEC("usdt")
int BPF_USDT(count_kick, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (!queue_key(&key, TRACE_KICK, guest, device, queue))
		return 0;
	hist_count(&key);
	mark(&kicks, vq);
	return 0;
}

SEC("usdt")
int BPF_USDT(end_kick, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (queue_key(&key, TRACE_KICK, guest, device, queue))
		mark_end(&kicks, vq, &key);
	return 0;
}

SEC("usdt")
int BPF_USDT(mark_push, void *guest, void *device, u32 queue, u64 vq)
{
	u64 now = bpf_ktime_get_ns();

	/* The last counts: for an earlier one the driver may not have wanted an interrupt. */
	if (bpf_map_update_elem(&pushes, &vq, &now, BPF_ANY))
		count_lost();
	return 0;
}

SEC("usdt")
int BPF_USDT(count_irq, void *guest, void *device, u32 queue, u64 vq)
{
	struct trace_key key = {};

	if (!queue_key(&key, TRACE_IRQ, guest, device, queue))
		return 0;
	hist_count(&key);
	mark_end(&pushes, vq, &key);
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

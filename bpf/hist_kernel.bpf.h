/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own tracepoints, joined with the daemon's threads: whose virtual CPU or reactor it
 * is that they fire on. The first fields of each record have been at the same place since
 * Linux 6.1. */
#ifndef BPF_HIST_KERNEL_H
#define BPF_HIST_KERNEL_H

#include "hist_maps.bpf.h"

/* --- whose thread --- */

static __always_inline void vcpu_learn(u32 tid, const void *guest, u32 vcpu)
{
	struct trace_key whose = {.index = vcpu, .what = "vcpu"}, *known;

	/* The loader knows threads, but not whose they are. */
	known = bpf_map_lookup_elem(&vcpus, &tid);
	if (known && known->guest[0] != '?')
		return;
	read_string(whose.guest, sizeof(whose.guest), guest);
	if (guest_wanted(whose.guest))
		bpf_map_update_elem(&vcpus, &tid, &whose, BPF_ANY);
}

SEC("usdt")
int BPF_USDT(learn_vcpu, void *guest, u32 vcpu)
{
	vcpu_learn(thread_id(), guest, vcpu);
	return 0;
}

/* --- kvm --- */

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
	s.key.kind = TRACE_KVM_EXITS;
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

/* One event of a virtual CPU's thread, or of a reactor's. */
static __always_inline int kvm_count(const char *event, u32 len)
{
	u32 tid = thread_id();
	struct trace_key key = {}, *whose = bpf_map_lookup_elem(&vcpus, &tid);
	u32 *reactor = whose ? NULL : bpf_map_lookup_elem(&reactors, &tid);

	if (!whose && !reactor)
		return 0;
	if (whose)
		__builtin_memcpy(key.guest, whose->guest, sizeof(key.guest));
	key.index = whose ? whose->index : *reactor;
	key.is_write = !whose; /* tells the two apart */
	key.kind = TRACE_KVM;
	__builtin_memcpy(key.what, event, len);
	hist_count(&key);
	return 0;
}

#define KVM_COUNT(event)                                                                           \
	SEC("tp/kvm/" #event) int count_##event(void *ctx)                                         \
	{                                                                                          \
		static const char name[] = #event;                                                 \
                                                                                                   \
		return kvm_count(name, sizeof(name));                                              \
	}

KVM_COUNT(kvm_userspace_exit)
KVM_COUNT(kvm_pio)
KVM_COUNT(kvm_mmio)
KVM_COUNT(kvm_fast_mmio)
KVM_COUNT(kvm_inj_virq)
KVM_COUNT(kvm_msi_set_irq)
KVM_COUNT(kvm_vcpu_wakeup)

/* --- io_uring: a reactor's operations --- */

struct submit_record {
	u64 common, ring, request, user_data;
	unsigned char opcode;
};

struct complete_record {
	u64 common, ring, request, user_data;
};

/* The opcode is the key's address. */
SEC("tp/io_uring/io_uring_submit_req")
int ring_submit(struct submit_record *record)
{
	struct ring_op op = {.ring = record->ring, .user_data = record->user_data};
	struct start s = {.key = {.kind = TRACE_RING_OP}};
	u32 tid = thread_id(), *reactor = bpf_map_lookup_elem(&reactors, &tid);

	if (!reactor)
		return 0;
	s.key.index = *reactor;
	s.key.address = record->opcode;
	hist_count(&s.key);
	s.time_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&ring_ops, &op, &s, BPF_ANY))
		count_lost();
	return 0;
}

SEC("tp/io_uring/io_uring_complete")
int ring_complete(struct complete_record *record)
{
	struct ring_op op = {.ring = record->ring, .user_data = record->user_data};
	struct start *s = bpf_map_lookup_elem(&ring_ops, &op);

	/* Of an operation with many completions the first counts. */
	if (!s)
		return 0;
	hist_end(&s->key, bpf_ktime_get_ns() - s->time_ns);
	bpf_map_delete_elem(&ring_ops, &op);
	return 0;
}

/* --- sched: how long a thread that could run has waited for a CPU --- */

static __always_inline bool thread_key(struct trace_key *key, u32 tid)
{
	struct trace_key *whose = bpf_map_lookup_elem(&vcpus, &tid);
	u32 *reactor = whose ? NULL : bpf_map_lookup_elem(&reactors, &tid);

	if (!whose && !reactor)
		return false;
	if (whose)
		*key = *whose;
	else
		*key = (struct trace_key){.index = *reactor, .what = "reactor"};
	key->kind = TRACE_RUN_WAIT;
	return true;
}

static __always_inline void run_wait_begin(u32 tid)
{
	struct trace_key key;
	u64 now = bpf_ktime_get_ns();

	if (!thread_key(&key, tid) || bpf_map_lookup_elem(&run_waits, &tid))
		return;
	hist_count(&key);
	if (bpf_map_update_elem(&run_waits, &tid, &now, BPF_ANY))
		count_lost();
}

SEC("raw_tp/sched_wakeup")
int run_wait_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];

	run_wait_begin((u32)BPF_CORE_READ(task, pid));
	return 0;
}

SEC("raw_tp/sched_switch")
int run_wait_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (void *)ctx->args[1], *next = (void *)ctx->args[2];
	u32 tid = (u32)BPF_CORE_READ(next, pid);
	u64 *since = bpf_map_lookup_elem(&run_waits, &tid);
	struct trace_key key;

	/* Its state is 0 if it could go on: it waits again. */
	if (!(u32)ctx->args[3])
		run_wait_begin((u32)BPF_CORE_READ(prev, pid));
	if (!since)
		return 0;
	if (thread_key(&key, tid))
		hist_end(&key, bpf_ktime_get_ns() - *since);
	bpf_map_delete_elem(&run_waits, &tid);
	return 0;
}

#endif

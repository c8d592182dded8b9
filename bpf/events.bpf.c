/* SPDX-License-Identifier: Apache-2.0 */
/* Every probe as an event in a ring buffer. */
#include "common.bpf.h"

#define RING_BYTES (4u << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} events SEC(".maps");

static __always_inline struct trace_event *event_open(u32 type)
{
	struct trace_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count_lost();
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = bpf_ktime_get_ns();
	e->type = type;
	e->tid = (u32)bpf_get_current_pid_tgid();
	e->cpu = bpf_get_smp_processor_id();
	return e;
}

/* Set before loading: what belongs to no guest is wanted with one guest's, too. */
const volatile bool with_reactors;

static __always_inline int event_close(struct trace_event *e)
{
	if (!guest_wanted(e->guest) && !(with_reactors && !e->guest[0])) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* An argument that is no string. */
static __always_inline u64 arg(struct pt_regs *ctx, u64 n)
{
	long value = 0;

	bpf_usdt_arg(ctx, n, &value);
	return (u64)value;
}

/* EVENT: one program. `strings` of its first arguments are names: 2 guest and device, 1 guest, 0
 * none; -1: the second is a name (of a method). `count` is of all arguments. */
#define EVENT(probe, type_, strings, count)                                                        \
	SEC("usdt")                                                                                \
	int event_##probe(struct pt_regs *ctx)                                                     \
	{                                                                                          \
		struct trace_event *e = event_open(type_);                                         \
		u32 at = 0;                                                                        \
                                                                                                   \
		if (!e)                                                                            \
			return 0;                                                                  \
		if (strings > 0)                                                                   \
			read_string(e->guest, sizeof(e->guest), (void *)arg(ctx, 0));              \
		if (strings == 2 || strings < 0)                                                   \
			read_string(e->what, sizeof(e->what), (void *)arg(ctx, 1));                \
		_Pragma("unroll") for (u32 i = strings > 0 ? strings : 0; i < count; i++)          \
		{                                                                                  \
			if (strings < 0 && i == 1)                                                 \
				continue;                                                          \
			e->args[at++] = arg(ctx, i);                                               \
		}                                                                                  \
		return event_close(e);                                                             \
	}

EVENT(vcpu_entry, TRACE_E_VCPU_ENTRY, 1, 2)
EVENT(vcpu_exit, TRACE_E_VCPU_EXIT, 1, 6)
EVENT(mailbox_post, TRACE_E_MAILBOX_POST, 1, 7)
EVENT(mailbox_drain, TRACE_E_MAILBOX_DRAIN, 1, 3)
EVENT(kick, TRACE_E_KICK, 2, 4)
EVENT(vq_pop, TRACE_E_VQ_POP, 2, 8)
EVENT(vq_push, TRACE_E_VQ_PUSH, 2, 7)
EVENT(irq, TRACE_E_IRQ, 2, 5)
EVENT(sqe_queued, TRACE_E_SQE_QUEUED, 0, 5)
EVENT(completion, TRACE_E_COMPLETION, 0, 4)
EVENT(turn_begin, TRACE_E_TURN_BEGIN, 0, 2)
EVENT(turn_end, TRACE_E_TURN_END, 0, 3)
EVENT(guest_state, TRACE_E_GUEST_STATE, 1, 3)
EVENT(vsock_state, TRACE_E_VSOCK_STATE, 1, 6)
EVENT(vsock_connect, TRACE_E_VSOCK_CONNECT, 1, 4)
EVENT(vsock_accept, TRACE_E_VSOCK_ACCEPT, 1, 4)
EVENT(vsock_close, TRACE_E_VSOCK_CLOSE, 1, 5)
EVENT(vsock_stall, TRACE_E_VSOCK_STALL, 1, 5)
EVENT(vsock_data, TRACE_E_VSOCK_DATA, 1, 7)
EVENT(console_write, TRACE_E_CONSOLE_WRITE, 1, 3)
EVENT(console_written, TRACE_E_CONSOLE_WRITTEN, 1, 3)
EVENT(balloon_change, TRACE_E_BALLOON_CHANGE, 1, 3)
EVENT(mem_change, TRACE_E_MEM_CHANGE, 1, 3)
EVENT(rpc_begin, TRACE_E_RPC_BEGIN, -1, 4)
EVENT(rpc_end, TRACE_E_RPC_END, -1, 4)

char LICENSE[] SEC("license") = "GPL";

/* SPDX-License-Identifier: Apache-2.0 */
/* What the BPF programs and their loader share: histograms, events. Without includes of its own,
 * since the two sides get the __u types from different headers. */
#ifndef BPF_LAYOUT_H
#define BPF_LAYOUT_H

#define TRACE_GUEST_MAX 64 /* with the zero byte */
#define TRACE_WHAT_MAX  32

/* --- histograms --- */

enum trace_hist_kind {
	TRACE_EXITS,         /* vcpu_exit → vcpu_entry; index = reason */
	TRACE_KVM_EXITS,     /* kvm:kvm_exit → kvm:kvm_entry; index = the processor's reason */
	TRACE_KICK,          /* kick → first vq_push; what = device, index = queue */
	TRACE_IRQ,           /* last vq_push → irq; what = device, index = queue */
	TRACE_RPC,           /* rpc_begin → rpc_end; what = method */
	TRACE_TURN,          /* turn_begin → turn_end; index = reactor */
	TRACE_OFF_CPU,       /* of a turn, not running; index = reactor */
	TRACE_BATCH,         /* completions a turn, no time; index = reactor */
	TRACE_QUEUE_DEPTH,   /* chains that a device holds when it takes one, no time */
	TRACE_RING_DEPTH,    /* operations in flight after a turn, no time; index = reactor */
	TRACE_VSOCK_OPEN,    /* vsock_connect or vsock_accept → connected; what = which */
	TRACE_VSOCK_SEND,    /* kick of vsock's tx queue → the client's socket has the bytes */
	TRACE_VSOCK_REPLY,   /* bytes to the guest → its next bytes on this connection */
	TRACE_VSOCK_STALL,   /* without credit */
	TRACE_VSOCK_BYTES,   /* of one vsock_data, no time; what = the direction */
	TRACE_CONSOLE,       /* console_write → console_written */
	TRACE_CONSOLE_BYTES, /* of one write, no time */
	TRACE_RING_OP,  /* io_uring: submission → completion; what = opcode, index = reactor */
	TRACE_RUN_WAIT, /* sched: runnable → running; what = "vcpu" or "reactor", index = which */
	TRACE_KVM,      /* kvm:* tracepoints, counts only; what = the event */
	TRACE_HIST_KINDS,
};

struct trace_key {
	char guest[TRACE_GUEST_MAX]; /* "" if it is not about a guest */
	char what[TRACE_WHAT_MAX];
	__u32 kind;
	__u32 index;
	__u64 address; /* of an exit */
	__u32 is_write;
	__u32 zero;
};

/* Log-linear: four slots an octave, so that a slot's width is at most a quarter of its values. */
#define TRACE_SLOTS 168 /* up to 2^43 ns, over two hours; the last slot takes what is longer */

struct trace_hist {
	__u64 count; /* beginnings; of turns and depths: values */
	__u64 ended; /* those of them whose end was seen: the sum of the slots */
	__u64 sum;
	__u64 max;
	__u64 slots[TRACE_SLOTS];
};

static inline unsigned int trace_log2(__u64 v)
{
	unsigned int bits = 0;

	if (v >> 32) {
		v >>= 32;
		bits += 32;
	}
	if (v >> 16) {
		v >>= 16;
		bits += 16;
	}
	if (v >> 8) {
		v >>= 8;
		bits += 8;
	}
	if (v >> 4) {
		v >>= 4;
		bits += 4;
	}
	if (v >> 2) {
		v >>= 2;
		bits += 2;
	}
	return bits + (v >> 1 ? 1 : 0);
}

/* trace_slot: of a value. trace_slot_start: the least value of a slot. */
static inline unsigned int trace_slot(__u64 v)
{
	unsigned int bits, slot;

	if (v < 4)
		return (unsigned int)v;
	bits = trace_log2(v);
	slot = (bits - 1) * 4 + (unsigned int)(v >> (bits - 2) & 3);
	return slot < TRACE_SLOTS ? slot : TRACE_SLOTS - 1;
}

static inline __u64 trace_slot_start(unsigned int slot)
{
	if (slot < 4)
		return slot;
	return (4ULL + slot % 4) << (slot / 4 - 1);
}

/* --- samples --- */

/* Of a stack: its id, or a negative errno. */
struct flame_key {
	__u32 tid;
	int user, kernel;
};

/* --- events --- */

/* One a probe, in the order of docs/TRACING.md. */
enum trace_event_type {
	TRACE_E_VCPU_ENTRY,
	TRACE_E_VCPU_EXIT,
	TRACE_E_MAILBOX_POST,
	TRACE_E_MAILBOX_DRAIN,
	TRACE_E_KICK,
	TRACE_E_VQ_POP,
	TRACE_E_VQ_PUSH,
	TRACE_E_IRQ,
	TRACE_E_SQE_QUEUED,
	TRACE_E_COMPLETION,
	TRACE_E_TURN_BEGIN,
	TRACE_E_TURN_END,
	TRACE_E_GUEST_STATE,
	TRACE_E_VSOCK_STATE,
	TRACE_E_VSOCK_CONNECT,
	TRACE_E_VSOCK_ACCEPT,
	TRACE_E_VSOCK_CLOSE,
	TRACE_E_VSOCK_STALL,
	TRACE_E_VSOCK_DATA,
	TRACE_E_CONSOLE_WRITE,
	TRACE_E_CONSOLE_WRITTEN,
	TRACE_E_BALLOON_CHANGE,
	TRACE_E_MEM_CHANGE,
	TRACE_E_RPC_BEGIN,
	TRACE_E_RPC_END,
	TRACE_EVENT_TYPES,
};

#define TRACE_ARGS_MAX 6

struct trace_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 type;
	__u32 tid;
	__u32 cpu;
	__u32 zero;
	char guest[TRACE_GUEST_MAX];
	char what[TRACE_WHAT_MAX];  /* device or method */
	__u64 args[TRACE_ARGS_MAX]; /* those of the probe that are no strings, in their order */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of histograms in words. */
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <stdio.h>

#include "core/check.h"
#include "core/vcpu.h"
#include "trace/ringtrace/ringtrace.h"

static const struct {
	const char *title;
	bool is_time;
} kinds[TRACE_HIST_KINDS] = {
	[TRACE_EXITS] = {"exit to re-entry", true},
	[TRACE_KVM_EXITS] = {"exit within the kernel", true},
	[TRACE_KICK] = {"kick to completion", true},
	[TRACE_IRQ] = {"completion to interrupt", true},
	[TRACE_RPC] = {"call to answer", true},
	[TRACE_TURN] = {"turn of a reactor", true},
	[TRACE_OFF_CPU] = {"turn: off the CPU", true},
	[TRACE_BATCH] = {"turn: completions", false},
	[TRACE_QUEUE_DEPTH] = {"queue depth", false},
	[TRACE_RING_DEPTH] = {"ring depth", false},
	[TRACE_VSOCK_OPEN] = {"vsock: request to connection", true},
	[TRACE_VSOCK_SEND] = {"vsock: kick to client", true},
	[TRACE_VSOCK_REPLY] = {"vsock: data to the guest's next data", true},
	[TRACE_VSOCK_STALL] = {"vsock: without credit", true},
	[TRACE_VSOCK_BYTES] = {"vsock: bytes at once", false},
	[TRACE_CONSOLE] = {"console: output queued to written", true},
	[TRACE_CONSOLE_BYTES] = {"console: bytes at once", false},
	[TRACE_RING_OP] = {"io_uring: submission to completion", true},
	[TRACE_RUN_WAIT] = {"sched: runnable to running", true},
	[TRACE_KVM] = {"kvm: events", false},
};

const char *kind_title(unsigned int kind)
{
	CHECK(kind < TRACE_HIST_KINDS);
	return kinds[kind].title;
}

bool kind_is_time(unsigned int kind)
{
	CHECK(kind < TRACE_HIST_KINDS);
	return kinds[kind].is_time;
}

static void label_exit(char *to, size_t room, const struct trace_key *key)
{
	const char *name = vcpu_exit_name(key->index);

	if (key->index == KVM_EXIT_IO || key->index == KVM_EXIT_MMIO)
		snprintf(to, room, "%s %s 0x%llx", name, key->is_write ? "write" : "read",
			(unsigned long long)key->address);
	else
		snprintf(to, room, "%s", name);
}

/* Those that the daemon uses; a name for each is not worth a library. */
static const char *op_name(uint64_t opcode)
{
	static const char *const names[] = {
		[IORING_OP_NOP] = "nop",
		[IORING_OP_READV] = "readv",
		[IORING_OP_WRITEV] = "writev",
		[IORING_OP_POLL_ADD] = "poll",
		[IORING_OP_POLL_REMOVE] = "poll remove",
		[IORING_OP_SENDMSG] = "sendmsg",
		[IORING_OP_RECVMSG] = "recvmsg",
		[IORING_OP_TIMEOUT] = "timeout",
		[IORING_OP_ACCEPT] = "accept",
		[IORING_OP_ASYNC_CANCEL] = "cancel",
		[IORING_OP_CONNECT] = "connect",
		[IORING_OP_FALLOCATE] = "fallocate",
		[IORING_OP_OPENAT] = "open",
		[IORING_OP_CLOSE] = "close",
		[IORING_OP_READ] = "read",
		[IORING_OP_WRITE] = "write",
		[IORING_OP_MADVISE] = "madvise",
		[IORING_OP_SEND] = "send",
		[IORING_OP_RECV] = "recv",
		[IORING_OP_SHUTDOWN] = "shutdown",
		[IORING_OP_MSG_RING] = "msg_ring",
	};

	return opcode < ARRAY_SIZE(names) ? names[opcode] : NULL;
}

static void label_op(char *to, size_t room, const struct trace_key *key)
{
	const char *name = op_name(key->address);

	if (name)
		snprintf(to, room, "reactor %u %s", key->index, name);
	else
		snprintf(to, room, "reactor %u operation %llu", key->index,
			(unsigned long long)key->address);
}

void label_row(char *to, size_t room, const struct trace_key *key)
{
	switch (key->kind) {
	case TRACE_EXITS:
		label_exit(to, room, key);
		break;
	case TRACE_KVM_EXITS:
		snprintf(to, room, "processor's reason %u", key->index);
		break;
	case TRACE_KICK:
	case TRACE_IRQ:
	case TRACE_QUEUE_DEPTH:
		snprintf(to, room, "%s queue %u", key->what, key->index);
		break;
	case TRACE_RPC:
	case TRACE_VSOCK_OPEN:
	case TRACE_VSOCK_BYTES:
		snprintf(to, room, "%s", key->what);
		break;
	case TRACE_VSOCK_SEND:
	case TRACE_VSOCK_REPLY:
	case TRACE_VSOCK_STALL:
		snprintf(to, room, "vsock");
		break;
	case TRACE_CONSOLE:
	case TRACE_CONSOLE_BYTES:
		snprintf(to, room, "console");
		break;
	case TRACE_RING_OP:
		label_op(to, room, key);
		break;
	case TRACE_RUN_WAIT:
		snprintf(to, room, "%s %u", key->what, key->index);
		break;
	case TRACE_KVM:
		snprintf(to, room, "%s %u %s", key->is_write ? "reactor" : "vcpu", key->index,
			key->what);
		break;
	default:
		snprintf(to, room, "reactor %u", key->index);
	}
}

void label_time(char *to, size_t room, uint64_t ns)
{
	static const struct {
		double ns;
		const char *unit;
	} units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if ((double)ns >= units[i].ns) {
			snprintf(to, room, "%.3g%s", (double)ns / units[i].ns, units[i].unit);
			return;
		}
	snprintf(to, room, "%lluns", (unsigned long long)ns);
}

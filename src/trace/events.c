/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the events' programs and taking what they put into the ring buffer. */
#include "trace/events.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "events.skel.h"

#define BIT(n) (1u << (n))
#define PROBE(type, name)                                                                          \
	{                                                                                          \
		"event_" name, name, NULL, BIT(type)                                               \
	}

static const struct trace_program programs[] = {
	PROBE(TRACE_E_VCPU_ENTRY, "vcpu_entry"),
	PROBE(TRACE_E_VCPU_EXIT, "vcpu_exit"),
	PROBE(TRACE_E_MAILBOX_POST, "mailbox_post"),
	PROBE(TRACE_E_MAILBOX_DRAIN, "mailbox_drain"),
	PROBE(TRACE_E_KICK, "kick"),
	PROBE(TRACE_E_VQ_POP, "vq_pop"),
	PROBE(TRACE_E_VQ_PUSH, "vq_push"),
	PROBE(TRACE_E_IRQ, "irq"),
	PROBE(TRACE_E_SQE_QUEUED, "sqe_queued"),
	PROBE(TRACE_E_COMPLETION, "completion"),
	PROBE(TRACE_E_TURN_BEGIN, "turn_begin"),
	PROBE(TRACE_E_TURN_END, "turn_end"),
	PROBE(TRACE_E_GUEST_STATE, "guest_state"),
	PROBE(TRACE_E_VSOCK_STATE, "vsock_state"),
	PROBE(TRACE_E_VSOCK_CONNECT, "vsock_connect"),
	PROBE(TRACE_E_VSOCK_ACCEPT, "vsock_accept"),
	PROBE(TRACE_E_VSOCK_CLOSE, "vsock_close"),
	PROBE(TRACE_E_VSOCK_STALL, "vsock_stall"),
	PROBE(TRACE_E_VSOCK_DATA, "vsock_data"),
	PROBE(TRACE_E_CONSOLE_WRITE, "console_write"),
	PROBE(TRACE_E_CONSOLE_WRITTEN, "console_written"),
	PROBE(TRACE_E_BALLOON_CHANGE, "balloon_change"),
	PROBE(TRACE_E_MEM_CHANGE, "mem_change"),
	PROBE(TRACE_E_RPC_BEGIN, "rpc_begin"),
	PROBE(TRACE_E_RPC_END, "rpc_end"),
};

static const struct trace_event_shape shapes[TRACE_EVENT_TYPES] = {
	[TRACE_E_VCPU_ENTRY] = {"vcpu_entry", NULL, {"vcpu"}, 0, 0},
	[TRACE_E_VCPU_EXIT] = {"vcpu_exit", NULL,
		{"vcpu", "reason", "address", "size_bytes", "is_write"}, BIT(2), 0},
	[TRACE_E_MAILBOX_POST] = {"mailbox_post", NULL,
		{"vcpu", "address", "size_bytes", "is_write", "waits", "depth"}, BIT(1), 0},
	[TRACE_E_MAILBOX_DRAIN] = {"mailbox_drain", NULL, {"vcpu", "count"}, 0, 0},
	[TRACE_E_KICK] = {"kick", "device", {"queue", "vq"}, BIT(1), 0},
	[TRACE_E_VQ_POP] = {"vq_pop", "device",
		{"queue", "vq", "id", "out_bytes", "in_bytes", "in_flight"}, BIT(1), 0},
	[TRACE_E_VQ_PUSH] = {"vq_push", "device",
		{"queue", "vq", "id", "written_bytes", "in_flight"}, BIT(1), 0},
	[TRACE_E_IRQ] = {"irq", "device", {"queue", "vq", "msix"}, BIT(1), 0},
	[TRACE_E_SQE_QUEUED] = {"sqe_queued", NULL, {"reactor", "op", "opcode", "fd", "len"},
		BIT(1), BIT(3)},
	[TRACE_E_COMPLETION] = {"completion", NULL, {"reactor", "op", "res", "flags"},
		BIT(1) | BIT(3), BIT(2)},
	[TRACE_E_TURN_BEGIN] = {"turn_begin", NULL, {"reactor", "ready"}, 0, 0},
	[TRACE_E_TURN_END] = {"turn_end", NULL, {"reactor", "batch", "in_flight"}, 0, 0},
	[TRACE_E_GUEST_STATE] = {"guest_state", NULL, {"from", "to"}, 0, 0},
	[TRACE_E_VSOCK_STATE] = {"vsock_state", NULL,
		{"host_port", "guest_port", "from", "to", "conn"}, BIT(4), 0},
	[TRACE_E_VSOCK_CONNECT] = {"vsock_connect", NULL, {"host_port", "guest_port", "conn"},
		BIT(2), 0},
	[TRACE_E_VSOCK_ACCEPT] = {"vsock_accept", NULL, {"host_port", "guest_port", "conn"}, BIT(2),
		0},
	[TRACE_E_VSOCK_CLOSE] = {"vsock_close", NULL, {"host_port", "guest_port", "conn", "how"},
		BIT(2), 0},
	[TRACE_E_VSOCK_STALL] = {"vsock_stall", NULL,
		{"host_port", "guest_port", "conn", "stalled"}, BIT(2), 0},
	[TRACE_E_VSOCK_DATA] = {"vsock_data", NULL,
		{"host_port", "guest_port", "conn", "to_guest", "res", "vq"}, BIT(2) | BIT(5),
		BIT(4)},
	[TRACE_E_CONSOLE_WRITE] = {"console_write", NULL, {"console", "kept"}, BIT(0), 0},
	[TRACE_E_CONSOLE_WRITTEN] = {"console_written", NULL, {"console", "res"}, BIT(0), BIT(1)},
	[TRACE_E_BALLOON_CHANGE] = {"balloon_change", NULL, {"requested_pages", "current_pages"}, 0,
		0},
	[TRACE_E_MEM_CHANGE] = {"mem_change", NULL, {"requested_size", "plugged_size"}, 0, 0},
	[TRACE_E_RPC_BEGIN] = {"rpc_begin", "method", {"call", "object", "txid"}, BIT(0), 0},
	[TRACE_E_RPC_END] = {"rpc_end", "method", {"call", "object", "txid"}, BIT(0), 0},
};

const struct trace_event_shape *trace_event_shape(unsigned int type)
{
	return type < TRACE_EVENT_TYPES ? &shapes[type] : NULL;
}

int trace_event_find(const char *name)
{
	for (int i = 0; i < TRACE_EVENT_TYPES; i++)
		if (!strcmp(shapes[i].name, name))
			return i;
	return -1;
}

static int sample(void *ctx, void *data, size_t len_bytes)
{
	struct trace_events *e = ctx;

	CHECK(len_bytes >= sizeof(struct trace_event));
	e->take(e->ctx, data);
	return 0;
}

int events_open(
	struct trace_events *e, pid_t pid, uint32_t types, const char *guest, struct diag *d)
{
	int err;

	CHECK(e->take);
	e->ring = NULL;
	e->session = (struct trace_session){0};
	e->skel = events_bpf__open();
	if (!e->skel)
		return diag_errno(d, -errno, "opening the BPF object");
	if (guest)
		snprintf((char *)e->skel->rodata->only_guest, TRACE_GUEST_MAX, "%s", guest);
	e->skel->rodata->with_reactors = e->with_reactors;
	session_select(e->skel->obj, programs, ARRAY_SIZE(programs), types);
	err = session_load(e->skel->skeleton, d);
	if (err)
		return err;
	e->ring = ring_buffer__new(bpf_map__fd(e->skel->maps.events), sample, e, NULL);
	if (!e->ring)
		return diag_errno(d, -errno, "mapping the events' ring buffer");
	return session_attach(&e->session, e->skel->obj, pid, programs, ARRAY_SIZE(programs), d);
}

void events_stop(struct trace_events *e)
{
	session_detach(&e->session);
}

void events_close(struct trace_events *e)
{
	events_stop(e);
	ring_buffer__free(e->ring);
	events_bpf__destroy(e->skel);
	e->ring = NULL;
	e->skel = NULL;
}

void events_poll(struct trace_events *e)
{
	ring_buffer__consume(e->ring);
}

int events_fd(const struct trace_events *e)
{
	return ring_buffer__epoll_fd(e->ring);
}

uint64_t events_lost(const struct trace_events *e)
{
	return __atomic_load_n(&e->skel->bss->lost, __ATOMIC_RELAXED);
}

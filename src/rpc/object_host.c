/* SPDX-License-Identifier: Apache-2.0 */
/* Host: what the daemon offers as a whole, and the manager's calls that need no waiting. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "rpc/gather.h"
#include "rpc/info_table.h"
#include "rpc/launch.h"
#include "rpc/metrics.h"
#include "rpc/object.h"
#include "rpc/object_guest.h"
#include "rpc/server.h"

#define WIRE_VERSION       1
#define CONSOLE_BLOCKED_NS 5000000000ULL /* a reader that is there is never so slow */
#define VSOCK_STARVED_NS   60000000000ULL

/* The codec has checked the length. */
static void copy_name(char to[GUEST_NAME_MAX + 1], struct wire_string name)
{
	CHECK(name.len_bytes <= GUEST_NAME_MAX);
	memcpy(to, name.ptr, name.len_bytes);
	to[name.len_bytes] = '\0';
}

static void no_memory(struct call *call)
{
	call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
		"the daemon is out of memory for this call");
}

static void host_info(struct call *call, struct server *s)
{
	struct codec_message reply;

	codec_reply_init(&reply, &call->msg);
	reply.p.info = (struct info_reply){
		.wire_version = WIRE_VERSION,
		.cores = s->slots.reactor_count,
		.guests = s->slots.count,
		.build = wire_string_of("ringvisor " RINGVISOR_VERSION),
		.kvm = wire_string_of(vm_host_describe(s->params.env->host)),
	};
	call_reply(call, &reply, NULL);
}

/* --- List, Metrics: all guests --- */

static void list_ready(struct gather *g)
{
	struct list_entry *entries = calloc(g->count + 1, sizeof(*entries));
	struct codec_message reply;

	if (!entries) {
		no_memory(g->ctx);
		return;
	}
	for (unsigned int i = 0; i < g->count; i++) {
		const struct guest_snapshot *s = g->snapshots[i];

		entries[i] = (struct list_entry){
			.name = wire_string_of(s->name),
			.status = s->status,
			.cpus = s->cpus,
			.memory = s->memory_bytes,
			.uptime_ns = s->uptime_ns,
		};
	}
	codec_reply_init(&reply, &((struct call *)g->ctx)->msg);
	reply.p.list.guests = (struct wire_vector){.count = g->count, .items = entries};
	call_reply(g->ctx, &reply, NULL);
	free(entries);
}

static void metrics_ready(struct gather *g)
{
	struct call *call = g->ctx;
	struct codec_message reply;
	struct diag d;
	int fd;

	if (!call_server(call)) {
		call_fail(call, DOMAIN_STATUS, STATUS_PEER_CLOSED, "nobody waits for it");
		return;
	}
	fd = metrics_file(call_server(call), g->snapshots, g->count, &d);
	if (fd < 0) {
		call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES, "%s", d.text);
		return;
	}
	codec_reply_init(&reply, &call->msg);
	call_reply(call, &reply, &fd);
}

static void host_gather(struct call *call, struct server *s, void (*ready)(struct gather *))
{
	if (!gather_start(&s->slots, ready, call))
		no_memory(call);
}

/* --- one guest by name --- */

static void host_open_lifecycle(struct call *call, struct server *s)
{
	char name[GUEST_NAME_MAX + 1];
	struct slot *slot;

	copy_name(name, call->msg.p.open.name);
	if (s->stopping) {
		call_fail(call, DOMAIN_STATUS, STATUS_BAD_STATE, "the daemon is stopping");
		return;
	}
	slot = slot_open(&s->slots, name);
	if (slot)
		call_open(call, slot);
	else
		call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
			"no slot for guest %s: the daemon has %u of at most %d", name,
			s->slots.count, SLOTS_MAX);
}

static void shutdown_answered(struct slot_op *op)
{
	call_done(op->ctx);
}

static void host_force_shutdown(struct call *call, struct server *s)
{
	char name[GUEST_NAME_MAX + 1];
	struct slot *slot;

	copy_name(name, call->msg.p.name.name);
	slot = slot_find(&s->slots, name);
	if (!slot || !slot_started(slot))
		call_done(call);
	else if (!slot_stop(slot, shutdown_answered, call))
		no_memory(call);
}

static void host_connect(struct call *call, struct server *s)
{
	char name[GUEST_NAME_MAX + 1];
	struct slot *slot;

	copy_name(name, call->msg.p.open.name);
	slot = slot_find(&s->slots, name);
	if (slot && slot_started(slot))
		guest_object_bind(call, slot);
	else
		call_fail(
			call, DOMAIN_MANAGER, MANAGER_NOT_RUNNING, "guest %s is not running", name);
}

/* --- GetInfo --- */

struct info_parts {
	struct guest_info info;
	struct wire_string devices[SNAPSHOT_DEVICES_MAX];
	struct wire_string problems[INFO_PROBLEMS_MAX];
	char problem[2][DIAG_TEXT_MAX + 64]; /* texts of problems */
	unsigned int problem_count;
	uint8_t table[8192];
};

static void info_descriptor(struct info_parts *p, const struct guest_snapshot *s)
{
	struct guest_info *i = &p->info;

	i->given |= TABLE_BIT(INFO_NUM_CPUS) | TABLE_BIT(INFO_GUEST_MEMORY) |
		    TABLE_BIT(INFO_DEVICES) | TABLE_BIT(INFO_RESIDENT_BYTES) |
		    TABLE_BIT(INFO_KICKS) | TABLE_BIT(INFO_IRQS);
	i->num_cpus = s->cpus;
	i->guest_memory = s->memory_bytes;
	i->resident_bytes = s->resident_bytes;
	i->kicks = s->kicks;
	i->irqs = s->irqs;
	for (unsigned int k = 0; k < s->device_count; k++)
		p->devices[k] = wire_string_of(s->devices[k]);
	i->devices = (struct wire_vector){.count = s->device_count, .items = p->devices};
}

__attribute__((format(printf, 2, 3))) static void info_problem(
	struct info_parts *p, const char *fmt, ...)
{
	unsigned int i = p->problem_count++;
	va_list ap;

	CHECK(i < ARRAY_SIZE(p->problem));
	va_start(ap, fmt);
	vsnprintf(p->problem[i], sizeof(p->problem[i]), fmt, ap);
	va_end(ap);
	p->problems[i] = wire_string_of(p->problem[i]);
	p->info.detected_problems =
		(struct wire_vector){.count = p->problem_count, .items = p->problems};
}

/* A clean end tells which of the two it was; a bad one, why. */
static void info_end(struct info_parts *p, const struct guest_snapshot *s)
{
	if (s->stop_error && s->stop_detail[0])
		info_problem(p, "%s: %s", guest_error_name(s->stop_error), s->stop_detail);
	else if (s->end == MACHINE_REBOOT && !s->stop_error)
		info_problem(p, "the guest asked for a reboot; launch it again to start it anew");
}

/* What is wrong with a guest that lives. */
static void info_live(struct info_parts *p, const struct guest_snapshot *s)
{
	if (s->console_blocked_ns >= CONSOLE_BLOCKED_NS)
		info_problem(p,
			"console output has been blocked for %" PRIu64 " s: nobody reads it",
			s->console_blocked_ns / 1000000000);
	if (s->vsock.rx_starved_ns >= VSOCK_STARVED_NS)
		info_problem(p,
			"guest has not taken a single virtio-vsock buffer for %" PRIu64 " s",
			s->vsock.rx_starved_ns / 1000000000);
}

static void info_fill(struct info_parts *p, const struct guest_snapshot *s)
{
	struct guest_info *i = &p->info;

	i->given = TABLE_BIT(INFO_GUEST_STATUS) | TABLE_BIT(INFO_DETECTED_PROBLEMS);
	i->guest_status = s->status;
	if (s->status == GUEST_STATUS_NOT_STARTED)
		return;
	i->given |= TABLE_BIT(INFO_UPTIME_NS) | TABLE_BIT(INFO_EXITS);
	i->uptime_ns = s->uptime_ns;
	i->exits = s->exits;
	if (s->status != GUEST_STATUS_STOPPED) {
		info_descriptor(p, s);
		info_live(p, s);
		return;
	}
	if (s->stop_error) {
		i->given |= TABLE_BIT(INFO_STOP_ERROR);
		i->stop_error = s->stop_error;
	}
	info_end(p, s);
}

static void info_reply(struct call *call, const struct guest_snapshot *s)
{
	struct info_parts *p = calloc(1, sizeof(*p));
	struct wire_writer w;
	struct codec_message reply;

	if (!p) {
		no_memory(call);
		return;
	}
	info_fill(p, s);
	w = (struct wire_writer){.buf = p->table, .room = sizeof(p->table)};
	codec_reply_init(&reply, &call->msg);
	if (info_table_encode(&p->info, &w, &reply.p.get_info.info))
		call_fail(call, DOMAIN_STATUS, STATUS_INTERNAL,
			"the info of guest %s does not fit a message", s->name);
	else
		call_reply(call, &reply, NULL);
	free(p);
}

static void info_answered(struct slot_op *op)
{
	if (!op->snapshot) {
		no_memory(op->ctx);
		return;
	}
	/* Between two homes, and while it is being built, the guest itself does not know. */
	if (!op->snapshot->cpus || op->snapshot->status == GUEST_STATUS_STARTING) {
		op->snapshot->cpus = op->slot->cpus;
		op->snapshot->memory_bytes = op->slot->memory_bytes;
	}
	info_reply(op->ctx, op->snapshot);
}

static void host_get_info(struct call *call, struct server *s)
{
	static const struct guest_snapshot never = {.status = GUEST_STATUS_NOT_STARTED};
	char name[GUEST_NAME_MAX + 1];
	struct slot *slot;

	copy_name(name, call->msg.p.name.name);
	slot = slot_find(&s->slots, name);
	if (!slot)
		info_reply(call, &never);
	else if (!slot_snapshot(slot, info_answered, call))
		no_memory(call);
}

static void host_handle(struct call *call)
{
	struct server *s = call_server(call);

	switch (call->msg.message->method) {
	case METHOD_HOST_INFO:
		return host_info(call, s);
	case METHOD_HOST_LIST:
		return host_gather(call, s, list_ready);
	case METHOD_HOST_OPEN_LIFECYCLE:
		return host_open_lifecycle(call, s);
	case METHOD_HOST_LAUNCH:
		return launch_start(call, s);
	case METHOD_HOST_FORCE_SHUTDOWN:
		return host_force_shutdown(call, s);
	case METHOD_HOST_CONNECT:
		return host_connect(call, s);
	case METHOD_HOST_GET_INFO:
		return host_get_info(call, s);
	default:
		CHECK(call->msg.message->method == METHOD_HOST_METRICS);
		return host_gather(call, s, metrics_ready);
	}
}

const struct object_class host_class = {
	.kind = OBJECT_HOST,
	.name = "Host",
	.handle = host_handle,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Every message of the protocol and the layout of its payloads, in wire.md's order. */
#include "rpc/messages.h"

#include "core/check.h"

#define FIELD(type_, s, member)                                                                    \
	{                                                                                          \
#member, type_, offsetof(struct s, member), 0, NULL                                \
	}
#define VECTOR(s, member, layout)                                                                  \
	{                                                                                          \
#member, WIRE_VECTOR, offsetof(struct s, member), 0, layout                        \
	}
#define PAD(bytes_)                                                                                \
	{                                                                                          \
		"pad", WIRE_PAD, 0, bytes_, NULL                                                   \
	}
#define LAYOUT(fields_, s)                                                                         \
	{                                                                                          \
		fields_, ARRAY_SIZE(fields_), sizeof(struct s)                                     \
	}
#define DEFINE_LAYOUT(name, s, ...)                                                                \
	static const struct wire_field name##_fields[] = {__VA_ARGS__};                            \
	const struct wire_layout name = LAYOUT(name##_fields, s)
#define DEFINE_STATIC_LAYOUT(name, s, ...)                                                         \
	static const struct wire_field name##_fields[] = {__VA_ARGS__};                            \
	static const struct wire_layout name = LAYOUT(name##_fields, s)

static const struct wire_layout layout_none = {NULL, 0, 0};

/* Calls. */
DEFINE_STATIC_LAYOUT(layout_open, open_call, FIELD(WIRE_ID, open_call, new_id), PAD(4),
	FIELD(WIRE_NAME, open_call, name));
DEFINE_STATIC_LAYOUT(layout_launch, launch_call, FIELD(WIRE_ID, launch_call, new_id), PAD(4),
	FIELD(WIRE_NAME, launch_call, name), FIELD(WIRE_TABLE, launch_call, config));
DEFINE_STATIC_LAYOUT(layout_name, name_call, FIELD(WIRE_NAME, name_call, name));
DEFINE_STATIC_LAYOUT(layout_create, create_call, FIELD(WIRE_TABLE, create_call, config));
DEFINE_STATIC_LAYOUT(layout_new_id, new_id_call, FIELD(WIRE_ID, new_id_call, new_id), PAD(4));
DEFINE_STATIC_LAYOUT(layout_listen, listen_call, FIELD(WIRE_U32, listen_call, port),
	FIELD(WIRE_ID, listen_call, acceptor_id));
DEFINE_STATIC_LAYOUT(layout_vsock_connect, vsock_connect_call,
	FIELD(WIRE_U32, vsock_connect_call, guest_port), PAD(4));
DEFINE_STATIC_LAYOUT(layout_accept, accept_call, FIELD(WIRE_U32, accept_call, src_cid),
	FIELD(WIRE_U32, accept_call, src_port), FIELD(WIRE_U32, accept_call, port), PAD(4));
DEFINE_STATIC_LAYOUT(layout_request_pages, request_pages_call,
	FIELD(WIRE_U32, request_pages_call, requested_num_pages), PAD(4));
DEFINE_STATIC_LAYOUT(
	layout_request_size, request_size_call, FIELD(WIRE_U64, request_size_call, requested_size));

/* Replies. */
DEFINE_STATIC_LAYOUT(layout_info, info_reply, FIELD(WIRE_U32, info_reply, wire_version),
	FIELD(WIRE_U32, info_reply, cores), FIELD(WIRE_U32, info_reply, guests), PAD(4),
	FIELD(WIRE_STRING, info_reply, build), FIELD(WIRE_STRING, info_reply, kvm));
DEFINE_LAYOUT(layout_list_entry, list_entry, FIELD(WIRE_STRING, list_entry, name),
	FIELD(WIRE_U32, list_entry, status), FIELD(WIRE_U32, list_entry, cpus),
	FIELD(WIRE_U64, list_entry, memory), FIELD(WIRE_U64, list_entry, uptime_ns));
DEFINE_STATIC_LAYOUT(layout_list, list_reply, VECTOR(list_reply, guests, &layout_list_entry));
DEFINE_STATIC_LAYOUT(layout_get_info, get_info_reply, FIELD(WIRE_TABLE, get_info_reply, info));
DEFINE_STATIC_LAYOUT(layout_vsock_connected, vsock_connect_reply,
	FIELD(WIRE_U32, vsock_connect_reply, host_port), PAD(4));
DEFINE_STATIC_LAYOUT(layout_balloon_size, balloon_size_reply,
	FIELD(WIRE_U32, balloon_size_reply, current_num_pages),
	FIELD(WIRE_U32, balloon_size_reply, requested_num_pages));
DEFINE_LAYOUT(layout_balloon_stat, balloon_stat, FIELD(WIRE_U16, balloon_stat, tag), PAD(2), PAD(4),
	FIELD(WIRE_U64, balloon_stat, value));
DEFINE_STATIC_LAYOUT(layout_balloon_stats, balloon_stats_reply,
	FIELD(WIRE_I32, balloon_stats_reply, status), PAD(4),
	VECTOR(balloon_stats_reply, stats, &layout_balloon_stat));
DEFINE_STATIC_LAYOUT(layout_mem_size, mem_size_reply, FIELD(WIRE_U64, mem_size_reply, block_size),
	FIELD(WIRE_U64, mem_size_reply, region_size),
	FIELD(WIRE_U64, mem_size_reply, usable_region_size),
	FIELD(WIRE_U64, mem_size_reply, plugged_size),
	FIELD(WIRE_U64, mem_size_reply, requested_size));

/* Errors and events. */
DEFINE_LAYOUT(layout_error, error_reply, FIELD(WIRE_U32, error_reply, domain),
	FIELD(WIRE_U32, error_reply, code), FIELD(WIRE_STRING, error_reply, detail));
DEFINE_STATIC_LAYOUT(layout_closed, closed_event, FIELD(WIRE_I32, closed_event, epitaph), PAD(4));
DEFINE_STATIC_LAYOUT(layout_violation, violation_event, FIELD(WIRE_U32, violation_event, code),
	FIELD(WIRE_U32, violation_event, txid), FIELD(WIRE_STRING, violation_event, detail));

/* clang-format off */
#define CALL(name, method, kind, call, reply) \
	{name, method, kind, CALLER_CLIENT, SHAPE_CALL, false, 0, 0, 0, &call, &reply}
#define CALL_FD(name, method, kind, call, reply) \
	{name, method, kind, CALLER_CLIENT, SHAPE_CALL, false, 0, 0, 1, &call, &reply}
#define CONCURRENT(name, method, kind, call, reply) \
	{name, method, kind, CALLER_CLIENT, SHAPE_CALL, true, 0, 0, 0, &call, &reply}
#define CONFIGURE(name, method, kind, call) \
	{name, method, kind, CALLER_CLIENT, SHAPE_CALL, false, 0, 4, 0, &call, &layout_none}
#define ONE_WAY(name, method, kind, call) \
	{name, method, kind, CALLER_CLIENT, SHAPE_ONE_WAY, false, 0, 0, 0, &call, NULL}
#define EVENT(name, method, kind, call) \
	{name, method, kind, CALLER_SERVER, SHAPE_EVENT, false, 0, 0, 0, &call, NULL}

const struct message message_table[] = {
	CALL("Host.Info", METHOD_HOST_INFO, OBJECT_HOST, layout_none, layout_info),
	CALL("Host.List", METHOD_HOST_LIST, OBJECT_HOST, layout_none, layout_list),
	CALL("Host.OpenLifecycle", METHOD_HOST_OPEN_LIFECYCLE, OBJECT_HOST, layout_open, layout_none),
	CONFIGURE("Host.Launch", METHOD_HOST_LAUNCH, OBJECT_HOST, layout_launch),
	CALL("Host.ForceShutdown", METHOD_HOST_FORCE_SHUTDOWN, OBJECT_HOST, layout_name, layout_none),
	CALL("Host.Connect", METHOD_HOST_CONNECT, OBJECT_HOST, layout_open, layout_none),
	CALL("Host.GetInfo", METHOD_HOST_GET_INFO, OBJECT_HOST, layout_name, layout_get_info),
	CALL_FD("Host.Metrics", METHOD_HOST_METRICS, OBJECT_HOST, layout_none, layout_none),

	CONFIGURE("GuestLifecycle.Create", METHOD_LIFECYCLE_CREATE, OBJECT_LIFECYCLE, layout_create),
	ONE_WAY("GuestLifecycle.Bind", METHOD_LIFECYCLE_BIND, OBJECT_LIFECYCLE, layout_new_id),
	CONCURRENT("GuestLifecycle.Run", METHOD_LIFECYCLE_RUN, OBJECT_LIFECYCLE, layout_none, layout_none),
	CALL("GuestLifecycle.Stop", METHOD_LIFECYCLE_STOP, OBJECT_LIFECYCLE, layout_none, layout_none),

	CALL_FD("Guest.GetConsole", METHOD_GUEST_GET_CONSOLE, OBJECT_GUEST, layout_none, layout_none),
	CALL_FD("Guest.GetSerial", METHOD_GUEST_GET_SERIAL, OBJECT_GUEST, layout_none, layout_none),
	CALL("Guest.GetHostVsockEndpoint", METHOD_GUEST_GET_VSOCK, OBJECT_GUEST, layout_new_id, layout_none),
	CALL("Guest.GetBalloonController", METHOD_GUEST_GET_BALLOON, OBJECT_GUEST, layout_new_id, layout_none),
	CALL("Guest.GetMemController", METHOD_GUEST_GET_MEM, OBJECT_GUEST, layout_new_id, layout_none),

	CALL("HostVsockEndpoint.Listen", METHOD_VSOCK_LISTEN, OBJECT_VSOCK_ENDPOINT, layout_listen, layout_none),
	{"HostVsockEndpoint.Connect", METHOD_VSOCK_CONNECT, OBJECT_VSOCK_ENDPOINT, CALLER_CLIENT, SHAPE_CALL, true, 0, 0, 1, &layout_vsock_connect, &layout_vsock_connected},

	{"HostVsockAcceptor.Accept", METHOD_ACCEPTOR_ACCEPT, OBJECT_VSOCK_ACCEPTOR, CALLER_SERVER, SHAPE_CALL, true, 0, 0, 1, &layout_accept, &layout_none},

	CALL("BalloonController.GetBalloonSize", METHOD_BALLOON_GET_SIZE, OBJECT_BALLOON, layout_none, layout_balloon_size),
	ONE_WAY("BalloonController.RequestNumPages", METHOD_BALLOON_REQUEST, OBJECT_BALLOON, layout_request_pages),
	CONCURRENT("BalloonController.GetMemStats", METHOD_BALLOON_GET_STATS, OBJECT_BALLOON, layout_none, layout_balloon_stats),

	CALL("MemController.GetMemSize", METHOD_MEM_GET_SIZE, OBJECT_MEM, layout_none, layout_mem_size),
	ONE_WAY("MemController.RequestSize", METHOD_MEM_REQUEST, OBJECT_MEM, layout_request_size),

	ONE_WAY("Close", METHOD_CLOSE, OBJECT_ANY, layout_none),
	EVENT("Closed", METHOD_CLOSE, OBJECT_ANY, layout_closed),
	EVENT("Violation", METHOD_VIOLATION, OBJECT_HOST, layout_violation),
};
/* clang-format on */

const unsigned int message_count = ARRAY_SIZE(message_table);

const struct message *message_find(uint16_t method, bool event)
{
	for (unsigned int i = 0; i < message_count; i++)
		if (message_table[i].method == method &&
			(message_table[i].shape == SHAPE_EVENT) == event)
			return &message_table[i];
	return NULL;
}

const struct message *message_get(enum message_method method, enum message_shape shape)
{
	const struct message *m = message_find((uint16_t)method, shape == SHAPE_EVENT);

	CHECK(m && m->shape == shape);
	return m;
}

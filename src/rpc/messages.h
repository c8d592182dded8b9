/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of messages (wire.md, "Methods"), and the C form of each payload. */
#ifndef RPC_MESSAGES_H
#define RPC_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc/wire.h"

enum object_kind {
	OBJECT_ANY, /* Close, Closed: any object but the Host */
	OBJECT_HOST,
	OBJECT_LIFECYCLE,
	OBJECT_GUEST,
	OBJECT_VSOCK_ENDPOINT,
	OBJECT_VSOCK_ACCEPTOR, /* lives on the client's side; the server calls */
	OBJECT_BALLOON,
	OBJECT_MEM,
};

enum message_method {
	METHOD_HOST_INFO = 0x0001,
	METHOD_HOST_LIST = 0x0002,
	METHOD_HOST_OPEN_LIFECYCLE = 0x0003,
	METHOD_HOST_LAUNCH = 0x0004,
	METHOD_HOST_FORCE_SHUTDOWN = 0x0005,
	METHOD_HOST_CONNECT = 0x0006,
	METHOD_HOST_GET_INFO = 0x0007,
	METHOD_HOST_METRICS = 0x0008,
	METHOD_LIFECYCLE_CREATE = 0x0101,
	METHOD_LIFECYCLE_BIND = 0x0102,
	METHOD_LIFECYCLE_RUN = 0x0103,
	METHOD_LIFECYCLE_STOP = 0x0104,
	METHOD_GUEST_GET_CONSOLE = 0x0201,
	METHOD_GUEST_GET_SERIAL = 0x0202,
	METHOD_GUEST_GET_VSOCK = 0x0203,
	METHOD_GUEST_GET_BALLOON = 0x0204,
	METHOD_GUEST_GET_MEM = 0x0205,
	METHOD_VSOCK_LISTEN = 0x0301,
	METHOD_VSOCK_CONNECT = 0x0302,
	METHOD_ACCEPTOR_ACCEPT = 0x0401,
	METHOD_BALLOON_GET_SIZE = 0x0501,
	METHOD_BALLOON_REQUEST = 0x0502,
	METHOD_BALLOON_GET_STATS = 0x0503,
	METHOD_MEM_GET_SIZE = 0x0601,
	METHOD_MEM_REQUEST = 0x0602,
	METHOD_VIOLATION = 0xfffe,
	METHOD_CLOSE = 0xffff, /* Close from the client, the event Closed from the server */
};

/* Who starts the exchange. */
enum message_caller { CALLER_CLIENT, CALLER_SERVER };

/* A call has a reply; a one-way message and an event have none. */
enum message_shape { SHAPE_CALL, SHAPE_ONE_WAY, SHAPE_EVENT };

struct message {
	const char *name; /* "Host.Launch" */
	uint16_t method;
	enum object_kind kind;
	enum message_caller caller;
	enum message_shape shape;
	bool concurrent; /* runs beside later calls; replies when it finishes (Connect: in order) */
	uint8_t fds_min, fds_max; /* with the call */
	uint8_t reply_fds;        /* with its reply, exactly */
	const struct wire_layout *call, *reply;
};

extern const struct message message_table[];
extern const unsigned int message_count;

/* message_find: NULL if there is none. METHOD_CLOSE stands for two messages; the shape tells them
 * apart. message_get: the same for a method that exists (SHAPE_EVENT for the two events). */
const struct message *message_find(uint16_t method, bool event);
const struct message *message_get(enum message_method method, enum message_shape shape);

/* Calls. */
struct open_call { /* OpenLifecycle, Connect (Host) */
	uint32_t new_id;
	struct wire_string name;
};
struct launch_call {
	uint32_t new_id;
	struct wire_string name;
	struct wire_table config;
};
struct name_call { /* ForceShutdown, GetInfo */
	struct wire_string name;
};
struct create_call {
	struct wire_table config;
};
struct new_id_call { /* Bind, GetHostVsockEndpoint, GetBalloonController, GetMemController */
	uint32_t new_id;
};
struct listen_call {
	uint32_t port, acceptor_id;
};
struct vsock_connect_call {
	uint32_t guest_port;
};
struct accept_call {
	uint32_t src_cid, src_port, port;
};
struct request_pages_call {
	uint32_t requested_num_pages;
};
struct request_size_call {
	uint64_t requested_size;
};

/* Replies. */
struct info_reply {
	uint32_t wire_version, cores, guests;
	struct wire_string build, kvm;
};
struct list_reply {
	struct wire_vector guests; /* of struct list_entry, layout_list_entry */
};
struct list_entry {
	struct wire_string name;
	uint32_t status, cpus; /* status: GuestInfo's numbers */
	uint64_t memory;       /* bytes */
	uint64_t uptime_ns;
};
struct get_info_reply {
	struct wire_table info; /* rpc/info_table.h */
};
struct vsock_connect_reply {
	uint32_t host_port;
};
struct balloon_size_reply {
	uint32_t current_num_pages, requested_num_pages;
};
struct balloon_stats_reply {
	int32_t status;           /* enum status */
	struct wire_vector stats; /* of struct balloon_stat, layout_balloon_stat */
};
struct balloon_stat {
	uint16_t tag;
	uint64_t value;
};
struct mem_size_reply {
	uint64_t block_size, region_size, usable_region_size, plugged_size, requested_size;
};

/* ERROR replies, and events. */
enum error_domain { DOMAIN_GUEST_ERROR = 1, DOMAIN_STATUS = 2, DOMAIN_MANAGER = 3 };
struct error_reply {
	uint32_t domain; /* enum error_domain */
	uint32_t code;
	struct wire_string detail;
};
struct closed_event {
	int32_t epitaph; /* enum status */
};
struct violation_event {
	uint32_t code; /* enum status */
	uint32_t txid; /* of the message at fault; 0: none or unknown */
	struct wire_string detail;
};

union message_payload {
	struct open_call open;
	struct launch_call launch;
	struct name_call name;
	struct create_call create;
	struct new_id_call new_id;
	struct listen_call listen;
	struct vsock_connect_call vsock_connect;
	struct accept_call accept;
	struct request_pages_call request_pages;
	struct request_size_call request_size;
	struct info_reply info;
	struct list_reply list;
	struct get_info_reply get_info;
	struct vsock_connect_reply vsock_connected;
	struct balloon_size_reply balloon_size;
	struct balloon_stats_reply balloon_stats;
	struct mem_size_reply mem_size;
	struct error_reply error;
	struct closed_event closed;
	struct violation_event violation;
};

extern const struct wire_layout layout_list_entry, layout_balloon_stat, layout_error;

#endif

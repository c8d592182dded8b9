/* SPDX-License-Identifier: Apache-2.0 */
/* Replies as the public header's structs: one allocation a reply, strings with their NUL. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/utf8.h"
#include "rpc/client_private.h"
#include "rpc/info_table.h"

/* Bump allocation inside one block. */
struct block {
	uint8_t *at;
	size_t left;
};

static void *block_take(struct block *b, size_t len_bytes)
{
	void *p = b->at;

	len_bytes = (len_bytes + 7) & ~(size_t)7;
	if (len_bytes > b->left)
		return NULL;
	b->at += len_bytes;
	b->left -= len_bytes;
	return p;
}

static const char *block_string(struct block *b, struct wire_string s)
{
	char *p = block_take(b, (size_t)s.len_bytes + 1);

	if (!p)
		return "";
	if (s.len_bytes)
		memcpy(p, s.ptr, s.len_bytes);
	p[s.len_bytes] = '\0';
	return p;
}

/* Enough for a struct, `count` elements, and all strings of a payload. A string of the wire takes
 * at least as much there (4 bytes of length, padded to 8) as here (a NUL, padded to 8). */
static int block_init(struct client_reply *r, struct block *b, size_t struct_bytes, size_t count,
	size_t element_bytes, size_t payload_bytes)
{
	b->left = struct_bytes + 8 + count * (element_bytes + 8) + payload_bytes;
	b->at = calloc(1, b->left);
	r->block = b->at;
	if (!b->at)
		return client_fail_errno(&r->error, ENOMEM, "out of memory for a reply");
	return 0;
}

static int reply_info(struct client_reply *r, const struct codec_message *m, size_t payload_bytes)
{
	struct rv_host_info *info;
	struct block b;

	if (block_init(r, &b, sizeof(*info), 0, 0, payload_bytes))
		return -1;
	info = block_take(&b, sizeof(*info));
	info->wire_version = m->p.info.wire_version;
	info->cores = m->p.info.cores;
	info->guests = m->p.info.guests;
	info->build = block_string(&b, m->p.info.build);
	info->kvm = block_string(&b, m->p.info.kvm);
	r->reply.host_info = info;
	return 0;
}

static int reply_list(struct client_reply *r, const struct codec_message *m, size_t payload_bytes)
{
	const struct wire_vector *v = &m->p.list.guests;
	struct rv_guest_list *list;
	struct rv_guest_entry *to;
	struct wire_cursor cursor;
	struct list_entry from;
	struct block b;

	if (block_init(r, &b, sizeof(*list), v->count, sizeof(*to), payload_bytes))
		return -1;
	list = block_take(&b, sizeof(*list));
	to = block_take(&b, v->count * sizeof(*to));
	list->count = v->count;
	list->guests = to;
	wire_cursor_init(&cursor, v, &layout_list_entry);
	for (; wire_cursor_next(&cursor, &from); to++)
		*to = (struct rv_guest_entry){
			.name = block_string(&b, from.name),
			.status = from.status,
			.cpus = from.cpus,
			.memory_bytes = from.memory,
			.uptime_ns = from.uptime_ns,
		};
	r->reply.guests = list;
	return 0;
}

static const char *const *block_strings(struct block *b, const struct wire_vector *v)
{
	const char **strings = block_take(b, v->count * sizeof(*strings));
	struct wire_cursor cursor;
	struct wire_string s;
	size_t i = 0;

	wire_cursor_init(&cursor, v, &layout_string);
	while (wire_cursor_next(&cursor, &s))
		strings[i++] = block_string(b, s);
	return strings;
}

static int reply_guest_info(
	struct client_reply *r, const struct codec_message *m, size_t payload_bytes)
{
	struct rv_guest_info *info;
	struct guest_info from;
	struct diag d;
	struct block b;

	if (info_table_decode(&m->p.get_info.info, &from, &d))
		return client_fail_errno(&r->error, EPROTO, "the daemon's reply: %s", d.text);
	if (block_init(r, &b, sizeof(*info),
		    (size_t)from.devices.count + from.detected_problems.count, sizeof(const char *),
		    payload_bytes))
		return -1;
	info = block_take(&b, sizeof(*info));
	*info = (struct rv_guest_info){
		.has = (uint32_t)from.given,
		.status = from.guest_status,
		.cpus = from.num_cpus,
		.stop_error = from.stop_error,
		.uptime_ns = from.uptime_ns,
		.memory_bytes = from.guest_memory,
		.resident_bytes = from.resident_bytes,
		.exits = from.exits,
		.kicks = from.kicks,
		.irqs = from.irqs,
		.device_count = from.devices.count,
		.problem_count = from.detected_problems.count,
	};
	info->devices = block_strings(&b, &from.devices);
	info->problems = block_strings(&b, &from.detected_problems);
	r->reply.guest_info = info;
	return 0;
}

static int reply_stats(struct client_reply *r, const struct codec_message *m)
{
	const struct wire_vector *v = &m->p.balloon_stats.stats;
	struct rv_balloon_stats *stats;
	struct rv_balloon_stat *to;
	struct wire_cursor cursor;
	struct balloon_stat from;
	struct block b;

	if (block_init(r, &b, sizeof(*stats), v->count, sizeof(*to), 0))
		return -1;
	stats = block_take(&b, sizeof(*stats));
	to = block_take(&b, v->count * sizeof(*to));
	stats->status = (uint32_t)m->p.balloon_stats.status;
	stats->count = v->count;
	stats->stats = to;
	wire_cursor_init(&cursor, v, &layout_balloon_stat);
	for (; wire_cursor_next(&cursor, &from); to++)
		*to = (struct rv_balloon_stat){.tag = from.tag, .value = from.value};
	r->reply.balloon_stats = stats;
	return 0;
}

static int decode_payload(
	struct client_reply *r, const struct codec_message *m, size_t payload_bytes)
{
	switch (m->message->method) {
	case METHOD_HOST_INFO:
		return reply_info(r, m, payload_bytes);
	case METHOD_HOST_LIST:
		return reply_list(r, m, payload_bytes);
	case METHOD_HOST_GET_INFO:
		return reply_guest_info(r, m, payload_bytes);
	case METHOD_BALLOON_GET_STATS:
		return reply_stats(r, m);
	case METHOD_VSOCK_CONNECT:
		r->reply.host_port = m->p.vsock_connected.host_port;
		return 0;
	case METHOD_BALLOON_GET_SIZE:
		r->reply.balloon_size.current_pages = m->p.balloon_size.current_num_pages;
		r->reply.balloon_size.requested_pages = m->p.balloon_size.requested_num_pages;
		return 0;
	case METHOD_MEM_GET_SIZE:
		r->reply.mem_size = (struct rv_mem_size){
			.block_size = m->p.mem_size.block_size,
			.region_size = m->p.mem_size.region_size,
			.usable_region_size = m->p.mem_size.usable_region_size,
			.plugged_size = m->p.mem_size.plugged_size,
			.requested_size = m->p.mem_size.requested_size,
		};
		return 0;
	default:
		return 0;
	}
}

void client_error_copy(struct rv_error *e, const struct error_reply *reply)
{
	size_t len = reply->detail.len_bytes;

	if (len > sizeof(e->detail) - 1)
		len = sizeof(e->detail) - 1;
	e->domain = reply->domain;
	e->code = reply->code;
	if (len)
		memcpy(e->detail, reply->detail.ptr, len);
	e->detail[len] = '\0';
	utf8_scrub(e->detail);
	if (!e->detail[0])
		strcpy(e->detail, "the daemon gave no detail");
}

int client_reply_decode(struct client_reply *r, const struct codec_message *m, struct frame *f)
{
	memset(r, 0, sizeof(*r));
	r->reply.fd = -1;
	if (m->form == CODEC_ERROR) {
		client_error_copy(&r->error, &m->p.error);
		r->reply.error = &r->error;
		return 0;
	}
	if (decode_payload(r, m, f->payload_bytes)) {
		r->reply.error = &r->error;
		return -1;
	}
	r->reply.fd = frame_take_fd(f, 0);
	return 0;
}

void client_reply_finish(struct client_reply *r)
{
	free(r->block);
	r->block = NULL;
	if (r->reply.fd >= 0)
		close(r->reply.fd);
	r->reply.fd = -1;
}

int rv_reply_take_fd(struct rv_reply *reply)
{
	int fd = reply->fd;

	reply->fd = -1;
	return fd;
}

void rv_free(void *result)
{
	free(result);
}

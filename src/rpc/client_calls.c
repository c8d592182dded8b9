/* SPDX-License-Identifier: Apache-2.0 */
/* The asynchronous calls: each fills in its payload and leaves the rest to client_call_*. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client_private.h"
#include "rpc/config_table.h"

static int call_plain(struct rv_client *c, enum message_method method, rv_object object,
	rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, method, object, &m, e))
		return -1;
	return client_call_send(c, &m, NULL, 0, done, user, e);
}

static int call_named(struct rv_client *c, enum message_method method, const char *name,
	rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, method, 0, &m, e))
		return -1;
	m.p.name.name = wire_string_of(name);
	return client_call_send(c, &m, NULL, 0, done, user, e);
}

/* OpenLifecycle and Connect. */
static int call_open(struct rv_client *c, enum message_method method, const char *name,
	enum object_kind kind, rv_object *id, rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, method, 0, &m, e) || client_object_create(c, kind, id, e))
		return -1;
	m.p.open.new_id = *id;
	m.p.open.name = wire_string_of(name);
	return client_call_send(c, &m, NULL, *id, done, user, e);
}

/* Bind and a guest's Get*: a new object out of an old one. */
static int call_derive(struct rv_client *c, enum message_method method, rv_object object,
	enum object_kind kind, rv_object *id, rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, method, object, &m, e) || client_object_create(c, kind, id, e))
		return -1;
	m.p.new_id.new_id = *id;
	return client_call_send(c, &m, NULL, *id, done, user, e);
}

/* The config's table, encoded to a buffer that the caller frees; NULL with *e. */
static uint8_t *encode_config(const struct rv_config *config, struct wire_table *t, int *fds,
	uint8_t *nfds, struct rv_error *e)
{
	struct wire_writer w = {.buf = malloc(FRAME_SIZE_MAX), .room = FRAME_SIZE_MAX};
	struct diag d;
	int err;

	if (!w.buf) {
		client_fail_errno(e, ENOMEM, "out of memory for a config");
		return NULL;
	}
	err = config_table_encode(&config->c, &w, t, fds, nfds, &d);
	if (!err)
		return w.buf;
	free(w.buf);
	client_fail_errno(e, -err, "%s", d.text);
	return NULL;
}

int rv_host_info_async(struct rv_client *c, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_HOST_INFO, 0, done, user, e);
}

int rv_host_list_async(struct rv_client *c, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_HOST_LIST, 0, done, user, e);
}

int rv_host_open_lifecycle_async(struct rv_client *c, const char *name, rv_object *lifecycle,
	rv_done_fn done, void *user, struct rv_error *e)
{
	return call_open(
		c, METHOD_HOST_OPEN_LIFECYCLE, name, OBJECT_LIFECYCLE, lifecycle, done, user, e);
}

int rv_host_launch_async(struct rv_client *c, const char *name, const struct rv_config *config,
	rv_object *guest, rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;
	int fds[FRAME_FDS_MAX], result = -1;
	uint8_t *table = NULL;

	if (client_call_begin(c, METHOD_HOST_LAUNCH, 0, &m, e))
		return -1;
	table = encode_config(config, &m.p.launch.config, fds, &m.nfds, e);
	if (table && !client_object_create(c, OBJECT_GUEST, guest, e)) {
		m.p.launch.new_id = *guest;
		m.p.launch.name = wire_string_of(name);
		result = client_call_send(c, &m, fds, *guest, done, user, e);
	}
	free(table);
	return result;
}

int rv_host_force_shutdown_async(
	struct rv_client *c, const char *name, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_named(c, METHOD_HOST_FORCE_SHUTDOWN, name, done, user, e);
}

int rv_host_connect_async(struct rv_client *c, const char *name, rv_object *guest, rv_done_fn done,
	void *user, struct rv_error *e)
{
	return call_open(c, METHOD_HOST_CONNECT, name, OBJECT_GUEST, guest, done, user, e);
}

int rv_host_guest_info_async(
	struct rv_client *c, const char *name, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_named(c, METHOD_HOST_GET_INFO, name, done, user, e);
}

int rv_host_metrics_async(struct rv_client *c, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_HOST_METRICS, 0, done, user, e);
}

int rv_lifecycle_create_async(struct rv_client *c, rv_object lifecycle,
	const struct rv_config *config, rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;
	int fds[FRAME_FDS_MAX], result = -1;
	uint8_t *table;

	if (client_call_begin(c, METHOD_LIFECYCLE_CREATE, lifecycle, &m, e))
		return -1;
	table = encode_config(config, &m.p.create.config, fds, &m.nfds, e);
	if (table)
		result = client_call_send(c, &m, fds, 0, done, user, e);
	free(table);
	return result;
}

int rv_lifecycle_bind(
	struct rv_client *c, rv_object lifecycle, rv_object *guest, struct rv_error *e)
{
	return call_derive(c, METHOD_LIFECYCLE_BIND, lifecycle, OBJECT_GUEST, guest, NULL, NULL, e);
}

int rv_lifecycle_run_async(
	struct rv_client *c, rv_object lifecycle, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_LIFECYCLE_RUN, lifecycle, done, user, e);
}

int rv_lifecycle_stop_async(
	struct rv_client *c, rv_object lifecycle, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_LIFECYCLE_STOP, lifecycle, done, user, e);
}

int rv_guest_console_async(
	struct rv_client *c, rv_object guest, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_GUEST_GET_CONSOLE, guest, done, user, e);
}

int rv_guest_serial_async(
	struct rv_client *c, rv_object guest, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_GUEST_GET_SERIAL, guest, done, user, e);
}

int rv_guest_vsock_async(struct rv_client *c, rv_object guest, rv_object *endpoint, rv_done_fn done,
	void *user, struct rv_error *e)
{
	return call_derive(
		c, METHOD_GUEST_GET_VSOCK, guest, OBJECT_VSOCK_ENDPOINT, endpoint, done, user, e);
}

int rv_guest_balloon_async(struct rv_client *c, rv_object guest, rv_object *balloon,
	rv_done_fn done, void *user, struct rv_error *e)
{
	return call_derive(
		c, METHOD_GUEST_GET_BALLOON, guest, OBJECT_BALLOON, balloon, done, user, e);
}

int rv_guest_mem_async(struct rv_client *c, rv_object guest, rv_object *mem, rv_done_fn done,
	void *user, struct rv_error *e)
{
	return call_derive(c, METHOD_GUEST_GET_MEM, guest, OBJECT_MEM, mem, done, user, e);
}

int rv_vsock_listen_async(struct rv_client *c, rv_object endpoint, uint32_t port,
	rv_object *acceptor, rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, METHOD_VSOCK_LISTEN, endpoint, &m, e) ||
		client_object_create(c, OBJECT_VSOCK_ACCEPTOR, acceptor, e))
		return -1;
	m.p.listen.port = port;
	m.p.listen.acceptor_id = *acceptor;
	return client_call_send(c, &m, NULL, *acceptor, done, user, e);
}

int rv_vsock_connect_async(struct rv_client *c, rv_object endpoint, uint32_t guest_port,
	rv_done_fn done, void *user, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, METHOD_VSOCK_CONNECT, endpoint, &m, e))
		return -1;
	m.p.vsock_connect.guest_port = guest_port;
	return client_call_send(c, &m, NULL, 0, done, user, e);
}

int rv_balloon_get_size_async(
	struct rv_client *c, rv_object balloon, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_BALLOON_GET_SIZE, balloon, done, user, e);
}

int rv_balloon_request(struct rv_client *c, rv_object balloon, uint32_t pages, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, METHOD_BALLOON_REQUEST, balloon, &m, e))
		return -1;
	m.p.request_pages.requested_num_pages = pages;
	return client_call_send(c, &m, NULL, 0, NULL, NULL, e);
}

int rv_balloon_get_stats_async(
	struct rv_client *c, rv_object balloon, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_BALLOON_GET_STATS, balloon, done, user, e);
}

int rv_mem_get_size_async(
	struct rv_client *c, rv_object mem, rv_done_fn done, void *user, struct rv_error *e)
{
	return call_plain(c, METHOD_MEM_GET_SIZE, mem, done, user, e);
}

int rv_mem_request(struct rv_client *c, rv_object mem, uint64_t bytes, struct rv_error *e)
{
	struct codec_message m;

	if (client_call_begin(c, METHOD_MEM_REQUEST, mem, &m, e))
		return -1;
	m.p.request_size.requested_size = bytes;
	return client_call_send(c, &m, NULL, 0, NULL, NULL, e);
}

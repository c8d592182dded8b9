/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that wait: each starts its asynchronous form and dispatches until that has replied. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/check.h"
#include "rpc/client_private.h"

/* On the waiting function's stack; `sync_done` fills it in. */
struct sync {
	bool done;
	struct rv_reply reply;
	struct rv_error error;
	void *block;
};

static void sync_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	struct sync *s = user;

	(void)c;
	s->done = true;
	if (reply->error) {
		s->error = *reply->error;
		s->reply.error = &s->error;
		s->reply.fd = -1;
		return;
	}
	s->reply = *reply;
	reply->fd = -1;
	if (reply->host_info || reply->guests || reply->guest_info || reply->balloon_stats) {
		struct client_reply *r = container_of(reply, struct client_reply, reply);

		s->block = r->block;
		r->block = NULL;
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds left, rounded up by the one that is running. */
static int left_ms(int64_t end_ms, int timeout_ms)
{
	int64_t left = end_ms - now_ms();

	if (timeout_ms < 0)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* `started`: what the asynchronous call returned. 0 when the reply is in *s. *c may be destroyed by
 * another call's callback once s->done. */
static int sync_wait(
	struct rv_client *c, struct sync *s, int started, int timeout_ms, struct rv_error *e)
{
	int64_t end_ms = now_ms() + timeout_ms;
	uint32_t txid = c->last_txid;
	struct rv_error failed;

	if (started)
		return -1;
	while (!s->done) {
		int left = left_ms(end_ms, timeout_ms);
		int got = rv_wait(c, left, &failed);

		if (s->done || got > 0 || (!got && left_ms(end_ms, timeout_ms)))
			continue;
		if (!got)
			client_fail_errno(&failed, ETIMEDOUT,
				"no reply from the daemon within %d ms", timeout_ms);
		client_call_forget(c, txid);
		if (e)
			*e = failed;
		return -1;
	}
	if (!s->reply.error)
		return 0;
	if (e)
		*e = s->error;
	return -1;
}

/* Waiting in a callback would wait for what only its return can bring. */
static int check_idle(const struct rv_client *c, struct rv_error *e)
{
	return c->busy ? client_fail_errno(e, EDEADLK, "called from a callback") : 0;
}

#define SYNC_CALL(c, e, timeout_ms, s, call)                                                       \
	(check_idle(c, e) || sync_wait(c, s, call, timeout_ms, e) ? -1 : 0)

int rv_host_info(
	struct rv_client *c, struct rv_host_info **info, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_host_info_async(c, sync_done, &s, e)))
		return -1;
	*info = s.block;
	return 0;
}

int rv_host_list(
	struct rv_client *c, struct rv_guest_list **list, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_host_list_async(c, sync_done, &s, e)))
		return -1;
	*list = s.block;
	return 0;
}

int rv_host_open_lifecycle(struct rv_client *c, const char *name, rv_object *lifecycle,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(c, e, timeout_ms, &s,
		rv_host_open_lifecycle_async(c, name, lifecycle, sync_done, &s, e));
}

int rv_host_launch(struct rv_client *c, const char *name, const struct rv_config *config,
	rv_object *guest, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(c, e, timeout_ms, &s,
		rv_host_launch_async(c, name, config, guest, sync_done, &s, e));
}

int rv_host_force_shutdown(
	struct rv_client *c, const char *name, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_host_force_shutdown_async(c, name, sync_done, &s, e));
}

int rv_host_connect(
	struct rv_client *c, const char *name, rv_object *guest, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_host_connect_async(c, name, guest, sync_done, &s, e));
}

int rv_host_guest_info(struct rv_client *c, const char *name, struct rv_guest_info **info,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_host_guest_info_async(c, name, sync_done, &s, e)))
		return -1;
	*info = s.block;
	return 0;
}

int rv_host_metrics(struct rv_client *c, int *fd, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_host_metrics_async(c, sync_done, &s, e)))
		return -1;
	*fd = s.reply.fd;
	return 0;
}

int rv_lifecycle_create(struct rv_client *c, rv_object lifecycle, const struct rv_config *config,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(c, e, timeout_ms, &s,
		rv_lifecycle_create_async(c, lifecycle, config, sync_done, &s, e));
}

int rv_lifecycle_run(struct rv_client *c, rv_object lifecycle, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_lifecycle_run_async(c, lifecycle, sync_done, &s, e));
}

int rv_lifecycle_stop(struct rv_client *c, rv_object lifecycle, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_lifecycle_stop_async(c, lifecycle, sync_done, &s, e));
}

int rv_guest_console(
	struct rv_client *c, rv_object guest, int *fd, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_guest_console_async(c, guest, sync_done, &s, e)))
		return -1;
	*fd = s.reply.fd;
	return 0;
}

int rv_guest_serial(
	struct rv_client *c, rv_object guest, int *fd, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_guest_serial_async(c, guest, sync_done, &s, e)))
		return -1;
	*fd = s.reply.fd;
	return 0;
}

int rv_guest_vsock(struct rv_client *c, rv_object guest, rv_object *endpoint, int timeout_ms,
	struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_guest_vsock_async(c, guest, endpoint, sync_done, &s, e));
}

int rv_guest_balloon(struct rv_client *c, rv_object guest, rv_object *balloon, int timeout_ms,
	struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(
		c, e, timeout_ms, &s, rv_guest_balloon_async(c, guest, balloon, sync_done, &s, e));
}

int rv_guest_mem(
	struct rv_client *c, rv_object guest, rv_object *mem, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(c, e, timeout_ms, &s, rv_guest_mem_async(c, guest, mem, sync_done, &s, e));
}

int rv_vsock_listen(struct rv_client *c, rv_object endpoint, uint32_t port, rv_object *acceptor,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	return SYNC_CALL(c, e, timeout_ms, &s,
		rv_vsock_listen_async(c, endpoint, port, acceptor, sync_done, &s, e));
}

int rv_vsock_connect(struct rv_client *c, rv_object endpoint, uint32_t guest_port, int *fd,
	uint32_t *host_port, int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s,
		    rv_vsock_connect_async(c, endpoint, guest_port, sync_done, &s, e)))
		return -1;
	*fd = s.reply.fd;
	if (host_port)
		*host_port = s.reply.host_port;
	return 0;
}

int rv_balloon_get_size(struct rv_client *c, rv_object balloon, struct rv_balloon_size *size,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(
		    c, e, timeout_ms, &s, rv_balloon_get_size_async(c, balloon, sync_done, &s, e)))
		return -1;
	*size = s.reply.balloon_size;
	return 0;
}

int rv_balloon_get_stats(struct rv_client *c, rv_object balloon, struct rv_balloon_stats **stats,
	int timeout_ms, struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(
		    c, e, timeout_ms, &s, rv_balloon_get_stats_async(c, balloon, sync_done, &s, e)))
		return -1;
	*stats = s.block;
	return 0;
}

int rv_mem_get_size(struct rv_client *c, rv_object mem, struct rv_mem_size *size, int timeout_ms,
	struct rv_error *e)
{
	struct sync s = {0};

	if (SYNC_CALL(c, e, timeout_ms, &s, rv_mem_get_size_async(c, mem, sync_done, &s, e)))
		return -1;
	*size = s.reply.mem_size;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile daemon: the client library has a call of every kind waiting, and gets the input as what
 * the daemon sends. Invariants: each `done` runs exactly once, nothing is left open. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringvisor/client.h>

#include "core/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static unsigned int started, done, ended;

static void check_text(const char *s)
{
	CHECK(strlen(s) < 65536);
}

static void on_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	(void)c;
	(void)user;
	done++;
	if (reply->error)
		CHECK(reply->error->detail[0]);
	for (size_t i = 0; reply->guests && i < reply->guests->count; i++)
		check_text(reply->guests->guests[i].name);
	for (size_t i = 0; reply->guest_info && i < reply->guest_info->device_count; i++)
		check_text(reply->guest_info->devices[i]);
	for (size_t i = 0; reply->guest_info && i < reply->guest_info->problem_count; i++)
		check_text(reply->guest_info->problems[i]);
	if (reply->host_info)
		check_text(reply->host_info->kvm);
}

static void on_closed(struct rv_client *c, void *user, rv_object object, uint32_t epitaph)
{
	(void)user;
	check_text(rv_status_name(epitaph));
	rv_close(c, object);
}

static void on_violation(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	CHECK(error->detail[0]);
}

static void on_accept(struct rv_client *c, void *user, const struct rv_accept *request)
{
	(void)user;
	if (request->src_port & 1)
		rv_accept_refuse(c, request->id, RV_STATUS_ACCESS_DENIED, "odd", NULL);
	else
		rv_accept_answer(c, request->id, dup(STDIN_FILENO), NULL);
}

static void on_disconnected(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	CHECK(error->detail[0]);
	ended++;
}

static void expect(int result)
{
	CHECK(!result);
	started++;
}

/* Object ids and txids count from 1: inputs can name them. */
static void start_calls(struct rv_client *c)
{
	rv_object lifecycle, guest, vsock, acceptor, balloon, mem;

	expect(rv_host_open_lifecycle_async(c, "a", &lifecycle, on_done, NULL, NULL));
	expect(rv_host_connect_async(c, "b", &guest, on_done, NULL, NULL));
	expect(rv_guest_vsock_async(c, guest, &vsock, on_done, NULL, NULL));
	expect(rv_vsock_listen_async(c, vsock, 1, &acceptor, on_done, NULL, NULL));
	expect(rv_guest_balloon_async(c, guest, &balloon, on_done, NULL, NULL));
	expect(rv_guest_mem_async(c, guest, &mem, on_done, NULL, NULL));
	expect(rv_host_info_async(c, on_done, NULL, NULL));
	expect(rv_host_list_async(c, on_done, NULL, NULL));
	expect(rv_host_guest_info_async(c, "b", on_done, NULL, NULL));
	expect(rv_host_metrics_async(c, on_done, NULL, NULL));
	expect(rv_lifecycle_run_async(c, lifecycle, on_done, NULL, NULL));
	expect(rv_guest_serial_async(c, guest, on_done, NULL, NULL));
	expect(rv_vsock_connect_async(c, vsock, 7, on_done, NULL, NULL));
	expect(rv_balloon_get_size_async(c, balloon, on_done, NULL, NULL));
	expect(rv_balloon_get_stats_async(c, balloon, on_done, NULL, NULL));
	expect(rv_mem_get_size_async(c, mem, on_done, NULL, NULL));
}

/* The first byte says how many descriptors ride on the input. */
static void send_input(int sock, const uint8_t *data, size_t len_bytes)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * 4)];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(data + 1), len_bytes - 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t count = data[0] % 5;

	if (count) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * count);
		memset(CMSG_DATA(&control.align), 0, sizeof(int) * count);
	}
	CHECK(sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static const struct rv_events events = {
		on_closed, on_violation, on_accept, on_disconnected};
	int pair[2], before = dup(STDIN_FILENO), after;
	struct rv_client *c;

	close(before);
	if (len_bytes < 2 || len_bytes > 65536)
		return 0;
	started = done = ended = 0;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	c = rv_connect_fd(pair[0], &events, NULL, NULL);
	CHECK(c);
	start_calls(c);
	send_input(pair[1], data, len_bytes);
	shutdown(pair[1], SHUT_WR);
	while (!rv_dispatch(c, NULL))
		;
	CHECK(ended == 1 && done == started);
	rv_destroy(c);
	CHECK(done == started);
	close(pair[1]);
	after = dup(STDIN_FILENO);
	close(after);
	CHECK(after == before);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The client library when things end: objects, connections, daemons that misbehave. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/client_rig.h"

Test(client_events, a_closed_object_is_told_and_its_calls_fail)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_error e;
	struct objects o;

	client_rig_make_objects(c, &o);
	cr_assert_eq(rv_guest_serial_async(c, o.guest, client_rig_done, NULL, NULL), 0);
	peer_closed(o.guest, STATUS_INTERNAL);
	client_rig_until(c, &client_rig_seen.done, 1);
	cr_assert_eq(client_rig_seen.closed, 1);
	cr_assert_eq(client_rig_seen.closed_object, o.guest);
	cr_assert_eq(client_rig_seen.epitaph, RV_STATUS_INTERNAL);
	cr_assert_eq(client_rig_seen.error.domain, RV_DOMAIN_STATUS);
	cr_assert_eq(client_rig_seen.error.code, RV_STATUS_PEER_CLOSED);
	/* A reply that comes all the same is ignored. */
	peer_reply(METHOD_GUEST_GET_SERIAL, o.guest, 6);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), 1);
	cr_assert_eq(client_rig_seen.done, 1);
	cr_assert_eq(rv_guest_serial_async(c, o.guest, client_rig_done, NULL, &e), -1);
	client_rig_stop(c);
}

Test(client_events, closing_an_object_ends_its_calls)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct objects o;

	client_rig_make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.lifecycle, client_rig_done, NULL, NULL), 0);
	rv_close(c, o.lifecycle);
	cr_assert_eq(client_rig_seen.done, 1);
	cr_assert_eq(client_rig_seen.error.code, ECANCELED);
	rv_close(c, o.lifecycle);
	peer_expect(METHOD_LIFECYCLE_RUN);
	peer_expect(METHOD_CLOSE);
	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
	peer_expect(METHOD_HOST_INFO);
	client_rig_stop(c);
	cr_assert_eq(client_rig_seen.done, 2);
}

Test(client_events, a_violation_is_told_and_becomes_the_reason_of_the_end)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct codec_message m;
	struct codec_fault fault;
	struct rv_error e;

	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
	codec_fault_set(&fault, CODEC_VIOLATION, DOMAIN_STATUS, STATUS_INVALID_ARGS, 1,
		"size 17 is not a multiple of 8");
	codec_violation_init(&m, &fault);
	peer_send(&m, NULL);
	close(peer_sock);
	client_rig_until_disconnected(c);
	cr_assert_eq(client_rig_seen.violations, 1);
	cr_assert_eq(client_rig_seen.done, 1);
	cr_assert(client_rig_seen.failed);
	cr_assert_eq(client_rig_seen.error.domain, RV_DOMAIN_STATUS);
	cr_assert_eq(client_rig_seen.error.code, RV_STATUS_INVALID_ARGS);
	cr_assert(strstr(client_rig_seen.error.detail, "size 17"));
	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, ENOTCONN);
	cr_assert_eq(rv_dispatch(c, &e), -1);
	cr_assert(strstr(e.detail, "size 17"));
	peer_sock = -1;
	client_rig_stop(c);
	cr_assert_eq(client_rig_seen.disconnects, 1);
}

Test(client_events, the_daemons_death_fails_every_call)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_host_info *info;
	struct rv_error e;

	for (int i = 0; i < 5; i++)
		cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
	shutdown(peer_sock, SHUT_RDWR);
	cr_assert_eq(rv_host_info(c, &info, WAIT_MS, &e), -1);
	cr_assert(e.code == ECONNRESET || e.code == EPIPE);
	rv_dispatch(c, NULL);
	cr_assert_eq(client_rig_seen.done, 5);
	cr_assert_eq(client_rig_seen.disconnects, 1);
	client_rig_stop(c);
}

Test(client_events, accept_requests_are_answered_or_refused)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct objects o;
	int pair[2];

	client_rig_make_objects(c, &o);
	peer_accept(&o, CODEC_TXID_SERVER | 7);
	client_rig_until(c, &client_rig_seen.accepts, 1);
	cr_assert_eq(client_rig_seen.accept.acceptor, o.acceptor);
	cr_assert_eq(client_rig_seen.accept.src_cid, 42);
	cr_assert_eq(client_rig_seen.accept.src_port, 5000);
	cr_assert_eq(client_rig_seen.accept.port, 1024);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(rv_accept_answer(c, client_rig_seen.accept.id, pair[1], NULL), 0);
	cr_assert_eq(fcntl(pair[1], F_GETFD), -1, "the library owns what it was given");
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_REPLY);
	cr_assert_eq(peer_got.txid, CODEC_TXID_SERVER | 7);
	cr_assert_eq(write(peer_frame.fds[0], "x", 1), 1);
	cr_assert_eq(read(pair[0], &(char){0}, 1), 1);
	close(pair[0]);
	/* Once only. */
	cr_assert_eq(rv_accept_answer(c, client_rig_seen.accept.id, dup(STDIN_FILENO), NULL), -1);

	peer_accept(&o, CODEC_TXID_SERVER | 8);
	client_rig_until(c, &client_rig_seen.accepts, 2);
	cr_assert_eq(
		rv_accept_refuse(c, client_rig_seen.accept.id, RV_STATUS_ACCESS_DENIED, "no", NULL),
		0);
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_ERROR);
	cr_assert_eq(peer_got.p.error.code, STATUS_ACCESS_DENIED);
	client_rig_stop(c);
}

Test(client_events, accept_requests_end_with_the_acceptor)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct objects o;

	client_rig_make_objects(c, &o);
	peer_accept(&o, CODEC_TXID_SERVER | 7);
	client_rig_until(c, &client_rig_seen.accepts, 1);
	rv_close(c, o.acceptor);
	peer_expect(METHOD_CLOSE);
	cr_assert_eq(
		rv_accept_refuse(c, client_rig_seen.accept.id, RV_STATUS_ACCESS_DENIED, "no", NULL),
		-1);
	client_rig_stop(c);
}

Test(client_events, accept_requests_nobody_listens_for_are_refused)
{
	struct rv_client *c = client_rig_start(NULL);
	struct objects o = {.acceptor = 77};

	peer_accept(&o, CODEC_TXID_SERVER | 1);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), 1);
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_ERROR);
	cr_assert_eq(peer_got.p.error.code, STATUS_CONNECTION_REFUSED);
	client_rig_stop(c);
}

Test(client_events, limits_of_the_protocol_are_kept)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_error e;
	rv_object o;

	for (int i = 0; i < RV_CALLS_MAX; i++)
		cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, &e), 0);
	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, EAGAIN);
	for (uint32_t i = 1; i <= RV_CALLS_MAX; i++)
		peer_reply(METHOD_HOST_INFO, 0, i);
	client_rig_until(c, &client_rig_seen.done, RV_CALLS_MAX);
	for (int i = 0; i < RV_OBJECTS_MAX; i++)
		cr_assert_eq(rv_acceptor_create(c, &o, &e), 0);
	cr_assert_eq(rv_acceptor_create(c, &o, &e), -1);
	cr_assert_eq(e.code, EMFILE);
	rv_close(c, o);
	client_rig_stop(c);
}

/* A daemon that reads nothing: calls are queued up to a bound, and go when it reads again. */
Test(client_events, a_daemon_that_does_not_read_stalls_nobody)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct pollfd p = {.fd = rv_fd(c), .events = POLLIN};
	unsigned int sent = 0;
	struct rv_error e;
	struct objects o;

	client_rig_make_objects(c, &o);
	while (!rv_balloon_request(c, o.balloon, sent, &e))
		cr_assert_lt(++sent, 10000000);
	cr_assert_eq(e.code, EAGAIN);
	cr_assert_eq(poll(&p, 1, 0), 0, "nothing to do until the daemon reads");
	for (unsigned int i = 0; i < sent; i++) {
		if (poll(&p, 1, 0))
			cr_assert_eq(rv_dispatch(c, &e), 0);
		peer_expect(METHOD_BALLOON_REQUEST);
		cr_assert_eq(peer_got.p.request_pages.requested_num_pages, i);
	}
	cr_assert_eq(poll(&p, 1, 0), 0, "an empty queue does not spin");
	client_rig_stop(c);
}

Test(client_events, a_daemon_that_breaks_the_protocol_is_left)
{
	static const struct frame_header bad[] = {
		{.size = 17, .txid = 1, .flags = FRAME_REPLY},
		{.size = 16, .txid = 1, .method = METHOD_HOST_INFO},
		{.size = 16, .txid = 1, .method = METHOD_HOST_INFO, .flags = FRAME_REPLY},
		{.size = 16,
			.txid = 1,
			.method = METHOD_HOST_METRICS,
			.flags = FRAME_REPLY,
			.nfds = 1},
		{.size = 16, .txid = 1, .method = 0x7777, .flags = FRAME_REPLY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rv_client *c = client_rig_start(&client_rig_events);
		uint8_t bytes[FRAME_HEADER_BYTES];

		cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
		frame_header_put(&bad[i], bytes);
		peer_send_raw(bytes, sizeof(bytes));
		client_rig_until_disconnected(c);
		cr_assert_eq(client_rig_seen.done, 1);
		cr_assert_eq(client_rig_seen.error.code, EPROTO, "case %zu: %s", i,
			client_rig_seen.error.detail);
		client_rig_stop(c);
	}
}

Test(client_events, a_reply_to_another_method_is_a_broken_protocol)
{
	struct rv_client *c = client_rig_start(&client_rig_events);

	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
	peer_reply(METHOD_HOST_LIST, 0, 1);
	client_rig_until_disconnected(c);
	cr_assert_eq(client_rig_seen.error.code, EPROTO);
	cr_assert_eq(client_rig_seen.done, 1);
	client_rig_stop(c);
}

static void destroy_in_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	struct rv_host_info *info;
	struct rv_error e;

	client_rig_done(c, user, reply);
	/* Waiting here would never end. */
	cr_assert_eq(rv_host_info(c, &info, -1, &e), -1);
	cr_assert_eq(e.code, EDEADLK);
	cr_assert_eq(rv_dispatch(c, &e), -1);
	cr_assert_eq(e.code, EDEADLK);
	rv_destroy(c);
	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, &e), -1);
}

Test(client_events, a_callback_may_destroy_its_client)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	unsigned int fds = client_rig_open_fds();

	cr_assert_eq(rv_host_info_async(c, destroy_in_done, NULL, NULL), 0);
	cr_assert_eq(rv_host_info_async(c, client_rig_done, NULL, NULL), 0);
	peer_reply(METHOD_HOST_INFO, 0, 1);
	peer_reply(METHOD_HOST_INFO, 0, 2);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), -1);
	cr_assert_eq(client_rig_seen.done, 2);
	cr_assert_eq(client_rig_seen.error.code, ECANCELED);
	cr_assert_eq(client_rig_seen.disconnects, 0);
	cr_assert_eq(client_rig_open_fds(), fds - 2);
	client_rig_stop(NULL);
}

Test(client_events, a_callback_of_a_close_may_destroy_its_client)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct objects o;

	client_rig_make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.lifecycle, destroy_in_done, NULL, NULL), 0);
	cr_assert_eq(rv_lifecycle_stop_async(c, o.lifecycle, client_rig_done, NULL, NULL), 0);
	rv_close(c, o.lifecycle);
	cr_assert_eq(client_rig_seen.done, 2);
	client_rig_stop(NULL);
}

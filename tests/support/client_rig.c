/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of a client, message by message. */
#include "support/client_rig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int peer_sock;
struct frame peer_frame;
struct codec_message peer_got;
static struct frame_reader peer_reader;

struct client_rig_seen client_rig_seen;

static void on_closed(struct rv_client *c, void *user, rv_object object, uint32_t epitaph)
{
	(void)c;
	(void)user;
	client_rig_seen.closed++;
	client_rig_seen.closed_object = object;
	client_rig_seen.epitaph = epitaph;
}

static void on_violation(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	client_rig_seen.violations++;
	client_rig_seen.error = *error;
}

static void on_accept(struct rv_client *c, void *user, const struct rv_accept *request)
{
	(void)c;
	(void)user;
	client_rig_seen.accepts++;
	client_rig_seen.accept = *request;
}

static void on_disconnected(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	client_rig_seen.disconnects++;
	client_rig_seen.error = *error;
}

void client_rig_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	(void)c;
	(void)user;
	client_rig_seen.done++;
	client_rig_seen.failed = reply->error;
	if (reply->error)
		client_rig_seen.error = *reply->error;
	client_rig_seen.host_port = reply->host_port;
	client_rig_seen.balloon = reply->balloon_size;
	client_rig_seen.mem = reply->mem_size;
	client_rig_seen.fd = rv_reply_take_fd(reply);
}

const struct rv_events client_rig_events = {on_closed, on_violation, on_accept, on_disconnected};

struct rv_client *client_rig_start(const struct rv_events *events)
{
	struct rv_client *c;
	int pair[2];

	memset(&client_rig_seen, 0, sizeof(client_rig_seen));
	client_rig_seen.fd = -1;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer_sock = pair[1];
	frame_reader_init(&peer_reader);
	c = rv_connect_fd(pair[0], events, NULL, NULL);
	cr_assert(c);
	return c;
}

void client_rig_stop(struct rv_client *c)
{
	rv_destroy(c);
	frame_finish(&peer_frame);
	frame_reader_finish(&peer_reader);
	close(peer_sock);
}

void peer_expect(enum message_method method)
{
	struct codec_fault fault;
	int got;

	frame_finish(&peer_frame);
	while ((got = frame_reader_next(&peer_reader, &peer_frame, &fault.text)) == 0) {
		union frame_control control;
		struct iovec iov;
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};
		struct pollfd p = {.fd = peer_sock, .events = POLLIN};
		int fds[FRAME_FDS_MAX];
		uint32_t room;
		uint8_t *at;
		ssize_t n;

		cr_assert_eq(poll(&p, 1, WAIT_MS), 1, "the client did not send 0x%04x", method);
		cr_assert_eq(frame_reader_space(&peer_reader, &at, &room), 0);
		iov = (struct iovec){at, room};
		n = recvmsg(peer_sock, &msg, MSG_CMSG_CLOEXEC);
		cr_assert_gt(n, 0);
		frame_reader_commit(&peer_reader, (uint32_t)n, fds, frame_control_get(&msg, fds));
	}
	cr_assert_eq(got, 1, "%s", fault.text.text);
	cr_assert_eq(codec_decode(CODEC_SERVER, &peer_frame, &peer_got, &fault), CODEC_OK, "%s",
		fault.text.text);
	cr_assert_eq(
		peer_got.message->method, method, "the client sent %s", peer_got.message->name);
}

void peer_send(const struct codec_message *m, const int *fds)
{
	static uint8_t bytes[FRAME_SIZE_MAX];
	int len = codec_encode(m, bytes, sizeof(bytes));
	struct iovec iov = {bytes, (size_t)len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union frame_control control;

	cr_assert_gt(len, 0);
	frame_control_put(&msg, &control, fds, m->nfds);
	cr_assert_eq(sendmsg(peer_sock, &msg, MSG_NOSIGNAL), len);
}

void peer_reply_init(
	struct codec_message *reply, enum message_method method, uint32_t object, uint32_t txid)
{
	struct codec_message call;

	codec_call_init(&call, method, object, txid);
	codec_reply_init(reply, &call);
}

void peer_reply(enum message_method method, uint32_t object, uint32_t txid)
{
	struct codec_message reply;
	int fd = STDIN_FILENO;

	peer_reply_init(&reply, method, object, txid);
	peer_send(&reply, &fd);
}

void peer_error(enum message_method method, uint32_t object, uint32_t txid,
	enum error_domain domain, uint32_t code, const char *text)
{
	struct codec_message call, reply;
	struct codec_fault fault;

	codec_call_init(&call, method, object, txid);
	codec_fault_set(&fault, CODEC_REFUSED, domain, code, txid, "%s", text);
	codec_error_init(&reply, &call, &fault);
	peer_send(&reply, NULL);
}

void peer_closed(uint32_t object, enum status epitaph)
{
	struct codec_message m;

	codec_closed_init(&m, object, epitaph);
	peer_send(&m, NULL);
}

/* Dispatches client_rig_until `*counter` is `value`. */
void client_rig_until(struct rv_client *c, const unsigned int *counter, unsigned int value)
{
	while (*counter != value)
		cr_assert_geq(rv_wait(c, WAIT_MS, NULL), 0);
}

void client_rig_until_disconnected(struct rv_client *c)
{
	while (!client_rig_seen.disconnects)
		cr_assert_neq(rv_wait(c, WAIT_MS, NULL), 0, "the client stayed connected");
}

unsigned int client_rig_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}
void client_rig_make_objects(struct rv_client *c, struct objects *o)
{
	cr_assert_eq(
		rv_host_open_lifecycle_async(c, "web", &o->lifecycle, client_rig_done, NULL, NULL),
		0);
	cr_assert_eq(rv_lifecycle_bind(c, o->lifecycle, &o->guest, NULL), 0);
	cr_assert_eq(rv_guest_vsock_async(c, o->guest, &o->vsock, client_rig_done, NULL, NULL), 0);
	cr_assert_eq(
		rv_vsock_listen_async(c, o->vsock, 1024, &o->acceptor, client_rig_done, NULL, NULL),
		0);
	cr_assert_eq(
		rv_guest_balloon_async(c, o->guest, &o->balloon, client_rig_done, NULL, NULL), 0);
	cr_assert_eq(rv_guest_mem_async(c, o->guest, &o->mem, client_rig_done, NULL, NULL), 0);
	peer_expect(METHOD_HOST_OPEN_LIFECYCLE);
	peer_reply(METHOD_HOST_OPEN_LIFECYCLE, 0, 1);
	peer_expect(METHOD_LIFECYCLE_BIND);
	cr_assert_eq(peer_got.p.new_id.new_id, o->guest);
	peer_expect(METHOD_GUEST_GET_VSOCK);
	peer_reply(METHOD_GUEST_GET_VSOCK, o->guest, 2);
	peer_expect(METHOD_VSOCK_LISTEN);
	cr_assert_eq(peer_got.p.listen.port, 1024);
	cr_assert_eq(peer_got.p.listen.acceptor_id, o->acceptor);
	peer_reply(METHOD_VSOCK_LISTEN, o->vsock, 3);
	peer_expect(METHOD_GUEST_GET_BALLOON);
	peer_reply(METHOD_GUEST_GET_BALLOON, o->guest, 4);
	peer_expect(METHOD_GUEST_GET_MEM);
	peer_reply(METHOD_GUEST_GET_MEM, o->guest, 5);
	client_rig_until(c, &client_rig_seen.done, 5);
	cr_assert_not(client_rig_seen.failed);
	client_rig_seen.done = 0;
}

void peer_accept(const struct objects *o, uint32_t txid)
{
	struct codec_message m;

	codec_call_init(&m, METHOD_ACCEPTOR_ACCEPT, o->acceptor, txid);
	m.p.accept = (struct accept_call){42, 5000, 1024};
	peer_send(&m, NULL);
}

void peer_send_raw(const void *bytes, size_t len)
{
	cr_assert_eq(send(peer_sock, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

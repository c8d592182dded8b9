/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock over Unix sockets: handshakes in pieces, refusals, listeners that do not accept. */
#include "virtio/vsock_uds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/passrights.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"

#define GUEST_PORT 1022u

static struct vrig rig;
static struct vrig_packet packet;
static struct vsock_uds uds;
static char folder[64], path[80];
static char text[4096];
static struct diag why;

static void setup(void)
{
	strcpy(folder, "/tmp/vsock_uds.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/v", folder);
	vrig_init(&rig, 11);
	cr_assert_eq(vsock_uds_init(&uds, &rig.vsock, path, &why), GUEST_OK, "%s", why.text);
	vsock_uds_attach(&uds);
	vrig_start(&rig, 16, 4096);
}

static bool is_stopped;

static void stopped(struct vsock_uds *u)
{
	(void)u;
	is_stopped = true;
}

static void teardown(void)
{
	is_stopped = false;
	virtio_device_reset(&rig.vsock.dev);
	vrig_run(&rig);
	vsock_uds_stop(&uds, stopped);
	vrig_run(&rig);
	cr_assert(is_stopped);
	vrig_finish(&rig);
	vsock_uds_finish(&uds);
	cr_assert_lt(access(path, F_OK), 0, "the name is gone");
	cr_assert_eq(rmdir(folder), 0);
}

TestSuite(vsock_uds, .init = setup, .fini = teardown, .timeout = 60);

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	strcpy(at.sun_path, name);
	return at;
}

static int dial(void)
{
	struct sockaddr_un at = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int listen_at(const char *name, int backlog)
{
	struct sockaddr_un at = address(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

static void say(int fd, const char *what)
{
	cr_assert_eq(send(fd, what, strlen(what), MSG_NOSIGNAL), (ssize_t)strlen(what));
}

/* The guest accepts what the peer asked for. */
static struct vrig_conn guest_accepts(void)
{
	struct vrig_conn c = {0, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};

	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	cr_assert_eq(packet.h.dst_port, GUEST_PORT);
	c.host_port = packet.h.src_port;
	vrig_op(&rig, &c, VSOCK_OP_RESPONSE, 0);
	return c;
}

static void expect_ok(int fd, const struct vrig_conn *c)
{
	char want[32];
	int n = vrig_read(&rig, fd, text, sizeof(text));

	snprintf(want, sizeof(want), "OK %u\n", c->host_port);
	cr_assert_eq(n, (int)strlen(want));
	cr_assert_eq(memcmp(text, want, strlen(want)), 0);
}

Test(vsock_uds, connect_gives_ok_and_the_stream)
{
	int fd = dial();
	struct vrig_conn c;

	say(fd, "CONNECT 1022\n");
	c = guest_accepts();
	vrig_data(&rig, &c, "from the guest", 14);
	cr_assert_gt(vrig_read(&rig, fd, text, 9), 0, "OK comes first");
	cr_assert_eq(memcmp(text, "OK 49152\n", 9), 0);
	cr_assert_eq(vrig_read(&rig, fd, text, sizeof(text)), 14);
	say(fd, "to the guest");
	vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	cr_assert_eq(memcmp(packet.data, "to the guest", 12), 0);
	close(fd);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
}

Test(vsock_uds, handshake_in_pieces_with_data_behind)
{
	static const char line[] = "CONNECT 1022\nbehind";

	for (size_t cut = 1; cut < sizeof(line) - 1; cut++) {
		int fd = dial();
		struct vrig_conn c;

		cr_assert_eq(send(fd, line, cut, 0), (ssize_t)cut);
		vrig_run(&rig);
		say(fd, line + cut);
		c = guest_accepts();
		expect_ok(fd, &c);
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
		cr_assert_eq(packet.h.len, 6u);
		cr_assert_eq(memcmp(packet.data, "behind", 6), 0);
		close(fd);
		vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
		vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	}
}

Test(vsock_uds, wrong_lines_are_closed)
{
	static const char *const lines[] = {"\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n",
		"CONNECT 12x\n", "CONNECT  1\n", "CONNECT -1\n", "CONNECT 4294967296\n",
		"connect 1\n", "CONNECT 1\r\n", "GET / HTTP/1.1 and so on, for ever"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = dial(), n;

		say(fd, lines[i]);
		n = vrig_read(&rig, fd, text, sizeof(text));
		cr_assert(n == 0 || n == -ECONNRESET, "%s", lines[i]);
		close(fd);
	}
	cr_assert_eq(uds.handshake_count, 0u);
	vrig_expect_none(&rig);
}

Test(vsock_uds, refusal_closes_the_socket)
{
	int fd = dial();
	struct vrig_conn c = {0, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};

	say(fd, "CONNECT 1022\n");
	vrig_expect(&rig, NULL, VSOCK_OP_REQUEST, &packet);
	c.host_port = packet.h.src_port;
	vrig_op(&rig, &c, VSOCK_OP_RST, 0);
	cr_assert_eq(vrig_read(&rig, fd, text, sizeof(text)), 0);
	close(fd);
}

Test(vsock_uds, a_peer_that_says_nothing_is_closed_after_5_s)
{
	int fd = dial();

	vrig_run(&rig);
	fake_io_advance_ns(rig.reactor, UDS_LINE_NS - 1);
	cr_assert_eq(uds.handshake_count, 1u);
	fake_io_advance_ns(rig.reactor, 1);
	cr_assert_eq(vrig_read(&rig, fd, text, sizeof(text)), 0);
	close(fd);
}

/* Nor before we have accepted them. */
Test(vsock_uds, peers_cannot_send_descriptors)
{
	int fd = dial(), on = 1;
	socklen_t len = sizeof(on);

	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len))
		cr_skip_test("this kernel has no SO_PASSRIGHTS");
	cr_assert_eq(getsockopt(uds.listener.fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len), 0);
	cr_assert_eq(on, 0);
	close(fd);
}

Test(vsock_uds, too_many_silent_peers_are_closed)
{
	int fds[UDS_HANDSHAKES_MAX + 10];
	unsigned int closed = 0;

	for (unsigned int i = 0; i < UDS_HANDSHAKES_MAX + 10; i++) {
		fds[i] = dial();
		vrig_run(&rig);
	}
	cr_assert_eq(uds.handshake_count, UDS_HANDSHAKES_MAX);
	for (unsigned int i = 0; i < UDS_HANDSHAKES_MAX + 10; i++) {
		closed += recv(fds[i], text, 1, MSG_DONTWAIT) == 0;
		close(fds[i]);
	}
	cr_assert_eq(closed, 10u);
}

static void guest_reaches_path_and_port(void)
{
	struct vrig_conn c = {5000, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};
	char name[100];
	int listener;

	snprintf(name, sizeof(name), "%s_5000", path);
	listener = listen_at(name, 4);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	c.fd = accept(listener, NULL, NULL);
	cr_assert_geq(c.fd, 0);
	vrig_data(&rig, &c, "hello", 5);
	cr_assert_eq(vrig_read(&rig, c.fd, text, sizeof(text)), 5);
	close(c.fd);
	close(listener);
	unlink(name);
	vrig_expect(&rig, &c, VSOCK_OP_SHUTDOWN, &packet);
}

static void guest_is_refused_where_nobody_listens(void)
{
	struct vrig_conn c = {5001, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};

	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
}

static void a_full_backlog_is_tried_again_and_stalls_nobody(void)
{
	struct vrig_conn c = {5002, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0}, other;
	char name[100];
	int listener, fds[2];

	snprintf(name, sizeof(name), "%s_5002", path);
	listener = listen_at(name, 0);
	/* The first request takes the one place. */
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	c.guest_port++;
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(&rig);
	vrig_listen(&rig, 80);
	other = vrig_guest_connects(&rig, 80, GUEST_PORT);
	close(other.fd);
	fds[0] = accept(listener, NULL, NULL);
	fake_io_advance_ns(rig.reactor, 2 * UDS_RETRY_NS);
	do
		cr_assert(vrig_take(&rig, &packet));
	while (packet.h.op != VSOCK_OP_RESPONSE);
	cr_assert_eq(packet.h.dst_port, c.guest_port);
	fds[1] = accept(listener, NULL, NULL);
	close(fds[0]);
	close(fds[1]);
	close(listener);
	unlink(name);
}

/* A guest's SOCK_SEQPACKET finds a listener of that type only. */
static void types_must_match(void)
{
	struct vrig_conn c = {5003, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, VSOCK_TYPE_SEQPACKET, 0};
	struct sockaddr_un at;
	char name[100];
	int streams, messages;

	virtio_device_reset(&rig.vsock.dev);
	vrig_run(&rig);
	rig.features = VSOCK_F_SEQPACKET;
	vrig_start(&rig, 16, 4096);
	snprintf(name, sizeof(name), "%s_5003", path);
	streams = listen_at(name, 4);
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RST, &packet);
	close(streams);
	unlink(name);
	at = address(name);
	messages = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	cr_assert_eq(bind(messages, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(messages, 4), 0);
	c.guest_port++; /* the other one rests */
	vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&rig, &c, VSOCK_OP_RESPONSE, &packet);
	c.fd = accept(messages, NULL, NULL);
	vrig_piece(&rig, &c, "hello", 5, VSOCK_SEQ_EOM);
	cr_assert_eq(vrig_read(&rig, c.fd, text, sizeof(text)), 5);
	close(c.fd);
	close(messages);
	unlink(name);
}

static void stops_with_everything_under_way(void)
{
	int silent = dial(), asking = dial();
	struct vrig_conn c = {5002, GUEST_PORT, VRIG_BUF_ALLOC, 0, -1, 0, 0};
	char name[100];
	int listener;

	snprintf(name, sizeof(name), "%s_5002", path);
	listener = listen_at(name, 0);
	for (unsigned int i = 0; i < 3; i++, c.guest_port++)
		vrig_op(&rig, &c, VSOCK_OP_REQUEST, 0);
	say(asking, "CONNECT 9\n");
	vrig_run(&rig);
	cr_assert_gt(uds.dial_count, 0u);
	cr_assert_eq(uds.handshake_count, 2u);
	unlink(name);
	close(listener);
	close(silent);
	close(asking);
}

/* Each where looking a name up is the reactor's own work, and where a helper thread does it. */
#define BOTH(name)                                                                                 \
	Test(vsock_uds, name)                                                                      \
	{                                                                                          \
		uds.near = true;                                                                   \
		name();                                                                            \
	}                                                                                          \
	Test(vsock_uds, name##_on_a_helper)                                                        \
	{                                                                                          \
		uds.near = false;                                                                  \
		name();                                                                            \
	}

BOTH(guest_reaches_path_and_port)
BOTH(guest_is_refused_where_nobody_listens)
BOTH(a_full_backlog_is_tried_again_and_stalls_nobody)
BOTH(stops_with_everything_under_way)
BOTH(types_must_match)

Test(vsock_uds, names_that_are_taken)
{
	struct vsock_uds second;
	struct sockaddr_un at;
	struct stat st;
	char name[100];
	int fd;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600u);
	cr_assert_eq(
		vsock_uds_init(&second, &rig.vsock, path, &why), GUEST_DUPLICATE_PUBLIC_SERVICES);
	cr_assert_not_null(strstr(why.text, path));
	cr_assert_eq(access(path, F_OK), 0, "the first one's is still there");
	/* Left behind by a daemon that died. */
	snprintf(name, sizeof(name), "%s_stale", path);
	at = address(name);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	cr_assert_eq(vsock_uds_init(&second, &rig.vsock, name, &why), GUEST_OK, "%s", why.text);
	vsock_uds_finish(&second);
	cr_assert_lt(access(name, F_OK), 0);
	snprintf(name, sizeof(name), "%s/none/v", folder);
	cr_assert_eq(vsock_uds_init(&second, &rig.vsock, name, &why), GUEST_FAILED_SERVICE_CONNECT);
	/* No socket: not ours to remove. */
	cr_assert_eq(
		vsock_uds_init(&second, &rig.vsock, folder, &why), GUEST_FAILED_SERVICE_CONNECT);
	cr_assert_eq(access(folder, F_OK), 0);
}

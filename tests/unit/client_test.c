/* SPDX-License-Identifier: Apache-2.0 */
/* The client library against the other end of a socket pair, played by the test itself. Replies can
 * be sent before a waiting call is made: txids count from 1. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <ringvisor/client.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/codec.h"
#include "rpc/config_table.h"
#include "rpc/info_table.h"

#define WAIT_MS 10000

/* The daemon's side. */
static int peer;
static struct frame_reader peer_reader;
static struct frame peer_frame;
static struct codec_message peer_got;

/* What the callbacks saw. */
static struct {
	unsigned int done, closed, violations, accepts, disconnects;
	struct rv_error error;
	bool failed;
	rv_object closed_object;
	uint32_t epitaph, host_port;
	int fd;
	struct rv_accept accept;
	struct rv_balloon_size balloon;
	struct rv_mem_size mem;
} seen;

static void on_closed(struct rv_client *c, void *user, rv_object object, uint32_t epitaph)
{
	(void)c;
	(void)user;
	seen.closed++;
	seen.closed_object = object;
	seen.epitaph = epitaph;
}

static void on_violation(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	seen.violations++;
	seen.error = *error;
}

static void on_accept(struct rv_client *c, void *user, const struct rv_accept *request)
{
	(void)c;
	(void)user;
	seen.accepts++;
	seen.accept = *request;
}

static void on_disconnected(struct rv_client *c, void *user, const struct rv_error *error)
{
	(void)c;
	(void)user;
	seen.disconnects++;
	seen.error = *error;
}

static void on_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	(void)c;
	(void)user;
	seen.done++;
	seen.failed = reply->error;
	if (reply->error)
		seen.error = *reply->error;
	seen.host_port = reply->host_port;
	seen.balloon = reply->balloon_size;
	seen.mem = reply->mem_size;
	seen.fd = rv_reply_take_fd(reply);
}

static const struct rv_events all_events = {on_closed, on_violation, on_accept, on_disconnected};

static struct rv_client *start(const struct rv_events *events)
{
	struct rv_client *c;
	int pair[2];

	memset(&seen, 0, sizeof(seen));
	seen.fd = -1;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer = pair[1];
	frame_reader_init(&peer_reader);
	c = rv_connect_fd(pair[0], events, NULL, NULL);
	cr_assert(c);
	return c;
}

static void stop(struct rv_client *c)
{
	rv_destroy(c);
	frame_finish(&peer_frame);
	frame_reader_finish(&peer_reader);
	close(peer);
}

/* Waits for the next message of the client; it is in peer_got and peer_frame. */
static void peer_expect(enum message_method method)
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
		struct pollfd p = {.fd = peer, .events = POLLIN};
		int fds[FRAME_FDS_MAX];
		uint32_t room;
		uint8_t *at;
		ssize_t n;

		cr_assert_eq(poll(&p, 1, WAIT_MS), 1, "the client did not send 0x%04x", method);
		cr_assert_eq(frame_reader_space(&peer_reader, &at, &room), 0);
		iov = (struct iovec){at, room};
		n = recvmsg(peer, &msg, MSG_CMSG_CLOEXEC);
		cr_assert_gt(n, 0);
		frame_reader_commit(&peer_reader, (uint32_t)n, fds, frame_control_get(&msg, fds));
	}
	cr_assert_eq(got, 1, "%s", fault.text.text);
	cr_assert_eq(codec_decode(CODEC_SERVER, &peer_frame, &peer_got, &fault), CODEC_OK, "%s",
		fault.text.text);
	cr_assert_eq(
		peer_got.message->method, method, "the client sent %s", peer_got.message->name);
}

static void peer_send(const struct codec_message *m, const int *fds)
{
	static uint8_t bytes[FRAME_SIZE_MAX];
	int len = codec_encode(m, bytes, sizeof(bytes));
	struct iovec iov = {bytes, (size_t)len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union frame_control control;

	cr_assert_gt(len, 0);
	frame_control_put(&msg, &control, fds, m->nfds);
	cr_assert_eq(sendmsg(peer, &msg, MSG_NOSIGNAL), len);
}

/* The reply to a call that may not have been made yet. */
static void reply_init(
	struct codec_message *reply, enum message_method method, uint32_t object, uint32_t txid)
{
	struct codec_message call;

	codec_call_init(&call, method, object, txid);
	codec_reply_init(reply, &call);
}

static void peer_reply(enum message_method method, uint32_t object, uint32_t txid)
{
	struct codec_message reply;
	int fd = STDIN_FILENO;

	reply_init(&reply, method, object, txid);
	peer_send(&reply, &fd);
}

static void peer_error(enum message_method method, uint32_t object, uint32_t txid,
	enum error_domain domain, uint32_t code, const char *text)
{
	struct codec_message call, reply;
	struct codec_fault fault;

	codec_call_init(&call, method, object, txid);
	codec_fault_set(&fault, CODEC_REFUSED, domain, code, txid, "%s", text);
	codec_error_init(&reply, &call, &fault);
	peer_send(&reply, NULL);
}

static void peer_closed(uint32_t object, enum status epitaph)
{
	struct codec_message m;

	codec_closed_init(&m, object, epitaph);
	peer_send(&m, NULL);
}

/* Dispatches until `*counter` is `value`. */
static void until(struct rv_client *c, const unsigned int *counter, unsigned int value)
{
	while (*counter != value)
		cr_assert_geq(rv_wait(c, WAIT_MS, NULL), 0);
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

Test(client, host_info_is_returned)
{
	struct rv_client *c = start(NULL);
	struct rv_host_info *info;
	struct codec_message m;

	reply_init(&m, METHOD_HOST_INFO, 0, 1);
	m.p.info = (struct info_reply){1, 2, 3, wire_string_of("0.1.0"), wire_string_of("VMX")};
	peer_send(&m, NULL);
	cr_assert_eq(rv_host_info(c, &info, WAIT_MS, NULL), 0);
	cr_assert_eq(info->wire_version, 1);
	cr_assert_eq(info->cores, 2);
	cr_assert_eq(info->guests, 3);
	cr_assert_str_eq(info->build, "0.1.0");
	cr_assert_str_eq(info->kvm, "VMX");
	rv_free(info);
	stop(c);
}

Test(client, list_is_returned_whole)
{
	struct rv_client *c = start(NULL);
	struct list_entry entries[400];
	struct rv_guest_list *list;
	struct codec_message m;

	for (uint32_t i = 0; i < 400; i++)
		entries[i] = (struct list_entry){
			wire_string_of(i % 2 ? "web" : "database-number-2"), 3, i, i * 4096ull, i};
	reply_init(&m, METHOD_HOST_LIST, 0, 1);
	m.p.list.guests = (struct wire_vector){.count = 400, .items = entries};
	peer_send(&m, NULL);
	cr_assert_eq(rv_host_list(c, &list, WAIT_MS, NULL), 0);
	cr_assert_eq(list->count, 400);
	for (uint32_t i = 0; i < 400; i++) {
		cr_assert_str_eq(list->guests[i].name, i % 2 ? "web" : "database-number-2");
		cr_assert_eq(list->guests[i].cpus, i);
		cr_assert_eq(list->guests[i].memory_bytes, i * 4096ull);
	}
	rv_free(list);
	stop(c);
}

Test(client, guest_info_is_returned)
{
	struct wire_string devices[] = {wire_string_of("console"), wire_string_of("")};
	struct guest_info from = {.given = TABLE_BIT(INFO_GUEST_STATUS) | TABLE_BIT(INFO_DEVICES),
		.guest_status = GUEST_STATUS_RUNNING,
		.devices = {.count = 2, .items = devices}};
	struct rv_client *c = start(NULL);
	uint8_t table[512];
	struct wire_writer w = {.buf = table, .room = sizeof(table)};
	struct rv_guest_info *info;
	struct codec_message m;

	reply_init(&m, METHOD_HOST_GET_INFO, 0, 1);
	cr_assert_eq(info_table_encode(&from, &w, &m.p.get_info.info), 0);
	peer_send(&m, NULL);
	cr_assert_eq(rv_host_guest_info(c, "web", &info, WAIT_MS, NULL), 0);
	cr_assert_eq(info->has, RV_HAS_STATUS | RV_HAS_DEVICES);
	cr_assert_eq(info->status, RV_GUEST_RUNNING);
	cr_assert_str_eq(rv_guest_status_name(info->status), "RUNNING");
	cr_assert_eq(info->device_count, 2);
	cr_assert_str_eq(info->devices[0], "console");
	cr_assert_str_eq(info->devices[1], "");
	cr_assert_eq(info->problem_count, 0);
	rv_free(info);
	peer_expect(METHOD_HOST_GET_INFO);
	cr_assert(wire_string_is(peer_got.p.name.name, "web"));
	stop(c);
}

Test(client, metrics_give_the_daemons_file)
{
	struct rv_client *c = start(NULL);
	int memfd = memfd_create("metrics", MFD_CLOEXEC), fd = -1;
	struct codec_message m;
	char text[8] = "";

	cr_assert_eq(pwrite(memfd, "# EOF\n", 6, 0), 6);
	reply_init(&m, METHOD_HOST_METRICS, 0, 1);
	peer_send(&m, &memfd);
	close(memfd);
	cr_assert_eq(rv_host_metrics(c, &fd, WAIT_MS, NULL), 0);
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 6);
	cr_assert_str_eq(text, "# EOF\n");
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	stop(c);
}

Test(client, error_replies_keep_domain_code_and_detail)
{
	struct rv_client *c = start(&all_events);
	struct rv_error e;
	rv_object guest;

	peer_error(METHOD_HOST_CONNECT, 0, 1, DOMAIN_MANAGER, MANAGER_NOT_RUNNING, "web: stopped");
	cr_assert_eq(rv_host_connect(c, "web", &guest, WAIT_MS, &e), -1);
	cr_assert_eq(e.domain, RV_DOMAIN_MANAGER);
	cr_assert_eq(e.code, RV_MANAGER_NOT_RUNNING);
	cr_assert_str_eq(e.detail, "web: stopped");
	cr_assert_str_eq(rv_error_name(&e), "NOT_RUNNING");
	/* The object of a refused creation is not there, and its Closed is not news. */
	peer_closed(guest, STATUS_INTERNAL);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), 1);
	cr_assert_eq(seen.closed, 0);
	cr_assert_eq(rv_guest_serial_async(c, guest, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	stop(c);
}

Test(client, a_late_reply_is_thrown_away_and_its_object_closed)
{
	struct rv_client *c = start(NULL);
	unsigned int fds = open_fds();
	rv_object lifecycle, guest;
	struct rv_error e;
	int fd;

	cr_assert_eq(rv_host_open_lifecycle(c, "web", &lifecycle, 1, &e), -1);
	cr_assert_eq(e.domain, RV_DOMAIN_SYSTEM);
	cr_assert_eq(e.code, ETIMEDOUT);
	cr_assert_str_eq(rv_error_name(&e), "ETIMEDOUT");
	peer_expect(METHOD_HOST_OPEN_LIFECYCLE);
	peer_expect(METHOD_CLOSE);
	cr_assert_eq(peer_got.object, lifecycle);
	peer_reply(METHOD_HOST_OPEN_LIFECYCLE, 0, 1);

	peer_reply(METHOD_HOST_CONNECT, 0, 2);
	cr_assert_eq(rv_host_connect(c, "web", &guest, WAIT_MS, &e), 0);
	cr_assert_eq(rv_guest_serial(c, guest, &fd, 0, &e), -1);
	cr_assert_eq(e.code, ETIMEDOUT);
	peer_reply(METHOD_GUEST_GET_SERIAL, guest, 3);
	cr_assert_eq(rv_wait(c, WAIT_MS, &e), 1);
	cr_assert_eq(open_fds(), fds, "the late descriptor was kept");
	stop(c);
}

/* One object of each kind, made without waiting for any reply. */
struct objects {
	rv_object lifecycle, guest, vsock, acceptor, balloon, mem;
};

static void make_objects(struct rv_client *c, struct objects *o)
{
	cr_assert_eq(rv_host_open_lifecycle_async(c, "web", &o->lifecycle, on_done, NULL, NULL), 0);
	cr_assert_eq(rv_lifecycle_bind(c, o->lifecycle, &o->guest, NULL), 0);
	cr_assert_eq(rv_guest_vsock_async(c, o->guest, &o->vsock, on_done, NULL, NULL), 0);
	cr_assert_eq(
		rv_vsock_listen_async(c, o->vsock, 1024, &o->acceptor, on_done, NULL, NULL), 0);
	cr_assert_eq(rv_guest_balloon_async(c, o->guest, &o->balloon, on_done, NULL, NULL), 0);
	cr_assert_eq(rv_guest_mem_async(c, o->guest, &o->mem, on_done, NULL, NULL), 0);
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
	until(c, &seen.done, 5);
	cr_assert_not(seen.failed);
	seen.done = 0;
}

Test(client, objects_are_used_before_their_creation_is_answered)
{
	struct rv_client *c = start(&all_events);
	struct objects o;

	make_objects(c, &o);
	stop(c);
}

/* Each remaining call: sent as what it is, answered, and its result handed over. */
Test(client, every_call_reaches_the_daemon)
{
	struct rv_client *c = start(&all_events);
	struct rv_config *config = rv_config_create();
	struct objects o;
	struct codec_message m;
	uint32_t txid = 5;
	rv_object guest;

	make_objects(c, &o);
#define CALL(call, method_, object_)                                                               \
	do {                                                                                       \
		seen.done = 0;                                                                     \
		cr_assert_eq(call, 0);                                                             \
		peer_expect(method_);                                                              \
		cr_assert_eq(peer_got.object, object_);                                            \
		peer_reply(method_, object_, ++txid);                                              \
		until(c, &seen.done, 1);                                                           \
		cr_assert_not(seen.failed, "%s", seen.error.detail);                               \
		if (seen.fd >= 0)                                                                  \
			close(seen.fd);                                                            \
	} while (0)
	CALL(rv_host_info_async(c, on_done, NULL, NULL), METHOD_HOST_INFO, 0);
	CALL(rv_host_list_async(c, on_done, NULL, NULL), METHOD_HOST_LIST, 0);
	CALL(rv_host_launch_async(c, "db", config, &guest, on_done, NULL, NULL), METHOD_HOST_LAUNCH,
		0);
	cr_assert_eq(peer_got.p.launch.new_id, guest);
	CALL(rv_host_force_shutdown_async(c, "db", on_done, NULL, NULL), METHOD_HOST_FORCE_SHUTDOWN,
		0);
	CALL(rv_host_connect_async(c, "db", &guest, on_done, NULL, NULL), METHOD_HOST_CONNECT, 0);
	CALL(rv_host_guest_info_async(c, "db", on_done, NULL, NULL), METHOD_HOST_GET_INFO, 0);
	CALL(rv_host_metrics_async(c, on_done, NULL, NULL), METHOD_HOST_METRICS, 0);
	cr_assert_geq(seen.fd, 0);
	CALL(rv_lifecycle_create_async(c, o.lifecycle, config, on_done, NULL, NULL),
		METHOD_LIFECYCLE_CREATE, o.lifecycle);
	CALL(rv_lifecycle_run_async(c, o.lifecycle, on_done, NULL, NULL), METHOD_LIFECYCLE_RUN,
		o.lifecycle);
	CALL(rv_lifecycle_stop_async(c, o.lifecycle, on_done, NULL, NULL), METHOD_LIFECYCLE_STOP,
		o.lifecycle);
	CALL(rv_guest_console_async(c, o.guest, on_done, NULL, NULL), METHOD_GUEST_GET_CONSOLE,
		o.guest);
	cr_assert_geq(seen.fd, 0);
	CALL(rv_guest_serial_async(c, o.guest, on_done, NULL, NULL), METHOD_GUEST_GET_SERIAL,
		o.guest);
	CALL(rv_vsock_connect_async(c, o.vsock, 99, on_done, NULL, NULL), METHOD_VSOCK_CONNECT,
		o.vsock);
	cr_assert_eq(peer_got.p.vsock_connect.guest_port, 99);
	CALL(rv_balloon_get_size_async(c, o.balloon, on_done, NULL, NULL), METHOD_BALLOON_GET_SIZE,
		o.balloon);
	CALL(rv_balloon_get_stats_async(c, o.balloon, on_done, NULL, NULL),
		METHOD_BALLOON_GET_STATS, o.balloon);
	CALL(rv_mem_get_size_async(c, o.mem, on_done, NULL, NULL), METHOD_MEM_GET_SIZE, o.mem);

	cr_assert_eq(rv_balloon_request(c, o.balloon, 512, NULL), 0);
	peer_expect(METHOD_BALLOON_REQUEST);
	cr_assert_eq(peer_got.p.request_pages.requested_num_pages, 512);
	cr_assert_eq(rv_mem_request(c, o.mem, 1ull << 33, NULL), 0);
	peer_expect(METHOD_MEM_REQUEST);
	cr_assert_eq(peer_got.p.request_size.requested_size, 1ull << 33);
	rv_close(c, o.mem);
	peer_expect(METHOD_CLOSE);
	cr_assert_eq(peer_got.object, o.mem);

	/* Values of the replies that have some. */
	cr_assert_eq(rv_mem_get_size_async(c, o.mem, on_done, NULL, NULL), -1);
	reply_init(&m, METHOD_BALLOON_GET_SIZE, o.balloon, ++txid);
	m.p.balloon_size = (struct balloon_size_reply){256, 512};
	peer_send(&m, NULL);
	cr_assert_eq(rv_balloon_get_size(c, o.balloon, &seen.balloon, WAIT_MS, NULL), 0);
	cr_assert_eq(seen.balloon.current_pages, 256);
	cr_assert_eq(seen.balloon.requested_pages, 512);
	rv_config_destroy(config);
	stop(c);
}

Test(client, calls_on_objects_of_another_kind_are_refused_here)
{
	struct rv_client *c = start(&all_events);
	struct rv_error e;
	struct objects o;

	make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.guest, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	cr_assert_eq(rv_guest_serial_async(c, 0, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	cr_assert_eq(rv_guest_serial_async(c, 999, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	stop(c);
}

Test(client, statistics_and_ports_are_returned)
{
	struct balloon_stat stats[] = {{4, 4096}, {5, 1ull << 40}};
	struct rv_client *c = start(&all_events);
	struct rv_balloon_stats *got;
	struct rv_mem_size mem;
	struct codec_message m;
	struct objects o;
	uint32_t port;
	int fd = STDIN_FILENO;

	make_objects(c, &o);
	reply_init(&m, METHOD_BALLOON_GET_STATS, o.balloon, 6);
	m.p.balloon_stats.stats = (struct wire_vector){.count = 2, .items = stats};
	peer_send(&m, NULL);
	cr_assert_eq(rv_balloon_get_stats(c, o.balloon, &got, WAIT_MS, NULL), 0);
	cr_assert_eq(got->status, RV_STATUS_OK);
	cr_assert_eq(got->count, 2);
	cr_assert_eq(got->stats[1].tag, 5);
	cr_assert_eq(got->stats[1].value, 1ull << 40);
	rv_free(got);

	reply_init(&m, METHOD_VSOCK_CONNECT, o.vsock, 7);
	m.p.vsock_connected.host_port = 49152;
	peer_send(&m, &fd);
	cr_assert_eq(rv_vsock_connect(c, o.vsock, 1, &fd, &port, WAIT_MS, NULL), 0);
	cr_assert_eq(port, 49152);
	close(fd);

	reply_init(&m, METHOD_MEM_GET_SIZE, o.mem, 8);
	m.p.mem_size = (struct mem_size_reply){1, 2, 3, 4, 5};
	peer_send(&m, NULL);
	cr_assert_eq(rv_mem_get_size(c, o.mem, &mem, WAIT_MS, NULL), 0);
	cr_assert_eq(mem.block_size, 1);
	cr_assert_eq(mem.region_size, 2);
	cr_assert_eq(mem.usable_region_size, 3);
	cr_assert_eq(mem.plugged_size, 4);
	cr_assert_eq(mem.requested_size, 5);
	stop(c);
}

Test(client, a_closed_object_is_told_and_its_calls_fail)
{
	struct rv_client *c = start(&all_events);
	struct rv_error e;
	struct objects o;

	make_objects(c, &o);
	cr_assert_eq(rv_guest_serial_async(c, o.guest, on_done, NULL, NULL), 0);
	peer_closed(o.guest, STATUS_INTERNAL);
	until(c, &seen.done, 1);
	cr_assert_eq(seen.closed, 1);
	cr_assert_eq(seen.closed_object, o.guest);
	cr_assert_eq(seen.epitaph, RV_STATUS_INTERNAL);
	cr_assert_eq(seen.error.domain, RV_DOMAIN_STATUS);
	cr_assert_eq(seen.error.code, RV_STATUS_PEER_CLOSED);
	/* A reply that comes all the same is ignored. */
	peer_reply(METHOD_GUEST_GET_SERIAL, o.guest, 6);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), 1);
	cr_assert_eq(seen.done, 1);
	cr_assert_eq(rv_guest_serial_async(c, o.guest, on_done, NULL, &e), -1);
	stop(c);
}

Test(client, closing_an_object_ends_its_calls)
{
	struct rv_client *c = start(&all_events);
	struct objects o;

	make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.lifecycle, on_done, NULL, NULL), 0);
	rv_close(c, o.lifecycle);
	cr_assert_eq(seen.done, 1);
	cr_assert_eq(seen.error.code, ECANCELED);
	rv_close(c, o.lifecycle);
	peer_expect(METHOD_LIFECYCLE_RUN);
	peer_expect(METHOD_CLOSE);
	cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
	peer_expect(METHOD_HOST_INFO);
	stop(c);
	cr_assert_eq(seen.done, 2);
}

Test(client, a_violation_is_told_and_becomes_the_reason_of_the_end)
{
	struct rv_client *c = start(&all_events);
	struct codec_message m;
	struct codec_fault fault;
	struct rv_error e;

	cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
	codec_fault_set(&fault, CODEC_VIOLATION, DOMAIN_STATUS, STATUS_INVALID_ARGS, 1,
		"size 17 is not a multiple of 8");
	codec_violation_init(&m, &fault);
	peer_send(&m, NULL);
	close(peer);
	while (!seen.disconnects)
		rv_wait(c, WAIT_MS, NULL);
	cr_assert_eq(seen.violations, 1);
	cr_assert_eq(seen.done, 1);
	cr_assert(seen.failed);
	cr_assert_eq(seen.error.domain, RV_DOMAIN_STATUS);
	cr_assert_eq(seen.error.code, RV_STATUS_INVALID_ARGS);
	cr_assert(strstr(seen.error.detail, "size 17"));
	cr_assert_eq(rv_host_info_async(c, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, ENOTCONN);
	cr_assert_eq(rv_dispatch(c, &e), -1);
	cr_assert(strstr(e.detail, "size 17"));
	peer = -1;
	stop(c);
	cr_assert_eq(seen.disconnects, 1);
}

Test(client, the_daemons_death_fails_every_call)
{
	struct rv_client *c = start(&all_events);
	struct rv_host_info *info;
	struct rv_error e;

	for (int i = 0; i < 5; i++)
		cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
	shutdown(peer, SHUT_RDWR);
	cr_assert_eq(rv_host_info(c, &info, WAIT_MS, &e), -1);
	cr_assert(e.code == ECONNRESET || e.code == EPIPE);
	rv_dispatch(c, NULL);
	cr_assert_eq(seen.done, 5);
	cr_assert_eq(seen.disconnects, 1);
	stop(c);
}

static void peer_accept(const struct objects *o, uint32_t txid)
{
	struct codec_message m;

	codec_call_init(&m, METHOD_ACCEPTOR_ACCEPT, o->acceptor, txid);
	m.p.accept = (struct accept_call){42, 5000, 1024};
	peer_send(&m, NULL);
}

Test(client, accept_requests_are_answered_or_refused)
{
	struct rv_client *c = start(&all_events);
	struct objects o;
	int pair[2];

	make_objects(c, &o);
	peer_accept(&o, CODEC_TXID_SERVER | 7);
	until(c, &seen.accepts, 1);
	cr_assert_eq(seen.accept.acceptor, o.acceptor);
	cr_assert_eq(seen.accept.src_cid, 42);
	cr_assert_eq(seen.accept.src_port, 5000);
	cr_assert_eq(seen.accept.port, 1024);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(rv_accept_answer(c, seen.accept.id, pair[1], NULL), 0);
	cr_assert_eq(fcntl(pair[1], F_GETFD), -1, "the library owns what it was given");
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_REPLY);
	cr_assert_eq(peer_got.txid, CODEC_TXID_SERVER | 7);
	cr_assert_eq(write(peer_frame.fds[0], "x", 1), 1);
	cr_assert_eq(read(pair[0], &(char){0}, 1), 1);
	close(pair[0]);
	/* Once only. */
	cr_assert_eq(rv_accept_answer(c, seen.accept.id, dup(STDIN_FILENO), NULL), -1);

	peer_accept(&o, CODEC_TXID_SERVER | 8);
	until(c, &seen.accepts, 2);
	cr_assert_eq(rv_accept_refuse(c, seen.accept.id, RV_STATUS_ACCESS_DENIED, "no", NULL), 0);
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_ERROR);
	cr_assert_eq(peer_got.p.error.code, STATUS_ACCESS_DENIED);
	stop(c);
}

Test(client, accept_requests_nobody_listens_for_are_refused)
{
	struct rv_client *c = start(NULL);
	struct objects o = {.acceptor = 77};

	peer_accept(&o, CODEC_TXID_SERVER | 1);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), 1);
	peer_expect(METHOD_ACCEPTOR_ACCEPT);
	cr_assert_eq(peer_got.form, CODEC_ERROR);
	cr_assert_eq(peer_got.p.error.code, STATUS_CONNECTION_REFUSED);
	stop(c);
}

Test(client, a_config_arrives_with_its_descriptors)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	struct rv_client *c = start(&all_events);
	struct rv_config *config = rv_config_create();
	unsigned int fds = open_fds();
	struct guest_config got;
	struct codec_fault fault;
	struct objects o;

	make_objects(c, &o);
	rv_config_set_kernel_type(config, RV_KERNEL_LINUX);
	rv_config_set_cpus(config, 2);
	rv_config_set_memory(config, 64 << 20);
	cr_assert_eq(rv_config_set_kernel(config, RV_PATH("/boot/vmlinuz"), NULL), 0);
	cr_assert_eq(rv_config_set_ramdisk(config, RV_FD(dup(STDIN_FILENO)), NULL), 0);
	cr_assert_eq(rv_config_set_cmdline(config, "console=hvc0", NULL), 0);
	cr_assert_eq(rv_config_add_cmdline(config, "quiet", NULL), 0);
	cr_assert_eq(rv_config_add_cmdline(config, "panic=-1", NULL), 0);
	cr_assert_eq(rv_config_add_block(config, "root", RV_BLOCK_READ_ONLY, RV_BLOCK_FILE,
			     RV_FD(dup(STDIN_FILENO)), NULL),
		0);
	cr_assert_eq(rv_config_add_block(config, "data", RV_BLOCK_READ_WRITE, RV_BLOCK_FILE,
			     RV_PATH("/data"), NULL),
		0);
	cr_assert_eq(rv_config_add_net(config, mac, false, "tap0", NULL), 0);
	rv_config_set_device(config, RV_DEVICE_VSOCK, true);
	rv_config_set_mem(config, 0, 1 << 30, 0);
	rv_config_set_guest_cid(config, 42);
	rv_config_set_home_core(config, 1);
	cr_assert_eq(rv_config_set_vsock_uds_path(config, "/run/v", NULL), 0);
	cr_assert_eq(rv_config_add_listener(config, 9, o.acceptor, NULL), 0);
	/* The config can go at once, and serve again before that. */
	cr_assert_eq(rv_lifecycle_create_async(c, o.lifecycle, config, on_done, NULL, NULL), 0);
	cr_assert_eq(rv_lifecycle_create_async(c, o.lifecycle, config, on_done, NULL, NULL), 0);
	rv_config_destroy(config);

	for (int i = 0; i < 2; i++) {
		peer_expect(METHOD_LIFECYCLE_CREATE);
		config_init(&got);
		cr_assert_eq(config_table_decode(&peer_got, &peer_frame, &got, &fault), CODEC_OK,
			"%s", fault.text.text);
		cr_assert_eq(got.kernel_type, KERNEL_LINUX);
		cr_assert_str_eq(got.kernel.path, "/boot/vmlinuz");
		cr_assert_geq(got.ramdisk.fd, 0);
		cr_assert_eq(got.cmdline_add_count, 2);
		cr_assert_str_eq(got.cmdline_add[1], "panic=-1");
		cr_assert_eq(got.block_count, 2);
		cr_assert_geq(got.blocks[0].file.fd, 0);
		cr_assert_str_eq(got.blocks[1].file.path, "/data");
		cr_assert_str_eq(got.nets[0].tap, "tap0");
		cr_assert(got.vsock);
		cr_assert_not(got.given & CONFIG_BIT(CONFIG_MEM_BLOCK_SIZE));
		cr_assert_eq(got.mem_region_size, 1 << 30);
		cr_assert_eq(got.listeners[0].acceptor_id, o.acceptor);
		cr_assert_str_eq(got.vsock_uds_path, "/run/v");
		config_finish(&got);
	}
	frame_finish(&peer_frame);
	cr_assert_eq(open_fds(), fds);
	stop(c);
}

Test(client, config_files_are_read_and_their_errors_say_where)
{
	static const char good[] = "{\"kernel-type\": \"builtin\", \"cpus\": 1}";
	static const char bad[] = "{\n  \"cpuss\": 1\n}";
	struct rv_config *config = rv_config_create();
	struct rv_error e;

	cr_assert_eq(rv_config_parse(config, "a.json", good, strlen(good), &e), 0, "%s", e.detail);
	cr_assert_eq(rv_config_parse(config, "b.json", bad, strlen(bad), &e), -1);
	cr_assert(strstr(e.detail, "b.json") && strstr(e.detail, "cpus"), "%s", e.detail);
	cr_assert_eq(rv_config_load(config, "/nonexistent/c.json", &e), -1);
	cr_assert_eq(e.code, ENOENT);
	rv_config_destroy(config);
}

Test(client, limits_of_the_protocol_are_kept)
{
	struct rv_client *c = start(&all_events);
	struct rv_error e;
	rv_object o;

	for (int i = 0; i < RV_CALLS_MAX; i++)
		cr_assert_eq(rv_host_info_async(c, on_done, NULL, &e), 0);
	cr_assert_eq(rv_host_info_async(c, on_done, NULL, &e), -1);
	cr_assert_eq(e.code, EAGAIN);
	for (uint32_t i = 1; i <= RV_CALLS_MAX; i++)
		peer_reply(METHOD_HOST_INFO, 0, i);
	until(c, &seen.done, RV_CALLS_MAX);
	for (int i = 0; i < RV_OBJECTS_MAX; i++)
		cr_assert_eq(rv_acceptor_create(c, &o, &e), 0);
	cr_assert_eq(rv_acceptor_create(c, &o, &e), -1);
	cr_assert_eq(e.code, EMFILE);
	rv_close(c, o);
	stop(c);
}

/* A daemon that reads nothing: calls are queued up to a bound, and go when it reads again. */
Test(client, a_daemon_that_does_not_read_stalls_nobody)
{
	struct rv_client *c = start(&all_events);
	struct pollfd p = {.fd = rv_fd(c), .events = POLLIN};
	unsigned int sent = 0;
	struct rv_error e;
	struct objects o;

	make_objects(c, &o);
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
	stop(c);
}

static void send_raw(const void *bytes, size_t len)
{
	cr_assert_eq(send(peer, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

Test(client, a_daemon_that_breaks_the_protocol_is_left)
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
		struct rv_client *c = start(&all_events);
		uint8_t bytes[FRAME_HEADER_BYTES];

		cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
		frame_header_put(&bad[i], bytes);
		send_raw(bytes, sizeof(bytes));
		while (!seen.disconnects)
			rv_wait(c, WAIT_MS, NULL);
		cr_assert_eq(seen.done, 1);
		cr_assert_eq(seen.error.code, EPROTO, "case %zu: %s", i, seen.error.detail);
		stop(c);
	}
}

Test(client, a_reply_to_another_method_is_a_broken_protocol)
{
	struct rv_client *c = start(&all_events);

	cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
	peer_reply(METHOD_HOST_LIST, 0, 1);
	while (!seen.disconnects)
		rv_wait(c, WAIT_MS, NULL);
	cr_assert_eq(seen.error.code, EPROTO);
	cr_assert_eq(seen.done, 1);
	stop(c);
}

static void destroy_in_done(struct rv_client *c, void *user, struct rv_reply *reply)
{
	struct rv_host_info *info;
	struct rv_error e;

	on_done(c, user, reply);
	/* Waiting here would never end. */
	cr_assert_eq(rv_host_info(c, &info, -1, &e), -1);
	cr_assert_eq(e.code, EDEADLK);
	cr_assert_eq(rv_dispatch(c, &e), -1);
	cr_assert_eq(e.code, EDEADLK);
	rv_destroy(c);
	cr_assert_eq(rv_host_info_async(c, on_done, NULL, &e), -1);
}

Test(client, a_callback_may_destroy_its_client)
{
	struct rv_client *c = start(&all_events);
	unsigned int fds = open_fds();

	cr_assert_eq(rv_host_info_async(c, destroy_in_done, NULL, NULL), 0);
	cr_assert_eq(rv_host_info_async(c, on_done, NULL, NULL), 0);
	peer_reply(METHOD_HOST_INFO, 0, 1);
	peer_reply(METHOD_HOST_INFO, 0, 2);
	cr_assert_eq(rv_wait(c, WAIT_MS, NULL), -1);
	cr_assert_eq(seen.done, 2);
	cr_assert_eq(seen.error.code, ECANCELED);
	cr_assert_eq(seen.disconnects, 0);
	cr_assert_eq(open_fds(), fds - 2);
	stop(NULL);
}

Test(client, a_callback_of_a_close_may_destroy_its_client)
{
	struct rv_client *c = start(&all_events);
	struct objects o;

	make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.lifecycle, destroy_in_done, NULL, NULL), 0);
	cr_assert_eq(rv_lifecycle_stop_async(c, o.lifecycle, on_done, NULL, NULL), 0);
	rv_close(c, o.lifecycle);
	cr_assert_eq(seen.done, 2);
	stop(NULL);
}

Test(client, connecting_says_why_it_failed)
{
	struct rv_error e;
	char path[200];

	cr_assert_null(rv_connect("/nonexistent/ringvisor.sock", NULL, NULL, WAIT_MS, &e));
	cr_assert_eq(e.domain, RV_DOMAIN_SYSTEM);
	cr_assert_eq(e.code, ENOENT);
	cr_assert(strstr(e.detail, "/nonexistent/ringvisor.sock"), "%s", e.detail);
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_assert_null(rv_connect(path, NULL, NULL, WAIT_MS, &e));
	cr_assert_eq(e.code, ENAMETOOLONG);
	rv_destroy(NULL);
	rv_free(NULL);
	rv_config_destroy(NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The client library's calls: what they send, what they return, how they fail. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/config_table.h"
#include "rpc/info_table.h"
#include "support/client_rig.h"

Test(client, host_info_is_returned)
{
	struct rv_client *c = client_rig_start(NULL);
	struct rv_host_info *info;
	struct codec_message m;

	peer_reply_init(&m, METHOD_HOST_INFO, 0, 1);
	m.p.info = (struct info_reply){1, 2, 3, wire_string_of("0.1.0"), wire_string_of("VMX")};
	peer_send(&m, NULL);
	cr_assert_eq(rv_host_info(c, &info, WAIT_MS, NULL), 0);
	cr_assert_eq(info->wire_version, 1);
	cr_assert_eq(info->cores, 2);
	cr_assert_eq(info->guests, 3);
	cr_assert_str_eq(info->build, "0.1.0");
	cr_assert_str_eq(info->kvm, "VMX");
	rv_free(info);
	client_rig_stop(c);
}

Test(client, list_is_returned_whole)
{
	struct rv_client *c = client_rig_start(NULL);
	struct list_entry entries[400];
	struct rv_guest_list *list;
	struct codec_message m;

	for (uint32_t i = 0; i < 400; i++)
		entries[i] = (struct list_entry){
			wire_string_of(i % 2 ? "web" : "database-number-2"), 3, i, i * 4096ull, i};
	peer_reply_init(&m, METHOD_HOST_LIST, 0, 1);
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
	client_rig_stop(c);
}

Test(client, guest_info_is_returned)
{
	struct wire_string devices[] = {wire_string_of("console"), wire_string_of("")};
	struct guest_info from = {.given = TABLE_BIT(INFO_GUEST_STATUS) | TABLE_BIT(INFO_DEVICES),
		.guest_status = GUEST_STATUS_RUNNING,
		.devices = {.count = 2, .items = devices}};
	struct rv_client *c = client_rig_start(NULL);
	uint8_t table[512];
	struct wire_writer w = {.buf = table, .room = sizeof(table)};
	struct rv_guest_info *info;
	struct codec_message m;

	peer_reply_init(&m, METHOD_HOST_GET_INFO, 0, 1);
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
	client_rig_stop(c);
}

Test(client, metrics_give_the_daemons_file)
{
	struct rv_client *c = client_rig_start(NULL);
	int memfd = memfd_create("metrics", MFD_CLOEXEC), fd = -1;
	struct codec_message m;
	char text[8] = "";

	cr_assert_eq(pwrite(memfd, "# EOF\n", 6, 0), 6);
	peer_reply_init(&m, METHOD_HOST_METRICS, 0, 1);
	peer_send(&m, &memfd);
	close(memfd);
	cr_assert_eq(rv_host_metrics(c, &fd, WAIT_MS, NULL), 0);
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 6);
	cr_assert_str_eq(text, "# EOF\n");
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	client_rig_stop(c);
}

Test(client, error_replies_keep_domain_code_and_detail)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
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
	cr_assert_eq(client_rig_seen.closed, 0);
	cr_assert_eq(rv_guest_serial_async(c, guest, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	client_rig_stop(c);
}

Test(client, a_late_reply_is_thrown_away_and_its_object_closed)
{
	struct rv_client *c = client_rig_start(NULL);
	unsigned int fds = client_rig_open_fds();
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
	cr_assert_eq(client_rig_open_fds(), fds, "the late descriptor was kept");
	client_rig_stop(c);
}

Test(client, objects_are_used_before_their_creation_is_answered)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct objects o;

	client_rig_make_objects(c, &o);
	client_rig_stop(c);
}

/* Each remaining call: sent as what it is, answered, and its result handed over. */
Test(client, every_call_reaches_the_daemon)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_config *config = rv_config_create();
	struct objects o;
	struct codec_message m;
	uint32_t txid = 5;
	rv_object guest;

	client_rig_make_objects(c, &o);
#define CALL(call, method_, object_)                                                               \
	do {                                                                                       \
		client_rig_seen.done = 0;                                                          \
		cr_assert_eq(call, 0);                                                             \
		peer_expect(method_);                                                              \
		cr_assert_eq(peer_got.object, object_);                                            \
		peer_reply(method_, object_, ++txid);                                              \
		client_rig_until(c, &client_rig_seen.done, 1);                                     \
		cr_assert_not(client_rig_seen.failed, "%s", client_rig_seen.error.detail);         \
		if (client_rig_seen.fd >= 0)                                                       \
			close(client_rig_seen.fd);                                                 \
	} while (0)
	CALL(rv_host_info_async(c, client_rig_done, NULL, NULL), METHOD_HOST_INFO, 0);
	CALL(rv_host_list_async(c, client_rig_done, NULL, NULL), METHOD_HOST_LIST, 0);
	CALL(rv_host_launch_async(c, "db", config, &guest, client_rig_done, NULL, NULL),
		METHOD_HOST_LAUNCH, 0);
	cr_assert_eq(peer_got.p.launch.new_id, guest);
	CALL(rv_host_force_shutdown_async(c, "db", client_rig_done, NULL, NULL),
		METHOD_HOST_FORCE_SHUTDOWN, 0);
	CALL(rv_host_connect_async(c, "db", &guest, client_rig_done, NULL, NULL),
		METHOD_HOST_CONNECT, 0);
	CALL(rv_host_guest_info_async(c, "db", client_rig_done, NULL, NULL), METHOD_HOST_GET_INFO,
		0);
	CALL(rv_host_metrics_async(c, client_rig_done, NULL, NULL), METHOD_HOST_METRICS, 0);
	cr_assert_geq(client_rig_seen.fd, 0);
	CALL(rv_lifecycle_create_async(c, o.lifecycle, config, client_rig_done, NULL, NULL),
		METHOD_LIFECYCLE_CREATE, o.lifecycle);
	CALL(rv_lifecycle_run_async(c, o.lifecycle, client_rig_done, NULL, NULL),
		METHOD_LIFECYCLE_RUN, o.lifecycle);
	CALL(rv_lifecycle_stop_async(c, o.lifecycle, client_rig_done, NULL, NULL),
		METHOD_LIFECYCLE_STOP, o.lifecycle);
	CALL(rv_guest_console_async(c, o.guest, client_rig_done, NULL, NULL),
		METHOD_GUEST_GET_CONSOLE, o.guest);
	cr_assert_geq(client_rig_seen.fd, 0);
	CALL(rv_guest_serial_async(c, o.guest, client_rig_done, NULL, NULL),
		METHOD_GUEST_GET_SERIAL, o.guest);
	CALL(rv_vsock_connect_async(c, o.vsock, 99, client_rig_done, NULL, NULL),
		METHOD_VSOCK_CONNECT, o.vsock);
	cr_assert_eq(peer_got.p.vsock_connect.guest_port, 99);
	CALL(rv_balloon_get_size_async(c, o.balloon, client_rig_done, NULL, NULL),
		METHOD_BALLOON_GET_SIZE, o.balloon);
	CALL(rv_balloon_get_stats_async(c, o.balloon, client_rig_done, NULL, NULL),
		METHOD_BALLOON_GET_STATS, o.balloon);
	CALL(rv_mem_get_size_async(c, o.mem, client_rig_done, NULL, NULL), METHOD_MEM_GET_SIZE,
		o.mem);

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
	cr_assert_eq(rv_mem_get_size_async(c, o.mem, client_rig_done, NULL, NULL), -1);
	peer_reply_init(&m, METHOD_BALLOON_GET_SIZE, o.balloon, ++txid);
	m.p.balloon_size = (struct balloon_size_reply){256, 512};
	peer_send(&m, NULL);
	cr_assert_eq(rv_balloon_get_size(c, o.balloon, &client_rig_seen.balloon, WAIT_MS, NULL), 0);
	cr_assert_eq(client_rig_seen.balloon.current_pages, 256);
	cr_assert_eq(client_rig_seen.balloon.requested_pages, 512);
	rv_config_destroy(config);
	client_rig_stop(c);
}

Test(client, calls_on_objects_of_another_kind_are_refused_here)
{
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_error e;
	struct objects o;

	client_rig_make_objects(c, &o);
	cr_assert_eq(rv_lifecycle_run_async(c, o.guest, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	cr_assert_eq(rv_guest_serial_async(c, 0, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	cr_assert_eq(rv_guest_serial_async(c, 999, client_rig_done, NULL, &e), -1);
	cr_assert_eq(e.code, EBADF);
	client_rig_stop(c);
}

Test(client, statistics_and_ports_are_returned)
{
	struct balloon_stat stats[] = {{4, 4096}, {5, 1ull << 40}};
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_balloon_stats *got;
	struct rv_mem_size mem;
	struct codec_message m;
	struct objects o;
	uint32_t port;
	int fd = STDIN_FILENO;

	client_rig_make_objects(c, &o);
	peer_reply_init(&m, METHOD_BALLOON_GET_STATS, o.balloon, 6);
	m.p.balloon_stats.stats = (struct wire_vector){.count = 2, .items = stats};
	peer_send(&m, NULL);
	cr_assert_eq(rv_balloon_get_stats(c, o.balloon, &got, WAIT_MS, NULL), 0);
	cr_assert_eq(got->status, RV_STATUS_OK);
	cr_assert_eq(got->count, 2);
	cr_assert_eq(got->stats[1].tag, 5);
	cr_assert_eq(got->stats[1].value, 1ull << 40);
	rv_free(got);

	peer_reply_init(&m, METHOD_VSOCK_CONNECT, o.vsock, 7);
	m.p.vsock_connected.host_port = 49152;
	peer_send(&m, &fd);
	cr_assert_eq(rv_vsock_connect(c, o.vsock, 1, &fd, &port, WAIT_MS, NULL), 0);
	cr_assert_eq(port, 49152);
	close(fd);

	peer_reply_init(&m, METHOD_MEM_GET_SIZE, o.mem, 8);
	m.p.mem_size = (struct mem_size_reply){1, 2, 3, 4, 5};
	peer_send(&m, NULL);
	cr_assert_eq(rv_mem_get_size(c, o.mem, &mem, WAIT_MS, NULL), 0);
	cr_assert_eq(mem.block_size, 1);
	cr_assert_eq(mem.region_size, 2);
	cr_assert_eq(mem.usable_region_size, 3);
	cr_assert_eq(mem.plugged_size, 4);
	cr_assert_eq(mem.requested_size, 5);
	client_rig_stop(c);
}

Test(client, a_config_arrives_with_its_descriptors)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	struct rv_client *c = client_rig_start(&client_rig_events);
	struct rv_config *config = rv_config_create();
	unsigned int fds = client_rig_open_fds();
	struct guest_config got;
	struct codec_fault fault;
	struct objects o;

	client_rig_make_objects(c, &o);
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
	cr_assert_eq(
		rv_lifecycle_create_async(c, o.lifecycle, config, client_rig_done, NULL, NULL), 0);
	cr_assert_eq(
		rv_lifecycle_create_async(c, o.lifecycle, config, client_rig_done, NULL, NULL), 0);
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
	cr_assert_eq(client_rig_open_fds(), fds);
	client_rig_stop(c);
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

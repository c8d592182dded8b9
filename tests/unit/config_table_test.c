/* SPDX-License-Identifier: Apache-2.0 */
/* GuestConfig and GuestInfo tables: round trips, each way to be wrong, and who owns descriptors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/config_table.h"
#include "rpc/info_table.h"
#include "support/message_gen.h"

static struct gen gen;

/* A table under construction, and the call that carries it. */
struct rig {
	uint8_t bytes[FRAME_SIZE_MAX];
	struct wire_writer w;
	struct wire_table t;
	struct codec_message call;
	struct frame frame;
	struct guest_config config;
	struct codec_fault fault;
};

static struct rig rig;

static void rig_init(void)
{
	memset(&rig, 0, sizeof(rig));
	rig.w = (struct wire_writer){.buf = rig.bytes, .room = sizeof(rig.bytes)};
	rig.t.fields = rig.bytes;
	codec_call_init(&rig.call, METHOD_LIFECYCLE_CREATE, 1, 7);
	config_init(&rig.config);
}

static void add_field(uint16_t ordinal, const void *value, uint32_t len_bytes)
{
	uint16_t reserved = 0;

	wire_write_raw(&rig.w, &ordinal, 2);
	wire_write_raw(&rig.w, &reserved, 2);
	wire_write_raw(&rig.w, &len_bytes, 4);
	wire_write_raw(&rig.w, value, len_bytes);
	wire_write_raw(&rig.w, NULL, wire_pad8(len_bytes));
	rig.t.count++;
	rig.t.bytes = rig.w.len_bytes;
}

static void add_u32(uint16_t ordinal, uint32_t value)
{
	add_field(ordinal, &value, 4);
}

static enum codec_verdict decode(void)
{
	rig.call.p.create.config = rig.t;
	return config_table_decode(&rig.call, &rig.frame, &rig.config, &rig.fault);
}

static void expect_bad_config(const char *text)
{
	cr_assert_eq(decode(), CODEC_REFUSED, "accepted; expected: %s", text);
	cr_assert_eq(rig.fault.domain, DOMAIN_GUEST_ERROR);
	cr_assert_eq(rig.fault.code, GUEST_BAD_CONFIG);
	cr_assert_eq(rig.fault.txid, 7);
	cr_assert(strstr(rig.fault.text.text, text), "\"%s\" does not say \"%s\"",
		rig.fault.text.text, text);
	cr_assert_eq(rig.config.given, 0);
	cr_assert_eq(rig.config.kernel.fd, -1);
}

static int new_fd(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static void attach(unsigned int count)
{
	rig.frame.header.nfds = (uint8_t)count;
	for (unsigned int i = 0; i < count; i++)
		rig.frame.fds[i] = new_fd();
}

static bool fd_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(config_table, random_configs_survive_a_round_trip)
{
	static uint8_t first[FRAME_SIZE_MAX], second[FRAME_SIZE_MAX];

	gen_init(&gen, 7);
	for (int round = 0; round < 2000; round++) {
		struct wire_writer w = {.buf = first, .room = sizeof(first)};
		struct wire_writer w2 = {.buf = second, .room = sizeof(second)};
		struct guest_config made;
		struct wire_table again;
		struct diag d;
		int fds[FRAME_FDS_MAX];
		uint8_t nfds;

		rig_init();
		gen_reset(&gen);
		gen_config(&gen, &made, gen_below(&gen, FRAME_FDS_MAX + 1));
		cr_assert_eq(
			config_table_encode(&made, &w, &rig.t, fds, &nfds, &d), 0, "%s", d.text);
		rig.frame.header.nfds = nfds;
		for (int i = 0; i < nfds; i++) {
			rig.frame.fds[i] = dup(fds[i]);
			cr_assert_geq(rig.frame.fds[i], 0);
		}
		cr_assert_eq(decode(), CODEC_OK, "%s", rig.fault.text.text);
		cr_assert_eq(rig.config.given, made.given);
		frame_finish(&rig.frame);
		cr_assert_eq(config_table_encode(&rig.config, &w2, &again, fds, &nfds, &d), 0);
		cr_assert_eq(w.len_bytes, w2.len_bytes);
		cr_assert_eq(memcmp(first, second, w.len_bytes), 0);
		config_finish(&made);
		config_finish(&rig.config);
	}
}

Test(config_table, values_reach_the_config)
{
	static const uint8_t cmdline[] = {5, 0, 0, 0, 'q', 'u', 'i', 'e', 't', 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t path[] = {0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, '/', 'k', 0, 0};
	static const uint8_t listeners[] = {1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0};
	static const uint64_t memory = 64ULL << 20;
	static const uint8_t cpus = 2, on = 1;

	rig_init();
	add_u32(CONFIG_KERNEL_TYPE, KERNEL_LINUX);
	add_field(CONFIG_KERNEL, path, sizeof(path));
	add_field(CONFIG_CMDLINE, cmdline, sizeof(cmdline));
	add_field(CONFIG_CPUS, &cpus, 1);
	add_field(CONFIG_GUEST_MEMORY, &memory, 8);
	add_field(CONFIG_CONSOLE, &on, 1);
	add_field(CONFIG_VSOCK_LISTENERS, listeners, sizeof(listeners));
	add_u32(CONFIG_GUEST_CID, 42);
	add_u32(CONFIG_HOME_CORE, 1);
	cr_assert_eq(decode(), CODEC_OK, "%s", rig.fault.text.text);
	cr_assert_eq(rig.config.kernel_type, KERNEL_LINUX);
	cr_assert_str_eq(rig.config.kernel.path, "/k");
	cr_assert_eq(rig.config.kernel.fd, -1);
	cr_assert_str_eq(rig.config.cmdline, "quiet");
	cr_assert_eq(rig.config.cpus, 2);
	cr_assert_eq(rig.config.guest_memory, memory);
	cr_assert(rig.config.console);
	cr_assert_not(rig.config.rng);
	cr_assert_eq(rig.config.listener_count, 1);
	cr_assert_eq(rig.config.listeners[0].port, 9);
	cr_assert_eq(rig.config.listeners[0].acceptor_id, 8);
	cr_assert_eq(rig.config.guest_cid, 42);
	cr_assert_eq(rig.config.home_core, 1);
	/* Not given: the defaults. */
	cr_assert_eq(rig.config.mem_block_size, 2ULL << 20);
	cr_assert_eq(rig.config.ramdisk.fd, -1);
	config_finish(&rig.config);
}

Test(config_table, ordinals_ascend_and_are_known)
{
	rig_init();
	add_u32(CONFIG_KERNEL_TYPE, 2);
	add_u32(CONFIG_KERNEL_TYPE, 2);
	expect_bad_config("ordinal 1 is given twice");
	rig_init();
	add_u32(CONFIG_GUEST_CID, 5);
	add_u32(CONFIG_KERNEL_TYPE, 2);
	expect_bad_config("ordinal 1 comes after 100");
	for (unsigned int ordinal = 0; ordinal <= 0xffff; ordinal++) {
		char text[40];

		if ((ordinal >= 1 && ordinal <= 25) || (ordinal >= 100 && ordinal <= 103))
			continue;
		rig_init();
		add_u32((uint16_t)ordinal, 0);
		snprintf(text, sizeof(text), "ordinal %u%s", ordinal, ordinal ? " is unknown" : "");
		expect_bad_config(text);
	}
}

Test(config_table, values_of_the_wrong_length_are_named)
{
	static const uint8_t zero[64];
	/* ordinal, right length of a zero value */
	static const struct {
		uint16_t ordinal;
		uint32_t len;
	} fields[] = {{1, 4}, {2, 16}, {5, 8}, {6, 8}, {7, 1}, {8, 8}, {9, 8}, {10, 8}, {13, 1},
		{14, 1}, {15, 1}, {17, 1}, {18, 1}, {21, 8}, {22, 1}, {23, 8}, {24, 8}, {25, 8},
		{100, 4}, {101, 8}, {102, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		for (uint32_t len = 0; len <= 40; len++) {
			char text[32];

			if (len == fields[i].len)
				continue;
			rig_init();
			add_field(fields[i].ordinal, zero, len);
			snprintf(text, sizeof(text), "ordinal %u", fields[i].ordinal);
			expect_bad_config(text);
		}
	}
}

Test(config_table, wrong_values_are_bad_config_not_violations)
{
	static const uint8_t two = 2;
	static const uint8_t not_utf8[] = {1, 0, 0, 0, 0xff, 0, 0, 0};
	static const uint8_t nul[] = {2, 0, 0, 0, 'a', 0, 0, 0};
	static const uint8_t padded[] = {1, 0, 0, 0, 'a', 0, 0, 1};
	static const uint8_t huge_count[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
	static const uint8_t net[] = {
		1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	rig_init();
	add_field(CONFIG_RNG, &two, 1);
	expect_bad_config("virtio_rng: is 2");
	rig_init();
	add_field(CONFIG_CMDLINE, not_utf8, sizeof(not_utf8));
	expect_bad_config("cmdline: is not UTF-8");
	rig_init();
	add_field(CONFIG_CMDLINE, nul, sizeof(nul));
	expect_bad_config("cmdline: holds a NUL");
	rig_init();
	add_field(CONFIG_CMDLINE, padded, sizeof(padded));
	expect_bad_config("cmdline: the padding");
	rig_init();
	add_field(CONFIG_BLOCK_DEVICES, huge_count, sizeof(huge_count));
	expect_bad_config("block_devices");
	rig_init();
	add_field(CONFIG_NET_DEVICES, net, sizeof(net));
	expect_bad_config("enable_bridge: is 2");
	rig_init();
	add_u32(CONFIG_KERNEL_TYPE, 2);
	rig.bytes[2] = 1;
	expect_bad_config("reserved");
	rig_init();
	add_u32(CONFIG_KERNEL_TYPE, 2);
	rig.bytes[15] = 1;
	expect_bad_config("padding");
}

Test(config_table, launch_refuses_in_its_own_domain)
{
	rig_init();
	codec_call_init(&rig.call, METHOD_HOST_LAUNCH, 0, 7);
	add_u32(99, 0);
	rig.call.p.launch.config = rig.t;
	cr_assert_eq(
		config_table_decode(&rig.call, &rig.frame, &rig.config, &rig.fault), CODEC_REFUSED);
	cr_assert_eq(rig.fault.domain, DOMAIN_MANAGER);
	cr_assert_eq(rig.fault.code, MANAGER_BAD_CONFIG);
}

Test(config_table, devices_not_offered_are_noted_by_being_there)
{
	static const uint16_t refused[] = {11, 12, 16, 19, 20};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		static const uint8_t value[24] = {0};

		rig_init();
		add_field(refused[i], value, (uint32_t)i * 4);
		cr_assert_eq(decode(), CODEC_OK);
		cr_assert_eq(rig.config.given, CONFIG_BIT(refused[i]));
		cr_assert_eq(rig.config.wayland + rig.config.magma + rig.config.gpu +
				     rig.config.sound + rig.config.sound_input,
			1);
		config_finish(&rig.config);
	}
}

static const uint8_t *file_value(uint8_t kind, uint8_t index, bool with_path)
{
	static uint8_t value[16];

	memset(value, 0, sizeof(value));
	value[0] = kind;
	value[1] = index;
	if (with_path) {
		value[8] = 1;
		value[12] = 'p';
	}
	return value;
}

Test(config_table, descriptors_move_into_the_config)
{
	int fds[3];

	rig_init();
	attach(3);
	memcpy(fds, rig.frame.fds, sizeof(fds));
	add_field(CONFIG_KERNEL, file_value(1, 2, false), 16);
	add_field(CONFIG_RAMDISK, file_value(1, 0, false), 16);
	cr_assert_eq(decode(), CODEC_OK, "%s", rig.fault.text.text);
	cr_assert_eq(rig.config.kernel.fd, fds[2]);
	cr_assert_eq(rig.config.ramdisk.fd, fds[0]);
	frame_finish(&rig.frame);
	cr_assert_not(fd_open(fds[1]), "the one that nobody named is closed");
	cr_assert(fd_open(fds[0]));
	config_finish(&rig.config);
	cr_assert_not(fd_open(fds[0]));
	cr_assert_not(fd_open(fds[2]));
}

Test(config_table, wrong_descriptors_are_refused_and_none_leaks)
{
	static const struct {
		uint8_t kernel_kind, kernel_index;
		bool kernel_path;
		uint8_t ramdisk_index;
		const char *text;
	} bad[] = {
		{1, 0, false, 0, "used twice"},
		{1, 1, false, 2, "ramdisk: fd_index is 2"},
		{1, 0, false, 255, "ramdisk: fd_index is 255"},
		{1, 0, true, 1, "kernel: kind 1"},
		{2, 0, true, 1, "kernel: kind is 2"},
		{0, 1, true, 1, "kernel: kind 0"},
		{0, 0, false, 1, "kernel: the path is empty"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fds[2];

		rig_init();
		attach(2);
		memcpy(fds, rig.frame.fds, sizeof(fds));
		add_field(CONFIG_KERNEL,
			file_value(bad[i].kernel_kind, bad[i].kernel_index, bad[i].kernel_path),
			16);
		add_field(CONFIG_RAMDISK, file_value(1, bad[i].ramdisk_index, false), 16);
		expect_bad_config(bad[i].text);
		frame_finish(&rig.frame);
		cr_assert_not(fd_open(fds[0]));
		cr_assert_not(fd_open(fds[1]));
	}
}

Test(config_table, too_many_descriptors_cannot_be_sent)
{
	static struct config_block blocks[5];
	struct wire_writer w = {.room = FRAME_SIZE_MAX};
	struct guest_config config;
	struct wire_table t;
	struct diag d;
	int fds[FRAME_FDS_MAX];
	uint8_t nfds;

	config_init(&config);
	config.given = CONFIG_BIT(CONFIG_BLOCK_DEVICES);
	config.blocks = blocks;
	config.block_count = 5;
	for (int i = 0; i < 5; i++)
		blocks[i] = (struct config_block){.id = "d", .file.fd = 100 + i};
	cr_assert_eq(config_table_encode(&config, &w, &t, fds, &nfds, &d), -E2BIG);
	cr_assert(strstr(d.text, "5 files"), "%s", d.text);
	config.block_count = 4;
	cr_assert_eq(config_table_encode(&config, &w, &t, fds, &nfds, &d), 0);
	cr_assert_eq(nfds, 4);
	cr_assert_eq(fds[3], 103);
}

Test(info_table, survives_a_round_trip)
{
	struct wire_string devices[] = {wire_string_of("console"), wire_string_of("rng")};
	struct wire_string problems[] = {wire_string_of("console output blocked: nobody reads")};
	struct guest_info info = {
		.given = 0xffe,
		.guest_status = GUEST_STATUS_STOPPED,
		.uptime_ns = 1ULL << 40,
		.num_cpus = 4,
		.guest_memory = 64 << 20,
		.devices = {.count = 2, .items = devices},
		.stop_error = GUEST_VCPU_RUNTIME_FAILURE,
		.detected_problems = {.count = 1, .items = problems},
		.resident_bytes = 1,
		.exits = 2,
		.kicks = 3,
		.irqs = 4,
	};
	static uint8_t bytes[4096];
	struct wire_writer w = {.buf = bytes, .room = sizeof(bytes)};
	struct wire_cursor cursor;
	struct wire_string s;
	struct guest_info got;
	struct wire_table t;
	struct diag d;

	cr_assert_eq(info_table_encode(&info, &w, &t), 0);
	cr_assert_eq(t.count, 11);
	cr_assert_eq(info_table_decode(&t, &got, &d), 0, "%s", d.text);
	cr_assert_eq(got.given, info.given);
	cr_assert_eq(got.guest_status, GUEST_STATUS_STOPPED);
	cr_assert_eq(got.uptime_ns, 1ULL << 40);
	cr_assert_eq(got.num_cpus, 4);
	cr_assert_eq(got.guest_memory, 64 << 20);
	cr_assert_eq(got.stop_error, GUEST_VCPU_RUNTIME_FAILURE);
	cr_assert_eq(got.irqs, 4);
	wire_cursor_init(&cursor, &got.devices, &layout_string);
	cr_assert(wire_cursor_next(&cursor, &s));
	cr_assert(wire_string_is(s, "console"));
	cr_assert(wire_cursor_next(&cursor, &s));
	cr_assert(wire_string_is(s, "rng"));
	cr_assert_not(wire_cursor_next(&cursor, &s));
}

Test(info_table, leaves_out_what_is_not_given)
{
	struct guest_info info = {.given = TABLE_BIT(INFO_GUEST_STATUS),
				  .guest_status = 1,
				  .irqs = 9},
			  got;
	static uint8_t bytes[256];
	struct wire_writer w = {.buf = bytes, .room = sizeof(bytes)};
	struct wire_table t;

	cr_assert_eq(info_table_encode(&info, &w, &t), 0);
	cr_assert_eq(t.bytes, 16);
	cr_assert_eq(info_table_decode(&t, &got, NULL), 0);
	cr_assert_eq(got.given, info.given);
	cr_assert_eq(got.irqs, 0);
}

Test(info_table, unknown_ordinals_are_errors)
{
	static const uint8_t fields[] = {12, 0, 0, 0, 0, 0, 0, 0};
	struct wire_table t = {fields, sizeof(fields), 1};
	struct guest_info got;
	struct diag d;

	cr_assert_eq(info_table_decode(&t, &got, &d), -EINVAL);
	cr_assert(strstr(d.text, "ordinal 12 is unknown"), "%s", d.text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON form: every key, every kind of error with its line and column, and the examples. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config.h"
#include "core/json_where.h"

static struct guest_config config;
static struct diag diag;

static void setup(void)
{
	config_init(&config);
	memset(&diag, 0, sizeof(diag));
}

static void teardown(void)
{
	config_finish(&config);
}

TestSuite(config_json, .init = setup, .fini = teardown);

static int parse(const char *text)
{
	return config_parse_json(&config, "c.json", text, strlen(text), &diag);
}

static void must_parse(const char *text)
{
	cr_assert_eq(parse(text), 0, "%s", diag.text);
}

/* Refused at `place` ("line:column"), with `word` in the message. */
static void must_fail(const char *text, const char *place, const char *word)
{
	char start[64];

	teardown();
	setup();
	cr_assert_eq(parse(text), -EINVAL, "%s", diag.text);
	snprintf(start, sizeof(start), "c.json:%s: ", place);
	cr_assert_eq(
		strncmp(diag.text, start, strlen(start)), 0, "not at %s: %s", place, diag.text);
	cr_assert(strstr(diag.text, word), "no \"%s\" in: %s", word, diag.text);
}

Test(config_json, an_empty_object_changes_nothing)
{
	must_parse("{}");
	cr_assert_eq(config.given, 0);
	cr_assert_eq(config.guest_cid, 3);
}

Test(config_json, reads_scalars)
{
	must_parse("{\"kernel-type\": \"linux\", \"kernel\": \"/k\", \"ramdisk\": \"/r\","
		   "\"cmdline\": \"a \\\"b\\\"\", \"cpus\": 64, \"guest-memory\": \"3G\","
		   "\"virtio-rng\": true, \"virtio-console\": false, \"guest-cid\": 4294967294,"
		   "\"virtio-mem-block-size\": 4096, \"home-core\": 1,"
		   "\"vsock-guest-to-guest\": true}");
	cr_assert_eq(config.kernel_type, KERNEL_LINUX);
	cr_assert_str_eq(config.kernel.path, "/k");
	cr_assert_eq(config.kernel.fd, -1);
	cr_assert_str_eq(config.ramdisk.path, "/r");
	cr_assert_str_eq(config.cmdline, "a \"b\"");
	cr_assert_eq(config.cpus, 64);
	cr_assert_eq(config.guest_memory, 3ULL << 30);
	cr_assert(config.rng);
	cr_assert_not(config.console);
	cr_assert_eq(config.guest_cid, 0xfffffffe);
	cr_assert_eq(config.mem_block_size, 4096);
	cr_assert_eq(config.home_core, 1);
	cr_assert(config.vsock_guest_to_guest);
	cr_assert_eq(config.given,
		CONFIG_BIT(CONFIG_KERNEL_TYPE) | CONFIG_BIT(CONFIG_KERNEL) |
			CONFIG_BIT(CONFIG_RAMDISK) | CONFIG_BIT(CONFIG_CMDLINE) |
			CONFIG_BIT(CONFIG_CPUS) | CONFIG_BIT(CONFIG_GUEST_MEMORY) |
			CONFIG_BIT(CONFIG_RNG) | CONFIG_BIT(CONFIG_CONSOLE) |
			CONFIG_BIT(CONFIG_GUEST_CID) | CONFIG_BIT(CONFIG_MEM_BLOCK_SIZE) |
			CONFIG_BIT(CONFIG_HOME_CORE) | CONFIG_BIT(CONFIG_VSOCK_GUEST_TO_GUEST));
}

Test(config_json, reads_lists)
{
	static const uint8_t mac[6] = {2, 0, 0xab, 0xCD, 0, 0xff};

	must_parse("{\"cmdline-add\": [\"quiet\", \"\"],"
		   "\"block-devices\": [{\"id\": \"a\", \"path\": \"/a\"},"
		   " {\"format\": \"qcow\", \"mode\": \"volatile-write\", \"path\": \"/b\", "
		   "\"id\": \"b\"}],"
		   "\"net-devices\": [{\"mac\": \"02:00:ab:CD:00:ff\", \"tap\": \"t\","
		   " \"enable-bridge\": true}],"
		   "\"vsock-listeners\": [{\"port\": 1024, \"acceptor-id\": 9}]}");
	cr_assert_eq(config.cmdline_add_count, 2);
	cr_assert_str_eq(config.cmdline_add[0], "quiet");
	cr_assert_str_eq(config.cmdline_add[1], "");
	cr_assert_eq(config.block_count, 2);
	cr_assert_eq(config.blocks[0].mode, BLOCK_READ_WRITE);
	cr_assert_eq(config.blocks[0].format, BLOCK_FILE);
	cr_assert_eq(config.blocks[0].file.fd, -1);
	cr_assert_str_eq(config.blocks[1].id, "b");
	cr_assert_eq(config.blocks[1].mode, BLOCK_VOLATILE_WRITE);
	cr_assert_eq(config.blocks[1].format, BLOCK_QCOW);
	cr_assert_arr_eq(config.nets[0].mac, mac, 6);
	cr_assert_str_eq(config.nets[0].tap, "t");
	cr_assert(config.nets[0].enable_bridge);
	cr_assert_eq(config.listeners[0].port, 1024);
	cr_assert_eq(config.listeners[0].acceptor_id, 9);
}

Test(config_json, takes_numbers_for_words)
{
	must_parse("{\"kernel-type\": 2, \"block-devices\": [{\"id\": \"a\", \"path\": \"/a\","
		   "\"mode\": 1, \"format\": 3}]}");
	cr_assert_eq(config.kernel_type, KERNEL_BUILTIN);
	cr_assert_eq(config.blocks[0].mode, BLOCK_READ_ONLY);
	cr_assert_eq(config.blocks[0].format, BLOCK_BLOCK);
}

/* The key of each of the wire's fields is its name with '-' for '_'. */
Test(config_json, knows_every_field_of_the_table)
{
	unsigned int fields = 0;

	for (unsigned int ordinal = 0; ordinal < 200; ordinal++) {
		const char *name = config_field_name(ordinal);
		char text[128];

		if (!name)
			continue;
		fields++;
		snprintf(text, sizeof(text), "{\"%s\": null}", name);
		for (char *at = text; *at; at++)
			*at = *at == '_' ? '-' : *at;
		cr_assert_eq(parse(text), -EINVAL);
		cr_assert(strstr(diag.text, "this is null"), "%s: %s", text, diag.text);
	}
	cr_assert_eq(fields, 29);
}

Test(config_json, an_unknown_key_names_the_nearest)
{
	must_fail("{\n  \"cpu\": 1\n}", "2:3", "\"cpus\"");
	must_fail("{\"cpus\": 1,\n\t\"memory\": \"1G\"}", "2:2", "\"guest-memory\"");
	must_fail("{\"guest_memory\": 1}", "1:2", "\"guest-memory\"");
	must_fail("{\"block-devices\": [\n{\"id\": \"x\", \"file\": \"y\"}]}", "2:13",
		"unknown key \"file\"");
}

Test(config_json, a_wrong_type_is_placed_at_its_value)
{
	must_fail("{\"cpus\":\n   \"two\"}", "2:4", "whole number");
	must_fail("{\"cpus\": 1.5}", "1:10", "a fraction");
	must_fail("{\"virtio-rng\": 1}", "1:16", "true or false");
	must_fail("{\"kernel\": [\"/k\"]}", "1:12", "an array");
	must_fail("{\"guest-memory\": {}}", "1:18", "an object");
	must_fail("{\"cmdline-add\": \"quiet\"}", "1:17", "an array [");
	must_fail("{\"cmdline-add\": [\"a\", \"b\", 7]}", "1:28", "a string");
	must_fail("[]", "1:1", "an object {");
}

Test(config_json, numbers_stay_in_their_fields)
{
	must_fail("{\"cpus\": -1}", "1:10", "0 to 255");
	must_fail("{\"cpus\": 256}", "1:10", "256");
	must_fail("{\"guest-cid\": 4294967296}", "1:15", "4294967295");
	must_fail("{\"guest-memory\": -1}", "1:18", "out of range");
	must_fail("{\"block-devices\": [{\"id\":\"a\",\"path\":\"b\",\"mode\":256}]}", "1:48",
		"0 to 255");
}

Test(config_json, sizes_are_explained)
{
	must_fail("{\"guest-memory\": \"64X\"}", "1:18", "64M");
	must_fail("{\"guest-memory\": \"99999999999G\"}", "1:18", "64 bits");
}

Test(config_json, words_are_explained)
{
	must_fail("{\"kernel-type\": \"linus\"}", "1:17", "\"linux\"");
	must_fail("{\"block-devices\": [{\"id\": \"a\", \"path\": \"b\", \"mode\": \"readonly\"}]}",
		"1:53", "\"read-only\"");
	must_fail("{\"net-devices\": [{\"mac\": \"2:0:0:0:0:1\", \"tap\": \"t\"}]}", "1:26",
		"02:00:00:00:00:01");
	must_fail("{\"net-devices\": [{\"mac\": \"02:00:00:00:00:011\", \"tap\": \"t\"}]}", "1:26",
		"MAC");
	must_fail("{\"net-devices\": [{\"mac\": \"02:00:00:00:00001\", \"tap\": \"t\"}]}", "1:26",
		"MAC");
}

Test(config_json, missing_members_are_placed_at_their_object)
{
	must_fail("{\"block-devices\": [{\"id\": \"a\", \"path\": \"b\"},\n  {\"id\": \"c\"}]}",
		"2:3", "\"path\" is missing");
	must_fail("{\"net-devices\": [{\"tap\": \"c\"}]}", "1:18", "\"mac\" is missing");
	must_fail("{\"vsock-listeners\": [{\"port\": 1}]}", "1:22", "\"acceptor-id\" is missing");
}

Test(config_json, values_that_no_guest_can_have_are_placed)
{
	must_fail("{\"cpus\":\n 65}", "2:2", "1 to 64");
	must_fail("{\"guest-memory\": \"1k\"}", "1:18", "guest_memory is 1024");
	must_fail("{\"kernel-type\": \"zircon\"}", "1:17", "not built yet");
	must_fail("{\"dtb-overlay\": \"/d\"}", "1:17", "x86-64");
	must_fail("{\"gpu\": true}", "1:9", "not offered");
	must_fail("{\"guest-cid\": 2}", "1:15", "3 to");
	must_fail("{\"block-devices\": [{\"id\": \"\", \"path\": \"b\"}]}", "1:19", "1 to 20");
	must_fail("{\"net-devices\": [{\"mac\": \"01:00:00:00:00:00\", \"tap\": \"t\"}]}", "1:17",
		"multicast");
}

Test(config_json, duplicate_keys_are_refused)
{
	must_fail("{\"cpus\": 1,\n\"cpus\": 2}", "2:6", "duplicate");
}

Test(config_json, syntax_errors_have_a_place)
{
	must_fail("", "1:1", "'[' or '{' expected");
	must_fail("{\"cpus\": 1,\n}", "2:1", "string");
	must_fail("{\"cpus\": 1} x", "1:13", "end of file expected");
	must_fail("{\"cpus\": 99999999999999999999}", "1:29", "too big");
	must_fail("{\"kernel\": \"a\\u0000b\"}", "1:21", "cannot hold a NUL");
	must_fail("{\"kernel\": \"\xff\"}", "1:12", "0xff");
}

Test(config_json, strings_that_look_like_structure_do_not_mislead)
{
	must_fail("{\"cmdline\": \"\\\"}],{[\\\\\", \"kernel\": \"ü,:\", \"cmdline-add\": [\"]\", "
		  "\"}\"], "
		  "\"cpus\": true}",
		"1:78", "a whole number");
}

Test(config_json, names_the_file_and_the_reason)
{
	cr_assert_eq(config_load_json(&config, "/nonexistent/c.json", &diag), -ENOENT);
	cr_assert(strstr(diag.text, "/nonexistent/c.json: No such file"), "%s", diag.text);
	cr_assert_eq(config_load_json(&config, "/", &diag), -EISDIR);
	cr_assert(strstr(diag.text, "directory"), "%s", diag.text);
	cr_assert_eq(config_load_json(&config, "/dev/zero", &diag), -EFBIG);
	cr_assert(strstr(diag.text, "/dev/zero"), "%s", diag.text);
}

static void load_example(const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/examples/%s", RINGVISOR_SOURCE, name);
	cr_assert_eq(config_load_json(&config, path, &diag), 0, "%s", diag.text);
}

Test(config_json, example_builtin_is_a_valid_guest)
{
	struct config_limits limits = {.cores = 1};

	load_example("builtin.json");
	cr_assert_eq(config_check(&config, &limits, &diag), GUEST_OK, "%s", diag.text);
	cr_assert_eq(config.guest_memory, 64 << 20);
}

Test(config_json, example_linux_is_a_valid_guest)
{
	struct config_limits limits = {.cores = 1, .built_devices = ~0ULL};

	load_example("linux.json");
	cr_assert_eq(config_check(&config, &limits, &diag), GUEST_OK, "%s", diag.text);
	cr_assert_eq(config.guest_cid, 42);
}

/* All that there is, but what no machine offers and what x86-64 cannot have. */
Test(config_json, example_everything_has_everything)
{
	struct config_limits limits = {.cores = 1, .built_devices = ~0ULL};
	uint64_t expected = 0;

	for (unsigned int ordinal = 1; ordinal < 200; ordinal++)
		if (config_field_name(ordinal))
			expected |= CONFIG_BIT(ordinal);
	expected &= ~(CONFIG_BIT(CONFIG_DTB_OVERLAY) | CONFIG_BIT(CONFIG_WAYLAND) |
		      CONFIG_BIT(CONFIG_MAGMA) | CONFIG_BIT(CONFIG_GPU) | CONFIG_BIT(CONFIG_SOUND) |
		      CONFIG_BIT(CONFIG_SOUND_INPUT));
	load_example("everything.json");
	cr_assert_eq(config.given, expected);
	cr_assert_eq(config_check(&config, &limits, &diag), GUEST_OK, "%s", diag.text);
}

Test(json_where, counts_characters_and_lines)
{
	static const char text[] = "{\"ü\": [10,\r\n\t {\"x\": \"é\", \"y\" : null}]}";
	struct json_path path = {.steps = {0, 1, 1}, .count = 3};
	struct json_place place = json_where(text, strlen(text), &path, false);

	cr_assert_eq(place.line, 2);
	cr_assert_eq(place.column, 20);
	place = json_where(text, strlen(text), &path, true);
	cr_assert_eq(place.column, 14);
	path.count = 0;
	place = json_where(text, strlen(text), &path, false);
	cr_assert_eq(place.line, 1);
	cr_assert_eq(place.column, 1);
}

Test(json_where, stays_within_any_text)
{
	static const char *const texts[] = {"", "{", "[", "\"", "\"\\", "{\"", "{\"a\"",
		"{\"a\":", "[1,", "}", "]", "[[[[", "   ", "{{{{\"\\\"", "tru"};
	struct json_path path = {.steps = {1, 2, 3, 4, 5, 6, 7, 8}, .count = 8};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t len = strlen(texts[i]);
		char *exact = malloc(len ? len : 1);
		struct json_place place;

		memcpy(exact, texts[i], len);
		for (path.count = 0; path.count <= 8; path.count++) {
			place = json_where(exact, len, &path, true);
			cr_assert_eq(place.line, 1);
			cr_assert_leq(place.column, len + 1);
		}
		free(exact);
	}
}

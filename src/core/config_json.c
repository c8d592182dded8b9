/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON form of a guest's configuration: a table of keys for each kind of object, each with its
 * reader. Values keep the shape that the table gives them; their meaning is config_check's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/config.h"
#include "core/json_where.h"
#include "core/nearest.h"

/* A file longer than this is no configuration. */
#define JSON_BYTES_MAX (1 << 20)

/* One reading. */
struct load {
	const char *name, *text;
	size_t len_bytes;
	struct json_path path; /* of the value being read */
	struct diag *d;
};

struct member {
	const char *key;
	int (*read)(struct load *l, const json_t *value, void *to);
	size_t offset;               /* of what `read` fills, in the object's struct */
	enum config_ordinal ordinal; /* top level only */
	bool required;
};

enum { AT_VALUE, AT_KEY };

/* Puts "<name>:<line>:<column>: " before the text; returns `err`. */
static int fail_here(struct load *l, int at_key, int err)
{
	struct json_place place = json_where(l->text, l->len_bytes, &l->path, at_key);

	return diag_prefix(l->d, err, "%s:%u:%u", l->name, place.line, place.column);
}

#define load_fail(l, at_key, ...) fail_here(l, at_key, diag_fail((l)->d, -EINVAL, __VA_ARGS__))

static int no_memory(struct load *l)
{
	return fail_here(l, AT_VALUE, diag_fail(l->d, -ENOMEM, "out of memory"));
}

static const char *type_name(const json_t *value)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};

	return names[json_typeof(value)];
}

static void path_push(struct load *l, unsigned int step)
{
	CHECK(l->path.count < JSON_PATH_MAX);
	l->path.steps[l->path.count++] = step;
}

static void path_pop(struct load *l)
{
	l->path.count--;
}

/* --- objects --- */

static const struct member *member_find(const struct member *members, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(members[i].key, key))
			return &members[i];
	return NULL;
}

static int unknown_key(struct load *l, const struct member *members, size_t count, const char *key)
{
	const char *known[64];

	CHECK(count <= ARRAY_SIZE(known));
	for (size_t i = 0; i < count; i++)
		known[i] = members[i].key;
	return load_fail(l, AT_KEY, "unknown key \"%.64s\": the nearest known one is \"%s\"", key,
		nearest_word(key, known, count));
}

static int required_are_there(
	struct load *l, const struct member *members, size_t count, const json_t *object)
{
	for (size_t i = 0; i < count; i++)
		if (members[i].required && !json_object_get(object, members[i].key))
			return load_fail(l, AT_VALUE, "the key \"%s\" is missing in this object",
				members[i].key);
	return 0;
}

/* One member, at the path; of the configuration itself it is judged at once, as its place is known.
 */
static int read_member(
	struct load *l, const struct member *m, const json_t *value, void *to, bool top)
{
	int err = m->read(l, value, (char *)to + m->offset);

	if (err || !top)
		return err;
	err = config_check_field(to, m->ordinal, l->d);
	return err ? fail_here(l, AT_VALUE, err) : 0;
}

/* Fills the struct at `to` from the object's members; `given` gets the bits of the ordinals and is
 * NULL but for the configuration itself. Members come in the text's order: jansson keeps it. */
static int read_members(struct load *l, const struct member *members, size_t count,
	const json_t *object, void *to, uint64_t *given)
{
	unsigned int n = 0;
	const char *key;
	json_t *value;
	int err;

	if (!json_is_object(object))
		return load_fail(
			l, AT_VALUE, "this is %s; an object { … } is expected", type_name(object));
	json_object_foreach((json_t *)object, key, value)
	{
		const struct member *m = member_find(members, count, key);

		path_push(l, n++);
		if (m && given)
			*given |= CONFIG_BIT(m->ordinal);
		err = m ? read_member(l, m, value, to, given != NULL)
			: unknown_key(l, members, count, key);
		if (err)
			return err;
		path_pop(l);
	}
	return required_are_there(l, members, count, object);
}

/* --- scalars --- */

static int wrong_type(struct load *l, const json_t *value, const char *expected)
{
	return load_fail(l, AT_VALUE, "this is %s; %s is expected", type_name(value), expected);
}

static int read_bool(struct load *l, const json_t *value, void *to)
{
	if (!json_is_boolean(value))
		return wrong_type(l, value, "true or false");
	*(bool *)to = json_is_true(value);
	return 0;
}

static int read_number(struct load *l, const json_t *value, uint64_t max, uint64_t *number)
{
	json_int_t got;

	if (!json_is_integer(value))
		return wrong_type(l, value, "a whole number");
	got = json_integer_value(value);
	if (got < 0 || (uint64_t)got > max)
		return load_fail(l, AT_VALUE,
			"%" JSON_INTEGER_FORMAT " is out of range; the limit is 0 to %" PRIu64, got,
			max);
	*number = got;
	return 0;
}

static int read_u8(struct load *l, const json_t *value, void *to)
{
	uint64_t number = 0;
	int err = read_number(l, value, UINT8_MAX, &number);

	if (!err)
		*(uint8_t *)to = number;
	return err;
}

static int read_u32(struct load *l, const json_t *value, void *to)
{
	uint64_t number = 0;
	int err = read_number(l, value, UINT32_MAX, &number);

	if (!err)
		*(uint32_t *)to = number;
	return err;
}

static int read_size(struct load *l, const json_t *value, void *to)
{
	int err;

	if (json_is_integer(value))
		return read_number(l, value, INT64_MAX, to);
	if (!json_is_string(value))
		return wrong_type(l, value, "a size such as \"64M\"");
	err = config_parse_size(json_string_value(value), to, l->d);
	return err ? fail_here(l, AT_VALUE, -EINVAL) : 0;
}

static int read_string(struct load *l, const json_t *value, void *to)
{
	char *copy;

	if (!json_is_string(value))
		return wrong_type(l, value, "a string");
	copy = strdup(json_string_value(value));
	if (!copy)
		return no_memory(l);
	free(*(char **)to);
	*(char **)to = copy;
	return 0;
}

static int read_file(struct load *l, const json_t *value, void *to)
{
	struct config_file *file = to;

	return read_string(l, value, &file->path);
}

/* One of a few words, or its number. */
struct word {
	const char *word;
	uint32_t number;
};

static int read_word(struct load *l, const json_t *value, const struct word *words, size_t count,
	uint32_t *number)
{
	const char *text = json_string_value(value), *known[8];

	CHECK(count <= ARRAY_SIZE(known));
	if (json_is_integer(value))
		return read_u32(l, value, number);
	if (!text)
		return wrong_type(l, value, "a word");
	for (size_t i = 0; i < count; i++) {
		known[i] = words[i].word;
		if (!strcmp(known[i], text)) {
			*number = words[i].number;
			return 0;
		}
	}
	return load_fail(l, AT_VALUE, "\"%.64s\" is unknown here: the nearest known word is \"%s\"",
		text, nearest_word(text, known, count));
}

static int read_kernel_type(struct load *l, const json_t *value, void *to)
{
	static const struct word words[] = {
		{"zircon", KERNEL_ZIRCON}, {"linux", KERNEL_LINUX}, {"builtin", KERNEL_BUILTIN}};

	return read_word(l, value, words, ARRAY_SIZE(words), to);
}

/* A word for a field of one byte. */
static int read_byte_word(
	struct load *l, const json_t *value, const struct word *words, size_t count, uint8_t *to)
{
	uint32_t number;
	int err = read_word(l, value, words, count, &number);

	if (err)
		return err;
	if (number > UINT8_MAX)
		return load_fail(
			l, AT_VALUE, "%" PRIu32 " is out of range; the limit is 0 to 255", number);
	*to = number;
	return 0;
}

static int read_block_mode(struct load *l, const json_t *value, void *to)
{
	static const struct word words[] = {{"read-write", BLOCK_READ_WRITE},
		{"read-only", BLOCK_READ_ONLY}, {"volatile-write", BLOCK_VOLATILE_WRITE}};

	return read_byte_word(l, value, words, ARRAY_SIZE(words), to);
}

static int read_block_format(struct load *l, const json_t *value, void *to)
{
	static const struct word words[] = {
		{"file", BLOCK_FILE}, {"qcow", BLOCK_QCOW}, {"block", BLOCK_BLOCK}};

	return read_byte_word(l, value, words, ARRAY_SIZE(words), to);
}

static int read_mac(struct load *l, const json_t *value, void *to)
{
	const char *text = json_string_value(value);
	uint8_t *mac = to;
	int end = 0;

	if (!text)
		return wrong_type(l, value, "a MAC address such as \"02:00:00:00:00:01\"");
	if (strspn(text, "0123456789abcdefABCDEF:") != 17 ||
		sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
			&mac[3], &mac[4], &mac[5], &end) != 6 ||
		end != 17 || text[17])
		return load_fail(l, AT_VALUE,
			"\"%.64s\" is not a MAC address: write six bytes as in 02:00:00:00:00:01",
			text);
	return 0;
}

/* --- arrays --- */

/* Reads each element into one of `count` zeroed structs; the array belongs to the config from the
 * start, so that what was read before an error is freed with it. */
static int read_elements(struct load *l, const json_t *array, size_t element_bytes,
	int (*read)(struct load *l, const json_t *value, void *to), void *elements, uint32_t *count)
{
	size_t n = json_array_size(array);
	char *room;
	int err;

	if (!json_is_array(array))
		return wrong_type(l, array, "an array [ … ]");
	room = calloc(n ? n : 1, element_bytes);
	if (!room)
		return no_memory(l);
	memcpy(elements, &room, sizeof(room));
	for (size_t i = 0; i < n; i++) {
		/* Counted first: a half-read element is the config's to free. */
		*count = i + 1;
		path_push(l, i);
		err = read(l, json_array_get(array, i), room + i * element_bytes);
		if (err)
			return err;
		path_pop(l);
	}
	return 0;
}

static int read_cmdline_add(struct load *l, const json_t *value, void *to)
{
	struct guest_config *c = to;

	return read_elements(l, value, sizeof(c->cmdline_add[0]), read_string, &c->cmdline_add,
		&c->cmdline_add_count);
}

static int read_block(struct load *l, const json_t *value, void *to)
{
	static const struct member members[] = {
		{"id", read_string, offsetof(struct config_block, id), 0, true},
		{"path", read_file, offsetof(struct config_block, file), 0, true},
		{"mode", read_block_mode, offsetof(struct config_block, mode), 0, false},
		{"format", read_block_format, offsetof(struct config_block, format), 0, false},
	};
	struct config_block *b = to;

	*b = (struct config_block){.mode = BLOCK_READ_WRITE, .format = BLOCK_FILE, .file.fd = -1};
	return read_members(l, members, ARRAY_SIZE(members), value, b, NULL);
}

static int read_blocks(struct load *l, const json_t *value, void *to)
{
	struct guest_config *c = to;

	return read_elements(
		l, value, sizeof(c->blocks[0]), read_block, &c->blocks, &c->block_count);
}

static int read_net(struct load *l, const json_t *value, void *to)
{
	static const struct member members[] = {
		{"mac", read_mac, offsetof(struct config_net, mac), 0, true},
		{"tap", read_string, offsetof(struct config_net, tap), 0, true},
		{"enable-bridge", read_bool, offsetof(struct config_net, enable_bridge), 0, false},
	};

	return read_members(l, members, ARRAY_SIZE(members), value, to, NULL);
}

static int read_nets(struct load *l, const json_t *value, void *to)
{
	struct guest_config *c = to;

	return read_elements(l, value, sizeof(c->nets[0]), read_net, &c->nets, &c->net_count);
}

static int read_listener(struct load *l, const json_t *value, void *to)
{
	static const struct member members[] = {
		{"port", read_u32, offsetof(struct config_listener, port), 0, true},
		{"acceptor-id", read_u32, offsetof(struct config_listener, acceptor_id), 0, true},
	};

	return read_members(l, members, ARRAY_SIZE(members), value, to, NULL);
}

static int read_listeners(struct load *l, const json_t *value, void *to)
{
	struct guest_config *c = to;

	return read_elements(l, value, sizeof(c->listeners[0]), read_listener, &c->listeners,
		&c->listener_count);
}

/* --- the whole --- */

#define FIELD(key, read, field, ordinal)                                                           \
	{                                                                                          \
		key, read, offsetof(struct guest_config, field), ordinal, false                    \
	}
/* Arrays fill a pointer and a count: their readers take the config itself. */
#define LIST(key, read, ordinal)                                                                   \
	{                                                                                          \
		key, read, 0, ordinal, false                                                       \
	}

static const struct member config_members[] = {
	FIELD("kernel-type", read_kernel_type, kernel_type, CONFIG_KERNEL_TYPE),
	FIELD("kernel", read_file, kernel, CONFIG_KERNEL),
	FIELD("ramdisk", read_file, ramdisk, CONFIG_RAMDISK),
	FIELD("dtb-overlay", read_file, dtb_overlay, CONFIG_DTB_OVERLAY),
	FIELD("cmdline", read_string, cmdline, CONFIG_CMDLINE),
	LIST("cmdline-add", read_cmdline_add, CONFIG_CMDLINE_ADD),
	FIELD("cpus", read_u8, cpus, CONFIG_CPUS),
	FIELD("guest-memory", read_size, guest_memory, CONFIG_GUEST_MEMORY),
	LIST("block-devices", read_blocks, CONFIG_BLOCK_DEVICES),
	LIST("net-devices", read_nets, CONFIG_NET_DEVICES),
	FIELD("wayland", read_bool, wayland, CONFIG_WAYLAND),
	FIELD("magma", read_bool, magma, CONFIG_MAGMA),
	FIELD("default-net", read_bool, default_net, CONFIG_DEFAULT_NET),
	FIELD("virtio-balloon", read_bool, balloon, CONFIG_BALLOON),
	FIELD("virtio-console", read_bool, console, CONFIG_CONSOLE),
	FIELD("gpu", read_bool, gpu, CONFIG_GPU),
	FIELD("virtio-rng", read_bool, rng, CONFIG_RNG),
	FIELD("virtio-vsock", read_bool, vsock, CONFIG_VSOCK),
	FIELD("sound", read_bool, sound, CONFIG_SOUND),
	FIELD("sound-input", read_bool, sound_input, CONFIG_SOUND_INPUT),
	LIST("vsock-listeners", read_listeners, CONFIG_VSOCK_LISTENERS),
	FIELD("virtio-mem", read_bool, mem, CONFIG_MEM),
	FIELD("virtio-mem-block-size", read_size, mem_block_size, CONFIG_MEM_BLOCK_SIZE),
	FIELD("virtio-mem-region-size", read_size, mem_region_size, CONFIG_MEM_REGION_SIZE),
	FIELD("virtio-mem-region-alignment", read_size, mem_region_alignment,
		CONFIG_MEM_REGION_ALIGNMENT),
	FIELD("guest-cid", read_u32, guest_cid, CONFIG_GUEST_CID),
	FIELD("vsock-uds-path", read_string, vsock_uds_path, CONFIG_VSOCK_UDS_PATH),
	FIELD("home-core", read_u32, home_core, CONFIG_HOME_CORE),
	FIELD("vsock-guest-to-guest", read_bool, vsock_guest_to_guest, CONFIG_VSOCK_GUEST_TO_GUEST),
};

static int syntax_error(struct diag *d, const char *name, const json_error_t *e)
{
	bool nul = json_error_code(e) == json_error_null_character;

	return diag_fail(d, -EINVAL, "%s:%d:%d: %s", name, e->line > 0 ? e->line : 1,
		e->column > 0 ? e->column : 1,
		nul ? "a string cannot hold a NUL (\\u0000)" : e->text);
}

int config_parse_json(struct guest_config *c, const char *name, const char *text, size_t len_bytes,
	struct diag *d)
{
	struct load l = {.name = name, .text = text, .len_bytes = len_bytes, .d = d};
	json_error_t error;
	json_t *root;
	int err;

	root = json_loadb(text, len_bytes, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return syntax_error(d, name, &error);
	err = read_members(&l, config_members, ARRAY_SIZE(config_members), root, c, &c->given);
	json_decref(root);
	return err;
}

/* Reads what the file has, up to one byte beyond the limit, into room for it. Returns the length or
 * -errno. */
static ssize_t read_whole(int fd, char *room)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, room + len, JSON_BYTES_MAX + 1 - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? n : 0;
	} while (n && len <= JSON_BYTES_MAX);
	return len;
}

int config_load_json(struct guest_config *c, const char *path, struct diag *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	ssize_t len;
	int err;

	if (fd < 0)
		return diag_errno(d, -errno, "%s", path);
	text = malloc(JSON_BYTES_MAX + 1);
	len = text ? read_whole(fd, text) : -ENOMEM;
	if (len < 0)
		err = diag_errno(d, len, "%s", path);
	else if (len > JSON_BYTES_MAX)
		err = diag_fail(d, -EFBIG, "%s: longer than %d bytes: this is no configuration",
			path, JSON_BYTES_MAX);
	else
		err = config_parse_json(c, path, text, len, d);
	free(text);
	close(fd);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a guest's configuration: one table, a row a rule, judged in the table's order.
 *
 * Each message says field, value, limit and remedy, for a person who has only this line. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "core/check.h"
#include "core/config.h"
#include "core/gmem.h"

#define REFUSED (-1)

/* What `<path>_4294967295` leaves for the path in a socket address. */
#define UDS_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("_4294967295"))

struct judge;

struct rule {
	enum config_ordinal ordinal;
	int (*check)(const struct judge *j); /* 0, or REFUSED with the text in j->d */
	size_t value; /* offset of the value that the check reads, if it is a general one */
	uint64_t min, max;
	enum guest_error error; /* GUEST_OK stands for GUEST_BAD_CONFIG */
	bool alone;             /* judges the field by itself, whatever the others are */
};

/* What a rule looks at. */
struct judge {
	const struct rule *rule;
	struct guest_config *c;
	const struct config_limits *limits;
	struct diag *d;
};

static const void *rule_value(const struct judge *j)
{
	return (const char *)j->c + j->rule->value;
}

static bool config_given(const struct guest_config *c, enum config_ordinal ordinal)
{
	return c->given & CONFIG_BIT(ordinal);
}

static bool file_given(const struct config_file *f)
{
	return f->path || f->fd >= 0;
}

/* --- rules that serve several fields --- */

static int must_be_given(const struct judge *j)
{
	if (config_given(j->c, j->rule->ordinal))
		return 0;
	return diag_fail(j->d, REFUSED, "%s is missing: every guest needs it",
		config_field_name(j->rule->ordinal));
}

static int path_is_valid(const char *field, const struct config_file *f, struct diag *d)
{
	size_t len = f->path ? strlen(f->path) : 1;

	if (len == 0)
		return diag_fail(d, REFUSED,
			"%s: the path is empty: name a file or leave the field out", field);
	if (len >= PATH_MAX)
		return diag_fail(d, REFUSED,
			"%s: the path is %zu bytes; the limit is %d: shorten it", field, len,
			PATH_MAX - 1);
	return 0;
}

static int file_is_valid(const struct judge *j)
{
	return path_is_valid(config_field_name(j->rule->ordinal), rule_value(j), j->d);
}

static int u32_in_range(const struct judge *j)
{
	uint32_t value;

	memcpy(&value, rule_value(j), sizeof(value));
	if (value >= j->rule->min && value <= j->rule->max)
		return 0;
	return diag_fail(j->d, REFUSED,
		"%s is %" PRIu32 "; the limit is %" PRIu64 " to %" PRIu64
		": choose one in that range",
		config_field_name(j->rule->ordinal), value, j->rule->min, j->rule->max);
}

static int count_in_range(const struct judge *j)
{
	uint32_t count;

	memcpy(&count, rule_value(j), sizeof(count));
	if (count <= j->rule->max)
		return 0;
	return diag_fail(j->d, REFUSED,
		"%s has %" PRIu32 " entries; the limit is %" PRIu64 ": remove some",
		config_field_name(j->rule->ordinal), count, j->rule->max);
}

static int not_offered(const struct judge *j)
{
	if (!*(const bool *)rule_value(j))
		return 0;
	return diag_fail(j->d, REFUSED, "%s is on, but is not offered by this VMM: leave it out",
		config_field_name(j->rule->ordinal));
}

static int is_built(const struct judge *j)
{
	if (j->limits->built_devices & CONFIG_BIT(j->rule->ordinal))
		return 0;
	return diag_fail(j->d, REFUSED,
		"%s is asked for, but not built yet in this version: leave it out",
		config_field_name(j->rule->ordinal));
}

static int device_is_built(const struct judge *j)
{
	return *(const bool *)rule_value(j) ? is_built(j) : 0;
}

static int devices_are_built(const struct judge *j)
{
	uint32_t count;

	memcpy(&count, rule_value(j), sizeof(count));
	return count ? is_built(j) : 0;
}

/* --- kernel, memory, processors --- */

static int kernel_type_is_known(const struct judge *j)
{
	if (j->c->kernel_type == KERNEL_LINUX || j->c->kernel_type == KERNEL_BUILTIN)
		return 0;
	if (j->c->kernel_type == KERNEL_ZIRCON)
		return diag_fail(j->d, REFUSED,
			"kernel_type is 0 (ZIRCON), which is not built yet: this version boots 1 "
			"(LINUX) and 2 (BUILTIN, the embedded guest)");
	return diag_fail(j->d, REFUSED,
		"kernel_type is %" PRIu32 ", which is unknown: use 1 (LINUX) or 2 (BUILTIN, the "
		"embedded guest)",
		j->c->kernel_type);
}

static int kernel_fits_type(const struct judge *j)
{
	bool given = file_given(&j->c->kernel);

	if (j->c->kernel_type == KERNEL_LINUX && !given)
		return diag_fail(j->d, REFUSED,
			"kernel is missing: kernel_type LINUX needs a kernel file (vmlinux or "
			"bzImage)");
	if (j->c->kernel_type == KERNEL_BUILTIN && given)
		return diag_fail(j->d, REFUSED,
			"kernel is \"%.200s\", but kernel_type BUILTIN brings its own: leave "
			"kernel out, or use kernel_type LINUX",
			j->c->kernel.path ? j->c->kernel.path : "a file descriptor");
	return 0;
}

static int dtb_overlay_is_absent(const struct judge *j)
{
	if (!config_given(j->c, CONFIG_DTB_OVERLAY) && !file_given(&j->c->dtb_overlay))
		return 0;
	return diag_fail(j->d, REFUSED,
		"dtb_overlay is given, but an x86-64 machine has no device tree: leave it out");
}

static int cmdline_fits(const struct judge *j)
{
	size_t len = j->c->cmdline ? strlen(j->c->cmdline) : 0;

	if (len <= CONFIG_CMDLINE_MAX)
		return 0;
	return diag_fail(j->d, REFUSED, "cmdline is %zu bytes; the limit is %d: shorten it", len,
		CONFIG_CMDLINE_MAX);
}

static int cmdline_fits_joined(const struct judge *j)
{
	size_t len = config_cmdline_length(j->c);

	if (len <= CONFIG_CMDLINE_MAX)
		return 0;
	return diag_fail(j->d, REFUSED,
		"cmdline_add makes the command line %zu bytes; the limit of it all is %d: shorten "
		"it",
		len, CONFIG_CMDLINE_MAX);
}

static int cpus_in_range(const struct judge *j)
{
	if (j->c->cpus >= j->rule->min && j->c->cpus <= j->rule->max)
		return 0;
	return diag_fail(j->d, REFUSED,
		"cpus is %u; the limit is %" PRIu64 " to %" PRIu64 ": choose one in that range",
		(unsigned int)j->c->cpus, j->rule->min, j->rule->max);
}

static int memory_in_range(const struct judge *j)
{
	if (j->c->guest_memory < j->rule->min || j->c->guest_memory > j->rule->max)
		return diag_fail(j->d, REFUSED,
			"guest_memory is %" PRIu64 " bytes; the limit is %" PRIu64 " (%" PRIu64
			"M) to %" PRIu64 " (%" PRIu64
			"G): choose a size in that range, such as 64M",
			j->c->guest_memory, j->rule->min, j->rule->min >> 20, j->rule->max,
			j->rule->max >> 30);
	j->c->guest_memory = (j->c->guest_memory + GMEM_PAGE - 1) & ~(GMEM_PAGE - 1);
	return 0;
}

/* --- disks --- */

static int block_id_is_valid(const struct guest_config *c, uint32_t i, struct diag *d)
{
	const char *id = c->blocks[i].id;
	size_t len = id ? strlen(id) : 0;

	if (len < 1 || len > 20)
		return diag_fail(d, REFUSED,
			"block_devices[%" PRIu32
			"]: the id \"%.40s\" is %zu bytes; the limit is 1 to 20: choose another",
			i, id ? id : "", len);
	for (uint32_t j = 0; j < i; j++)
		if (!strcmp(c->blocks[j].id, id))
			return diag_fail(d, REFUSED,
				"block_devices[%" PRIu32
				"]: the id \"%s\" is that of block_devices[%" PRIu32
				"] already: each needs an id of its own",
				i, id, j);
	return 0;
}

static int blocks_have_ids(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->block_count; i++)
		if (block_id_is_valid(j->c, i, j->d))
			return REFUSED;
	return 0;
}

static int blocks_have_kinds(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->block_count; i++) {
		const struct config_block *b = &j->c->blocks[i];

		if (b->mode > BLOCK_VOLATILE_WRITE)
			return diag_fail(j->d, REFUSED,
				"block_devices[%" PRIu32 "] (%s): the mode %u is unknown: use 0 "
				"(READ_WRITE), 1 (READ_ONLY) or 2 (VOLATILE_WRITE)",
				i, b->id, (unsigned int)b->mode);
		if (b->format < BLOCK_FILE || b->format > BLOCK_BLOCK)
			return diag_fail(j->d, REFUSED,
				"block_devices[%" PRIu32 "] (%s): the format %u is unknown: use 1 "
				"(FILE), 2 (QCOW) or 3 (BLOCK)",
				i, b->id, (unsigned int)b->format);
	}
	return 0;
}

static int blocks_have_files(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->block_count; i++) {
		const struct config_block *b = &j->c->blocks[i];
		char field[64];

		snprintf(field, sizeof(field), "block_devices[%" PRIu32 "] (%s)", i, b->id);
		if (!file_given(&b->file))
			return diag_fail(j->d, REFUSED,
				"%s has no file: name the disk's file or device node", field);
		if (path_is_valid(field, &b->file, j->d))
			return REFUSED;
	}
	return 0;
}

static int no_qcow_is_written(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->block_count; i++)
		if (j->c->blocks[i].format == BLOCK_QCOW &&
			j->c->blocks[i].mode == BLOCK_READ_WRITE)
			return diag_fail(j->d, REFUSED,
				"block_devices[%" PRIu32
				"] (%s): a QCOW disk cannot be READ_WRITE: use "
				"READ_ONLY or VOLATILE_WRITE, or convert it to a plain file",
				i, j->c->blocks[i].id);
	return 0;
}

/* --- network --- */

static int mac_is_valid(const struct guest_config *c, uint32_t i, struct diag *d)
{
	static const uint8_t zero[6];
	const uint8_t *m = c->nets[i].mac;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		m[5]);
	if (m[0] & 1)
		return diag_fail(d, REFUSED,
			"net_devices[%" PRIu32
			"]: the MAC address %s is a multicast one: the first byte "
			"must be even, as in 02:00:00:00:00:01",
			i, mac);
	if (!memcmp(m, zero, sizeof(zero)))
		return diag_fail(d, REFUSED,
			"net_devices[%" PRIu32
			"]: the MAC address %s belongs to nobody: choose one such "
			"as 02:00:00:00:00:01",
			i, mac);
	for (uint32_t j = 0; j < i; j++)
		if (!memcmp(c->nets[j].mac, m, sizeof(zero)))
			return diag_fail(d, REFUSED,
				"net_devices[%" PRIu32 "]: the MAC address %s is that of "
				"net_devices[%" PRIu32 "] already: each needs one of its own",
				i, mac, j);
	return 0;
}

static int nets_have_macs(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->net_count; i++)
		if (mac_is_valid(j->c, i, j->d))
			return REFUSED;
	return 0;
}

/* What Linux lets an interface be called: no slash, colon or space, not "." or "..". */
static bool tap_name_is_valid(const char *tap)
{
	size_t len = tap ? strlen(tap) : 0;

	if (len < 1 || len > 15 || !strcmp(tap, ".") || !strcmp(tap, ".."))
		return false;
	for (const char *at = tap; *at; at++)
		if (*at == '/' || *at == ':' || (unsigned char)*at <= ' ' || *at == 0x7f)
			return false;
	return true;
}

static int nets_have_taps(const struct judge *j)
{
	for (uint32_t i = 0; i < j->c->net_count; i++) {
		const char *tap = j->c->nets[i].tap;

		if (!tap_name_is_valid(tap))
			return diag_fail(j->d, REFUSED,
				"net_devices[%" PRIu32
				"]: \"%.64s\" is not the name of a tap interface: "
				"use 1 to 15 bytes without spaces, '/' and ':'",
				i, tap ? tap : "");
	}
	return 0;
}

/* --- vsock --- */

static int listeners_have_vsock(const struct judge *j)
{
	if (!j->c->listener_count || j->c->vsock)
		return 0;
	return diag_fail(j->d, REFUSED,
		"vsock_listeners has %" PRIu32 " entries, but virtio_vsock is off: switch it on",
		j->c->listener_count);
}

static int port_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* A port that two listeners have, or -1. There are at most CONFIG_LISTENERS_MAX. */
static int64_t find_shared_port(const struct guest_config *c)
{
	uint32_t ports[CONFIG_LISTENERS_MAX];

	for (uint32_t i = 0; i < c->listener_count; i++)
		ports[i] = c->listeners[i].port;
	qsort(ports, c->listener_count, sizeof(ports[0]), port_compare);
	for (uint32_t i = 1; i < c->listener_count; i++)
		if (ports[i] == ports[i - 1])
			return ports[i];
	return -1;
}

bool config_listeners_clash(const struct guest_config *c)
{
	return c->listener_count <= CONFIG_LISTENERS_MAX && find_shared_port(c) >= 0;
}

static int listener_ports_differ(const struct judge *j)
{
	int64_t port = find_shared_port(j->c);

	if (port < 0)
		return 0;
	return diag_fail(j->d, REFUSED,
		"vsock_listeners names port %" PRId64 " twice: a port has one listener", port);
}

static int uds_path_is_valid(const struct judge *j)
{
	const char *path = j->c->vsock_uds_path;

	if (!path)
		return 0;
	if (path[0] != '/')
		return diag_fail(j->d, REFUSED,
			"vsock_uds_path is \"%.200s\": it must be an absolute path, starting with "
			"'/'",
			path);
	if (strlen(path) > UDS_PATH_MAX)
		return diag_fail(j->d, REFUSED,
			"vsock_uds_path is %zu bytes; the limit is %zu, as \"_<port>\" is appended "
			"and a socket's address is short: choose a shorter path",
			strlen(path), UDS_PATH_MAX);
	return 0;
}

static int guest_to_guest_has_vsock(const struct judge *j)
{
	if (!j->c->vsock_guest_to_guest || j->c->vsock || config_given(j->c, CONFIG_VSOCK))
		return 0;
	return diag_fail(j->d, -EINVAL,
		"vsock_guest_to_guest is on, but virtio_vsock is not given: switch it on");
}

/* A path kept for later while virtio_vsock is explicitly off is no mistake. */
static int uds_path_has_vsock(const struct judge *j)
{
	if (!j->c->vsock_uds_path || j->c->vsock || config_given(j->c, CONFIG_VSOCK))
		return 0;
	return diag_fail(j->d, REFUSED,
		"vsock_uds_path is \"%.200s\", but virtio_vsock is not given: switch it on",
		j->c->vsock_uds_path);
}

/* --- virtio-mem --- */

/* Sizes without the device are a forgotten switch, unless the device is explicitly off. */
static int mem_size_has_mem(const struct judge *j)
{
	if (!config_given(j->c, j->rule->ordinal) || config_given(j->c, CONFIG_MEM))
		return 0;
	return diag_fail(j->d, REFUSED,
		"%s is given, but virtio_mem is not: switch virtio_mem on or leave this out",
		config_field_name(j->rule->ordinal));
}

static int mem_block_is_valid(const struct judge *j)
{
	uint64_t block = j->c->mem_block_size;

	if (!j->c->mem || (block >= GMEM_PAGE && !(block & (block - 1))))
		return 0;
	return diag_fail(j->d, REFUSED,
		"virtio_mem_block_size is %" PRIu64
		" bytes; it must be a power of two, 4096 or more: use 2M, for instance",
		block);
}

static int mem_region_is_given(const struct judge *j)
{
	if (!j->c->mem || config_given(j->c, j->rule->ordinal))
		return 0;
	return diag_fail(j->d, REFUSED,
		"virtio_mem_region_size is missing: virtio_mem is on and needs the size of its "
		"region");
}

static int mem_size_is_whole(const struct judge *j)
{
	uint64_t value;

	memcpy(&value, rule_value(j), sizeof(value));
	if (!j->c->mem || (value && value % j->c->mem_block_size == 0))
		return 0;
	return diag_fail(j->d, REFUSED,
		"%s is %" PRIu64 " bytes; it must be a multiple of virtio_mem_block_size (%" PRIu64
		"), and not 0",
		config_field_name(j->rule->ordinal), value, j->c->mem_block_size);
}

/* --- placement --- */

static int home_core_exists(const struct judge *j)
{
	if (!config_given(j->c, CONFIG_HOME_CORE) || j->c->home_core < j->limits->cores)
		return 0;
	return diag_fail(j->d, REFUSED,
		"home_core is %" PRIu32 "; this daemon has %u reactors, counted from 0: choose a "
		"smaller one or leave it out",
		j->c->home_core, j->limits->cores);
}

#define RULE(ordinal_, check_, ...)                                                                \
	{                                                                                          \
		.ordinal = ordinal_, .check = check_, __VA_ARGS__                                  \
	}
#define ALONE(ordinal_, ...) RULE(ordinal_, __VA_ARGS__, .alone = true)
#define AT(field)            .value = offsetof(struct guest_config, field)

/* BAD_CONFIG by ordinals, each field's own shape before whether the device exists; then what is a
 * device's failure to start, in the order of devices: the later error never hides the earlier. */
static const struct rule rules[] = {
	RULE(CONFIG_KERNEL_TYPE, must_be_given),
	ALONE(CONFIG_KERNEL_TYPE, kernel_type_is_known),
	RULE(CONFIG_KERNEL, kernel_fits_type),
	ALONE(CONFIG_KERNEL, file_is_valid, AT(kernel)),
	ALONE(CONFIG_RAMDISK, file_is_valid, AT(ramdisk)),
	ALONE(CONFIG_DTB_OVERLAY, dtb_overlay_is_absent),
	ALONE(CONFIG_CMDLINE, cmdline_fits),
	RULE(CONFIG_CMDLINE_ADD, cmdline_fits_joined),
	RULE(CONFIG_CPUS, must_be_given),
	ALONE(CONFIG_CPUS, cpus_in_range, .min = 1, .max = 64),
	RULE(CONFIG_GUEST_MEMORY, must_be_given),
	ALONE(CONFIG_GUEST_MEMORY, memory_in_range, .min = GMEM_MIN_BYTES, .max = GMEM_MAX_BYTES),
	ALONE(CONFIG_BLOCK_DEVICES, count_in_range, AT(block_count), .max = CONFIG_DEVICES_MAX),
	ALONE(CONFIG_BLOCK_DEVICES, blocks_have_ids),
	ALONE(CONFIG_BLOCK_DEVICES, blocks_have_kinds),
	ALONE(CONFIG_BLOCK_DEVICES, blocks_have_files),
	RULE(CONFIG_BLOCK_DEVICES, devices_are_built, AT(block_count)),
	ALONE(CONFIG_NET_DEVICES, count_in_range, AT(net_count), .max = CONFIG_DEVICES_MAX),
	ALONE(CONFIG_NET_DEVICES, nets_have_macs),
	ALONE(CONFIG_NET_DEVICES, nets_have_taps),
	RULE(CONFIG_NET_DEVICES, devices_are_built, AT(net_count)),
	ALONE(CONFIG_WAYLAND, not_offered, AT(wayland)),
	ALONE(CONFIG_MAGMA, not_offered, AT(magma)),
	RULE(CONFIG_DEFAULT_NET, device_is_built, AT(default_net)),
	RULE(CONFIG_BALLOON, device_is_built, AT(balloon)),
	RULE(CONFIG_CONSOLE, device_is_built, AT(console)),
	ALONE(CONFIG_GPU, not_offered, AT(gpu)),
	RULE(CONFIG_RNG, device_is_built, AT(rng)),
	RULE(CONFIG_VSOCK, device_is_built, AT(vsock)),
	ALONE(CONFIG_SOUND, not_offered, AT(sound)),
	ALONE(CONFIG_SOUND_INPUT, not_offered, AT(sound_input)),
	ALONE(CONFIG_VSOCK_LISTENERS, count_in_range, AT(listener_count),
		.max = CONFIG_LISTENERS_MAX),
	RULE(CONFIG_VSOCK_LISTENERS, listeners_have_vsock),
	RULE(CONFIG_MEM, device_is_built, AT(mem)),
	RULE(CONFIG_MEM_BLOCK_SIZE, mem_size_has_mem),
	RULE(CONFIG_MEM_BLOCK_SIZE, mem_block_is_valid),
	RULE(CONFIG_MEM_REGION_SIZE, mem_size_has_mem),
	RULE(CONFIG_MEM_REGION_SIZE, mem_region_is_given),
	RULE(CONFIG_MEM_REGION_SIZE, mem_size_is_whole, AT(mem_region_size)),
	RULE(CONFIG_MEM_REGION_ALIGNMENT, mem_size_has_mem),
	RULE(CONFIG_MEM_REGION_ALIGNMENT, mem_size_is_whole, AT(mem_region_alignment)),
	ALONE(CONFIG_GUEST_CID, u32_in_range, AT(guest_cid), .min = 3, .max = 0xfffffffe),
	RULE(CONFIG_VSOCK_UDS_PATH, uds_path_is_valid),
	RULE(CONFIG_VSOCK_UDS_PATH, uds_path_has_vsock),
	RULE(CONFIG_HOME_CORE, home_core_exists),
	RULE(CONFIG_VSOCK_GUEST_TO_GUEST, guest_to_guest_has_vsock),

	RULE(CONFIG_BLOCK_DEVICES, no_qcow_is_written, .error = GUEST_DEVICE_START_FAILURE),
	RULE(CONFIG_VSOCK_LISTENERS, listener_ports_differ, .error = GUEST_DEVICE_START_FAILURE),
};

int config_check_field(struct guest_config *c, enum config_ordinal ordinal, struct diag *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct judge j = {.rule = &rules[i], .c = c, .d = d};

		if (rules[i].alone && rules[i].ordinal == ordinal && rules[i].check(&j))
			return -EINVAL;
	}
	return 0;
}

enum guest_error config_check(
	struct guest_config *c, const struct config_limits *limits, struct diag *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct judge j = {.rule = &rules[i], .c = c, .limits = limits, .d = d};

		if (rules[i].check(&j))
			return rules[i].error ? rules[i].error : GUEST_BAD_CONFIG;
	}
	return GUEST_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Options of `ringctl launch` to a guest's configuration. */
#include "rpc/ringctl/guest_args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/check.h"
#include "core/nearest.h"

#define DEFAULT_MEMORY (256ULL << 20)

/* --- setters: each gets the whole struct guest_args --- */

static int set_cpus(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	struct guest_args *a = to;
	uint64_t number;
	int err = option_parse_number(s, value, 1, 64, &number, d);

	if (err)
		return err;
	a->cpus = number;
	a->given |= CONFIG_BIT(CONFIG_CPUS);
	return 0;
}

/* The fields of sizes and numbers, by the option's name. */
struct numbered {
	const char *option;
	size_t offset;
	enum config_ordinal ordinal;
};

static const struct numbered *numbered_find(
	const struct numbered *table, size_t count, const char *option)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(table[i].option, option))
			return &table[i];
	CHECK(!"an option without a row");
	return NULL;
}

static int set_size(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	static const struct numbered sizes[] = {
		{"memory", offsetof(struct guest_args, memory), CONFIG_GUEST_MEMORY},
		{"virtio-mem-block-size", offsetof(struct guest_args, mem_block_size),
			CONFIG_MEM_BLOCK_SIZE},
		{"virtio-mem-region-size", offsetof(struct guest_args, mem_region_size),
			CONFIG_MEM_REGION_SIZE},
		{"virtio-mem-region-alignment", offsetof(struct guest_args, mem_region_alignment),
			CONFIG_MEM_REGION_ALIGNMENT},
	};
	const struct numbered *n = numbered_find(sizes, ARRAY_SIZE(sizes), s->name);
	struct guest_args *a = to;
	uint64_t bytes;
	int err = config_parse_size(value, &bytes, d);

	if (err)
		return diag_prefix(d, err, "--%s", s->name);
	memcpy((char *)a + n->offset, &bytes, sizeof(bytes));
	a->given |= CONFIG_BIT(n->ordinal);
	return 0;
}

static int set_number(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	static const struct numbered numbers[] = {
		{"guest-cid", offsetof(struct guest_args, guest_cid), CONFIG_GUEST_CID},
		{"home-core", offsetof(struct guest_args, home_core), CONFIG_HOME_CORE},
	};
	const struct numbered *n = numbered_find(numbers, ARRAY_SIZE(numbers), s->name);
	struct guest_args *a = to;
	int err = option_set_u32(s, (char *)a + n->offset, value, d);

	if (!err)
		a->given |= CONFIG_BIT(n->ordinal);
	return err;
}

static int set_switch(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	static const struct numbered switches[] = {
		{"virtio-balloon", offsetof(struct guest_args, balloon), CONFIG_BALLOON},
		{"virtio-console", offsetof(struct guest_args, console), CONFIG_CONSOLE},
		{"virtio-rng", offsetof(struct guest_args, rng), CONFIG_RNG},
		{"virtio-vsock", offsetof(struct guest_args, vsock), CONFIG_VSOCK},
		{"virtio-mem", offsetof(struct guest_args, mem), CONFIG_MEM},
		{"default-net", offsetof(struct guest_args, default_net), CONFIG_DEFAULT_NET},
	};
	const struct numbered *n = numbered_find(switches, ARRAY_SIZE(switches), s->name);
	struct guest_args *a = to;
	bool on = !strcmp(value, "on");

	if (!on && strcmp(value, "off") != 0)
		return diag_fail(
			d, -EINVAL, "--%s: \"%.64s\" is neither on nor off", s->name, value);
	*((bool *)((char *)a + n->offset)) = on;
	a->given |= CONFIG_BIT(n->ordinal);
	return 0;
}

static int list_add(const char **list, unsigned int *count, const struct option_spec *s,
	const char *value, struct diag *d)
{
	if (*count == GUEST_ARGS_LIST_MAX)
		return diag_fail(d, -EINVAL, "--%s is given more than %d times", s->name,
			GUEST_ARGS_LIST_MAX);
	list[(*count)++] = value;
	return 0;
}

static int add_cmdline(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	struct guest_args *a = to;

	return list_add(a->cmdline_add, &a->cmdline_add_count, s, value, d);
}

static int add_disk(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	struct guest_args *a = to;

	return list_add(a->disks, &a->disk_count, s, value, d);
}

static int add_net(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	struct guest_args *a = to;

	return list_add(a->nets, &a->net_count, s, value, d);
}

#define TEXT(field) option_set_text, offsetof(struct guest_args, field)
#define FLAG(field) option_set_flag, offsetof(struct guest_args, field)

const struct option_spec guest_args_options[] = {
	{"config", 'c', "FILE", "a JSON file; other options are applied on top", TEXT(config)},
	{"builtin", 0, NULL, "boot the embedded guest", FLAG(builtin)},
	{"kernel", 0, "FILE", "a Linux kernel: vmlinux or bzImage", TEXT(kernel)},
	{"initrd", 0, "FILE", "an initial RAM disk", TEXT(initrd)},
	{"cmdline", 0, "TEXT", "the kernel's command line", TEXT(cmdline)},
	{"cmdline-add", 0, "TEXT", "append this to it; may be repeated", add_cmdline, 0},
	{"memory", 'm', "SIZE", "memory: bytes, or with k, M, G (default 256M)", set_size, 0},
	{"cpus", 0, "N", "virtual CPUs, 1 to 64 (default 1)", set_cpus, 0},
	{"virtio-balloon", 0, "on|off", "memory balloon", set_switch, 0},
	{"virtio-console", 0, "on|off", "console", set_switch, 0},
	{"virtio-rng", 0, "on|off", "entropy", set_switch, 0},
	{"virtio-vsock", 0, "on|off", "sockets between guest and host", set_switch, 0},
	{"virtio-mem", 0, "on|off", "memory hot-plug", set_switch, 0},
	{"virtio-mem-block-size", 0, "SIZE", "its unit (default 2M)", set_size, 0},
	{"virtio-mem-region-size", 0, "SIZE", "how much can be plugged", set_size, 0},
	{"virtio-mem-region-alignment", 0, "SIZE", "of its address (default 128M)", set_size, 0},
	{"disk", 0, "PATH[,MODE][,FORMAT]",
		"a disk: MODE rw, ro or volatile; FORMAT file, qcow or block", add_disk, 0},
	{"net", 0, "TAP", "a network card on this tap interface", add_net, 0},
	{"default-net", 0, "on|off", "the daemon's default network", set_switch, 0},
	{"guest-cid", 0, "N", "the guest's vsock address (default 3)", set_number, 0},
	{"vsock-uds-path", 0, "PATH", "serve vsock on this Unix socket", TEXT(vsock_uds_path)},
	{"home-core", 0, "N", "the reactor that serves the guest", set_number, 0},
	{"detach", 'd', NULL, "do not attach; return when the guest runs", FLAG(detach)},
	{0},
};

/* --- onto the configuration --- */

static int no_memory(struct diag *d)
{
	return diag_fail(d, -ENOMEM, "out of memory");
}

static int put_text(char **to, const char *value, struct diag *d)
{
	char *copy = strdup(value);

	if (!copy)
		return no_memory(d);
	free(*to);
	*to = copy;
	return 0;
}

/* The path as the daemon sees it: not through links, which may change until it looks. */
static int make_absolute(char **path, struct diag *d)
{
	char *here, *joined;
	int len;

	if (!*path || !**path || **path == '/')
		return 0;
	here = getcwd(NULL, 0);
	if (!here)
		return diag_errno(d, -errno, "the working directory, for \"%s\"", *path);
	len = asprintf(&joined, "%s/%s", strcmp(here, "/") ? here : "", *path);
	free(here);
	if (len < 0)
		return no_memory(d);
	free(*path);
	*path = joined;
	return 0;
}

static int paths_absolute(struct guest_config *c, struct diag *d)
{
	int err = make_absolute(&c->kernel.path, d);

	if (!err)
		err = make_absolute(&c->ramdisk.path, d);
	if (!err)
		err = make_absolute(&c->vsock_uds_path, d);
	for (uint32_t i = 0; !err && i < c->block_count; i++)
		err = make_absolute(&c->blocks[i].file.path, d);
	return err;
}

/* One more zeroed element at the end of an array; NULL without memory. */
static void *array_grow(void *array, uint32_t *count, size_t element_bytes)
{
	char *room, **at = array;

	room = reallocarray(*at, *count + 1, element_bytes);
	if (!room)
		return NULL;
	*at = room;
	memset(room + *count * element_bytes, 0, element_bytes);
	return room + (*count)++ * element_bytes;
}

static int apply_cmdline(const struct guest_args *a, struct guest_config *c, struct diag *d)
{
	int err = 0;

	if (a->cmdline) {
		c->given |= CONFIG_BIT(CONFIG_CMDLINE);
		err = put_text(&c->cmdline, a->cmdline, d);
	}
	for (unsigned int i = 0; !err && i < a->cmdline_add_count; i++) {
		char **at = array_grow(&c->cmdline_add, &c->cmdline_add_count, sizeof(*at));

		c->given |= CONFIG_BIT(CONFIG_CMDLINE_ADD);
		err = at ? put_text(at, a->cmdline_add[i], d) : no_memory(d);
	}
	return err;
}

/* One word behind a disk's path. */
static int disk_word(const char *disk, const char *word, struct config_block *b, struct diag *d)
{
	static const char *const words[] = {"rw", "ro", "volatile", "file", "qcow", "block"};
	static const uint8_t values[] = {BLOCK_READ_WRITE, BLOCK_READ_ONLY, BLOCK_VOLATILE_WRITE,
		BLOCK_FILE, BLOCK_QCOW, BLOCK_BLOCK};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i]) != 0)
			continue;
		if (i < 3)
			b->mode = values[i];
		else
			b->format = values[i];
		return 0;
	}
	return diag_fail(d, -EINVAL,
		"--disk %.200s: \"%.32s\" is unknown: modes are rw, ro, volatile, formats file, "
		"qcow, block; did you mean \"%s\"?",
		disk, word, nearest_word(word, words, ARRAY_SIZE(words)));
}

static bool block_id_taken(const struct guest_config *c, const char *id)
{
	for (uint32_t i = 0; i + 1 < c->block_count; i++)
		if (c->blocks[i].id && !strcmp(c->blocks[i].id, id))
			return true;
	return false;
}

/* "disk0", "disk1"…: the first that no other disk has. */
static int block_name(struct guest_config *c, struct config_block *b, struct diag *d)
{
	char id[16];
	unsigned int n = 0;

	do
		snprintf(id, sizeof(id), "disk%u", n++);
	while (block_id_taken(c, id));
	return put_text(&b->id, id, d);
}

static int apply_disk(const char *disk, struct guest_config *c, struct diag *d)
{
	struct config_block *b = array_grow(&c->blocks, &c->block_count, sizeof(*b));
	char *words, *word, *save = NULL;
	int err;

	if (!b)
		return no_memory(d);
	*b = (struct config_block){.mode = BLOCK_READ_WRITE, .format = BLOCK_FILE, .file.fd = -1};
	c->given |= CONFIG_BIT(CONFIG_BLOCK_DEVICES);
	words = strdup(disk);
	if (!words)
		return no_memory(d);
	word = strtok_r(words, ",", &save);
	err = put_text(&b->file.path, word ? word : "", d);
	while (!err && (word = strtok_r(NULL, ",", &save)))
		err = disk_word(disk, word, b, d);
	free(words);
	return err ? err : block_name(c, b, d);
}

/* A locally administered address of its own; two guests on one bridge must differ. */
static int random_mac(uint8_t mac[6], struct diag *d)
{
	if (getrandom(mac, 6, 0) != 6)
		return diag_errno(d, -errno, "no random MAC address");
	mac[0] = (mac[0] & 0xfc) | 2;
	return 0;
}

static int apply_net(const char *tap, struct guest_config *c, struct diag *d)
{
	struct config_net *n = array_grow(&c->nets, &c->net_count, sizeof(*n));
	int err;

	if (!n)
		return no_memory(d);
	c->given |= CONFIG_BIT(CONFIG_NET_DEVICES);
	err = random_mac(n->mac, d);
	return err ? err : put_text(&n->tap, tap, d);
}

static void apply_numbers(const struct guest_args *a, struct guest_config *c)
{
#define PUT(bit, field, value)                                                                     \
	if (a->given & CONFIG_BIT(bit))                                                            \
	c->field = a->value
	PUT(CONFIG_CPUS, cpus, cpus);
	PUT(CONFIG_GUEST_MEMORY, guest_memory, memory);
	PUT(CONFIG_BALLOON, balloon, balloon);
	PUT(CONFIG_CONSOLE, console, console);
	PUT(CONFIG_RNG, rng, rng);
	PUT(CONFIG_VSOCK, vsock, vsock);
	PUT(CONFIG_MEM, mem, mem);
	PUT(CONFIG_DEFAULT_NET, default_net, default_net);
	PUT(CONFIG_MEM_BLOCK_SIZE, mem_block_size, mem_block_size);
	PUT(CONFIG_MEM_REGION_SIZE, mem_region_size, mem_region_size);
	PUT(CONFIG_MEM_REGION_ALIGNMENT, mem_region_alignment, mem_region_alignment);
	PUT(CONFIG_GUEST_CID, guest_cid, guest_cid);
	PUT(CONFIG_HOME_CORE, home_core, home_core);
#undef PUT
	c->given |= a->given;
}

/* What to boot; a kernel on the command line takes the place of the file's choice. */
static int apply_kernel(const struct guest_args *a, struct guest_config *c, struct diag *d)
{
	int err = 0;

	if (a->builtin && a->kernel)
		return diag_fail(d, -EINVAL,
			"--builtin and --kernel exclude each other: leave one of them out");
	if (a->kernel) {
		c->kernel_type = KERNEL_LINUX;
		c->given |= CONFIG_BIT(CONFIG_KERNEL_TYPE) | CONFIG_BIT(CONFIG_KERNEL);
		err = put_text(&c->kernel.path, a->kernel, d);
	} else if (a->builtin || !a->config) {
		free(c->kernel.path);
		c->kernel.path = NULL;
		c->kernel_type = KERNEL_BUILTIN;
		c->given |= CONFIG_BIT(CONFIG_KERNEL_TYPE);
		c->given &= ~CONFIG_BIT(CONFIG_KERNEL);
	}
	if (!err && a->initrd) {
		c->given |= CONFIG_BIT(CONFIG_RAMDISK);
		err = put_text(&c->ramdisk.path, a->initrd, d);
	}
	return err;
}

static void apply_defaults(struct guest_config *c)
{
	if (!(c->given & CONFIG_BIT(CONFIG_CPUS)))
		c->cpus = 1;
	if (!(c->given & CONFIG_BIT(CONFIG_GUEST_MEMORY)))
		c->guest_memory = DEFAULT_MEMORY;
	c->given |= CONFIG_BIT(CONFIG_CPUS) | CONFIG_BIT(CONFIG_GUEST_MEMORY);
}

int guest_args_apply(const struct guest_args *a, struct guest_config *c, struct diag *d)
{
	int err = a->config ? config_load_json(c, a->config, d) : 0;

	if (err)
		return err;
	apply_numbers(a, c);
	if (!a->config)
		apply_defaults(c);
	err = apply_kernel(a, c, d);
	if (!err)
		err = apply_cmdline(a, c, d);
	for (unsigned int i = 0; !err && i < a->disk_count; i++)
		err = apply_disk(a->disks[i], c, d);
	for (unsigned int i = 0; !err && i < a->net_count; i++)
		err = apply_net(a->nets[i], c, d);
	if (!err && a->vsock_uds_path) {
		c->given |= CONFIG_BIT(CONFIG_VSOCK_UDS_PATH);
		err = put_text(&c->vsock_uds_path, a->vsock_uds_path, d);
	}
	return err ? err : paths_absolute(c, d);
}

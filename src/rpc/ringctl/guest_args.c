/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `ringctl launch`: what each takes, and where it goes. */
#include "rpc/ringctl/guest_args.h"

#include <errno.h>
#include <string.h>

#include "core/check.h"

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

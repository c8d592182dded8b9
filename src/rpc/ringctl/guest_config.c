/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration that the options of `ringctl launch` and its file make together. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/check.h"
#include "core/nearest.h"
#include "rpc/ringctl/guest_args.h"

#define DEFAULT_MEMORY (256ULL << 20)

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
#define PUT(ordinal, field, value)                                                                 \
	do {                                                                                       \
		if (a->given & CONFIG_BIT(ordinal))                                                \
			c->field = a->value;                                                       \
	} while (0)
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

static int args_apply(const struct guest_args *a, struct guest_config *c, struct diag *d)
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

/* --- to the library's form --- */

static bool given(const struct guest_config *c, enum config_ordinal ordinal)
{
	return c->given & CONFIG_BIT(ordinal);
}

static void put_scalars(struct rv_config *to, const struct guest_config *c)
{
	static const struct {
		enum config_ordinal ordinal;
		enum rv_device device;
		size_t offset;
	} devices[] = {
		{CONFIG_DEFAULT_NET, RV_DEVICE_DEFAULT_NET,
			offsetof(struct guest_config, default_net)},
		{CONFIG_BALLOON, RV_DEVICE_BALLOON, offsetof(struct guest_config, balloon)},
		{CONFIG_CONSOLE, RV_DEVICE_CONSOLE, offsetof(struct guest_config, console)},
		{CONFIG_RNG, RV_DEVICE_RNG, offsetof(struct guest_config, rng)},
		{CONFIG_VSOCK, RV_DEVICE_VSOCK, offsetof(struct guest_config, vsock)},
		{CONFIG_MEM, RV_DEVICE_MEM, offsetof(struct guest_config, mem)},
	};

	rv_config_set_kernel_type(to, (enum rv_kernel_type)c->kernel_type);
	rv_config_set_cpus(to, c->cpus);
	rv_config_set_memory(to, c->guest_memory);
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		if (given(c, devices[i].ordinal))
			rv_config_set_device(to, devices[i].device,
				*(const bool *)((const char *)c + devices[i].offset));
	if (c->mem)
		rv_config_set_mem(
			to, c->mem_block_size, c->mem_region_size, c->mem_region_alignment);
	if (given(c, CONFIG_GUEST_CID))
		rv_config_set_guest_cid(to, c->guest_cid);
	if (given(c, CONFIG_HOME_CORE))
		rv_config_set_home_core(to, c->home_core);
	if (given(c, CONFIG_VSOCK_GUEST_TO_GUEST))
		rv_config_set_vsock_guest_to_guest(to, c->vsock_guest_to_guest);
}

static int put_boot(struct rv_config *to, const struct guest_config *c, struct rv_error *e)
{
	int err = 0;

	if (c->kernel.path)
		err = rv_config_set_kernel(to, RV_PATH(c->kernel.path), e);
	if (!err && c->ramdisk.path)
		err = rv_config_set_ramdisk(to, RV_PATH(c->ramdisk.path), e);
	if (!err && c->cmdline)
		err = rv_config_set_cmdline(to, c->cmdline, e);
	for (uint32_t i = 0; !err && i < c->cmdline_add_count; i++)
		err = rv_config_add_cmdline(to, c->cmdline_add[i], e);
	if (!err && c->vsock_uds_path)
		err = rv_config_set_vsock_uds_path(to, c->vsock_uds_path, e);
	return err;
}

static int put_lists(struct rv_config *to, const struct guest_config *c, struct rv_error *e)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < c->block_count; i++) {
		const struct config_block *b = &c->blocks[i];

		err = rv_config_add_block(to, b->id, (enum rv_block_mode)b->mode,
			(enum rv_block_format)b->format, RV_PATH(b->file.path), e);
	}
	for (uint32_t i = 0; !err && i < c->net_count; i++)
		err = rv_config_add_net(
			to, c->nets[i].mac, c->nets[i].enable_bridge, c->nets[i].tap, e);
	for (uint32_t i = 0; !err && i < c->listener_count; i++)
		err = rv_config_add_listener(
			to, c->listeners[i].port, c->listeners[i].acceptor_id, e);
	return err;
}

static struct rv_config *config_to_rv(const struct guest_config *c, struct diag *d)
{
	struct rv_config *to = rv_config_create();
	struct rv_error e;

	if (!to) {
		no_memory(d);
		return NULL;
	}
	put_scalars(to, c);
	if (put_boot(to, c, &e) || put_lists(to, c, &e)) {
		diag_fail(d, -EINVAL, "%s", e.detail);
		rv_config_destroy(to);
		return NULL;
	}
	return to;
}

struct rv_config *guest_args_config(const struct guest_args *a, struct diag *d)
{
	/* What the daemon has is the daemon's to judge; all else is known here. */
	static const struct config_limits limits = {.cores = UINT_MAX, .built_devices = ~0ULL};
	struct rv_config *made = NULL;
	struct guest_config c;

	config_init(&c);
	if (!args_apply(a, &c, d) && !config_check(&c, &limits, d))
		made = config_to_rv(&c, d);
	config_finish(&c);
	return made;
}

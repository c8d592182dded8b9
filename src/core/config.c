/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's configuration as an object: defaults, ownership, the joined command line, sizes. */
#include "core/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"

const char *config_field_name(unsigned int ordinal)
{
	static const char *const names[] = {
		[CONFIG_KERNEL_TYPE] = "kernel_type",
		[CONFIG_KERNEL] = "kernel",
		[CONFIG_RAMDISK] = "ramdisk",
		[CONFIG_DTB_OVERLAY] = "dtb_overlay",
		[CONFIG_CMDLINE] = "cmdline",
		[CONFIG_CMDLINE_ADD] = "cmdline_add",
		[CONFIG_CPUS] = "cpus",
		[CONFIG_GUEST_MEMORY] = "guest_memory",
		[CONFIG_BLOCK_DEVICES] = "block_devices",
		[CONFIG_NET_DEVICES] = "net_devices",
		[CONFIG_WAYLAND] = "wayland",
		[CONFIG_MAGMA] = "magma",
		[CONFIG_DEFAULT_NET] = "default_net",
		[CONFIG_BALLOON] = "virtio_balloon",
		[CONFIG_CONSOLE] = "virtio_console",
		[CONFIG_GPU] = "gpu",
		[CONFIG_RNG] = "virtio_rng",
		[CONFIG_VSOCK] = "virtio_vsock",
		[CONFIG_SOUND] = "sound",
		[CONFIG_SOUND_INPUT] = "sound_input",
		[CONFIG_VSOCK_LISTENERS] = "vsock_listeners",
		[CONFIG_MEM] = "virtio_mem",
		[CONFIG_MEM_BLOCK_SIZE] = "virtio_mem_block_size",
		[CONFIG_MEM_REGION_SIZE] = "virtio_mem_region_size",
		[CONFIG_MEM_REGION_ALIGNMENT] = "virtio_mem_region_alignment",
		[CONFIG_GUEST_CID] = "guest_cid",
		[CONFIG_VSOCK_UDS_PATH] = "vsock_uds_path",
		[CONFIG_HOME_CORE] = "home_core",
		[CONFIG_VSOCK_GUEST_TO_GUEST] = "vsock_guest_to_guest",
	};

	return ordinal < ARRAY_SIZE(names) ? names[ordinal] : NULL;
}

void config_init(struct guest_config *c)
{
	*c = (struct guest_config){
		.kernel.fd = -1,
		.ramdisk.fd = -1,
		.dtb_overlay.fd = -1,
		.mem_block_size = 2ULL << 20,
		.mem_region_alignment = 128ULL << 20,
		.guest_cid = 3,
	};
}

static void file_finish(struct config_file *f)
{
	free(f->path);
	if (f->fd >= 0)
		close(f->fd);
}

void config_finish(struct guest_config *c)
{
	file_finish(&c->kernel);
	file_finish(&c->ramdisk);
	file_finish(&c->dtb_overlay);
	free(c->cmdline);
	for (uint32_t i = 0; i < c->cmdline_add_count; i++)
		free(c->cmdline_add[i]);
	free(c->cmdline_add);
	for (uint32_t i = 0; i < c->block_count; i++) {
		free(c->blocks[i].id);
		file_finish(&c->blocks[i].file);
	}
	free(c->blocks);
	for (uint32_t i = 0; i < c->net_count; i++)
		free(c->nets[i].tap);
	free(c->nets);
	free(c->listeners);
	free(c->vsock_uds_path);
	config_init(c);
}

void config_move(struct guest_config *to, struct guest_config *from)
{
	*to = *from;
	config_init(from);
}

/* Appends `part` after one space; empty parts add nothing. `at` NULL: only counts. Returns the new
 * length. */
static size_t cmdline_append(char *at, size_t len, const char *part)
{
	size_t add = part ? strlen(part) : 0;

	if (!add)
		return len;
	if (len) {
		if (at)
			at[len] = ' ';
		len++;
	}
	if (at)
		memcpy(at + len, part, add);
	return len + add;
}

static size_t cmdline_join(const struct guest_config *c, char *at)
{
	size_t len = cmdline_append(at, 0, c->cmdline);

	for (uint32_t i = 0; i < c->cmdline_add_count; i++)
		len = cmdline_append(at, len, c->cmdline_add[i]);
	return len;
}

size_t config_cmdline_length(const struct guest_config *c)
{
	return cmdline_join(c, NULL);
}

char *config_cmdline(const struct guest_config *c)
{
	size_t len = cmdline_join(c, NULL);
	char *joined = malloc(len + 1);

	if (!joined)
		return NULL;
	cmdline_join(c, joined);
	joined[len] = '\0';
	return joined;
}

/* The power of two that a unit stands for, or -1. */
static int size_shift(const char *unit)
{
	if (!*unit)
		return 0;
	if (unit[1])
		return -1;
	switch (*unit) {
	case 'b':
	case 'B':
		return 0;
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return -1;
	}
}

int config_parse_size(const char *text, uint64_t *bytes, struct diag *d)
{
	const char *at = text;
	uint64_t value = 0;
	bool fits = true;
	int shift;

	for (; *at >= '0' && *at <= '9'; at++)
		fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
		       !__builtin_add_overflow(value, *at - '0', &value);
	shift = size_shift(at);
	if (at == text || shift < 0)
		return diag_fail(d, -EINVAL,
			"\"%.64s\" is not a size: write digits and one of b, k, M, G, as in 64M",
			text);
	if (!fits || value > UINT64_MAX >> shift)
		return diag_fail(d, -ERANGE,
			"the size \"%.64s\" does not fit 64 bits: the largest is 17179869183G",
			text);
	*bytes = value << shift;
	return 0;
}

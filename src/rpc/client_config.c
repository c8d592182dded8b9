/* SPDX-License-Identifier: Apache-2.0 */
/* A config of the client library: the daemon's own struct, filled in by setters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/client_private.h"

static int out_of_memory(struct rv_error *e)
{
	return client_fail_errno(e, ENOMEM, "out of memory for a config");
}

static void give(struct rv_config *config, enum config_ordinal ordinal)
{
	config->c.given |= CONFIG_BIT(ordinal);
}

struct rv_config *rv_config_create(void)
{
	struct rv_config *config = malloc(sizeof(*config));

	if (config)
		config_init(&config->c);
	return config;
}

void rv_config_destroy(struct rv_config *config)
{
	if (config)
		config_finish(&config->c);
	free(config);
}

int rv_config_load(struct rv_config *config, const char *path, struct rv_error *e)
{
	struct diag d;
	int err = config_load_json(&config->c, path, &d);

	return err ? client_fail_errno(e, -err, "%s", d.text) : 0;
}

int rv_config_parse(struct rv_config *config, const char *name, const char *text, size_t len_bytes,
	struct rv_error *e)
{
	struct diag d;
	int err = config_parse_json(&config->c, name, text, len_bytes, &d);

	return err ? client_fail_errno(e, -err, "%s", d.text) : 0;
}

void rv_config_set_kernel_type(struct rv_config *config, enum rv_kernel_type type)
{
	config->c.kernel_type = type;
	give(config, CONFIG_KERNEL_TYPE);
}

void rv_config_set_cpus(struct rv_config *config, uint8_t cpus)
{
	config->c.cpus = cpus;
	give(config, CONFIG_CPUS);
}

void rv_config_set_memory(struct rv_config *config, uint64_t bytes)
{
	config->c.guest_memory = bytes;
	give(config, CONFIG_GUEST_MEMORY);
}

/* Replaces *to, which has to be initialised; takes file.fd in any case. */
static int set_file(struct config_file *to, struct rv_file file, struct rv_error *e)
{
	char *path = NULL;

	if (file.path && file.fd >= 0) {
		close(file.fd);
		return client_fail_errno(e, EINVAL, "a file is a path or a descriptor, not both");
	}
	if (!file.path && file.fd < 0)
		return client_fail_errno(e, EINVAL, "a file needs a path or a descriptor");
	if (file.path) {
		path = strdup(file.path);
		if (!path)
			return out_of_memory(e);
	}
	free(to->path);
	if (to->fd >= 0)
		close(to->fd);
	to->path = path;
	to->fd = file.fd;
	return 0;
}

int rv_config_set_kernel(struct rv_config *config, struct rv_file file, struct rv_error *e)
{
	if (set_file(&config->c.kernel, file, e))
		return -1;
	give(config, CONFIG_KERNEL);
	return 0;
}

int rv_config_set_ramdisk(struct rv_config *config, struct rv_file file, struct rv_error *e)
{
	if (set_file(&config->c.ramdisk, file, e))
		return -1;
	give(config, CONFIG_RAMDISK);
	return 0;
}

static int set_string(char **to, const char *from, struct rv_error *e)
{
	char *copy = strdup(from ? from : "");

	if (!copy)
		return out_of_memory(e);
	free(*to);
	*to = copy;
	return 0;
}

int rv_config_set_cmdline(struct rv_config *config, const char *cmdline, struct rv_error *e)
{
	if (set_string(&config->c.cmdline, cmdline, e))
		return -1;
	give(config, CONFIG_CMDLINE);
	return 0;
}

/* Room for one more of `size_bytes`, zeroed, behind `count`; NULL with *e. */
static void *grow(void *array, uint32_t count, size_t size_bytes, struct rv_error *e)
{
	void *bigger = reallocarray(array, count + (size_t)1, size_bytes);

	if (!bigger) {
		out_of_memory(e);
		return NULL;
	}
	memset((char *)bigger + count * size_bytes, 0, size_bytes);
	return bigger;
}

int rv_config_add_cmdline(struct rv_config *config, const char *cmdline, struct rv_error *e)
{
	struct guest_config *c = &config->c;
	char **bigger = grow(c->cmdline_add, c->cmdline_add_count, sizeof(*bigger), e);

	if (!bigger)
		return -1;
	c->cmdline_add = bigger;
	if (set_string(&bigger[c->cmdline_add_count], cmdline, e))
		return -1;
	c->cmdline_add_count++;
	give(config, CONFIG_CMDLINE_ADD);
	return 0;
}

int rv_config_add_block(struct rv_config *config, const char *id, enum rv_block_mode mode,
	enum rv_block_format format, struct rv_file file, struct rv_error *e)
{
	struct config_block b = {.mode = (uint8_t)mode, .format = (uint8_t)format, .file.fd = -1};
	struct guest_config *c = &config->c;
	struct config_block *bigger;

	if (set_file(&b.file, file, e))
		return -1;
	bigger = grow(c->blocks, c->block_count, sizeof(*bigger), e);
	if (bigger)
		c->blocks = bigger;
	if (!bigger || set_string(&b.id, id, e)) {
		free(b.file.path);
		if (b.file.fd >= 0)
			close(b.file.fd);
		return -1;
	}
	c->blocks[c->block_count++] = b;
	give(config, CONFIG_BLOCK_DEVICES);
	return 0;
}

int rv_config_add_net(struct rv_config *config, const uint8_t mac[6], bool enable_bridge,
	const char *tap, struct rv_error *e)
{
	struct guest_config *c = &config->c;
	struct config_net *bigger = grow(c->nets, c->net_count, sizeof(*bigger), e);

	if (!bigger)
		return -1;
	c->nets = bigger;
	memcpy(bigger[c->net_count].mac, mac, 6);
	bigger[c->net_count].enable_bridge = enable_bridge;
	if (set_string(&bigger[c->net_count].tap, tap, e))
		return -1;
	c->net_count++;
	give(config, CONFIG_NET_DEVICES);
	return 0;
}

void rv_config_set_device(struct rv_config *config, enum rv_device device, bool on)
{
	static const struct {
		enum config_ordinal ordinal;
		size_t offset;
	} devices[] = {
		[RV_DEVICE_DEFAULT_NET] = {CONFIG_DEFAULT_NET,
			offsetof(struct guest_config, default_net)},
		[RV_DEVICE_BALLOON] = {CONFIG_BALLOON, offsetof(struct guest_config, balloon)},
		[RV_DEVICE_CONSOLE] = {CONFIG_CONSOLE, offsetof(struct guest_config, console)},
		[RV_DEVICE_RNG] = {CONFIG_RNG, offsetof(struct guest_config, rng)},
		[RV_DEVICE_VSOCK] = {CONFIG_VSOCK, offsetof(struct guest_config, vsock)},
		[RV_DEVICE_MEM] = {CONFIG_MEM, offsetof(struct guest_config, mem)},
	};

	if ((size_t)device >= ARRAY_SIZE(devices))
		return;
	*(bool *)((char *)&config->c + devices[device].offset) = on;
	give(config, devices[device].ordinal);
}

void rv_config_set_mem(struct rv_config *config, uint64_t block_size, uint64_t region_size,
	uint64_t region_alignment)
{
	struct guest_config *c = &config->c;

	if (block_size) {
		c->mem_block_size = block_size;
		give(config, CONFIG_MEM_BLOCK_SIZE);
	}
	if (region_size) {
		c->mem_region_size = region_size;
		give(config, CONFIG_MEM_REGION_SIZE);
	}
	if (region_alignment) {
		c->mem_region_alignment = region_alignment;
		give(config, CONFIG_MEM_REGION_ALIGNMENT);
	}
}

void rv_config_set_guest_cid(struct rv_config *config, uint32_t cid)
{
	config->c.guest_cid = cid;
	give(config, CONFIG_GUEST_CID);
}

int rv_config_set_vsock_uds_path(struct rv_config *config, const char *path, struct rv_error *e)
{
	if (set_string(&config->c.vsock_uds_path, path, e))
		return -1;
	give(config, CONFIG_VSOCK_UDS_PATH);
	return 0;
}

void rv_config_set_home_core(struct rv_config *config, uint32_t core)
{
	config->c.home_core = core;
	give(config, CONFIG_HOME_CORE);
}

void rv_config_set_vsock_guest_to_guest(struct rv_config *config, bool on)
{
	config->c.vsock_guest_to_guest = on;
	give(config, CONFIG_VSOCK_GUEST_TO_GUEST);
}

int rv_config_add_listener(
	struct rv_config *config, uint32_t port, rv_object acceptor, struct rv_error *e)
{
	struct guest_config *c = &config->c;
	struct config_listener *bigger = grow(c->listeners, c->listener_count, sizeof(*bigger), e);

	if (!bigger)
		return -1;
	c->listeners = bigger;
	bigger[c->listener_count++] = (struct config_listener){port, acceptor};
	give(config, CONFIG_VSOCK_LISTENERS);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of a guest's configuration (the wire's GuestConfig table), its rules and its JSON form.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/guest_error.h"

enum kernel_type { KERNEL_ZIRCON = 0, KERNEL_LINUX = 1, KERNEL_BUILTIN = 2 };
enum block_mode { BLOCK_READ_WRITE = 0, BLOCK_READ_ONLY = 1, BLOCK_VOLATILE_WRITE = 2 };
enum block_format { BLOCK_FILE = 1, BLOCK_QCOW = 2, BLOCK_BLOCK = 3 };

/* A file by path or by descriptor. Both owned by the config; path NULL and fd -1: none. */
struct config_file {
	char *path;
	int fd;
};

struct config_block {
	char *id; /* 1..20 bytes */
	uint8_t mode, format;
	struct config_file file;
};

struct config_net {
	uint8_t mac[6];
	bool enable_bridge;
	char *tap;
};

struct config_listener {
	uint32_t port, acceptor_id;
};

/* Bit i: the field with ordinal i was given (ordinals ≥ 100 are bits 32 + ordinal - 100). */
#define CONFIG_BIT(ordinal) (1ULL << ((ordinal) < 100 ? (ordinal) : 32 + (ordinal)-100))

enum config_ordinal {
	CONFIG_KERNEL_TYPE = 1,
	CONFIG_KERNEL = 2,
	CONFIG_RAMDISK = 3,
	CONFIG_DTB_OVERLAY = 4,
	CONFIG_CMDLINE = 5,
	CONFIG_CMDLINE_ADD = 6,
	CONFIG_CPUS = 7,
	CONFIG_GUEST_MEMORY = 8,
	CONFIG_BLOCK_DEVICES = 9,
	CONFIG_NET_DEVICES = 10,
	CONFIG_WAYLAND = 11,
	CONFIG_MAGMA = 12,
	CONFIG_DEFAULT_NET = 13,
	CONFIG_BALLOON = 14,
	CONFIG_CONSOLE = 15,
	CONFIG_GPU = 16,
	CONFIG_RNG = 17,
	CONFIG_VSOCK = 18,
	CONFIG_SOUND = 19,
	CONFIG_SOUND_INPUT = 20,
	CONFIG_VSOCK_LISTENERS = 21,
	CONFIG_MEM = 22,
	CONFIG_MEM_BLOCK_SIZE = 23,
	CONFIG_MEM_REGION_SIZE = 24,
	CONFIG_MEM_REGION_ALIGNMENT = 25,
	CONFIG_GUEST_CID = 100,
	CONFIG_VSOCK_UDS_PATH = 101,
	CONFIG_HOME_CORE = 102,
	CONFIG_VSOCK_GUEST_TO_GUEST = 103,
};

#define CONFIG_CMDLINE_MAX   2047
#define CONFIG_DEVICES_MAX   32
#define CONFIG_LISTENERS_MAX 1024

/* One owner at a time; no thread of its own. */
struct guest_config {
	uint64_t given; /* CONFIG_BIT of each field that was set */
	uint32_t kernel_type;
	struct config_file kernel, ramdisk, dtb_overlay;
	char *cmdline;
	char **cmdline_add;
	uint32_t cmdline_add_count;
	uint8_t cpus;
	uint64_t guest_memory; /* bytes, as given; config_check rounds it up to 4096 */
	struct config_block *blocks;
	uint32_t block_count;
	struct config_net *nets;
	uint32_t net_count;
	bool default_net, balloon, console, rng, vsock, mem;
	bool wayland, magma, gpu, sound, sound_input; /* refused */
	struct config_listener *listeners;
	uint32_t listener_count;
	uint64_t mem_block_size, mem_region_size, mem_region_alignment;
	uint32_t guest_cid;
	char *vsock_uds_path;
	uint32_t home_core;
	bool vsock_guest_to_guest;
};

/* config_init: all defaults of the wire's table. config_finish: frees and closes all it owns; safe
 * twice. */
void config_init(struct guest_config *c);
void config_finish(struct guest_config *c);
/* config_move: *to takes over what *from owned; *from is as after config_init. */
void config_move(struct guest_config *to, struct guest_config *from);

/* What the checks need to know of this daemon. */
struct config_limits {
	unsigned int cores;     /* home_core < cores */
	uint64_t built_devices; /* CONFIG_BIT of each device that this build has; others are refused
				 * as "not built yet" */
};

/* config_check: every rule of the wire's table and of conformance.md that the config alone can
 * break, in the order of the ordinals; rounds guest_memory up. Returns GUEST_OK or GUEST_BAD_CONFIG
 * with field, value, limit and remedy in `d`. Only after all of those come the two faults that
 * conformance.md calls GUEST_DEVICE_START_FAILURE: a QCOW disk to be written, a duplicate listener
 * port (which Launch answers with BAD_CONFIG). */
enum guest_error config_check(
	struct guest_config *c, const struct config_limits *limits, struct diag *d);

/* config_listeners_clash: true if two vsock_listeners have one port. */
bool config_listeners_clash(const struct guest_config *c);

/* config_check_field: only those rules of one field that hold whatever the other fields are: for
 * readers that know where the field stood. 0 or -EINVAL with the text. */
int config_check_field(struct guest_config *c, enum config_ordinal ordinal, struct diag *d);

/* config_field_name: the wire's name of a field ("guest_memory"); NULL for an ordinal that has
 * none. The JSON key is the same with '-' for '_'. */
const char *config_field_name(unsigned int ordinal);

/* config_cmdline: cmdline and each cmdline_add joined by one space (empty ones add nothing); heap,
 * the caller frees; NULL on -ENOMEM. config_cmdline_length: its length in bytes. */
char *config_cmdline(const struct guest_config *c);
size_t config_cmdline_length(const struct guest_config *c);

/* config_parse_size: "64M": decimal digits and one of b, k, M, G (powers of 1024; none: bytes) →
 * bytes. Case does not matter. -EINVAL (not a size), -ERANGE (does not fit 64 bits), with the text
 * in `d`. */
int config_parse_size(const char *text, uint64_t *bytes, struct diag *d);

/* config_load_json: sets the fields that the JSON object has (kebab-case keys, sizes as strings
 * with a unit or numbers) on an initialised config. Unknown keys are errors that name the nearest
 * known key; what config_check_field refuses is refused here; every error has file, line and
 * column. -EINVAL, -errno of reading. config_parse_json: the same from memory; `name` stands for
 * the file's. */
int config_load_json(struct guest_config *c, const char *path, struct diag *d);
int config_parse_json(struct guest_config *c, const char *name, const char *text, size_t len_bytes,
	struct diag *d);

#endif

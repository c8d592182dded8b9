/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images into guest memory, and what they want to find when they start.
 *
 * ELF: by its PVH note, else by the 64-bit Linux entry. bzImage: its payload is unpacked on the
 * host and the ELF inside entered directly; failing that, by its own 64-bit entry. */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/gmem.h"

/* A file's bytes: read-only, mapped or on the heap. */
struct blob {
	const uint8_t *data;
	size_t len_bytes;
	const char *name; /* for errors: a path, or "built-in guest"; not owned */
	enum { BLOB_NONE, BLOB_STATIC, BLOB_MAPPED, BLOB_HEAP } kind;
};

/* blob_open: maps the regular file at `path`, or the one that `fd` (not owned) refers to if path is
 * NULL. Errors: -errno of open (missing, unreadable), -EISDIR, -EINVAL (not a regular file, empty),
 * -EFBIG (> max_bytes). */
int blob_open(struct blob *b, const char *path, int fd, uint64_t max_bytes, struct diag *d);
void blob_finish(struct blob *b);

enum boot_protocol {
	BOOT_PVH,     /* 32-bit protected mode, EBX = start info */
	BOOT_LINUX64, /* 64-bit long mode, identity map, RSI = boot_params */
};

/* What the boot CPU starts with. */
struct boot_entry {
	enum boot_protocol protocol;
	gpa_t entry;
	gpa_t info; /* PVH start info or boot_params */
};

struct loader_params {
	const struct blob *kernel;
	const struct blob *initrd; /* NULL: none */
	const char *cmdline;       /* ≤ CONFIG_CMDLINE_MAX bytes */
	unsigned int cpus;
	gpa_t rsdp; /* from acpi_build */
};

/* loader_load: puts kernel, initrd, command line, boot GDT and page tables, memory map and start
 * info or boot_params into `m`. Blocking; before any vCPU runs. Errors: -ENOEXEC (not a kernel,
 * truncated, corrupt: file, offset and what was expected), -EFBIG (does not fit the guest's
 * memory), -ENOMEM, -EINVAL. */
int loader_load(
	struct gmem *m, const struct loader_params *p, struct boot_entry *entry, struct diag *d);

/* loader_unpack: the uncompressed payload of a bzImage, on the heap (gzip, xz, lz4, zstd; by
 * setup_header's payload_offset/length). Exposed for tests and fuzzing. -ENOEXEC, -ENOMEM, -EFBIG.
 */
int loader_unpack(const struct blob *bzimage, struct blob *out, struct diag *d);

#endif

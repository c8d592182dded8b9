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

/* A file's bytes, our own copy of them: read-only, in pages of their own or on the heap. */
struct blob {
	const uint8_t *data;
	size_t len_bytes;
	const char *name; /* for errors: a path, or "built-in guest"; not owned */
	enum { BLOB_NONE, BLOB_STATIC, BLOB_MAPPED, BLOB_HEAP } kind;
};

/* blob_open: reads the regular file at `path`, or the one that `fd` (not owned, its position is
 * neither used nor moved) refers to if path is NULL, into pages of their own. Not a mapping of the
 * file: whoever owns that could cut it short and so end us by SIGBUS. Blocking. Errors: -errno of
 * open and read (missing, unreadable), -EISDIR, -EINVAL (not a regular file, empty, shrunk
 * meanwhile), -EFBIG (> max_bytes), -ENOMEM. `path` must outlive the blob. */
int blob_open(struct blob *b, const char *path, int fd, uint64_t max_bytes, struct diag *d);
/* blob_finish: safe on a zeroed blob, after a failed open, and twice. */
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

/* The boot GDT at LAYOUT_BOOT_GDT: selectors, and the bytes it has (a TSS descriptor takes 16 in
 * long mode). Always there, as are the page tables: AP wake-up uses both. */
#define LOADER_CS64      0x10 /* Linux's __BOOT_CS */
#define LOADER_DS        0x18 /* Linux's __BOOT_DS; flat, for both modes */
#define LOADER_CS32      0x20
#define LOADER_TSS       0x28 /* busy 32-bit TSS, base 0, limit 0x67 */
#define LOADER_GDT_BYTES 0x38

struct loader_params {
	const struct blob *kernel;
	const struct blob *initrd; /* NULL: none */
	const char *cmdline;       /* ≤ CONFIG_CMDLINE_MAX bytes; NULL: empty */
	unsigned int cpus;
	gpa_t rsdp; /* from acpi_build */
};

/* The largest kernel file, and the largest initrd, that is worth reading: what low RAM can hold. */
#define LOADER_FILE_MAX GMEM_HOLE_START

/* loader_load: puts kernel, initrd, command line, boot GDT and page tables, memory map and start
 * info or boot_params into `m`, whose memory must be fresh (zero: bss is not touched). CPU work
 * only, but seconds of it for a large packed kernel; before any vCPU runs. Errors: -ENOEXEC (not a
 * kernel, truncated, corrupt: file, offset and what was expected), -EFBIG (does not fit the guest's
 * memory), -ENOMEM, -EINVAL. */
int loader_load(
	struct gmem *m, const struct loader_params *p, struct boot_entry *entry, struct diag *d);

/* loader_unpack: the uncompressed payload of a bzImage, on the heap (gzip, xz, lz4, zstd; by
 * setup_header's payload_offset/length). Exposed for tests and fuzzing. -ENOEXEC, -ENOMEM, -EFBIG.
 */
int loader_unpack(const struct blob *bzimage, struct blob *out, struct diag *d);

#endif

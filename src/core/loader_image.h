/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the loader: what its parts tell each other about a kernel. */
#ifndef CORE_LOADER_IMAGE_H
#define CORE_LOADER_IMAGE_H

#include <asm/bootparam.h>
#include <string.h>

#include "core/loader.h"

/* A kernel that has been put into guest memory. */
struct loader_image {
	enum boot_protocol protocol;
	gpa_t entry;
	uint64_t start, end;        /* what it takes of low RAM, bss and early needs included */
	uint64_t initrd_end;        /* the initrd must end here or below */
	uint32_t cmdline_max;       /* bytes that the kernel takes, without the NUL */
	struct setup_header header; /* for boot_params */
};

/* An initrd in guest memory; size 0: none. */
struct loader_initrd {
	uint64_t start, size_bytes;
};

/* blob_has: true if the file has [offset, offset + len_bytes). */
static inline bool blob_has(const struct blob *b, uint64_t offset, uint64_t len_bytes)
{
	return len_bytes <= b->len_bytes && offset <= b->len_bytes - len_bytes;
}

static inline uint32_t load_le32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* image_check_fit: 0 if [start, end), start <= end, lies in low RAM at or above
 * LAYOUT_KERNEL_MIN; else -EFBIG or -ENOEXEC with the remedy in `d`. */
int image_check_fit(
	const struct gmem *m, const struct blob *b, uint64_t start, uint64_t end, struct diag *d);

/* loader_elf: an x86-64 ELF by its program headers. Entered by its PVH note if it has one and
 * `pvh` allows it, else by its entry point as 64-bit Linux. Checks all before it writes. */
int loader_elf(
	struct gmem *m, const struct blob *b, bool pvh, struct loader_image *image, struct diag *d);

/* loader_bzimage: unpacks and loads the ELF inside or, where the compression is unknown, the image
 * as it is. */
int loader_bzimage(
	struct gmem *m, const struct blob *b, struct loader_image *image, struct diag *d);

/* A bzImage's parts, all within the file. */
struct bzimage {
	struct setup_header header; /* as far as the file's reaches, then zero */
	uint64_t setup_bytes;       /* real-mode part; the protected-mode part follows it */
	const uint8_t *payload;
	uint64_t payload_offset; /* in the file */
	size_t payload_bytes;
};

/* bzimage_is: true if there is a setup header at all. bzimage_parse: -ENOEXEC. */
bool bzimage_is(const struct blob *b);
int bzimage_parse(struct bzimage *z, const struct blob *b, struct diag *d);

/* payload_is_known: true if the payload's magic is that of a compression we have. */
bool payload_is_known(const struct bzimage *z);
/* payload_unpack: as loader_unpack, of a parsed image. */
int payload_unpack(const struct bzimage *z, const struct blob *b, struct blob *out, struct diag *d);

/* boot_tables_write: GDT and page tables. boot_params_write, start_info_write: what the kernel
 * finds, with the memory map; both return its address. */
void boot_tables_write(struct gmem *m);
gpa_t boot_params_write(struct gmem *m, const struct loader_image *image,
	const struct loader_initrd *initrd, gpa_t rsdp);
gpa_t start_info_write(struct gmem *m, const struct loader_initrd *initrd, gpa_t rsdp);

#endif

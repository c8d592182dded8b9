/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images made in memory: ELFs and bzImages as small as the loader accepts. */
#ifndef SUPPORT_KERNEL_IMAGE_H
#define SUPPORT_KERNEL_IMAGE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "core/loader.h"

/* Heap bytes of an exact size, so that a sanitizer sees a read past the end. image_free frees. */
struct image {
	uint8_t *data;
	size_t len_bytes;
};

void image_free(struct image *image);
/* image_cut: a copy of the first `len_bytes`. */
struct image image_cut(const struct image *image, size_t len_bytes);
/* image_blob: the image as the loader takes it; the image keeps the bytes. */
struct blob image_blob(const struct image *image);

struct image_segment {
	uint32_t type; /* PT_… */
	uint64_t paddr, vaddr, align;
	const void *bytes;
	uint64_t filesz, memsz;
};

/* image_elf: header, program headers, then the segments' bytes, each at a multiple of 16. */
struct image image_elf(const struct image_segment *segments, unsigned int count, uint64_t entry);
/* image_phdr: program header `i`, to be spoilt in place. */
Elf64_Phdr *image_phdr(const struct image *image, unsigned int i);

/* image_note: appends a note at `at` in `buffer`, padded to `pad`; returns where the next goes. */
size_t image_note(uint8_t *buffer, size_t at, size_t pad, const char *name, uint32_t type,
	const void *desc, uint32_t desc_bytes);

enum image_format { IMAGE_GZIP, IMAGE_XZ, IMAGE_LZ4, IMAGE_ZSTD, IMAGE_RAW, IMAGE_FORMATS };

/* image_bzimage: packs `payload`, with the trailing size that the kernel's build appends (not to
 * gzip; none to IMAGE_RAW, which is no compression and known to no one). Protocol 2.12, with a
 * 64-bit entry, preferred address 16 MiB, init_size 2 MiB. */
struct image image_bzimage(enum image_format format, const struct image *payload);
/* image_field: a 1 to 8 bytes' field of the setup header, by its offset in the file. */
void image_field(const struct image *image, size_t offset, unsigned int bytes, uint64_t value);

/* Where image_bzimage puts things. */
#define IMAGE_SETUP_BYTES  1024
#define IMAGE_PAYLOAD_AT   (IMAGE_SETUP_BYTES + 0x300)
#define IMAGE_PREF_ADDRESS 0x1000000ULL
#define IMAGE_INIT_SIZE    0x200000ULL

#endif

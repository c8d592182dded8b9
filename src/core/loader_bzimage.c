/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages (Linux/x86 boot protocol, Documentation/arch/x86/boot.rst): the setup header, the ELF in
 * the payload, or the image's own 64-bit entry. */
#include <errno.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/loader_image.h"

#define HEADER_OFFSET  0x1f1
#define JUMP_OFFSET    0x200 /* eb xx: a jump over the rest of the header, which so ends there */
#define MAGIC_OFFSET   0x202
#define VERSION_OFFSET 0x206
#define SECTOR         512
#define ENTRY64_OFFSET 0x200

#define VERSION_PAYLOAD 0x0208
#define VERSION_PREF    0x020a
#define VERSION_XLOAD   0x020c

bool bzimage_is(const struct blob *b)
{
	return blob_has(b, MAGIC_OFFSET, 4) && !memcmp(b->data + MAGIC_OFFSET, "HdrS", 4);
}

/* Copies as much of the setup header as the image has. */
static int header_read(struct bzimage *z, const struct blob *b, struct diag *d)
{
	const size_t least = offsetof(struct setup_header, setup_data);
	size_t len;

	if (!blob_has(b, HEADER_OFFSET, least))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated bzImage: %zu bytes; its setup header ends at 0x%zx at least",
			b->name, b->len_bytes, HEADER_OFFSET + least);
	len = MAGIC_OFFSET + b->data[JUMP_OFFSET + 1] - HEADER_OFFSET;
	if (len > sizeof(z->header))
		len = sizeof(z->header);
	if (len < least)
		len = least;
	if (!blob_has(b, HEADER_OFFSET, len))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated bzImage: %zu bytes; its setup header ends at 0x%zx", b->name,
			b->len_bytes, HEADER_OFFSET + len);
	memset(&z->header, 0, sizeof(z->header));
	memcpy(&z->header, b->data + HEADER_OFFSET, len);
	return 0;
}

int bzimage_parse(struct bzimage *z, const struct blob *b, struct diag *d)
{
	const struct setup_header *h = &z->header;
	int err;

	if (!bzimage_is(b))
		return diag_fail(d, -ENOEXEC,
			"%s: is not a bzImage: expected \"HdrS\" at offset 0x202", b->name);
	err = header_read(z, b, d);
	if (err)
		return err;
	if (h->boot_flag != 0xaa55)
		return diag_fail(d, -ENOEXEC,
			"%s: boot flag 0x%04x at offset 0x1fe; expected 0xaa55", b->name,
			h->boot_flag);
	if (h->version < VERSION_PAYLOAD)
		return diag_fail(d, -ENOEXEC,
			"%s: boot protocol %u.%02u at offset 0x206; expected 2.08 or later (Linux "
			"2.6.26)",
			b->name, h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return diag_fail(d, -ENOEXEC,
			"%s: load flags 0x%02x at offset 0x211 lack 0x01: a zImage; a bzImage is "
			"needed",
			b->name, h->loadflags);
	z->setup_bytes = ((h->setup_sects ? h->setup_sects : 4) + 1ULL) * SECTOR;
	z->payload_offset = z->setup_bytes + h->payload_offset;
	z->payload_bytes = h->payload_length;
	if (!blob_has(b, z->payload_offset, z->payload_bytes))
		return diag_fail(d, -ENOEXEC,
			"%s: truncated bzImage: its payload, %zu bytes at offset 0x%llx, ends "
			"beyond "
			"the file's %zu bytes",
			b->name, z->payload_bytes, (unsigned long long)z->payload_offset,
			b->len_bytes);
	z->payload = b->data + z->payload_offset;
	return 0;
}

static int payload_load(struct gmem *m, const struct bzimage *z, const struct blob *b,
	struct loader_image *image, struct diag *d)
{
	struct blob elf;
	int err;

	err = payload_unpack(z, b, &elf, d);
	if (err)
		return err;
	err = loader_elf(m, &elf, false, image, d);
	if (err)
		diag_prefix(d, err, "in the unpacked payload");
	blob_finish(&elf);
	return err;
}

/* Leaves the unpacking to the image itself, inside the guest. */
static int whole_load(struct gmem *m, const struct bzimage *z, const struct blob *b,
	struct loader_image *image, struct diag *d)
{
	const struct setup_header *h = &z->header;
	uint64_t load = h->version >= VERSION_PREF ? h->pref_address : LAYOUT_KERNEL_MIN;
	uint64_t size, need = h->version >= VERSION_PREF ? h->init_size : 0;
	int err;

	if (h->version < VERSION_XLOAD || !(h->xloadflags & XLF_KERNEL_64))
		return diag_fail(d, -ENOEXEC,
			"%s: its payload at offset 0x%llx is not gzip, xz, lz4 or zstd, and it has "
			"no "
			"64-bit entry (protocol %u.%02u, flags 0x%x at offset 0x236)",
			b->name, (unsigned long long)z->payload_offset, h->version >> 8,
			h->version & 0xff, h->xloadflags);
	if (z->setup_bytes >= b->len_bytes || b->len_bytes - z->setup_bytes <= ENTRY64_OFFSET)
		return diag_fail(d, -ENOEXEC,
			"%s: truncated bzImage: its protected-mode part starts at offset 0x%llx, "
			"the "
			"file has %zu bytes",
			b->name, (unsigned long long)z->setup_bytes, b->len_bytes);
	size = b->len_bytes - z->setup_bytes;
	if (need < size)
		need = size;
	if (load > GMEM_HOLE_START)
		return diag_fail(d, -ENOEXEC,
			"%s: preferred address 0x%llx at offset 0x258; expected one below 3 GiB",
			b->name, (unsigned long long)load);
	err = image_check_fit(m, b, load, load + need, d);
	if (err)
		return err;

	CHECK(gmem_write(m, GPA(load), b->data + z->setup_bytes, size));
	image->protocol = BOOT_LINUX64;
	image->entry = GPA(load + ENTRY64_OFFSET);
	image->start = load;
	image->end = load + need;
	return 0;
}

int loader_bzimage(struct gmem *m, const struct blob *b, struct loader_image *image, struct diag *d)
{
	struct bzimage z;
	int err;

	err = bzimage_parse(&z, b, d);
	if (!err && payload_is_known(&z))
		err = payload_load(m, &z, b, image, d);
	else if (!err)
		err = whole_load(m, &z, b, image, d);
	if (err)
		return err;

	image->header = z.header;
	image->header.code32_start = (uint32_t)image->start;
	image->cmdline_max = z.header.cmdline_size ? z.header.cmdline_size : 255;
	image->initrd_end = (uint64_t)z.header.initrd_addr_max + 1;
	return 0;
}

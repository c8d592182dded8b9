/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images made in memory. */
#include "support/kernel_image.h"

#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "core/check.h"

#define LZ4_BLOCK (8u << 20)

static struct image image_make(size_t len_bytes)
{
	struct image image = {.data = calloc(1, len_bytes ? len_bytes : 1), .len_bytes = len_bytes};

	CHECK(image.data);
	return image;
}

void image_free(struct image *image)
{
	free(image->data);
	*image = (struct image){0};
}

struct image image_cut(const struct image *image, size_t len_bytes)
{
	struct image cut = image_make(len_bytes);

	CHECK(len_bytes <= image->len_bytes);
	memcpy(cut.data, image->data, len_bytes);
	return cut;
}

struct blob image_blob(const struct image *image)
{
	return (struct blob){
		.data = image->data,
		.len_bytes = image->len_bytes,
		.name = "test-image",
		.kind = BLOB_STATIC,
	};
}

static size_t align_up(size_t x, size_t to)
{
	return (x + to - 1) / to * to;
}

struct image image_elf(const struct image_segment *segments, unsigned int count, uint64_t entry)
{
	Elf64_Ehdr eh = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = entry,
		.e_phoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)count,
	};
	size_t at = align_up(sizeof(eh) + count * sizeof(Elf64_Phdr), 16), len = at;
	struct image image;

	for (unsigned int i = 0; i < count; i++)
		len = align_up(len, 16) + segments[i].filesz;
	image = image_make(len);
	memcpy(image.data, &eh, sizeof(eh));
	for (unsigned int i = 0; i < count; i++) {
		const struct image_segment *s = &segments[i];

		at = align_up(at, 16);
		*image_phdr(&image, i) = (Elf64_Phdr){
			.p_type = s->type,
			.p_offset = at,
			.p_vaddr = s->vaddr,
			.p_paddr = s->paddr,
			.p_filesz = s->filesz,
			.p_memsz = s->memsz,
			.p_align = s->align,
		};
		if (s->filesz)
			memcpy(image.data + at, s->bytes, s->filesz);
		at += s->filesz;
	}
	return image;
}

Elf64_Phdr *image_phdr(const struct image *image, unsigned int i)
{
	return (Elf64_Phdr *)(image->data + sizeof(Elf64_Ehdr)) + i;
}

size_t image_note(uint8_t *buffer, size_t at, size_t pad, const char *name, uint32_t type,
	const void *desc, uint32_t desc_bytes)
{
	Elf64_Nhdr note = {
		.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = desc_bytes, .n_type = type};

	memcpy(buffer + at, &note, sizeof(note));
	at += sizeof(note);
	memcpy(buffer + at, name, note.n_namesz);
	at += align_up(note.n_namesz, pad);
	memcpy(buffer + at, desc, desc_bytes);
	return at + align_up(desc_bytes, pad);
}

static size_t gzip_pack(const struct image *in, uint8_t *out, size_t room)
{
	z_stream z = {.next_in = in->data,
		.avail_in = (uInt)in->len_bytes,
		.next_out = out,
		.avail_out = (uInt)room};

	CHECK(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t xz_pack(const struct image *in, uint8_t *out, size_t room)
{
	lzma_options_lzma lzma2;
	lzma_filter filters[] = {
		{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &lzma2}, {LZMA_VLI_UNKNOWN, NULL}};
	size_t len = 0;

	/* The kernel's own choice: CRC32 and the x86 filter. */
	CHECK(!lzma_lzma_preset(&lzma2, 1));
	CHECK(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in->data, in->len_bytes,
		      out, &len, room) == LZMA_OK);
	return len;
}

static size_t lz4_pack(const struct image *in, uint8_t *out, size_t room)
{
	static const uint8_t magic[] = {0x02, 0x21, 0x4c, 0x18};
	size_t len = sizeof(magic);

	memcpy(out, magic, sizeof(magic));
	for (size_t at = 0; at < in->len_bytes; at += LZ4_BLOCK) {
		size_t block = in->len_bytes - at < LZ4_BLOCK ? in->len_bytes - at : LZ4_BLOCK;
		int n = LZ4_compress_default((const char *)in->data + at, (char *)out + len + 4,
			(int)block, (int)(room - len - 4));

		CHECK(n > 0);
		memcpy(out + len, &n, 4);
		len += 4 + (size_t)n;
	}
	return len;
}

static size_t zstd_pack(const struct image *in, uint8_t *out, size_t room)
{
	size_t len = ZSTD_compress(out, room, in->data, in->len_bytes, 3);

	CHECK(!ZSTD_isError(len));
	return len;
}

static size_t raw_pack(const struct image *in, uint8_t *out, size_t room)
{
	CHECK(in->len_bytes <= room);
	memcpy(out, in->data, in->len_bytes);
	return in->len_bytes;
}

static size_t (*const packers[IMAGE_FORMATS])(const struct image *, uint8_t *, size_t) = {
	[IMAGE_GZIP] = gzip_pack,
	[IMAGE_XZ] = xz_pack,
	[IMAGE_LZ4] = lz4_pack,
	[IMAGE_ZSTD] = zstd_pack,
	[IMAGE_RAW] = raw_pack,
};

void image_field(const struct image *image, size_t offset, unsigned int bytes, uint64_t value)
{
	CHECK(offset + bytes <= image->len_bytes);
	memcpy(image->data + offset, &value, bytes);
}

static void setup_fill(const struct image *image, size_t payload_bytes)
{
	image_field(image, 0x1f1, 1, IMAGE_SETUP_BYTES / 512 - 1); /* setup_sects */
	image_field(image, 0x1fe, 2, 0xaa55);
	image_field(image, 0x200, 2, 0x6aeb); /* header ends at 0x26c */
	memcpy(image->data + 0x202, "HdrS", 4);
	image_field(image, 0x206, 2, 0x020c);
	image_field(image, 0x211, 1, 1);          /* LOADED_HIGH */
	image_field(image, 0x22c, 4, 0x7fffffff); /* initrd_addr_max */
	image_field(image, 0x230, 4, 0x200000);
	image_field(image, 0x236, 2, 1);    /* XLF_KERNEL_64 */
	image_field(image, 0x238, 4, 2047); /* cmdline_size */
	image_field(image, 0x248, 4, IMAGE_PAYLOAD_AT - IMAGE_SETUP_BYTES);
	image_field(image, 0x24c, 4, payload_bytes);
	image_field(image, 0x258, 8, IMAGE_PREF_ADDRESS);
	image_field(image, 0x260, 4, IMAGE_INIT_SIZE);
}

struct image image_bzimage(enum image_format format, const struct image *payload)
{
	size_t room = payload->len_bytes * 2 + 4096, len;
	struct image packed = image_make(room), image;

	len = packers[format](payload, packed.data, room);
	if (format != IMAGE_GZIP && format != IMAGE_RAW) {
		uint32_t size = (uint32_t)payload->len_bytes;

		CHECK(len + sizeof(size) <= room);
		memcpy(packed.data + len, &size, sizeof(size));
		len += sizeof(size);
	}
	image = image_make(IMAGE_PAYLOAD_AT + len);
	memcpy(image.data + IMAGE_PAYLOAD_AT, packed.data, len);
	setup_fill(&image, len);
	/* So that the protected-mode part can be recognised in guest memory. */
	image_field(&image, IMAGE_SETUP_BYTES, 8, 0x1122334455667788);
	image_free(&packed);
	return image;
}

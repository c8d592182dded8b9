/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages: unpacking in all formats, the image's own entry, and what is refused. */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/loader.h"
#include "support/kernel_image.h"

#define MIB (1ULL << 20)

static const char *const format_names[] = {"gzip", "xz", "lz4", "zstd", "raw"};

static struct gmem memory_make(void)
{
	struct diag d = {""};
	struct gmem m;

	cr_assert_eq(gmem_init(&m, &(struct gmem_params){.ram_bytes = 64 * MIB, .name = "bz"}, &d),
		0, "%s", d.text);
	return m;
}

/* An ELF with a PVH note, which is not to be used, and bytes behind it as the relocations of a real
 * kernel are. */
static struct image payload_make(size_t text_bytes)
{
	uint32_t pvh = IMAGE_PREF_ADDRESS + 64;
	uint8_t notes[64] = {0}, *text = malloc(text_bytes);
	struct image elf, payload;
	uint64_t rng = 88172645463325252;

	for (size_t i = 0; i < text_bytes; i++) {
		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		text[i] = (uint8_t)(rng & 0x0f);
	}
	struct image_segment segments[] = {
		{PT_LOAD, IMAGE_PREF_ADDRESS, 0xffffffff81000000, 0x200000, text, text_bytes,
			text_bytes + 8192},
		{PT_NOTE, 0, 0, 4, notes, image_note(notes, 0, 4, "Xen", 18, &pvh, 4), 0},
	};
	elf = image_elf(segments, 2, IMAGE_PREF_ADDRESS + 16);
	payload = (struct image){.data = malloc(elf.len_bytes + 100), elf.len_bytes + 100};
	memcpy(payload.data, elf.data, elf.len_bytes);
	memset(payload.data + elf.len_bytes, 0x77, 100);
	image_free(&elf);
	free(text);
	return payload;
}

static struct image bzimage_make(enum image_format format)
{
	struct image payload = payload_make(5000), image = image_bzimage(format, &payload);

	image_free(&payload);
	return image;
}

static int load(struct gmem *m, const struct image *kernel, const struct image *initrd,
	struct boot_entry *entry, struct diag *d)
{
	struct blob k = image_blob(kernel), i = {0};

	if (initrd)
		i = image_blob(initrd);
	d->text[0] = 0;
	return loader_load(m,
		&(struct loader_params){.kernel = &k,
			.initrd = initrd ? &i : NULL,
			.cmdline = "console=ttyS0",
			.cpus = 1,
			.rsdp = GPA(LAYOUT_ACPI)},
		entry, d);
}

static const void *at(const struct gmem *m, uint64_t gpa, uint64_t len)
{
	const void *host = gmem_map(m, GPA(gpa), len);

	cr_assert(host);
	return host;
}

static void unpack_check(enum image_format format, size_t text_bytes)
{
	struct image payload = payload_make(text_bytes);
	struct image image = image_bzimage(format, &payload);
	struct blob in = image_blob(&image), out;
	struct diag d = {""};

	cr_assert_eq(loader_unpack(&in, &out, &d), 0, "%s: %s", format_names[format], d.text);
	cr_assert_eq(out.len_bytes, payload.len_bytes);
	cr_assert_eq(memcmp(out.data, payload.data, out.len_bytes), 0);
	blob_finish(&out);
	image_free(&image);
	image_free(&payload);
}

Test(bzimage, unpacks_every_format_to_the_same_bytes)
{
	const size_t sizes[] = {1, 5000, 100000};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++)
			unpack_check(f, sizes[s]);
	}
}

Test(bzimage, unpacks_lz4_of_more_than_one_block)
{
	unpack_check(IMAGE_LZ4, 9 << 20);
}

Test(bzimage, the_elf_inside_is_entered_as_64_bit_linux)
{
	for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++) {
		struct image image = bzimage_make(f);
		struct gmem m = memory_make();
		const struct boot_params *p;
		struct boot_entry entry;
		struct diag d;

		cr_assert_eq(load(&m, &image, NULL, &entry, &d), 0, "%s", d.text);
		cr_assert_eq(entry.protocol, BOOT_LINUX64);
		cr_assert_eq(entry.entry.v, IMAGE_PREF_ADDRESS + 16);
		p = at(&m, entry.info.v, sizeof(*p));
		cr_assert_eq(memcmp((const char *)p + 0x202, "HdrS", 4), 0);
		cr_assert_eq(p->hdr.version, 0x020c, "the image's own header");
		cr_assert_eq(p->hdr.init_size, IMAGE_INIT_SIZE);
		cr_assert_eq(p->hdr.type_of_loader, 0xff);
		cr_assert_eq(p->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
		gmem_finish(&m);
		image_free(&image);
	}
}

Test(bzimage, an_unknown_compression_is_left_to_the_image)
{
	struct image image = bzimage_make(IMAGE_RAW);
	struct gmem m = memory_make();
	const struct boot_params *p;
	struct boot_entry entry;
	struct diag d;

	image_field(&image, IMAGE_PAYLOAD_AT, 4, 0x39685a42); /* bzip2's magic */
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), 0, "%s", d.text);
	cr_assert_eq(entry.protocol, BOOT_LINUX64);
	cr_assert_eq(entry.entry.v, IMAGE_PREF_ADDRESS + 0x200);
	cr_assert_eq(memcmp(at(&m, IMAGE_PREF_ADDRESS, 8), image.data + IMAGE_SETUP_BYTES, 8), 0);
	p = at(&m, entry.info.v, sizeof(*p));
	cr_assert_eq(p->hdr.code32_start, IMAGE_PREF_ADDRESS);

	image_field(&image, 0x260, 4, 63 * MIB);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -EFBIG, "init_size counts");
	cr_assert(strstr(d.text, "give it at least 80 MiB"), "%s", d.text);
	image_field(&image, 0x260, 4, 0xffffffff);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -EFBIG);
	image_field(&image, 0x258, 8, UINT64_MAX - 5);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -ENOEXEC);
	cr_assert(strstr(d.text, "offset 0x258"), "%s", d.text);
	image_field(&image, 0x258, 8, 0);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -ENOEXEC, "over the low structures");
	image_field(&image, 0x236, 2, 0);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -ENOEXEC);
	cr_assert(strstr(d.text, "no 64-bit entry"), "%s", d.text);
	gmem_finish(&m);
	image_free(&image);
}

Test(bzimage, the_initrd_stays_below_the_kernels_limit)
{
	struct image image = bzimage_make(IMAGE_LZ4), initrd = {calloc(1, MIB), MIB};
	struct gmem m = memory_make();
	const struct boot_params *p;
	struct boot_entry entry;
	struct diag d;

	cr_assert_eq(load(&m, &image, &initrd, &entry, &d), 0, "%s", d.text);
	p = at(&m, entry.info.v, sizeof(*p));
	cr_assert_eq(p->hdr.ramdisk_image, 63 * MIB);
	image_field(&image, 0x22c, 4, 32 * MIB - 1);
	cr_assert_eq(load(&m, &image, &initrd, &entry, &d), 0, "%s", d.text);
	cr_assert_eq(p->hdr.ramdisk_image, 31 * MIB);
	image_field(&image, 0x22c, 4, 17 * MIB - 1);
	cr_assert_eq(load(&m, &image, &initrd, &entry, &d), -EFBIG);
	cr_assert(strstr(d.text, "below 0x1100000"), "%s", d.text);
	image_field(&image, 0x22c, 4, 0);
	cr_assert_eq(load(&m, &image, &initrd, &entry, &d), -EFBIG);
	gmem_finish(&m);
	free(initrd.data);
	image_free(&image);
}

Test(bzimage, the_kernels_own_limit_of_the_command_line_counts)
{
	struct image image = bzimage_make(IMAGE_GZIP);
	struct gmem m = memory_make();
	struct boot_entry entry;
	struct diag d;

	image_field(&image, 0x238, 4, 13);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), 0, "%s", d.text);
	image_field(&image, 0x238, 4, 12);
	cr_assert_eq(load(&m, &image, NULL, &entry, &d), -EINVAL);
	cr_assert(strstr(d.text, "takes at most 12"), "%s", d.text);
	gmem_finish(&m);
	image_free(&image);
}

static const struct {
	size_t offset;
	unsigned int bytes;
	uint64_t value;
	int err;
	const char *says;
} bad_fields[] = {
	{0x1fe, 2, 0x55aa, -ENOEXEC, "offset 0x1fe"},
	{0x206, 2, 0x0207, -ENOEXEC, "boot protocol 2.07 at offset 0x206"},
	{0x211, 1, 0, -ENOEXEC, "offset 0x211"}, {0x248, 4, 0xffffffff, -ENOEXEC, "payload"},
	{0x24c, 4, 0xffffffff, -ENOEXEC, "payload"}, {0x1f1, 1, 0xff, -ENOEXEC, "payload"},
	{0x1f1, 1, 0, -ENOEXEC, "payload"}, /* means 4, for images of old */
};

Test(bzimage, refuses_spoilt_headers_and_says_where)
{
	struct gmem m = memory_make();

	for (size_t i = 0; i < ARRAY_SIZE(bad_fields); i++) {
		struct image image = bzimage_make(IMAGE_GZIP);
		struct boot_entry entry;
		struct diag d;

		image_field(&image, bad_fields[i].offset, bad_fields[i].bytes, bad_fields[i].value);
		cr_assert_eq(load(&m, &image, NULL, &entry, &d), bad_fields[i].err, "%zu: %s", i,
			d.text);
		cr_assert(strstr(d.text, bad_fields[i].says), "%zu: %s", i, d.text);
		cr_assert(strstr(d.text, "test-image"), "%zu: %s", i, d.text);
		image_free(&image);
	}
	gmem_finish(&m);
}

Test(bzimage, refuses_every_truncation)
{
	struct gmem m = memory_make();

	for (unsigned int f = 0; f < IMAGE_FORMATS; f++) {
		struct image image = bzimage_make(f);

		for (size_t len = 0; len < image.len_bytes; len += len < 0x280 ? 1 : 13) {
			struct image cut = image_cut(&image, len);
			struct boot_entry entry;
			struct diag d;

			cr_assert_eq(load(&m, &cut, NULL, &entry, &d), -ENOEXEC, "%s at %zu",
				format_names[f], len);
			cr_assert(strstr(d.text, "test-image"), "%s at %zu: %s", format_names[f],
				len, d.text);
			image_free(&cut);
		}
		image_free(&image);
	}
	cr_assert_eq(gmem_resident_bytes(&m), 0);
	gmem_finish(&m);
}

/* The stream itself cut short, with the header and the trailing size made to fit. */
Test(bzimage, refuses_streams_that_end_too_early)
{
	for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++) {
		struct image image = bzimage_make(f);
		size_t whole = image.len_bytes - IMAGE_PAYLOAD_AT;
		uint64_t size = 0;

		memcpy(&size, image.data + image.len_bytes - 4, 4);
		for (size_t len = 16; len < whole - 4; len += 7) {
			struct image cut = image_cut(&image, IMAGE_PAYLOAD_AT + len);
			struct blob in = image_blob(&cut), out;
			struct diag d = {""};

			image_field(&cut, 0x24c, 4, len);
			image_field(&cut, cut.len_bytes - 4, 4, size);
			cr_assert_eq(loader_unpack(&in, &out, &d), -ENOEXEC, "%s at %zu",
				format_names[f], len);
			cr_assert(strstr(d.text, "corrupt") && strstr(d.text, format_names[f]),
				"%s", d.text);
			cr_assert_null(out.data);
			image_free(&cut);
		}
		image_free(&image);
	}
}

Test(bzimage, refuses_a_size_that_is_not_the_payloads)
{
	static const struct {
		int64_t add; /* to the true size; 0: the value alone */
		uint32_t value;
		int err;
	} sizes[] = {{-1, 0, -ENOEXEC}, {1, 0, -ENOEXEC}, {0, 0, -ENOEXEC}, {0, 1, -ENOEXEC},
		{0, 512 << 20, -ENOEXEC}, {0, (512 << 20) + 1, -EFBIG}, {0, 0xffffffff, -EFBIG}};

	for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct image image = bzimage_make(f);
			struct blob in = image_blob(&image), out;
			struct diag d = {""};
			uint32_t size;

			memcpy(&size, image.data + image.len_bytes - 4, 4);
			size = sizes[i].add ? (uint32_t)(size + sizes[i].add) : sizes[i].value;
			image_field(&image, image.len_bytes - 4, 4, size);
			cr_assert_eq(loader_unpack(&in, &out, &d), sizes[i].err, "%s, %u: %s",
				format_names[f], size, d.text);
			cr_assert(strstr(d.text, "test-image"), "%s", d.text);
			image_free(&image);
		}
	}
}

Test(bzimage, damaged_streams_give_an_error_or_other_bytes_but_no_harm)
{
	for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++) {
		struct image image = bzimage_make(f);
		unsigned int refused = 0, tried = 0;

		for (size_t i = IMAGE_PAYLOAD_AT; i < image.len_bytes; i += 3) {
			struct image bad = image_cut(&image, image.len_bytes);
			struct blob in = image_blob(&bad), out;
			struct diag d = {""};
			int err;

			bad.data[i] ^= 0x55;
			err = loader_unpack(&in, &out, &d);
			cr_assert(err == 0 || err == -ENOEXEC || err == -EFBIG, "%d", err);
			cr_assert_eq(err != 0, d.text[0] != 0);
			refused += err != 0;
			tried++;
			blob_finish(&out);
			image_free(&bad);
		}
		/* gzip and xz carry a checksum; only bytes of no meaning (a time stamp) may change.
		 */
		if (f == IMAGE_GZIP || f == IMAGE_XZ)
			cr_assert_gt(refused, tried - 8, "%s", format_names[f]);
		cr_assert_gt(refused, 0, "%s", format_names[f]);
		image_free(&image);
	}
}

Test(bzimage, refuses_a_payload_that_is_no_elf)
{
	struct image text = {(uint8_t *)"this is not a kernel, but it is long enough", 43};

	for (unsigned int f = IMAGE_GZIP; f <= IMAGE_ZSTD; f++) {
		struct image image = image_bzimage(f, &text);
		struct gmem m = memory_make();
		struct boot_entry entry;
		struct diag d;

		cr_assert_eq(load(&m, &image, NULL, &entry, &d), -ENOEXEC);
		cr_assert(strstr(d.text, "in the unpacked payload: test-image"), "%s", d.text);
		gmem_finish(&m);
		image_free(&image);
	}
}

Test(bzimage, unpack_refuses_what_is_none)
{
	struct image image = bzimage_make(IMAGE_RAW), elf = payload_make(16);
	struct blob in = image_blob(&image), out;
	struct diag d = {""};

	cr_assert_eq(loader_unpack(&in, &out, &d), -ENOEXEC);
	cr_assert(strstr(d.text, "neither gzip, xz, lz4 nor zstd"), "%s", d.text);
	in = image_blob(&elf);
	cr_assert_eq(loader_unpack(&in, &out, &d), -ENOEXEC);
	cr_assert(strstr(d.text, "is not a bzImage"), "%s", d.text);
	image_free(&elf);
	image_free(&image);
}

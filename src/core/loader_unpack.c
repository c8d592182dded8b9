/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage's payload, unpacked by the usual libraries into a buffer of exactly the size that it
 * claims to have. */
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "core/loader_image.h"

#define UNPACK_MAX        (512u << 20)
#define XZ_MEMORY_MAX     (256u << 20)
#define LZ4_BLOCK_MAX     (8u << 20)
#define LZ4_MAGIC         0x184c2102u
#define SIZE_TRAILER      4
#define PAYLOAD_MIN_BYTES 16

/* One direction of a job: all of `in` becomes exactly `out`. */
struct job {
	const uint8_t *in;
	size_t in_bytes;
	uint8_t *out;
	size_t out_bytes;
};

/* What went wrong, in words for the error, or NULL; then `got` bytes came out. */
struct outcome {
	const char *fault;
	size_t got;
};

static struct outcome gzip_unpack(const struct job *j)
{
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)j->in,
		.avail_in = (uInt)j->in_bytes,
		.next_out = j->out,
		.avail_out = (uInt)j->out_bytes,
	};
	struct outcome o = {0};
	int ret;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return (struct outcome){.fault = "no memory for the decoder"};
	ret = inflate(&z, Z_FINISH);
	o.got = z.total_out;
	if (ret != Z_STREAM_END)
		o.fault = z.msg ? z.msg : "the stream does not end where it should";
	inflateEnd(&z);
	return o;
}

static struct outcome xz_unpack(const struct job *j)
{
	/* The four bytes behind the stream, put there by the kernel's build, are not xz's. */
	lzma_stream s = LZMA_STREAM_INIT;
	struct outcome o = {0};
	lzma_ret ret;

	if (lzma_stream_decoder(&s, XZ_MEMORY_MAX, 0) != LZMA_OK)
		return (struct outcome){.fault = "no memory for the decoder"};
	s.next_in = j->in;
	s.avail_in = j->in_bytes - SIZE_TRAILER;
	s.next_out = j->out;
	s.avail_out = j->out_bytes;
	ret = lzma_code(&s, LZMA_FINISH);
	o.got = s.total_out;
	if (ret == LZMA_MEMLIMIT_ERROR)
		o.fault = "its dictionary takes more than 256 MiB";
	else if (ret == LZMA_OPTIONS_ERROR)
		o.fault = "it uses a filter that liblzma does not have";
	else if (ret == LZMA_DATA_ERROR || ret == LZMA_FORMAT_ERROR)
		o.fault = "the data are damaged";
	else if (ret != LZMA_STREAM_END)
		o.fault = "the stream does not end where it should";
	lzma_end(&s);
	return o;
}

/* lz4's legacy format: a magic, then blocks of up to 8 MiB, each behind its packed size. */
static struct outcome lz4_unpack(const struct job *j)
{
	size_t at = 4, end = j->in_bytes - SIZE_TRAILER;
	struct outcome o = {0};

	while (at < end) {
		size_t room = j->out_bytes - o.got, packed;
		int n;

		if (end - at < 4)
			return (struct outcome){"a block's size is cut off", o.got};
		packed = load_le32(j->in + at);
		at += 4;
		if (packed == LZ4_MAGIC) /* a further stream follows */
			continue;
		if (packed > end - at || packed > (size_t)LZ4_compressBound(LZ4_BLOCK_MAX))
			return (struct outcome){"a block ends beyond the payload", o.got};
		if (room > LZ4_BLOCK_MAX)
			room = LZ4_BLOCK_MAX;
		n = LZ4_decompress_safe(
			(const char *)j->in + at, (char *)j->out + o.got, (int)packed, (int)room);
		if (n < 0)
			return (struct outcome){"a block's data are damaged", o.got};
		o.got += (size_t)n;
		at += packed;
	}
	return o;
}

static struct outcome zstd_unpack(const struct job *j)
{
	size_t n = ZSTD_decompress(j->out, j->out_bytes, j->in, j->in_bytes - SIZE_TRAILER);

	if (ZSTD_isError(n))
		return (struct outcome){.fault = ZSTD_getErrorName(n)};
	return (struct outcome){.got = n};
}

static const struct format {
	const char *name;
	uint8_t magic[6];
	uint8_t magic_bytes;
	struct outcome (*unpack)(const struct job *j);
} formats[] = {
	{"gzip", {0x1f, 0x8b}, 2, gzip_unpack},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, xz_unpack},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, lz4_unpack},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, zstd_unpack},
};

static const struct format *format_find(const struct bzimage *z)
{
	if (z->payload_bytes < PAYLOAD_MIN_BYTES)
		return NULL;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (!memcmp(z->payload, formats[i].magic, formats[i].magic_bytes))
			return &formats[i];
	}
	return NULL;
}

bool payload_is_known(const struct bzimage *z)
{
	return format_find(z) != NULL;
}

int payload_unpack(const struct bzimage *z, const struct blob *b, struct blob *out, struct diag *d)
{
	const struct format *f = format_find(z);
	struct job job = {.in = z->payload, .in_bytes = z->payload_bytes};
	struct outcome o;

	*out = (struct blob){.name = b->name};
	if (!f)
		return diag_fail(d, -ENOEXEC,
			"%s: the payload at offset 0x%llx is neither gzip, xz, lz4 nor zstd",
			b->name, (unsigned long long)z->payload_offset);
	/* gzip ends with the unpacked size; behind the others the kernel's build puts it. */
	job.out_bytes = load_le32(z->payload + z->payload_bytes - SIZE_TRAILER);
	if (!job.out_bytes || job.out_bytes > UNPACK_MAX)
		return diag_fail(d, job.out_bytes ? -EFBIG : -ENOEXEC,
			"%s: the %s payload claims (at offset 0x%llx) to unpack to %zu bytes; "
			"expected 1 to %u",
			b->name, f->name,
			(unsigned long long)(z->payload_offset + z->payload_bytes - SIZE_TRAILER),
			job.out_bytes, UNPACK_MAX);
	job.out = malloc(job.out_bytes);
	if (!job.out)
		return diag_fail(d, -ENOMEM, "%s: no memory to unpack its payload, %zu bytes",
			b->name, job.out_bytes);
	o = f->unpack(&job);
	if (!o.fault && o.got != job.out_bytes)
		o.fault = "it ends too early";
	if (o.fault) {
		free(job.out);
		return diag_fail(d, -ENOEXEC,
			"%s: the %s payload at offset 0x%llx is corrupt: %s (after %zu of %zu "
			"unpacked bytes)",
			b->name, f->name, (unsigned long long)z->payload_offset, o.fault, o.got,
			job.out_bytes);
	}
	out->data = job.out;
	out->len_bytes = job.out_bytes;
	out->kind = BLOB_HEAP;
	return 0;
}

int loader_unpack(const struct blob *bzimage, struct blob *out, struct diag *d)
{
	struct bzimage z;
	int err;

	*out = (struct blob){.name = bzimage->name};
	err = bzimage_parse(&z, bzimage, d);
	if (err)
		return err;
	return payload_unpack(&z, bzimage, out, d);
}

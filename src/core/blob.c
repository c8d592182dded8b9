/* SPDX-License-Identifier: Apache-2.0 */
/* A file's bytes, read once into memory of our own. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/loader.h"

static int file_check(const char *name, int fd, uint64_t max_bytes, size_t *len, struct diag *d)
{
	struct stat st;

	if (fstat(fd, &st))
		return diag_errno(d, -errno, "%s", name);
	if (S_ISDIR(st.st_mode))
		return diag_fail(d, -EISDIR, "%s: is a directory; a regular file is needed", name);
	if (!S_ISREG(st.st_mode))
		return diag_fail(d, -EINVAL, "%s: is not a regular file", name);
	if (st.st_size <= 0)
		return diag_fail(d, -EINVAL, "%s: is empty", name);
	if ((uint64_t)st.st_size > max_bytes)
		return diag_fail(d, -EFBIG, "%s: has %llu bytes; the limit is %llu", name,
			(unsigned long long)st.st_size, (unsigned long long)max_bytes);
	*len = (size_t)st.st_size;
	return 0;
}

static int file_read(const char *name, int fd, uint8_t *to, size_t len, struct diag *d)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, to + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return diag_errno(d, -errno, "%s: reading at offset %zu", name, done);
		if (!n)
			return diag_fail(d, -EINVAL,
				"%s: ends at offset %zu; it had %zu bytes when it was opened", name,
				done, len);
		done += (size_t)n;
	}
	return 0;
}

static int blob_read(struct blob *b, int fd, uint64_t max_bytes, struct diag *d)
{
	void *pages;
	size_t len = 0;
	int err;

	err = file_check(b->name, fd, max_bytes, &len, d);
	if (err)
		return err;
	pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return diag_errno(d, -errno, "%s: no memory for its %zu bytes", b->name, len);
	b->data = pages;
	b->len_bytes = len;
	b->kind = BLOB_MAPPED;
	err = file_read(b->name, fd, pages, len, d);
	if (err)
		blob_finish(b);
	return err;
}

int blob_open(struct blob *b, const char *path, int fd, uint64_t max_bytes, struct diag *d)
{
	int own = -1, err;

	*b = (struct blob){.name = path ? path : "the file passed by descriptor"};
	if (path) {
		/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
		own = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (own < 0)
			return diag_errno(d, -errno, "%s", path);
	}
	err = blob_read(b, path ? own : fd, max_bytes, d);
	if (own >= 0)
		close(own);
	return err;
}

void blob_finish(struct blob *b)
{
	if (b->kind == BLOB_MAPPED)
		munmap((void *)(uintptr_t)b->data, b->len_bytes);
	else if (b->kind == BLOB_HEAP)
		free((void *)(uintptr_t)b->data);
	b->data = NULL;
	b->len_bytes = 0;
	b->kind = BLOB_NONE;
}

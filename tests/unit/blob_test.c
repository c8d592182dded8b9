/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a kernel's or an initrd's file: what is refused, and that nothing is left open. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/loader.h"

/* A memfd stands for a file that is passed by descriptor. */
static int file_make(const char *text)
{
	int fd = memfd_create("blob_test", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

/* The lowest free descriptor: the same before and after, if nothing was left open. */
static int fd_next(void)
{
	int fd = dup(0);

	cr_assert_geq(fd, 0);
	close(fd);
	return fd;
}

static void refused(const char *path, int fd, uint64_t max, int err, const char *says)
{
	struct diag d = {""};
	int next = fd_next();
	struct blob b;

	cr_assert_eq(blob_open(&b, path, fd, max, &d), err, "%s", d.text);
	cr_assert(strstr(d.text, says), "%s", d.text);
	cr_assert_null(b.data);
	cr_assert_eq(fd_next(), next);
	blob_finish(&b);
}

Test(blob, reads_a_descriptor_from_its_start_and_leaves_it_alone)
{
	int fd = file_make("kernel bytes");
	struct diag d = {""};
	struct blob b;

	cr_assert_eq(blob_open(&b, NULL, fd, 12, &d), 0, "%s", d.text);
	cr_assert_eq(b.len_bytes, 12);
	cr_assert_eq(memcmp(b.data, "kernel bytes", 12), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 12, "its position is as it was");
	cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(b.data[11], 's', "a file that shrinks later does no harm");
	blob_finish(&b);
	blob_finish(&b);
	cr_assert_null(b.data);
	cr_assert_eq(close(fd), 0, "still the caller's");
}

Test(blob, reads_a_path)
{
	char path[] = "/tmp/blob_test.XXXXXX";
	int fd = mkstemp(path);
	struct blob b;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "abc", 3), 3);
	close(fd);
	cr_assert_eq(blob_open(&b, path, -1, 100, NULL), 0);
	cr_assert_eq(memcmp(b.data, "abc", 3), 0);
	cr_assert_str_eq(b.name, path);
	blob_finish(&b);
	unlink(path);
}

Test(blob, refuses_what_is_no_file_to_read)
{
	char folder[] = "/tmp/blob_test.XXXXXX", fifo[64];
	int fd = file_make("12345"), empty = file_make(""), writable;
	int ends[2];

	cr_assert(mkdtemp(folder));
	snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	refused(folder, -1, 100, -EISDIR, "is a directory");
	refused(fifo, -1, 100, -EINVAL, "not a regular file");
	refused("/dev/null", -1, 100, -EINVAL, "not a regular file");
	unlink(fifo);
	refused(fifo, -1, 100, -ENOENT, "/fifo: No such file");
	rmdir(folder);

	refused(NULL, fd, 4, -EFBIG, "has 5 bytes; the limit is 4");
	refused(NULL, empty, 100, -EINVAL, "is empty");
	refused(NULL, -1, 100, -EBADF, "Bad file descriptor");
	cr_assert_eq(pipe(ends), 0);
	refused(NULL, ends[0], 100, -EINVAL, "not a regular file");

	snprintf(fifo, sizeof(fifo), "/proc/self/fd/%d", fd);
	writable = open(fifo, O_WRONLY | O_CLOEXEC);
	cr_assert_geq(writable, 0);
	refused(NULL, writable, 100, -EBADF, "at offset 0");
	close(writable);
	close(fd);
	close(empty);
	close(ends[0]);
	close(ends[1]);
}

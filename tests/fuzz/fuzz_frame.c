/* SPDX-License-Identifier: Apache-2.0 */
/* Stream framing under hostile chunking. The input is a list of receives: a byte count, a byte of
 * descriptors, then the bytes. Invariants: messages lie in the stream one behind the other, and
 * each descriptor is closed exactly once, by somebody. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void drain(struct frame_reader *r, uint64_t *consumed)
{
	struct frame f;
	struct diag d = {""};
	int got;

	while ((got = frame_reader_next(r, &f, &d)) == 1) {
		CHECK(f.header.size == f.payload_bytes + FRAME_HEADER_BYTES);
		CHECK(f.header.size <= FRAME_SIZE_MAX && f.header.size % 8 == 0);
		for (unsigned int i = 0; i < f.header.nfds; i++)
			CHECK(f.fds[i] >= 0);
		*consumed += f.header.size;
		if (f.header.nfds && (f.header.txid & 1))
			close(frame_take_fd(&f, 0));
		frame_finish(&f);
	}
	CHECK(got == 0 || (got == -EPROTO && d.text[0]));
}

static int lowest_free_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	int before = lowest_free_fd();
	uint64_t received = 0, consumed = 0;
	struct frame_reader r;

	frame_reader_init(&r);
	while (len_bytes >= 2) {
		uint32_t n = 1u + data[0];
		int count = data[1] % 7 - 1, fds[FRAME_FDS_MAX + 1];

		data += 2;
		len_bytes -= 2;
		if (n > len_bytes)
			n = (uint32_t)len_bytes;
		for (int i = 0; i < count; i++)
			fds[i] = dup(STDIN_FILENO);
		if (!n) {
			for (int i = 0; i < count; i++)
				close(fds[i]);
			break;
		}
		CHECK(frame_reader_push(&r, data, n, fds, count) == (int)n);
		received += n;
		drain(&r, &consumed);
		CHECK(consumed <= received);
		data += n;
		len_bytes -= n;
	}
	frame_reader_finish(&r);
	CHECK(lowest_free_fd() == before);
	return 0;
}

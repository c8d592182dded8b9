/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and slices across iovecs against a flat array. */
#include "virtio/iov.h"

#include <criterion/criterion.h>
#include <string.h>

static char a[3] = "abc", b[1] = "d", c[4] = "efgh";
static const struct iovec abc[4] = {{a, 3}, {b, 0}, {b, 1}, {c, 4}};
static const char flat[] = "abcdefgh";

Test(iov, reads_every_range)
{
	for (size_t offset = 0; offset <= 10; offset++) {
		for (size_t len = 0; len <= 10; len++) {
			size_t there = offset < 8 ? 8 - offset : 0;
			size_t want = len < there ? len : there;
			char got[16] = "";

			cr_assert_eq(iov_read(abc, 4, offset, got, len), want);
			cr_assert_eq(memcmp(got, flat + (want ? offset : 0), want), 0);
			cr_assert_eq(got[want], 0);
		}
	}
	cr_assert_eq(iov_bytes(abc, 4), 8);
	cr_assert_eq(iov_bytes(abc, 0), 0);
}

Test(iov, writes_at_an_offset)
{
	cr_assert_eq(iov_write(abc, 4, 2, "XYZ", 3), 3);
	cr_assert(a[1] == 'b' && a[2] == 'X' && b[0] == 'Y' && c[0] == 'Z' && c[1] == 'f');
	cr_assert_eq(iov_write(abc, 4, 7, "12", 2), 1);
	cr_assert_eq(c[3], '1');
	cr_assert_eq(iov_write(abc, 4, UINT64_MAX, "12", 2), 0);
}

Test(iov, slices_every_range)
{
	for (size_t offset = 0; offset <= 9; offset++) {
		for (size_t len = 0; len <= 9; len++) {
			size_t there = offset < 8 ? 8 - offset : 0;
			size_t want = len < there ? len : there;
			struct iovec to[4];
			unsigned int n = iov_slice(abc, 4, offset, len, to, 4);
			char got[16];

			cr_assert_eq(iov_bytes(to, n), want);
			iov_read(to, n, 0, got, want);
			cr_assert_eq(memcmp(got, flat + (want ? offset : 0), want), 0);
		}
	}
}

Test(iov, slices_in_place_and_within_room)
{
	struct iovec own[4], one;

	memcpy(own, abc, sizeof(own));
	cr_assert_eq(iov_slice(own, 4, 1, 100, own, 4), 3);
	cr_assert_eq(iov_bytes(own, 3), 7);
	cr_assert_eq(own[0].iov_base, a + 1);
	cr_assert_eq(iov_slice(abc, 4, 0, 8, &one, 1), 1);
	cr_assert_eq(one.iov_len, 3);
}

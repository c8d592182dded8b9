/* SPDX-License-Identifier: Apache-2.0 */
/* The text of an error, for people: what, which limit, what to do. Errors themselves are -errno. */
#ifndef CORE_DIAG_H
#define CORE_DIAG_H

#include <stdarg.h>

#define DIAG_TEXT_MAX 512

/* Owned by the caller that wants the text; any thread, one at a time. */
struct diag {
	char text[DIAG_TEXT_MAX]; /* NUL-terminated, valid UTF-8, never empty after a failure */
};

/* diag_fail: sets the text (cut at DIAG_TEXT_MAX, bytes that are not printable UTF-8 replaced by
 * '?') and returns `err`, a negative errno, so that a guard is one line: if (len > max) return
 * diag_fail(d, -E2BIG, "cmdline is %zu bytes; the limit is %zu", len, max); `d` may be NULL. */
__attribute__((format(printf, 3, 4))) int diag_fail(struct diag *d, int err, const char *fmt, ...);

/* diag_errno: as diag_fail, with ": <strerror of -err>" appended. */
__attribute__((format(printf, 3, 4))) int diag_errno(struct diag *d, int err, const char *fmt, ...);

/* diag_prefix: puts "<prefix>: " before the text that is there. Returns `err`. */
__attribute__((format(printf, 3, 4))) int diag_prefix(
	struct diag *d, int err, const char *fmt, ...);

#endif

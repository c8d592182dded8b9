/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: checked at the wire, scrubbed in texts for people. */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* True if the `len_bytes` bytes at `s` are well-formed UTF-8 (no overlong forms, no surrogates,
 * nothing above U+10FFFF). A NUL byte is well-formed here. */
bool utf8_valid(const void *s, size_t len_bytes);

/* Replaces in place each control character (but tab) and each byte that is not part of a
 * well-formed sequence by '?', so that hostile text can neither break a terminal nor the wire. */
void utf8_scrub(char *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 checking, one sequence at a time. */
#include "core/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the well-formed sequence at `s` (1..4), or 0. `left` is > 0. RFC 3629 §4. */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (len > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	if (s[0] == 0xed)
		high = 0x9f;
	if (s[0] == 0xf0)
		low = 0x90;
	if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return len;
}

bool utf8_valid(const void *s, size_t len_bytes)
{
	const uint8_t *p = s;

	while (len_bytes) {
		size_t n = utf8_sequence(p, len_bytes);

		if (!n)
			return false;
		p += n;
		len_bytes -= n;
	}
	return true;
}

void utf8_scrub(char *s)
{
	size_t left = strlen(s);

	while (left) {
		size_t n = utf8_sequence((const uint8_t *)s, left);

		if (!n || (n == 1 && (((uint8_t)*s < 0x20 && *s != '\t') || *s == 0x7f))) {
			*s = '?';
			n = 1;
		}
		s += n;
		left -= n;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte streams that both ends can make and check. All repeat after PATTERN_PERIOD bytes: so a
 * sender fills its buffers once.
 *   zero   0
 *   count  byte i is i mod 256
 *   mix    64-bit little-endian word w is splitmix64's output for the state w
 */
#ifndef GUEST_PATTERN_H
#define GUEST_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_PERIOD 65536UL

enum pattern {
	PATTERN_NONE, /* anything: not checked */
	PATTERN_ZERO,
	PATTERN_COUNT,
	PATTERN_MIX,
};

bool pattern_parse(const char *word, enum pattern *pattern);

/* One period, 8-aligned. */
void pattern_fill(enum pattern pattern, uint8_t *period);

/*
 * Compares data with what the stream has from `offset` on, `period` being pattern_fill's. The
 * number of bytes that agree, before the first that does not.
 */
uint64_t pattern_match(const uint8_t *period, uint64_t offset, const uint8_t *data, uint64_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Byte streams that both ends can make and check. */
#include "pattern.h"

#include "lib.h"

bool pattern_parse(const char *word, enum pattern *pattern)
{
	static const char *const names[] = {
		[PATTERN_NONE] = "any",
		[PATTERN_ZERO] = "zero",
		[PATTERN_COUNT] = "count",
		[PATTERN_MIX] = "mix",
	};
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(word, names[i])) {
			*pattern = (enum pattern)i;
			return true;
		}
	return false;
}

static uint64_t splitmix64(uint64_t state)
{
	state += 0x9e3779b97f4a7c15UL;
	state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9UL;
	state = (state ^ state >> 27) * 0x94d049bb133111ebUL;
	return state ^ state >> 31;
}

void pattern_fill(enum pattern pattern, uint8_t *period)
{
	uint64_t *words = (uint64_t *)period;
	for (uint64_t w = 0; w < PATTERN_PERIOD / 8; w++) {
		if (pattern == PATTERN_MIX)
			words[w] = splitmix64(w);
		else if (pattern == PATTERN_COUNT)
			words[w] = 0x0706050403020100UL + (w % 32 * 8) * 0x0101010101010101UL;
		else
			words[w] = 0;
	}
}

/* Word by word where it can: the bytes' loop would be the bottleneck of a throughput test. */
static uint64_t match_length(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	uint64_t i = 0;
	for (; i + 8 <= len; i += 8) {
		uint64_t left, right;
		__builtin_memcpy(&left, a + i, 8);
		__builtin_memcpy(&right, b + i, 8);
		if (left != right)
			break;
	}
	while (i < len && a[i] == b[i])
		i++;
	return i;
}

uint64_t pattern_match(const uint8_t *period, uint64_t offset, const uint8_t *data, uint64_t len)
{
	uint64_t done = 0;
	while (done < len) {
		uint64_t at = (offset + done) % PATTERN_PERIOD;
		uint64_t part = PATTERN_PERIOD - at;
		if (part > len - done)
			part = len - done;
		uint64_t same = match_length(period + at, data + done, part);
		done += same;
		if (same < part)
			break;
	}
	return done;
}

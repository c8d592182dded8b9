/* SPDX-License-Identifier: Apache-2.0 */
/* Edit distance with transpositions, for suggestions. */
#include "core/nearest.h"

#include <limits.h>
#include <string.h>

#define COST 4

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int least = a < b ? a : b;

	return least < c ? least : c;
}

/* Edits that turn `a` into `b`, swapped neighbours counted as one: the rows of the usual matrix,
 * three of them kept. */
static unsigned int edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int rows[3][NEAREST_WORD_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int *now = rows[i % 3], *last = rows[(i + 2) % 3];
		unsigned int *older = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int change = last[j - 1] + (a[i - 1] != b[j - 1]);

			now[j] = min3(last[j] + 1, now[j - 1] + 1, change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				older[j - 2] + 1 < now[j])
				now[j] = older[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

unsigned int nearest_cost(const char *typed, const char *known)
{
	size_t typed_len = strnlen(typed, NEAREST_WORD_MAX);
	size_t known_len = strnlen(known, NEAREST_WORD_MAX);
	unsigned int cost = COST * edits(typed, typed_len, known, known_len);
	unsigned int contained;

	if (typed_len < 2 || typed_len > known_len || !strstr(known, typed))
		return cost;
	contained = COST + known_len - typed_len;
	return contained < cost ? contained : cost;
}

const char *nearest_word(const char *typed, const char *const *known, size_t count)
{
	unsigned int least = UINT_MAX;
	const char *nearest = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned int cost = known[i] ? nearest_cost(typed, known[i]) : UINT_MAX;

		if (cost < least) {
			least = cost;
			nearest = known[i];
		}
	}
	return nearest;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean …": the known word that is nearest to one that is not known. */
#ifndef CORE_NEAREST_H
#define CORE_NEAREST_H

#include <stddef.h>

/* nearest_cost: how far `known` is from what was typed: four for each inserted, deleted or changed
 * letter or swapped neighbours; a known word that contains the typed one as a whole is nearer than
 * its extra letters would make it ("memory" means "guest-memory"). Words are compared by their
 * first NEAREST_WORD_MAX bytes. Any thread. */
#define NEAREST_WORD_MAX 64
unsigned int nearest_cost(const char *typed, const char *known);

/* nearest_word: the one of `count` known words with the least cost, the first of equals; NULL if
 * there are none. NULL entries are passed over. Borrowed. */
const char *nearest_word(const char *typed, const char *const *known, size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Random but valid protocol messages, made from the table's layouts; the same seed gives the same.
 */
#ifndef TESTS_MESSAGE_GEN_H
#define TESTS_MESSAGE_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/codec.h"

/* What the messages point to lives in `arena`; gen_reset gives it back. */
struct gen {
	uint64_t state;
	size_t used;
	_Alignas(16) uint8_t arena[1 << 18];
};

void gen_init(struct gen *g, uint64_t seed);
void gen_reset(struct gen *g);
uint64_t gen_next(struct gen *g);
uint32_t gen_below(struct gen *g, uint32_t limit); /* 0 ..= limit - 1 */

/* gen_message: message `m` in form `form` with a legal envelope and random payload.
 * gen_config: a config whose every field is well encoded (not: sensible); the caller finishes it.
 * `files` bounds how many files are descriptors (dups of /dev/null). */
void gen_message(
	struct gen *g, const struct message *m, enum codec_form form, struct codec_message *out);
void gen_config(struct gen *g, struct guest_config *c, unsigned int files);

/* gen_layout: the payload's layout of `m` in form `form`.
 * gen_same: deep equality of two payload structs, decoded or to be encoded. */
const struct wire_layout *gen_layout(const struct message *m, enum codec_form form);
bool gen_same(const struct wire_layout *layout, const void *a, const void *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Tables (wire.md, "table"): fields with ordinals, each optional, described by constants like
 * payloads are. */
#ifndef RPC_TABLE_H
#define RPC_TABLE_H

#include <stdint.h>

#include "core/diag.h"
#include "rpc/wire.h"

/* One field: its ordinal, and how its value is laid out in the C struct. */
struct table_field {
	uint16_t ordinal;
	struct wire_field value;
};

/* `fields` ascend by ordinal. */
struct table_layout {
	const struct table_field *fields;
	uint32_t count;
};

/* Bit of an ordinal in `given`; the same as CONFIG_BIT of core/config.h. */
#define TABLE_BIT(ordinal) (1ULL << ((ordinal) < 100 ? (ordinal) : 32 + (ordinal)-100))

/* table_decode: the fields of `t` into the struct at `out`, their bits into *given; what is not
 * given is left as it is. Views as in rpc/wire.h. 0, or -EINVAL with a text that names the ordinal:
 * duplicate, out of order, unknown, reserved bits, a value of the wrong length or content.
 * table_encode: the fields whose bit is in `given`, to `w` (which may only count); *t views them,
 * ready for a payload. 0, -EMSGSIZE, -EINVAL (as wire_write). */
int table_decode(const struct wire_table *t, const struct table_layout *layout, void *out,
	uint64_t *given, struct diag *d);
int table_encode(const struct table_layout *layout, const void *in, uint64_t given,
	struct wire_writer *w, struct wire_table *t);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Payload layouts as data, and the one reader and writer that follow them (wire.md, "Encoding of
 * payloads").
 *
 * A layout lists the fields of a payload in wire order; each field says its type and where its
 * value lives in a C struct. Decoding fills that struct; encoding reads it; nothing is written by
 * hand per message. Strings, vectors and tables are decoded as views into the receive buffer and
 * are valid as long as the buffer is. No allocation, no globals, any thread. */
#ifndef RPC_WIRE_H
#define RPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"

/* Not NUL-terminated; may hold NUL bytes; always well-formed UTF-8 after decoding. */
struct wire_string {
	const char *ptr;
	uint32_t len_bytes;
};

/* Of elements whose layout is known from the field. Decoded: `wire`/`wire_bytes` span the elements
 * as they came, already checked; walk them with a wire_cursor. To encode, set either `items` (an
 * array of `count` C structs of the element's layout) or a decoded view. */
struct wire_vector {
	uint32_t count;
	uint32_t wire_bytes;
	const uint8_t *wire;
	const void *items;
};

/* The fields of a table as they are on the wire; that `count` of them fill `bytes` exactly has been
 * checked, their ordinals and values have not (rpc/table.h does that). */
struct wire_table {
	const uint8_t *fields;
	uint32_t bytes;
	uint32_t count;
};

enum wire_type {
	WIRE_U8,
	WIRE_U16,
	WIRE_U32,
	WIRE_U64,
	WIRE_I32,
	WIRE_ID,     /* u32, an object id: non-zero */
	WIRE_BOOL,   /* u8 that is 0 or 1; a C bool */
	WIRE_BYTES,  /* `bytes` raw bytes; a uint8_t array */
	WIRE_PAD,    /* `bytes` zero bytes; no C member */
	WIRE_STRING, /* struct wire_string */
	WIRE_NAME,   /* a guest's name: a string of 1..63 of [a-z0-9-] */
	WIRE_VECTOR, /* struct wire_vector of `of` */
	WIRE_TABLE,  /* struct wire_table */
	WIRE_STRUCT, /* the fields of `of`, its C struct embedded */
	WIRE_ANY,    /* the rest of the value, whatever it is; a C bool that says it was there */
};

struct wire_layout;

struct wire_field {
	const char *name;
	enum wire_type type;
	uint16_t offset; /* of the member in the C struct */
	uint16_t bytes;  /* WIRE_BYTES, WIRE_PAD */
	const struct wire_layout *of;
};

struct wire_layout {
	const struct wire_field *fields;
	uint32_t count;
	uint32_t size_bytes; /* of the C struct */
};

/* Elements of a vector<string>: struct wire_string. */
extern const struct wire_layout layout_string;

#define WIRE_NAME_MAX 63

/* Reads `len_bytes` bytes; `at` is the next one. */
struct wire_reader {
	const uint8_t *data;
	uint32_t len_bytes;
	uint32_t at;
	bool refused; /* a value that is framed well but not allowed (a bad guest name) was met;
		       * decoding went on, the first such text is in `diag` */
	struct diag *diag; /* may be NULL */
};

/* wire_read: decodes one struct. 0, or -EPROTO with a text that names the field, the value and the
 * limit. Bytes may be left over: see wire_read_end. */
int wire_read(struct wire_reader *r, const struct wire_layout *layout, void *out);
/* wire_read_field: the same for one field; `out` is the struct, not the member. */
int wire_read_field(struct wire_reader *r, const struct wire_field *field, void *out);
/* wire_read_end: after the last field only zero padding to 8 may follow. 0 or -EPROTO. */
int wire_read_end(struct wire_reader *r);

/* Walks a decoded vector. `layout` is that of the elements. */
struct wire_cursor {
	struct wire_reader reader;
	const struct wire_layout *layout;
	uint32_t left;
};

/* wire_cursor_init: over a decoded vector (one with `wire`, or empty).
 * wire_cursor_next: false at the end, else the next element is in `out`. */
void wire_cursor_init(
	struct wire_cursor *c, const struct wire_vector *v, const struct wire_layout *layout);
bool wire_cursor_next(struct wire_cursor *c, void *out);

/* Writes to `buf`, or only counts where `buf` is NULL. `room` bounds both. */
struct wire_writer {
	uint8_t *buf;
	uint32_t room;
	uint32_t len_bytes;
};

/* wire_write: encodes one struct. 0, -EMSGSIZE (no room), -EINVAL (a string is not UTF-8).
 * wire_write_field: one field of it. wire_write_raw: bytes as they are (NULL: zeros). */
int wire_write(struct wire_writer *w, const struct wire_layout *layout, const void *in);
int wire_write_field(struct wire_writer *w, const struct wire_field *field, const void *in);
int wire_write_raw(struct wire_writer *w, const void *bytes, uint32_t len_bytes);

/* wire_string_of: a view of a NUL-terminated string; NULL gives "". wire_string_is: equality.
 * wire_string_has_nul: true if it cannot become a C string. wire_name_valid: the rule for guests'
 * names. */
struct wire_string wire_string_of(const char *s);
bool wire_string_is(struct wire_string s, const char *other);
bool wire_string_has_nul(struct wire_string s);
bool wire_name_valid(struct wire_string s);

static inline uint32_t wire_pad8(uint32_t len_bytes)
{
	return -len_bytes & 7;
}

#endif

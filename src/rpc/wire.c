/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter of payload layouts: one switch to read, one to write. */
#include "rpc/wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/check.h"
#include "core/utf8.h"

/* How much of a client's string an error text repeats. */
#define SHOWN_MAX 80

static const struct wire_field string_fields[] = {{"string", WIRE_STRING, 0, 0, NULL}};
const struct wire_layout layout_string = {string_fields, 1, sizeof(struct wire_string)};

static bool all_zero(const uint8_t *p, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++)
		if (p[i])
			return false;
	return true;
}

/* The next `len_bytes` bytes, or NULL with the text set. */
static const uint8_t *take(struct wire_reader *r, const char *name, uint64_t len_bytes)
{
	const uint8_t *p = r->data + r->at;

	if (len_bytes > r->len_bytes - r->at) {
		diag_fail(r->diag, -EPROTO,
			"%s: truncated: %llu bytes are needed at offset %u, %u are left", name,
			(unsigned long long)len_bytes, r->at, r->len_bytes - r->at);
		return NULL;
	}
	r->at += (uint32_t)len_bytes;
	return p;
}

static int take_u32(struct wire_reader *r, const char *name, uint32_t *value)
{
	const uint8_t *p = take(r, name, 4);

	if (!p)
		return -EPROTO;
	memcpy(value, p, 4);
	*value = le32toh(*value);
	return 0;
}

/* Integers are copied as they are: the host is little-endian, as the wire is. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire's byte order is the host's");

static int read_scalar(
	struct wire_reader *r, const struct wire_field *f, void *member, uint32_t len_bytes)
{
	const uint8_t *p = take(r, f->name, len_bytes);

	if (!p)
		return -EPROTO;
	memcpy(member, p, len_bytes);
	return 0;
}

static int read_id(struct wire_reader *r, const struct wire_field *f, uint32_t *id)
{
	int err = take_u32(r, f->name, id);

	if (!err && !*id)
		return diag_fail(r->diag, -EPROTO, "%s: is 0; object ids are non-zero", f->name);
	return err;
}

static int read_bool(struct wire_reader *r, const struct wire_field *f, bool *value)
{
	const uint8_t *p = take(r, f->name, 1);

	if (!p)
		return -EPROTO;
	if (*p > 1)
		return diag_fail(r->diag, -EPROTO, "%s: is %u; a bool is 0 or 1", f->name, *p);
	*value = *p;
	return 0;
}

static int read_pad(struct wire_reader *r, const struct wire_field *f)
{
	const char *name = f->name ? f->name : "padding";
	const uint8_t *p = take(r, name, f->bytes);

	if (!p)
		return -EPROTO;
	if (!all_zero(p, f->bytes))
		return diag_fail(
			r->diag, -EPROTO, "%s: at offset %u is not zero", name, r->at - f->bytes);
	return 0;
}

static int read_string(struct wire_reader *r, const struct wire_field *f, struct wire_string *s)
{
	uint32_t pad;
	const uint8_t *p;

	if (take_u32(r, f->name, &s->len_bytes))
		return -EPROTO;
	pad = wire_pad8(4 + s->len_bytes);
	p = take(r, f->name, (uint64_t)s->len_bytes + pad);
	if (!p)
		return -EPROTO;
	if (!all_zero(p + s->len_bytes, pad))
		return diag_fail(
			r->diag, -EPROTO, "%s: the padding of the string is not zero", f->name);
	if (!utf8_valid(p, s->len_bytes))
		return diag_fail(r->diag, -EPROTO, "%s: is not UTF-8", f->name);
	s->ptr = (const char *)p;
	return 0;
}

static int read_name(struct wire_reader *r, const struct wire_field *f, struct wire_string *s)
{
	if (read_string(r, f, s))
		return -EPROTO;
	if (wire_name_valid(*s) || r->refused)
		return 0;
	r->refused = true;
	diag_fail(r->diag, -EINVAL,
		"%s: \"%.*s\" (%u bytes) is no guest name; it takes 1 to %d of a-z, 0-9 and -",
		f->name, s->len_bytes < SHOWN_MAX ? (int)s->len_bytes : SHOWN_MAX, s->ptr,
		s->len_bytes, WIRE_NAME_MAX);
	return 0;
}

static int read_vector(struct wire_reader *r, const struct wire_field *f, struct wire_vector *v)
{
	/* Room for any element's struct; its members are thrown away, only the check counts. */
	_Alignas(8) uint8_t element[128];
	static const struct wire_field reserved = {"reserved", WIRE_PAD, 0, 4, NULL};
	uint32_t start;

	CHECK(f->of->size_bytes <= sizeof(element));
	*v = (struct wire_vector){0};
	if (take_u32(r, f->name, &v->count))
		return -EPROTO;
	if (read_pad(r, &reserved))
		return diag_prefix(r->diag, -EPROTO, "%s", f->name);
	start = r->at;
	for (uint32_t i = 0; i < v->count; i++)
		if (wire_read(r, f->of, element))
			return diag_prefix(r->diag, -EPROTO, "%s[%u of %u]", f->name, i, v->count);
	v->wire = r->data + start;
	v->wire_bytes = r->at - start;
	return 0;
}

/* Walks the fields' headers only: `count` fields have to fill `bytes` to the byte. */
static int check_table(
	struct wire_reader *r, const struct wire_field *f, const struct wire_table *t)
{
	uint32_t at = 0, len;

	for (uint32_t i = 0; i < t->count; i++) {
		if (t->bytes - at < 8)
			return diag_fail(r->diag, -EPROTO,
				"%s: says %u fields; its %u bytes end in field %u", f->name,
				t->count, t->bytes, i);
		memcpy(&len, t->fields + at + 4, 4);
		at += 8;
		if ((uint64_t)len + wire_pad8(len) > t->bytes - at)
			return diag_fail(r->diag, -EPROTO,
				"%s: field %u says %u bytes; %u are left of the table's %u",
				f->name, i, len, t->bytes - at, t->bytes);
		at += len + wire_pad8(len);
	}
	if (at != t->bytes)
		return diag_fail(r->diag, -EPROTO, "%s: says %u bytes; its %u fields take %u",
			f->name, t->bytes, t->count, at);
	return 0;
}

static int read_table(struct wire_reader *r, const struct wire_field *f, struct wire_table *t)
{
	if (take_u32(r, f->name, &t->bytes) || take_u32(r, f->name, &t->count))
		return -EPROTO;
	t->fields = take(r, f->name, t->bytes);
	if (!t->fields)
		return -EPROTO;
	return check_table(r, f, t);
}

int wire_read_field(struct wire_reader *r, const struct wire_field *f, void *out)
{
	void *member = (uint8_t *)out + f->offset;

	switch (f->type) {
	case WIRE_U8:
		return read_scalar(r, f, member, 1);
	case WIRE_U16:
		return read_scalar(r, f, member, 2);
	case WIRE_U32:
	case WIRE_I32:
		return read_scalar(r, f, member, 4);
	case WIRE_U64:
		return read_scalar(r, f, member, 8);
	case WIRE_ID:
		return read_id(r, f, member);
	case WIRE_BOOL:
		return read_bool(r, f, member);
	case WIRE_BYTES:
		return read_scalar(r, f, member, f->bytes);
	case WIRE_PAD:
		return read_pad(r, f);
	case WIRE_STRING:
		return read_string(r, f, member);
	case WIRE_NAME:
		return read_name(r, f, member);
	case WIRE_VECTOR:
		return read_vector(r, f, member);
	case WIRE_TABLE:
		return read_table(r, f, member);
	case WIRE_STRUCT:
		if (wire_read(r, f->of, member))
			return diag_prefix(r->diag, -EPROTO, "%s", f->name);
		return 0;
	case WIRE_ANY:
		r->at = r->len_bytes;
		*(bool *)member = true;
		return 0;
	}
	CHECK(!"a wire_type");
	return -EPROTO;
}

int wire_read(struct wire_reader *r, const struct wire_layout *layout, void *out)
{
	for (uint32_t i = 0; i < layout->count; i++)
		if (wire_read_field(r, &layout->fields[i], out))
			return -EPROTO;
	return 0;
}

int wire_read_end(struct wire_reader *r)
{
	uint32_t left = r->len_bytes - r->at;

	if (left >= 8)
		return diag_fail(r->diag, -EPROTO,
			"the payload has %u bytes; its last field ends at %u", r->len_bytes, r->at);
	if (!all_zero(r->data + r->at, left))
		return diag_fail(r->diag, -EPROTO, "the padding after the last field is not zero");
	r->at = r->len_bytes;
	return 0;
}

void wire_cursor_init(
	struct wire_cursor *c, const struct wire_vector *v, const struct wire_layout *layout)
{
	*c = (struct wire_cursor){
		.reader = {.data = v->wire, .len_bytes = v->wire_bytes},
		.layout = layout,
		.left = v->count,
	};
}

bool wire_cursor_next(struct wire_cursor *c, void *out)
{
	if (!c->left)
		return false;
	c->left--;
	/* The bytes were checked when the vector was decoded, and they are ours since. */
	CHECK(!wire_read(&c->reader, c->layout, out));
	return true;
}

int wire_write_raw(struct wire_writer *w, const void *bytes, uint32_t len_bytes)
{
	if (len_bytes > w->room - w->len_bytes)
		return -EMSGSIZE;
	if (w->buf && bytes)
		memcpy(w->buf + w->len_bytes, bytes, len_bytes);
	else if (w->buf && len_bytes)
		memset(w->buf + w->len_bytes, 0, len_bytes);
	w->len_bytes += len_bytes;
	return 0;
}

static int write_u32(struct wire_writer *w, uint32_t value)
{
	value = htole32(value);
	return wire_write_raw(w, &value, 4);
}

static int write_string(struct wire_writer *w, const struct wire_string *s)
{
	if (s->len_bytes > w->room)
		return -EMSGSIZE;
	if (!utf8_valid(s->ptr, s->len_bytes))
		return -EINVAL;
	if (write_u32(w, s->len_bytes) || (s->len_bytes && wire_write_raw(w, s->ptr, s->len_bytes)))
		return -EMSGSIZE;
	return wire_write_raw(w, NULL, wire_pad8(4 + s->len_bytes));
}

static int write_vector(
	struct wire_writer *w, const struct wire_vector *v, const struct wire_layout *of)
{
	int err;

	if (write_u32(w, v->count) || write_u32(w, 0))
		return -EMSGSIZE;
	if (!v->items)
		return v->count ? wire_write_raw(w, v->wire, v->wire_bytes) : 0;
	for (uint32_t i = 0; i < v->count; i++) {
		err = wire_write(w, of, (const uint8_t *)v->items + (size_t)i * of->size_bytes);
		if (err)
			return err;
	}
	return 0;
}

static int write_table(struct wire_writer *w, const struct wire_table *t)
{
	if (write_u32(w, t->bytes) || write_u32(w, t->count))
		return -EMSGSIZE;
	return t->bytes ? wire_write_raw(w, t->fields, t->bytes) : 0;
}

int wire_write_field(struct wire_writer *w, const struct wire_field *f, const void *in)
{
	const void *member = (const uint8_t *)in + f->offset;
	uint8_t flag;

	switch (f->type) {
	case WIRE_U8:
		return wire_write_raw(w, member, 1);
	case WIRE_U16:
		return wire_write_raw(w, member, 2);
	case WIRE_U32:
	case WIRE_I32:
	case WIRE_ID:
		return wire_write_raw(w, member, 4);
	case WIRE_U64:
		return wire_write_raw(w, member, 8);
	case WIRE_BOOL:
	case WIRE_ANY:
		flag = *(const bool *)member;
		return wire_write_raw(w, &flag, 1);
	case WIRE_BYTES:
		return wire_write_raw(w, member, f->bytes);
	case WIRE_PAD:
		return wire_write_raw(w, NULL, f->bytes);
	case WIRE_STRING:
	case WIRE_NAME:
		return write_string(w, member);
	case WIRE_VECTOR:
		return write_vector(w, member, f->of);
	case WIRE_TABLE:
		return write_table(w, member);
	case WIRE_STRUCT:
		return wire_write(w, f->of, member);
	}
	CHECK(!"a wire_type");
	return -EINVAL;
}

int wire_write(struct wire_writer *w, const struct wire_layout *layout, const void *in)
{
	int err;

	for (uint32_t i = 0; i < layout->count; i++) {
		err = wire_write_field(w, &layout->fields[i], in);
		if (err)
			return err;
	}
	return 0;
}

struct wire_string wire_string_of(const char *s)
{
	return (struct wire_string){.ptr = s, .len_bytes = s ? (uint32_t)strlen(s) : 0};
}

bool wire_string_is(struct wire_string s, const char *other)
{
	return strlen(other) == s.len_bytes && !memcmp(s.ptr, other, s.len_bytes);
}

bool wire_string_has_nul(struct wire_string s)
{
	return s.len_bytes && memchr(s.ptr, 0, s.len_bytes);
}

bool wire_name_valid(struct wire_string s)
{
	if (s.len_bytes < 1 || s.len_bytes > WIRE_NAME_MAX)
		return false;
	for (uint32_t i = 0; i < s.len_bytes; i++)
		if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') ||
			    (s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '-'))
			return false;
	return true;
}

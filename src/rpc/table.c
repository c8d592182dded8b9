/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a table's fields in ordinal order; each value is read and written by its wire_field. */
#include "rpc/table.h"

#include <errno.h>
#include <string.h>

/* What precedes each value. */
struct field_header {
	uint16_t ordinal;
	uint16_t reserved;
	uint32_t len_bytes;
};

_Static_assert(sizeof(struct field_header) == 8, "as on the wire");

static const struct table_field *find_field(const struct table_layout *layout, uint16_t ordinal)
{
	for (uint32_t i = 0; i < layout->count; i++)
		if (layout->fields[i].ordinal == ordinal)
			return &layout->fields[i];
	return NULL;
}

static int check_header(
	const struct field_header *h, const struct table_field *f, int last, struct diag *d)
{
	if (h->ordinal == last)
		return diag_fail(d, -EINVAL, "ordinal %u is given twice", h->ordinal);
	if (h->ordinal < last)
		return diag_fail(d, -EINVAL, "ordinal %u comes after %d; they have to ascend",
			h->ordinal, last);
	if (!f)
		return diag_fail(d, -EINVAL, "ordinal %u is unknown", h->ordinal);
	if (h->reserved)
		return diag_fail(d, -EINVAL, "ordinal %u (%s): reserved is %u, not 0", h->ordinal,
			f->value.name, h->reserved);
	return 0;
}

static int read_value(const struct field_header *h, const struct table_field *f,
	const uint8_t *value, void *out, struct diag *d)
{
	struct wire_reader r = {.data = value, .len_bytes = h->len_bytes, .diag = d};

	if (wire_read_field(&r, &f->value, out))
		return diag_prefix(d, -EINVAL, "ordinal %u", h->ordinal);
	if (r.at != h->len_bytes)
		return diag_fail(d, -EINVAL,
			"ordinal %u (%s): its length is %u; the value takes %u", h->ordinal,
			f->value.name, h->len_bytes, r.at);
	for (uint32_t i = 0; i < wire_pad8(h->len_bytes); i++)
		if (value[h->len_bytes + i])
			return diag_fail(d, -EINVAL, "ordinal %u (%s): its padding is not zero",
				h->ordinal, f->value.name);
	return 0;
}

int table_decode(const struct wire_table *t, const struct table_layout *layout, void *out,
	uint64_t *given, struct diag *d)
{
	const uint8_t *at = t->fields;
	int last = 0;

	*given = 0;
	for (uint32_t i = 0; i < t->count; i++) {
		const struct table_field *f;
		struct field_header h;
		int err;

		/* In bounds: wire_read has walked the same headers. */
		memcpy(&h, at, sizeof(h));
		at += sizeof(h);
		f = find_field(layout, h.ordinal);
		err = check_header(&h, f, last, d);
		if (!err)
			err = read_value(&h, f, at, out, d);
		if (err)
			return err;
		at += h.len_bytes + wire_pad8(h.len_bytes);
		last = h.ordinal;
		*given |= TABLE_BIT(h.ordinal);
	}
	return 0;
}

static int write_field(struct wire_writer *w, const struct table_field *f, const void *in)
{
	struct field_header h = {.ordinal = f->ordinal};
	uint32_t header_at = w->len_bytes;
	int err = wire_write_raw(w, NULL, sizeof(h));

	if (!err)
		err = wire_write_field(w, &f->value, in);
	if (err)
		return err;
	h.len_bytes = w->len_bytes - header_at - (uint32_t)sizeof(h);
	if (w->buf)
		memcpy(w->buf + header_at, &h, sizeof(h));
	return wire_write_raw(w, NULL, wire_pad8(h.len_bytes));
}

int table_encode(const struct table_layout *layout, const void *in, uint64_t given,
	struct wire_writer *w, struct wire_table *t)
{
	uint32_t start = w->len_bytes;

	*t = (struct wire_table){.fields = w->buf ? w->buf + start : NULL};
	for (uint32_t i = 0; i < layout->count; i++) {
		const struct table_field *f = &layout->fields[i];
		int err;

		if (!(given & TABLE_BIT(f->ordinal)))
			continue;
		err = write_field(w, f, in);
		if (err)
			return err;
		t->count++;
	}
	t->bytes = w->len_bytes - start;
	return 0;
}

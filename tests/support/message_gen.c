/* SPDX-License-Identifier: Apache-2.0 */
/* Random values by layout. */
#include "support/message_gen.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

void gen_init(struct gen *g, uint64_t seed)
{
	g->state = seed;
	g->used = 0;
}

void gen_reset(struct gen *g)
{
	g->used = 0;
}

/* splitmix64 */
uint64_t gen_next(struct gen *g)
{
	uint64_t z = (g->state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint32_t gen_below(struct gen *g, uint32_t limit)
{
	return (uint32_t)(gen_next(g) % limit);
}

static void *gen_alloc(struct gen *g, size_t len_bytes)
{
	void *p = g->arena + g->used;

	CHECK(len_bytes <= sizeof(g->arena) - g->used);
	g->used += (len_bytes + 15) & ~(size_t)15;
	memset(p, 0, len_bytes);
	return p;
}

/* Mostly ASCII, some of each longer UTF-8 form. */
static struct wire_string gen_string(struct gen *g, uint32_t max_bytes)
{
	static const char *const runes[] = {"ä", "€", "𝄞"};
	uint32_t len = gen_below(g, max_bytes + 1), at = 0;
	char *p = gen_alloc(g, len + 1);

	while (at < len) {
		uint32_t rune = gen_below(g, 12);
		size_t n = rune < 3 ? strlen(runes[rune]) : 1;

		if (n > len - at)
			continue;
		if (rune < 3)
			memcpy(p + at, runes[rune], n);
		else
			p[at] = (char)(' ' + gen_below(g, 95));
		at += (uint32_t)n;
	}
	return (struct wire_string){.ptr = p, .len_bytes = len};
}

static struct wire_string gen_name(struct gen *g)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	uint32_t len = 1 + gen_below(g, WIRE_NAME_MAX);
	char *p = gen_alloc(g, len);

	for (uint32_t i = 0; i < len; i++)
		p[i] = letters[gen_below(g, sizeof(letters) - 1)];
	return (struct wire_string){.ptr = p, .len_bytes = len};
}

static void gen_struct(struct gen *g, const struct wire_layout *layout, void *out);

static struct wire_vector gen_vector(struct gen *g, const struct wire_layout *of)
{
	struct wire_vector v = {.count = gen_below(g, 6)};
	uint8_t *items = gen_alloc(g, (size_t)v.count * of->size_bytes + 1);

	for (uint32_t i = 0; i < v.count; i++)
		gen_struct(g, of, items + (size_t)i * of->size_bytes);
	v.items = items;
	return v;
}

/* Framed well, with whatever ordinals and values. */
static struct wire_table gen_table(struct gen *g)
{
	struct wire_table t = {.count = gen_below(g, 5)};
	uint8_t *p = gen_alloc(g, 5 * 48);

	t.fields = p;
	for (uint32_t i = 0; i < t.count; i++) {
		uint32_t len = gen_below(g, 40);
		uint16_t ordinal = (uint16_t)gen_next(g);

		memcpy(p + t.bytes, &ordinal, 2);
		memcpy(p + t.bytes + 4, &len, 4);
		t.bytes += 8;
		for (uint32_t j = 0; j < len; j++)
			p[t.bytes + j] = (uint8_t)gen_next(g);
		t.bytes += len + wire_pad8(len);
	}
	return t;
}

static void gen_bytes(struct gen *g, void *out, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++)
		((uint8_t *)out)[i] = (uint8_t)gen_next(g);
}

static void gen_field(struct gen *g, const struct wire_field *f, void *out)
{
	void *member = (uint8_t *)out + f->offset;

	switch (f->type) {
	case WIRE_U8:
		gen_bytes(g, member, 1);
		break;
	case WIRE_U16:
		gen_bytes(g, member, 2);
		break;
	case WIRE_U32:
	case WIRE_I32:
		gen_bytes(g, member, 4);
		break;
	case WIRE_U64:
		gen_bytes(g, member, 8);
		break;
	case WIRE_ID:
		*(uint32_t *)member = 1 + gen_below(g, UINT32_MAX);
		break;
	case WIRE_BOOL:
	case WIRE_ANY:
		*(bool *)member = gen_next(g) & 1;
		break;
	case WIRE_BYTES:
		gen_bytes(g, member, f->bytes);
		break;
	case WIRE_PAD:
		break;
	case WIRE_STRING:
		*(struct wire_string *)member = gen_string(g, 60);
		break;
	case WIRE_NAME:
		*(struct wire_string *)member = gen_name(g);
		break;
	case WIRE_VECTOR:
		*(struct wire_vector *)member = gen_vector(g, f->of);
		break;
	case WIRE_TABLE:
		*(struct wire_table *)member = gen_table(g);
		break;
	case WIRE_STRUCT:
		gen_struct(g, f->of, member);
		break;
	}
}

static void gen_struct(struct gen *g, const struct wire_layout *layout, void *out)
{
	for (uint32_t i = 0; i < layout->count; i++)
		gen_field(g, &layout->fields[i], out);
}

const struct wire_layout *gen_layout(const struct message *m, enum codec_form form)
{
	return form == CODEC_CALL ? m->call : form == CODEC_REPLY ? m->reply : &layout_error;
}

void gen_message(
	struct gen *g, const struct message *m, enum codec_form form, struct codec_message *out)
{
	memset(out, 0, sizeof(*out));
	out->message = m;
	out->form = form;
	if (m->kind != OBJECT_HOST)
		out->object = 1 + gen_below(g, UINT32_MAX);
	if (m->shape == SHAPE_CALL)
		out->txid = 1 + gen_below(g, CODEC_TXID_SERVER - 1);
	if (m->shape == SHAPE_CALL && m->caller == CALLER_SERVER)
		out->txid |= CODEC_TXID_SERVER;
	if (form == CODEC_CALL)
		out->nfds = (uint8_t)(m->fds_min + gen_below(g, m->fds_max - m->fds_min + 1u));
	if (form == CODEC_REPLY)
		out->nfds = m->reply_fds;
	gen_struct(g, gen_layout(m, form), &out->p);
}

static char *gen_text(struct gen *g, uint32_t max_bytes)
{
	struct wire_string s = gen_string(g, max_bytes);
	char *p = strndup(s.ptr, s.len_bytes);

	CHECK(p);
	return p;
}

static void gen_file(struct gen *g, struct config_file *f, unsigned int *files)
{
	f->fd = -1;
	if (*files && (gen_next(g) & 1)) {
		f->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		CHECK(f->fd >= 0);
		--*files;
	} else {
		CHECK(asprintf(&f->path, "/%u", gen_below(g, 100000)) > 0);
	}
}

static void gen_config_vectors(struct gen *g, struct guest_config *c, unsigned int files)
{
	c->cmdline_add_count = gen_below(g, 4);
	c->cmdline_add = calloc(4, sizeof(*c->cmdline_add));
	c->block_count = gen_below(g, 5);
	c->blocks = calloc(5, sizeof(*c->blocks));
	c->net_count = gen_below(g, 4);
	c->nets = calloc(4, sizeof(*c->nets));
	c->listener_count = gen_below(g, 9);
	c->listeners = calloc(9, sizeof(*c->listeners));
	CHECK(c->cmdline_add && c->blocks && c->nets && c->listeners);
	for (uint32_t i = 0; i < c->cmdline_add_count; i++)
		c->cmdline_add[i] = gen_text(g, 30);
	for (uint32_t i = 0; i < c->block_count; i++) {
		c->blocks[i].id = gen_text(g, 20);
		c->blocks[i].mode = (uint8_t)gen_below(g, 3);
		c->blocks[i].format = (uint8_t)(1 + gen_below(g, 3));
		gen_file(g, &c->blocks[i].file, &files);
	}
	for (uint32_t i = 0; i < c->net_count; i++) {
		gen_bytes(g, c->nets[i].mac, 6);
		c->nets[i].enable_bridge = gen_next(g) & 1;
		c->nets[i].tap = gen_text(g, 15);
	}
	for (uint32_t i = 0; i < c->listener_count; i++)
		gen_bytes(g, &c->listeners[i], sizeof(c->listeners[i]));
}

/* Fields that are not drawn are put back to their defaults by the test's comparison of encodings:
 * only given ones are sent. */
void gen_config(struct gen *g, struct guest_config *c, unsigned int files)
{
	static const uint8_t ordinals[] = {
		1, 5, 6, 7, 8, 9, 10, 13, 14, 15, 17, 18, 21, 22, 23, 24, 25, 100, 101, 102};

	config_init(c);
	for (unsigned int i = 0; i < ARRAY_SIZE(ordinals); i++)
		if (gen_next(g) & 1)
			c->given |= CONFIG_BIT(ordinals[i]);
	if (files) {
		unsigned int one = 1;

		c->given |= CONFIG_BIT(CONFIG_KERNEL);
		gen_file(g, &c->kernel, &one);
		files--;
	}
	c->kernel_type = gen_below(g, 3);
	c->cmdline = gen_text(g, 100);
	c->vsock_uds_path = gen_text(g, 50);
	c->cpus = (uint8_t)gen_next(g);
	c->guest_memory = gen_next(g);
	c->mem_block_size = gen_next(g);
	c->mem_region_size = gen_next(g);
	c->mem_region_alignment = gen_next(g);
	c->guest_cid = (uint32_t)gen_next(g);
	c->home_core = (uint32_t)gen_next(g);
	c->vsock_guest_to_guest = gen_next(g) & 1;
	c->default_net = gen_next(g) & 1;
	c->balloon = gen_next(g) & 1;
	c->console = gen_next(g) & 1;
	c->rng = gen_next(g) & 1;
	c->vsock = gen_next(g) & 1;
	c->mem = gen_next(g) & 1;
	gen_config_vectors(g, c, (c->given & CONFIG_BIT(CONFIG_BLOCK_DEVICES)) ? files : 0);
}

static bool same_vector(
	const struct wire_layout *of, const struct wire_vector *made, const struct wire_vector *got)
{
	_Alignas(8) uint8_t element[256];
	struct wire_cursor cursor;
	const uint8_t *items = made->items;

	if (made->count != got->count)
		return false;
	wire_cursor_init(&cursor, got, of);
	for (uint32_t i = 0; i < made->count; i++) {
		if (!wire_cursor_next(&cursor, element))
			return false;
		if (!gen_same(of, items + (size_t)i * of->size_bytes, element))
			return false;
	}
	return !wire_cursor_next(&cursor, element);
}

static bool same_field(const struct wire_field *f, const void *a, const void *b)
{
	const void *x = (const uint8_t *)a + f->offset, *y = (const uint8_t *)b + f->offset;
	const struct wire_string *s = x, *t = y;
	const struct wire_table *k = x, *l = y;

	switch (f->type) {
	case WIRE_U8:
	case WIRE_BOOL:
	case WIRE_ANY:
		return !memcmp(x, y, 1);
	case WIRE_U16:
		return !memcmp(x, y, 2);
	case WIRE_U32:
	case WIRE_I32:
	case WIRE_ID:
		return !memcmp(x, y, 4);
	case WIRE_U64:
		return !memcmp(x, y, 8);
	case WIRE_BYTES:
		return !memcmp(x, y, f->bytes);
	case WIRE_PAD:
		return true;
	case WIRE_STRING:
	case WIRE_NAME:
		return s->len_bytes == t->len_bytes &&
		       (!s->len_bytes || !memcmp(s->ptr, t->ptr, s->len_bytes));
	case WIRE_VECTOR:
		return same_vector(f->of, x, y);
	case WIRE_TABLE:
		return k->count == l->count && k->bytes == l->bytes &&
		       (!k->bytes || !memcmp(k->fields, l->fields, k->bytes));
	case WIRE_STRUCT:
		return gen_same(f->of, x, y);
	}
	return false;
}

bool gen_same(const struct wire_layout *layout, const void *a, const void *b)
{
	for (uint32_t i = 0; i < layout->count; i++)
		if (!same_field(&layout->fields[i], a, b))
			return false;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer that only skips: it follows a path through a JSON text and counts lines. */
#include "core/json_where.h"

#include <string.h>

/* A cursor; never beyond `end`. */
struct cursor {
	const char *at, *end;
};

static bool more(const struct cursor *c)
{
	return c->at < c->end;
}

static bool looks_at(const struct cursor *c, const char *set)
{
	return more(c) && *c->at && strchr(set, *c->at);
}

static void skip_space(struct cursor *c)
{
	while (looks_at(c, " \t\r\n"))
		c->at++;
}

/* Over space, one `mark` and space again. */
static void skip_mark(struct cursor *c, char mark)
{
	skip_space(c);
	if (more(c) && *c->at == mark)
		c->at++;
	skip_space(c);
}

static void skip_string(struct cursor *c)
{
	for (c->at++; more(c) && *c->at != '"'; c->at++)
		if (*c->at == '\\' && c->at + 1 < c->end)
			c->at++;
	if (more(c))
		c->at++;
}

static void skip_scalar(struct cursor *c)
{
	while (more(c) && !looks_at(c, ",]} \t\r\n"))
		c->at++;
}

/* Over a whole object or array: brackets are counted, those in strings passed over. */
static void skip_nested(struct cursor *c)
{
	size_t depth = 0;

	do {
		if (*c->at == '"') {
			skip_string(c);
			continue;
		}
		if (looks_at(c, "{["))
			depth++;
		else if (looks_at(c, "}]"))
			depth--;
		c->at++;
	} while (depth && more(c));
}

static void skip_value(struct cursor *c)
{
	if (!more(c))
		return;
	if (*c->at == '"')
		skip_string(c);
	else if (looks_at(c, "{["))
		skip_nested(c);
	else
		skip_scalar(c);
}

/* From an object's or array's bracket to its n-th entry. Returns whether the entry has a key. */
static bool enter_entry(struct cursor *c, unsigned int n)
{
	bool keyed = looks_at(c, "{");

	if (more(c))
		c->at++;
	skip_space(c);
	for (; n && more(c); n--) {
		if (keyed) {
			skip_value(c);
			skip_mark(c, ':');
		}
		skip_value(c);
		skip_mark(c, ',');
	}
	return keyed;
}

static struct json_place place_of(const char *text, const char *at)
{
	struct json_place place = {1, 1};

	for (; text < at; text++) {
		if (*text == '\n') {
			place.line++;
			place.column = 1;
		} else if (((unsigned char)*text & 0xc0) != 0x80) {
			place.column++;
		}
	}
	return place;
}

struct json_place json_where(
	const char *text, size_t len_bytes, const struct json_path *path, bool at_key)
{
	struct cursor c = {text, text + len_bytes};

	skip_space(&c);
	for (unsigned int i = 0; i < path->count; i++) {
		bool keyed = enter_entry(&c, path->steps[i]);

		if (!keyed || (at_key && i + 1 == path->count))
			continue;
		skip_value(&c);
		skip_mark(&c, ':');
	}
	return place_of(text, c.at);
}

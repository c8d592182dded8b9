/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text a member or element stands, for errors about what it says. */
#ifndef CORE_JSON_WHERE_H
#define CORE_JSON_WHERE_H

#include <stdbool.h>
#include <stddef.h>

/* The way to a value from the outermost one: at each step the n-th member of an object or the n-th
 * element of an array, counted from 0. */
#define JSON_PATH_MAX 8
struct json_path {
	unsigned int steps[JSON_PATH_MAX];
	unsigned int count;
};

struct json_place {
	unsigned int line, column; /* from 1; columns count characters, not bytes */
};

/* json_where: the place of the value at `path`, or of its key if `at_key` and it has one. The text
 * has been parsed without an error before; in any other text the answer is some place within it.
 * Never reads past `len_bytes`. Any thread. */
struct json_place json_where(
	const char *text, size_t len_bytes, const struct json_path *path, bool at_key);

#endif

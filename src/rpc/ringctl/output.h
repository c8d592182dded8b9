/* SPDX-License-Identifier: Apache-2.0 */
/* What ringctl prints: aligned tables, sizes and times for people, JSON, errors. */
#ifndef RINGCTL_OUTPUT_H
#define RINGCTL_OUTPUT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "rpc/ringctl/ctl.h"

/* output_colours: decides, once the options are known: --color, else a terminal with NO_COLOR unset
 * and TERM not "dumb". */
void output_colours(struct ctl *ctl);

/* output_error: "ringctl: <text>" to stderr; with --json also {"error": {…}} to stdout. `name` is
 * the error's own ("NOT_RUNNING"); the text is scrubbed of what could upset a terminal. Returns
 * `status`. */
enum ctl_exit output_error(
	const struct ctl *ctl, const char *name, enum ctl_exit status, const char *text);

/* output_note: "<name>: <text>" to stderr, for a person at a terminal; a script that reads a
 * guest's output wants none. */
void output_note(const struct ctl *ctl, const char *name, const char *text);

/* output_json: the value, indented, and a newline; releases it. Returns CTL_OK, or CTL_FAILURE if
 * stdout is gone. output_json_line: on one line. */
enum ctl_exit output_json(json_t *value);
enum ctl_exit output_json_line(json_t *value);

/* output_flush: CTL_FAILURE, with a message, if what was printed did not get out. */
enum ctl_exit output_flush(const struct ctl *ctl);

/* For people: "512 MiB", "1.5 GiB"; "3d 04:05:06", "04:05:06", "5.1 s". Into `text` of OUTPUT_TEXT
 * bytes, which is returned. */
#define OUTPUT_TEXT 32
const char *output_size(uint64_t bytes, char text[OUTPUT_TEXT]);
const char *output_time(uint64_t time_ns, char text[OUTPUT_TEXT]);

/* A table: the first row is its head. Cells are added one by one; each row has `columns` of them.
 * Columns in `right` (a bit each) are aligned right. */
#define TABLE_COLUMNS_MAX 16
struct table {
	unsigned int columns, right;
	char **cells;
	size_t count, room;
};

void table_init(struct table *t, unsigned int columns, unsigned int right);
__attribute__((format(printf, 2, 3))) void table_cell(struct table *t, const char *fmt, ...);
/* table_print: the head bold if `colour`; empties the table. table_clear: empties it unseen. */
void table_print(struct table *t, FILE *to, bool colour);
void table_clear(struct table *t);

#endif

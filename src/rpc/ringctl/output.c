/* SPDX-License-Identifier: Apache-2.0 */
/* Tables, figures and errors for people; JSON for programs. */
#include "rpc/ringctl/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/utf8.h"

static bool colour_on(const struct ctl *ctl, int fd)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");

	if (ctl->colour_given)
		return ctl->colour_always;
	return isatty(fd) && !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0;
}

void output_colours(struct ctl *ctl)
{
	ctl->colour_out = !ctl->json && colour_on(ctl, STDOUT_FILENO);
	ctl->colour_err = colour_on(ctl, STDERR_FILENO);
}

enum ctl_exit output_error(
	const struct ctl *ctl, const char *name, enum ctl_exit status, const char *text)
{
	char clean[1024];

	snprintf(clean, sizeof(clean), "%s", text);
	utf8_scrub(clean);
	fprintf(stderr, "%sringctl:%s %s\n", ctl->colour_err ? "\033[1;31m" : "",
		ctl->colour_err ? "\033[0m" : "", clean);
	if (ctl->json)
		output_json(json_pack("{s{ss ss si}}", "error", "name", name, "detail", clean,
			"exit-status", status));
	return status;
}

void output_note(const struct ctl *ctl, const char *name, const char *text)
{
	if (!ctl->json && isatty(STDERR_FILENO))
		fprintf(stderr, "%s%s: %s%s\n", ctl->colour_err ? "\033[2m" : "", name, text,
			ctl->colour_err ? "\033[0m" : "");
}

static enum ctl_exit json_print(json_t *value, size_t flags)
{
	int err;

	CHECK(value);
	err = json_dumpf(value, stdout, flags);
	json_decref(value);
	if (err || putchar('\n') == EOF || fflush(stdout))
		return CTL_FAILURE;
	return CTL_OK;
}

enum ctl_exit output_json(json_t *value)
{
	return json_print(value, JSON_INDENT(2));
}

enum ctl_exit output_json_line(json_t *value)
{
	return json_print(value, JSON_COMPACT);
}

enum ctl_exit output_flush(const struct ctl *ctl)
{
	if (!fflush(stdout) && !ferror(stdout))
		return CTL_OK;
	return output_error(ctl, "output", CTL_FAILURE, "cannot write to the standard output");
}

const char *output_size(uint64_t bytes, char text[OUTPUT_TEXT])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned int unit = 0;
	double value = bytes;

	while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, OUTPUT_TEXT, value == (uint64_t)value ? "%.0f %s" : "%.1f %s", value,
		units[unit]);
	return text;
}

const char *output_time(uint64_t time_ns, char text[OUTPUT_TEXT])
{
	uint64_t seconds = time_ns / 1000000000;
	unsigned int h = seconds / 3600 % 24, m = seconds / 60 % 60, s = seconds % 60;

	if (seconds < 60)
		snprintf(text, OUTPUT_TEXT, "%u.%u s", s, (unsigned int)(time_ns / 100000000 % 10));
	else if (seconds < 86400)
		snprintf(text, OUTPUT_TEXT, "%02u:%02u:%02u", h, m, s);
	else
		snprintf(
			text, OUTPUT_TEXT, "%" PRIu64 "d %02u:%02u:%02u", seconds / 86400, h, m, s);
	return text;
}

void table_init(struct table *t, unsigned int columns, unsigned int right)
{
	CHECK(columns <= TABLE_COLUMNS_MAX);
	*t = (struct table){.columns = columns, .right = right};
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	int len;

	if (t->count == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cells = realloc(t->cells, t->room * sizeof(*t->cells));
		CHECK(t->cells);
	}
	va_start(ap, fmt);
	len = vasprintf(&t->cells[t->count], fmt, ap);
	va_end(ap);
	CHECK(len >= 0);
	utf8_scrub(t->cells[t->count++]);
}

static void row_print(const struct table *t, size_t row, const int *widths, FILE *to)
{
	for (unsigned int i = 0; i < t->columns; i++) {
		const char *cell = t->cells[row + i];
		bool last = i + 1 == t->columns;

		if (t->right & 1u << i)
			fprintf(to, "%*s", widths[i], cell);
		else if (last)
			fputs(cell, to);
		else
			fprintf(to, "%-*s", widths[i], cell);
		if (!last)
			fputs("  ", to);
	}
}

void table_print(struct table *t, FILE *to, bool colour)
{
	int widths[TABLE_COLUMNS_MAX] = {0};

	for (size_t i = 0; i < t->count; i++) {
		int len = strlen(t->cells[i]);

		if (len > widths[i % t->columns])
			widths[i % t->columns] = len;
	}
	for (size_t row = 0; row + t->columns <= t->count; row += t->columns) {
		if (colour && !row)
			fputs("\033[1m", to);
		row_print(t, row, widths, to);
		fputs(colour && !row ? "\033[0m\n" : "\n", to);
	}
	table_clear(t);
}

void table_clear(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	table_init(t, t->columns, t->right);
}

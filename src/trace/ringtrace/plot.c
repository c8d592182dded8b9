/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms as a picture, by gnuplot: one graph a kind, one line a row. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "trace/ringtrace/ringtrace.h"

#define GNUPLOT      "gnuplot"
#define PACKAGE      "gnuplot-nox"
#define LABEL_MAX    200
#define WIDTH        1000
#define GRAPH_HEIGHT 360
#define LINES_MAX    12 /* a graph; the most frequent */

static const char *terminal_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcmp(dot, ".svg"))
		return "svg";
	return dot && !strcmp(dot, ".png") ? "pngcairo" : NULL;
}

bool plot_check(const char *path)
{
	if (!terminal_of(path)) {
		complain("--plot: \"%s\" ends in neither .svg nor .png", path);
		return false;
	}
	if (system("command -v " GNUPLOT " >/dev/null 2>&1") == 0)
		return true;
	complain("--plot needs " GNUPLOT
		 ", which is not installed (Debian: apt-get install " PACKAGE ")");
	return false;
}

/* A string in single quotes, where a quote is doubled and nothing else means anything. */
static void put_quoted(FILE *f, const char *text)
{
	fputc('\'', f);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', f);
		fputc((unsigned char)*text < 0x20 ? '?' : *text, f);
	}
	fputc('\'', f);
}

static bool is_drawn(const struct trace_row *row)
{
	return row->hist.ended > 0;
}

/* The first of the rows behind those of the same kind. */
static size_t kind_end(const struct trace_rows *rows, size_t from)
{
	size_t i = from;

	while (i < rows->count && rows->row[i].key.kind == rows->row[from].key.kind)
		i++;
	return i;
}

static unsigned int lines_of(const struct trace_rows *rows, size_t from, size_t to)
{
	unsigned int n = 0;

	for (size_t i = from; i < to; i++)
		n += is_drawn(&rows->row[i]);
	return n < LINES_MAX ? n : LINES_MAX;
}

static unsigned int graphs_of(const struct trace_rows *rows)
{
	unsigned int n = 0;

	for (size_t i = 0; i < rows->count; i = kind_end(rows, i))
		n += lines_of(rows, i, kind_end(rows, i)) > 0;
	return n;
}

/* Slots in µs; a value that is no time as it is. From 1, for the logarithm. */
static void put_data(FILE *f, const struct trace_row *row)
{
	double scale = kind_is_time(row->key.kind) ? 1e3 : 1;

	for (unsigned int i = 0; i < TRACE_SLOTS; i++)
		if (row->hist.slots[i])
			fprintf(f, "%g %llu\n",
				(double)(trace_slot_start(i) ? trace_slot_start(i) : 1) / scale,
				(unsigned long long)row->hist.slots[i]);
	fputs("e\n", f);
}

static void put_title(FILE *f, const struct trace_row *row)
{
	char label[LABEL_MAX], text[LABEL_MAX + TRACE_GUEST_MAX + 4];

	label_row(label, sizeof(label), &row->key);
	snprintf(text, sizeof(text), "%s%s%s", row->key.guest, *row->key.guest ? ": " : "", label);
	put_quoted(f, text);
}

static void put_graph(FILE *f, const struct trace_rows *rows, size_t from, size_t to)
{
	unsigned int kind = rows->row[from].key.kind, max = lines_of(rows, from, to), n = 0;

	if (!max)
		return;
	fputs("set title ", f);
	put_quoted(f, kind_title(kind));
	fprintf(f, "\nset xlabel '%s'\nplot ", kind_is_time(kind) ? "microseconds" : "");
	for (size_t i = from; i < to && n < max; i++) {
		if (!is_drawn(&rows->row[i]))
			continue;
		fputs(n++ ? ", '-' with linespoints title " : "'-' with linespoints title ", f);
		put_title(f, &rows->row[i]);
	}
	fputc('\n', f);
	n = 0;
	for (size_t i = from; i < to && n < max; i++)
		if (is_drawn(&rows->row[i]) && ++n)
			put_data(f, &rows->row[i]);
}

static void put_script(FILE *f, const char *path, const struct trace_rows *rows)
{
	unsigned int graphs = graphs_of(rows);

	fprintf(f, "set terminal %s size %u,%u noenhanced\nset output ", terminal_of(path), WIDTH,
		GRAPH_HEIGHT * (graphs ? graphs : 1));
	put_quoted(f, path);
	fputs("\nset logscale x\nset format x '%g'\nset yrange [0:*]\nset ylabel 'count'\n"
	      "set key outside right top\nset grid\n",
		f);
	if (!graphs) {
		fputs("set title 'nothing happened'\nset xrange [1:1000]\nset yrange [0:1]\n"
		      "plot NaN notitle\n",
			f);
		return;
	}
	fprintf(f, "set multiplot layout %u,1\n", graphs);
	for (size_t i = 0; i < rows->count; i = kind_end(rows, i))
		put_graph(f, rows, i, kind_end(rows, i));
	fputs("unset multiplot\n", f);
}

int plot_rows(const char *path, const struct trace_rows *rows, struct diag *d)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	FILE *f = popen(GNUPLOT, "we");
	int status;

	if (!f)
		return diag_errno(d, -errno, GNUPLOT);
	put_script(f, path, rows);
	status = pclose(f);
	signal(SIGPIPE, before);
	if (status == 0)
		return 0;
	return diag_fail(d, -EIO, GNUPLOT " ended with status %d, and %s is not there or not whole",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1, path);
}

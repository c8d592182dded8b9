/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms on paper: bars for people, JSON for programs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "trace/ringtrace/ringtrace.h"

#define LABEL_MAX 128
#define BAR_MAX   40

static void put_value(char *to, size_t room, unsigned int kind, uint64_t value)
{
	if (kind_is_time(kind))
		label_time(to, room, value);
	else
		snprintf(to, room, "%" PRIu64, value);
}

static void print_bars(const struct trace_row *row)
{
	static const char stars[] = "########################################";
	uint64_t most = 0;

	for (unsigned int i = 0; i < TRACE_SLOTS; i++)
		if (row->hist.slots[i] > most)
			most = row->hist.slots[i];
	for (unsigned int i = 0; i < TRACE_SLOTS; i++) {
		uint64_t n = row->hist.slots[i];
		char start[24];

		if (!n)
			continue;
		put_value(start, sizeof(start), row->key.kind, trace_slot_start(i));
		printf("  %10s %10" PRIu64 " %.*s\n", start, n,
			(int)((n * BAR_MAX + most - 1) / most), stars);
	}
}

static void print_row(const struct trace_row *row)
{
	const struct trace_hist *h = &row->hist;
	char label[LABEL_MAX], mean[24], p50[24], p99[24], max[24];
	unsigned int kind = row->key.kind;

	label_row(label, sizeof(label), &row->key);
	if (kind == TRACE_KVM) {
		printf("%s%s%s: %llu\n", row->key.guest, *row->key.guest ? ": " : "", label,
			(unsigned long long)h->count);
		return;
	}
	put_value(mean, sizeof(mean), kind, h->ended ? h->sum / h->ended : 0);
	put_value(p50, sizeof(p50), kind, hist_quantile(h, 0.5));
	put_value(p99, sizeof(p99), kind, hist_quantile(h, 0.99));
	put_value(max, sizeof(max), kind, h->max);
	printf("%s%s%s: %llu", row->key.guest, *row->key.guest ? ": " : "", label,
		(unsigned long long)h->count);
	if (!h->ended) {
		puts(" (none measured)");
		return;
	}
	if (h->ended != h->count)
		printf(" (%llu measured)", (unsigned long long)h->ended);
	printf(", mean %s, p50 %s, p99 %s, max %s\n", mean, p50, p99, max);
	print_bars(row);
}

void print_rows(const struct trace_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct trace_row *row = &rows->row[i];

		if (!i || row->key.kind != row[-1].key.kind)
			printf("%s%s\n", i ? "\n" : "", kind_title(row->key.kind));
		print_row(row);
	}
	if (!rows->count)
		puts("nothing happened");
}

/* --- JSON: every string here is one of the daemon's or ours, without characters to escape; what
 * is not is replaced, so that the output parses whatever the process was. --- */

static void put_string(const char *name, const char *text)
{
	printf("\"%s\":\"", name);
	for (; *text; text++)
		putchar(*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\' ? '?'
										      : *text);
	putchar('"');
}

static void put_row(const struct trace_row *row)
{
	const struct trace_hist *h = &row->hist;
	char label[LABEL_MAX];
	bool first = true;

	label_row(label, sizeof(label), &row->key);
	putchar('{');
	put_string("kind", kind_title(row->key.kind));
	putchar(',');
	put_string("guest", row->key.guest);
	putchar(',');
	put_string("what", row->key.what);
	putchar(',');
	put_string("label", label);
	printf(",\"index\":%u,\"address\":%llu,\"write\":%s", row->key.index,
		(unsigned long long)row->key.address, row->key.is_write ? "true" : "false");
	printf(",\"count\":%llu,\"measured\":%llu,\"sum\":%llu,\"max\":%llu",
		(unsigned long long)h->count, (unsigned long long)h->ended,
		(unsigned long long)h->sum, (unsigned long long)h->max);
	printf(",\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"slots\":[", hist_quantile(h, 0.5),
		hist_quantile(h, 0.99));
	for (unsigned int i = 0; i < TRACE_SLOTS; i++) {
		if (!h->slots[i])
			continue;
		printf("%s[%llu,%llu]", first ? "" : ",", (unsigned long long)trace_slot_start(i),
			(unsigned long long)h->slots[i]);
		first = false;
	}
	fputs("]}", stdout);
}

void print_rows_json(const struct ringtrace *t, const struct trace_hists *h,
	const struct trace_rows *rows, uint64_t elapsed_ns)
{
	printf("{\"pid\":%d,\"seconds\":%.6f,\"lost\":%" PRIu64 ",\"rows\":[", t->pid,
		(double)elapsed_ns / 1e9, hists_lost(h));
	for (size_t i = 0; i < rows->count; i++) {
		if (i)
			putchar(',');
		put_row(&rows->row[i]);
	}
	puts("]}");
	fflush(stdout);
}

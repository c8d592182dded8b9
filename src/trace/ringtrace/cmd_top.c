/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace top: rates and mean times since the last look, guest by guest and reactor by reactor.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trace/ringtrace/ringtrace.h"

#define GUESTS_MAX 256
#define KINDS                                                                                      \
	(TRACE_KINDS_EXITS | TRACE_KIND(TRACE_KICK) | TRACE_KIND(TRACE_IRQ) |                      \
		TRACE_KIND(TRACE_RPC) | TRACE_KIND(TRACE_TURN) | TRACE_KIND(TRACE_RING_OP) |       \
		TRACE_KIND(TRACE_RUN_WAIT))

/* What happened in the interval. */
struct delta {
	uint64_t count, ended, sum;
};

static struct delta delta_of(const struct trace_row *now, const struct trace_rows *before)
{
	const struct trace_row *old = rows_find(before, &now->key);
	static const struct trace_hist none;
	const struct trace_hist *h = old ? &old->hist : &none;

	return (struct delta){.count = now->hist.count - h->count,
		.ended = now->hist.ended - h->ended,
		.sum = now->hist.sum - h->sum};
}

/* All rows of one kind of one guest, or (guest NULL) of one reactor. */
static struct delta delta_sum(const struct trace_rows *now, const struct trace_rows *before,
	unsigned int kind, const char *guest, unsigned int index)
{
	struct delta sum = {0};

	for (size_t i = 0; i < now->count; i++) {
		const struct trace_row *row = &now->row[i];
		struct delta d;

		if (row->key.kind != kind || (guest ? strcmp(row->key.guest, guest) != 0
						    : *row->key.guest || row->key.index != index))
			continue;
		d = delta_of(row, before);
		sum.count += d.count;
		sum.ended += d.ended;
		sum.sum += d.sum;
	}
	return sum;
}

static void print_cell(const struct delta *d, double seconds)
{
	char mean[24] = "-";

	if (d->ended)
		label_time(mean, sizeof(mean), d->sum / d->ended);
	printf(" %10.0f %8s", (double)d->count / seconds, mean);
}

static void print_guest(const struct trace_rows *now, const struct trace_rows *before,
	const char *guest, double seconds)
{
	static const unsigned int kinds[] = {
		TRACE_EXITS, TRACE_KVM_EXITS, TRACE_KICK, TRACE_IRQ, TRACE_RUN_WAIT};

	printf("%-20s", guest);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct delta d = delta_sum(now, before, kinds[i], guest, 0);

		print_cell(&d, seconds);
	}
	putchar('\n');
}

static void print_guests(
	const struct trace_rows *now, const struct trace_rows *before, double seconds)
{
	const char *seen[GUESTS_MAX];
	unsigned int count = 0;

	printf("%-20s %10s %8s %10s %8s %10s %8s %10s %8s %10s %8s\n", "GUEST", "EXITS/s", "MEAN",
		"IN-KVM/s", "MEAN", "KICKS/s", "MEAN", "IRQS/s", "MEAN", "CPU-WAITS/s", "MEAN");
	for (size_t i = 0; i < now->count && count < GUESTS_MAX; i++) {
		const char *guest = now->row[i].key.guest;
		bool known = !*guest;

		for (unsigned int k = 0; k < count && !known; k++)
			known = !strcmp(seen[k], guest);
		if (known)
			continue;
		seen[count++] = guest;
		print_guest(now, before, guest, seconds);
	}
}

static void print_reactors(
	const struct trace_rows *now, const struct trace_rows *before, double seconds)
{
	printf("%-20s %10s %8s %10s %8s %10s %8s %10s\n", "REACTOR", "TURNS/s", "MEAN", "RING/s",
		"MEAN", "CPU-WAITS/s", "MEAN", "BUSY %");
	for (size_t i = 0; i < now->count; i++) {
		const struct trace_row *row = &now->row[i];
		struct delta d, ring, wait;

		if (row->key.kind != TRACE_TURN)
			continue;
		d = delta_of(row, before);
		ring = delta_sum(now, before, TRACE_RING_OP, NULL, row->key.index);
		wait = delta_sum(now, before, TRACE_RUN_WAIT, NULL, row->key.index);
		printf("%-20u", row->key.index);
		print_cell(&d, seconds);
		print_cell(&ring, seconds);
		print_cell(&wait, seconds);
		printf(" %10.1f\n", 100 * (double)d.sum / 1e9 / seconds);
	}
}

static void print_calls(
	const struct trace_rows *now, const struct trace_rows *before, double seconds)
{
	struct delta d = delta_sum(now, before, TRACE_RPC, "", 0);

	printf("%-20s %10s %8s\n%-20s", "", "CALLS/s", "MEAN", "clients");
	print_cell(&d, seconds);
	putchar('\n');
}

static void print_table(
	const struct trace_rows *now, const struct trace_rows *before, double seconds)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	print_guests(now, before, seconds);
	print_reactors(now, before, seconds);
	print_calls(now, before, seconds);
	fflush(stdout);
}

static int show(struct ringtrace *t, const struct trace_hists *h, struct watch *w, struct diag *d)
{
	struct trace_rows before = {0}, now;
	uint64_t last_ns = clock_now_ns(), step_ns = (uint64_t)(t->interval_s * 1e9);
	enum watch_event event;
	int err;

	do {
		event = watch_wait(w, -1, last_ns + step_ns);
		err = hists_read(h, &now, d);
		if (err)
			break;
		if (t->json)
			print_rows_json(t, h, &now, clock_now_ns() - last_ns);
		else
			print_table(&now, &before, (double)(clock_now_ns() - last_ns) / 1e9);
		last_ns = clock_now_ns();
		rows_finish(&before);
		before = now;
	} while (event != WATCH_OVER);
	rows_finish(&before);
	return err;
}

enum ringtrace_exit top_main(struct ringtrace *t)
{
	struct trace_hists h = {0};
	struct watch w;
	struct diag d;
	int err;

	if (t->word_count) {
		complain("top takes no arguments, but there is \"%s\"", t->words[0]);
		return RINGTRACE_USAGE;
	}
	err = watch_open(&w, t, &d);
	if (!err)
		err = hists_open(&h, t->pid, KINDS, t->guest, &d);
	if (!err) {
		say_attached(t, &h.session);
		watch_begin(&w, t);
		err = show(t, &h, &w, &d);
	}
	if (err) {
		complain("%s", d.text);
	} else {
		hists_note_silent(&h, KINDS);
		say_notes(&h.session, hists_lost(&h), "values were");
	}
	hists_close(&h);
	return err ? RINGTRACE_FAILURE : RINGTRACE_OK;
}

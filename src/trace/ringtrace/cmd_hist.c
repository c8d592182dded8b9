/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace hist: counts in the kernel until the end, then shows. */
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "trace/ringtrace/ringtrace.h"

#define CHOICES "exits, kick, irq, depth, vsock, console, rpc, turn, ring, sched, kvm"

static const struct {
	const char *name;
	uint32_t kinds;
} choices[] = {
	{"exits", TRACE_KINDS_EXITS},
	{"kick", TRACE_KIND(TRACE_KICK)},
	{"irq", TRACE_KIND(TRACE_IRQ)},
	{"depth", TRACE_KINDS_DEPTH},
	{"vsock", TRACE_KINDS_VSOCK},
	{"console", TRACE_KINDS_CONSOLE},
	{"rpc", TRACE_KIND(TRACE_RPC)},
	{"turn", TRACE_KINDS_TURN},
	{"ring", TRACE_KIND(TRACE_RING_OP)},
	{"sched", TRACE_KIND(TRACE_RUN_WAIT)},
	{"kvm", TRACE_KIND(TRACE_KVM)},
};

static bool parse_kinds(const struct ringtrace *t, uint32_t *kinds)
{
	*kinds = 0;
	for (int w = 0; w < t->word_count; w++) {
		uint32_t found = 0;

		for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
			if (!strcmp(t->words[w], choices[i].name))
				found = choices[i].kinds;
		if (!found) {
			complain("hist: \"%s\" is none of " CHOICES, t->words[w]);
			return false;
		}
		*kinds |= found;
	}
	if (!*kinds)
		complain("hist: of what? " CHOICES ", or several of them");
	return *kinds;
}

static int trace(struct ringtrace *t, struct trace_hists *h, uint32_t kinds, struct diag *d)
{
	struct watch w;
	struct trace_rows rows;
	uint64_t start_ns;
	int err = watch_open(&w, t, d);

	if (!err)
		err = hists_open(h, t->pid, kinds, t->guest, d);
	if (err)
		return err;
	say_attached(t, &h->session);
	start_ns = clock_now_ns();
	watch_begin(&w, t);
	while (watch_wait(&w, -1, UINT64_MAX) != WATCH_OVER)
		;
	hists_stop(h);
	hists_note_silent(h, kinds);
	err = hists_read(h, &rows, d);
	if (err)
		return err;
	if (t->json)
		print_rows_json(t, h, &rows, clock_now_ns() - start_ns);
	else
		print_rows(&rows);
	if (t->plot)
		err = plot_rows(t->plot, &rows, d);
	say_notes(&h->session, hists_lost(h), "values were");
	rows_finish(&rows);
	return err;
}

enum ringtrace_exit hist_main(struct ringtrace *t)
{
	struct trace_hists h = {0};
	uint32_t kinds;
	struct diag d;
	int err;

	if (!parse_kinds(t, &kinds) || (t->plot && !plot_check(t->plot)))
		return RINGTRACE_USAGE;
	err = trace(t, &h, kinds, &d);
	hists_close(&h);
	if (err)
		complain("%s", d.text);
	return err ? RINGTRACE_FAILURE : RINGTRACE_OK;
}

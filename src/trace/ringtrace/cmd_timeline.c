/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace timeline: watches one guest until the end, then draws its last milliseconds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "trace/events.h"
#include "trace/ringtrace/ringtrace.h"
#include "trace/timeline.h"

#define SPAN_MS 1000
#define NS_MS   1e6

static bool parse_span(const struct ringtrace *t, double *span_ms)
{
	char *end = "";

	*span_ms = SPAN_MS;
	if (t->word_count)
		*span_ms = strtod(t->words[0], &end);
	if (!t->guest) {
		complain("timeline: of which guest? --guest NAME says it");
		return false;
	}
	if (t->word_count > 1 || *end || !(*span_ms > 0 && *span_ms < 1e9)) {
		complain("timeline takes one argument: how many of the last milliseconds");
		return false;
	}
	return true;
}

static int collect(struct ringtrace *t, struct trace_events *e, struct diag *d)
{
	struct watch w;
	int err = watch_open(&w, t, d);

	if (!err)
		err = events_open(e, t->pid, timeline_types(), t->guest, d);
	if (err)
		return err;
	say_attached(t, &e->session);
	watch_begin(&w, t);
	while (watch_wait(&w, events_fd(e), UINT64_MAX) != WATCH_OVER)
		events_poll(e);
	events_stop(e);
	events_poll(e);
	return 0;
}

enum ringtrace_exit timeline_main(struct ringtrace *t)
{
	struct timeline line;
	struct trace_events e = {.take = timeline_take, .ctx = &line, .with_reactors = true};
	double span_ms;
	struct diag d;
	int err;

	if (!parse_span(t, &span_ms))
		return RINGTRACE_USAGE;
	err = timeline_init(&line, t->guest, &d);
	if (!err)
		err = collect(t, &e, &d);
	if (!err) {
		uint64_t lost = events_lost(&e);
		uint64_t drawn = timeline_write(&line, stdout, (uint64_t)(span_ms * NS_MS), lost);

		fflush(stdout);
		complain("%" PRIu64 " events of %" PRIu64 " are in these %g ms", drawn, line.count,
			span_ms);
		say_notes(&e.session, lost, "events were");
	}
	events_close(&e);
	timeline_finish(&line);
	if (err)
		complain("%s", d.text);
	return err ? RINGTRACE_FAILURE : RINGTRACE_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace flame: the reactors' stacks, folded, for flamegraph.pl, speedscope or inferno. */
#include <inttypes.h>
#include <stdio.h>

#include "trace/flame.h"
#include "trace/ringtrace/ringtrace.h"

/* No divisor of the usual clocks' rates, so that what they drive is not always met alike. */
#define FREQUENCY_HZ 997

static int trace(struct ringtrace *t, struct flame *f, struct diag *d)
{
	struct watch w;
	uint64_t samples;
	int err = watch_open(&w, t, d);

	if (!err)
		err = flame_open(f, t->pid, FREQUENCY_HZ, d);
	if (err)
		return err;
	complain("attached to process %d: %u reactors, %u samples a second of CPU time", t->pid,
		f->thread_count, FREQUENCY_HZ);
	watch_begin(&w, t);
	while (watch_wait(&w, -1, UINT64_MAX) != WATCH_OVER)
		;
	flame_stop(f);
	err = flame_write(f, stdout, &samples, d);
	if (err)
		return err;
	fflush(stdout);
	complain("%" PRIu64 " samples", samples);
	say_notes(&f->session, flame_lost(f), "samples were");
	return 0;
}

enum ringtrace_exit flame_main(struct ringtrace *t)
{
	struct flame f = {0};
	struct diag d;
	int err;

	if (t->word_count) {
		complain("flame takes no arguments, but there is \"%s\"", t->words[0]);
		return RINGTRACE_USAGE;
	}
	if (t->guest) {
		complain("flame is of reactors, which several guests share: there is no --guest");
		return RINGTRACE_USAGE;
	}
	err = trace(t, &f, &d);
	flame_close(&f);
	if (err)
		complain("%s", d.text);
	return err ? RINGTRACE_FAILURE : RINGTRACE_OK;
}

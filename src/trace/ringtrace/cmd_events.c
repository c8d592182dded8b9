/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace events: each event on a line of its own, as it happens. */
#include <inttypes.h>
#include <stdio.h>

#include "trace/events.h"
#include "trace/ringtrace/ringtrace.h"

/* Strings are the daemon's; what a terminal or JSON cannot take is replaced. */
static void put_clean(const char *text)
{
	for (; *text; text++)
		putchar(*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\' ? '?'
										      : *text);
}

static void put_args(const struct trace_event *e, const struct trace_event_shape *shape, bool json)
{
	const char *format = json ? ",\"%s\":" : " %s=";

	for (unsigned int i = 0; i < TRACE_ARGS_MAX && shape->args[i]; i++) {
		unsigned long long value = e->args[i];

		printf(format, shape->args[i]);
		if (shape->is_signed & 1u << i)
			printf("%lld", (long long)value);
		else if (!json && (shape->hex & 1u << i))
			printf("0x%llx", value);
		else
			printf("%llu", value);
	}
}

static void put_text(void *ctx, const struct trace_event *e)
{
	const struct trace_event_shape *shape = trace_event_shape(e->type);

	(void)ctx;
	if (!shape)
		return;
	printf("%llu.%09llu cpu=%u tid=%u %s", (unsigned long long)e->time_ns / 1000000000,
		(unsigned long long)e->time_ns % 1000000000, e->cpu, e->tid, shape->name);
	if (*e->guest) {
		fputs(" guest=", stdout);
		put_clean(e->guest);
	}
	if (shape->what) {
		printf(" %s=", shape->what);
		put_clean(e->what);
	}
	put_args(e, shape, false);
	putchar('\n');
}

static void put_json(void *ctx, const struct trace_event *e)
{
	const struct trace_event_shape *shape = trace_event_shape(e->type);

	(void)ctx;
	if (!shape)
		return;
	printf("{\"time_ns\":%llu,\"cpu\":%u,\"tid\":%u,\"event\":\"%s\",\"guest\":\"",
		(unsigned long long)e->time_ns, e->cpu, e->tid, shape->name);
	put_clean(e->guest);
	putchar('"');
	if (shape->what) {
		printf(",\"%s\":\"", shape->what);
		put_clean(e->what);
		putchar('"');
	}
	put_args(e, shape, true);
	puts("}");
}

static bool parse_types(const struct ringtrace *t, uint32_t *types)
{
	*types = t->word_count ? 0 : (1u << TRACE_EVENT_TYPES) - 1;
	for (int i = 0; i < t->word_count; i++) {
		int type = trace_event_find(t->words[i]);

		if (type < 0) {
			complain("events: there is no probe \"%s\"; docs/TRACING.md lists them",
				t->words[i]);
			return false;
		}
		*types |= 1u << type;
	}
	return true;
}

static int stream(struct ringtrace *t, struct trace_events *e, uint32_t types, struct diag *d)
{
	struct watch w;
	int err = watch_open(&w, t, d);

	if (!err)
		err = events_open(e, t->pid, types, t->guest, d);
	if (err)
		return err;
	say_attached(t, &e->session);
	watch_begin(&w, t);
	while (watch_wait(&w, events_fd(e), UINT64_MAX) != WATCH_OVER) {
		events_poll(e);
		fflush(stdout);
	}
	events_stop(e);
	events_poll(e);
	say_notes(&e->session, events_lost(e), "events were");
	if (t->json)
		printf("{\"event\":\"end\",\"lost\":%" PRIu64 "}\n", events_lost(e));
	fflush(stdout);
	return 0;
}

enum ringtrace_exit events_main(struct ringtrace *t)
{
	struct trace_events e = {.take = t->json ? put_json : put_text};
	uint32_t types;
	struct diag d;
	int err;

	if (!parse_types(t, &types))
		return RINGTRACE_USAGE;
	err = stream(t, &e, types, &d);
	events_close(&e);
	if (err)
		complain("%s", d.text);
	return err ? RINGTRACE_FAILURE : RINGTRACE_OK;
}

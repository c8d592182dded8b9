/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's timeline from made events: the JSON parses, lanes and arrows are where they belong. */
#include "trace/timeline.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#define VQ      0x1000u
#define VCPU    7u /* threads */
#define REACTOR 8u

static struct timeline line;

static void setup(void)
{
	struct diag d;

	cr_assert_eq(timeline_init(&line, "web", &d), 0);
}

static void teardown(void)
{
	timeline_finish(&line);
}

TestSuite(timeline, .init = setup, .fini = teardown, .timeout = 60);

static void take(uint64_t us, unsigned int type, uint32_t tid, uint64_t arg0, uint64_t arg1)
{
	struct trace_event e = {.time_ns = us * 1000, .type = type, .tid = tid};

	if (type == TRACE_E_KICK || type == TRACE_E_VQ_PUSH || type == TRACE_E_IRQ)
		strcpy(e.what, "virtio-rng");
	e.args[0] = arg0;
	e.args[1] = arg1;
	timeline_take(&line, &e);
}

/* The whole trace; the caller's. */
static json_t *draw(uint64_t span_us, uint64_t events)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_error_t error;
	json_t *trace;

	cr_assert_eq(timeline_write(&line, f, span_us * 1000, 5), events);
	fclose(f);
	trace = json_loads(text, 0, &error);
	cr_assert_not_null(trace, "%s in %s", error.text, text);
	free(text);
	return trace;
}

/* The event of this phase and name; NULL: none. */
static const json_t *find(const json_t *trace, const char *phase, const char *name)
{
	const json_t *events = json_object_get(trace, "traceEvents");

	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *e = json_array_get(events, i);

		if (!strcmp(json_string_value(json_object_get(e, "ph")), phase) &&
			!strcmp(json_string_value(json_object_get(e, "name")), name))
			return e;
	}
	return NULL;
}

static double number(const json_t *event, const char *key)
{
	cr_assert_not_null(event, "no event to look for %s in", key);
	return json_number_value(json_object_get(event, key));
}

Test(timeline, an_arrow_goes_from_kick_to_completion_to_interrupt)
{
	json_t *trace;

	take(100, TRACE_E_TURN_BEGIN, REACTOR, 0, 1);
	take(102, TRACE_E_KICK, REACTOR, 0, VQ);
	take(110, TRACE_E_VQ_PUSH, REACTOR, 0, VQ);
	take(115, TRACE_E_IRQ, REACTOR, 0, VQ);
	take(120, TRACE_E_TURN_END, REACTOR, 0, 3);
	trace = draw(1000, 5);
	cr_assert_eq(number(find(trace, "s", "kick"), "ts"), 2);
	cr_assert_eq(number(find(trace, "t", "kick"), "ts"), 10);
	cr_assert_eq(number(find(trace, "f", "kick"), "ts"), 15);
	cr_assert_eq(number(find(trace, "X", "kick to completion"), "dur"), 8);
	cr_assert_eq(number(find(trace, "X", "completion to interrupt"), "dur"), 5);
	cr_assert_eq(number(find(trace, "X", "turn, 3 completions"), "dur"), 20);
	cr_assert_eq(number(json_object_get(trace, "otherData"), "lost"), 5);
	json_decref(trace);
}

Test(timeline, events_of_two_cpus_come_in_any_order)
{
	json_t *trace;

	take(30, TRACE_E_VCPU_EXIT, VCPU, 2, KVM_EXIT_HLT);
	take(10, TRACE_E_VCPU_ENTRY, VCPU, 2, 0);
	take(34, TRACE_E_VCPU_ENTRY, VCPU, 2, 0);
	trace = draw(1000, 3);
	cr_assert_eq(number(find(trace, "X", "in the guest"), "dur"), 20);
	cr_assert_eq(number(find(trace, "X", "KVM_EXIT_HLT"), "dur"), 4);
	json_decref(trace);
}

Test(timeline, has_the_last_moments_only)
{
	json_t *trace;

	take(10, TRACE_E_KICK, REACTOR, 0, VQ);
	take(5000, TRACE_E_VQ_PUSH, REACTOR, 0, VQ);
	take(5001, TRACE_E_IRQ, REACTOR, 0, VQ);
	trace = draw(100, 2);
	cr_assert_null(find(trace, "s", "kick"));
	cr_assert_null(find(trace, "f", "kick"));
	cr_assert_not_null(find(trace, "X", "completion to interrupt"));
	json_decref(trace);
}

Test(timeline, a_full_ring_keeps_the_newest)
{
	json_t *trace;

	for (uint64_t i = 0; i < TIMELINE_EVENTS_MAX + 10; i++)
		take(i, TRACE_E_VCPU_ENTRY, VCPU, 0, 0);
	trace = draw(1, 2);
	cr_assert_not_null(find(trace, "X", "in the guest"));
	json_decref(trace);
	cr_assert_eq(line.count, TIMELINE_EVENTS_MAX + 10);
}

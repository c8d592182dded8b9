/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of events: every probe, as it fires. One thread. */
#ifndef TRACE_EVENTS_H
#define TRACE_EVENTS_H

#include <linux/types.h>
#include <stdbool.h>

#include "bpf/layout.h"
#include "trace/session.h"

struct events_bpf;
struct ring_buffer;

/* How to name what an event carries: those of its probe's arguments that are no strings. */
struct trace_event_shape {
	const char *name;                 /* of the probe */
	const char *what;                 /* what the string is called; NULL: there is none */
	const char *args[TRACE_ARGS_MAX]; /* NULL: no more */
	unsigned int hex;                 /* a bit an argument that is better shown so */
	unsigned int is_signed;           /* a bit an argument that may be negative */
};

struct trace_events {
	struct events_bpf *skel;
	struct ring_buffer *ring;
	struct trace_session session;
	void (*take)(void *ctx, const struct trace_event *e);
	void *ctx;
	bool with_reactors; /* what belongs to no guest as well, where one guest is asked for */
};

/* trace_event_shape: NULL for a type that there is not. trace_event_find: by a probe's name, or
 * -1. */
const struct trace_event_shape *trace_event_shape(unsigned int type);
int trace_event_find(const char *name);

/* events_open: `take` is set before, and called by events_poll. `types`: a bit an event type.
 * `guest`: only this one's, NULL for all. Errors as hists_open; events_close is safe after them. */
int events_open(
	struct trace_events *e, pid_t pid, uint32_t types, const char *guest, struct diag *d);
void events_close(struct trace_events *e);
/* events_stop: detaches; what is in the buffer can still be taken. */
void events_stop(struct trace_events *e);

/* events_poll: takes what is there. events_fd: readable when there is something; for poll(2). */
void events_poll(struct trace_events *e);
int events_fd(const struct trace_events *e);
/* events_lost: those for which the buffer had no room. */
uint64_t events_lost(const struct trace_events *e);

#endif

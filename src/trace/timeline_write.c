/* SPDX-License-Identifier: Apache-2.0 */
/* A timeline in the Trace Event Format (JSON) that Perfetto and Chrome read. One object at a time,
 * so that a long trace takes no more memory than a short one. */
#include <inttypes.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/vcpu.h"
#include "trace/timeline.h"

#define LANES_MAX  512
#define QUEUES_MAX 512
#define LABEL_MAX  96
#define POINT_US   0.1 /* how long a moment is drawn */

enum { PROCESS_GUEST = 1, PROCESS_REACTORS = 2 };
enum { LANE_VCPU = 0, LANE_QUEUE = 1000, LANE_INTERRUPTS = 2000 };

/* What a thread was doing since when. */
struct lane {
	uint32_t tid;
	bool reactor, inside; /* a turn, the guest */
	unsigned int index;
	uint64_t since_ns;
	char what[LABEL_MAX];
};

struct queue {
	uint64_t vq, kick_ns, push_ns, flow; /* 0: none */
	uint32_t tid;                        /* its reactor */
	unsigned int index;                  /* its lane */
};

struct drawing {
	const struct timeline *t;
	FILE *to;
	bool any;
	uint64_t start_ns, flows;
	struct lane lanes[LANES_MAX];
	struct queue queues[QUEUES_MAX];
	unsigned int lane_count, queue_count;
};

static void put(struct drawing *w, json_t *event)
{
	fputs(w->any ? ",\n" : "\n", w->to);
	w->any = true;
	json_dumpf(event, w->to, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(event);
}

static double us_of(const struct drawing *w, uint64_t time_ns)
{
	return (double)(time_ns - w->start_ns) / 1e3;
}

static void put_slice(struct drawing *w, const char *name, int process, unsigned int lane,
	uint64_t from_ns, double us)
{
	put(w, json_pack("{s:s,s:s,s:f,s:f,s:i,s:i}", "name", name, "ph", "X", "ts",
		       us_of(w, from_ns), "dur", us, "pid", process, "tid", (int)lane));
}

/* One point of an arrow: "s" where it starts, "t" on its way, "f" where it ends; it belongs to the
 * slice that is drawn there. */
static void put_flow(struct drawing *w, const char *phase, uint64_t flow, int process,
	unsigned int lane, uint64_t time_ns)
{
	put(w, json_pack("{s:s,s:s,s:s,s:I,s:f,s:i,s:i,s:s}", "name", "kick", "cat", "kick", "ph",
		       phase, "id", (json_int_t)flow, "ts", us_of(w, time_ns), "pid", process,
		       "tid", (int)lane, "bp", "e"));
}

static void put_name(
	struct drawing *w, const char *kind, int process, unsigned int lane, const char *name)
{
	put(w, json_pack("{s:s,s:s,s:i,s:i,s:{s:s}}", "name", kind, "ph", "M", "pid", process,
		       "tid", (int)lane, "args", "name", name));
}

/* --- lanes --- */

static unsigned int lane_id(const struct lane *l)
{
	return l->reactor ? l->index : LANE_VCPU + l->index;
}

static struct lane *lane_of(struct drawing *w, uint32_t tid, bool reactor, unsigned int index)
{
	char name[LABEL_MAX];
	struct lane *l;

	for (unsigned int i = 0; i < w->lane_count; i++)
		if (w->lanes[i].tid == tid)
			return &w->lanes[i];
	if (w->lane_count == LANES_MAX)
		return NULL;
	l = &w->lanes[w->lane_count++];
	*l = (struct lane){.tid = tid, .reactor = reactor, .index = index};
	snprintf(name, sizeof(name), "%s %u", reactor ? "reactor" : "vcpu", index);
	put_name(w, "thread_name", reactor ? PROCESS_REACTORS : PROCESS_GUEST, lane_id(l), name);
	return l;
}

static struct queue *queue_of(struct drawing *w, const struct timeline_event *e)
{
	const char *device = w->t->devices[e->device];
	unsigned int queue = (unsigned int)e->args[0];
	char name[LABEL_MAX];
	struct queue *q;

	for (unsigned int i = 0; i < w->queue_count; i++)
		if (w->queues[i].vq == e->args[1])
			return &w->queues[i];
	if (w->queue_count == QUEUES_MAX)
		return NULL;
	q = &w->queues[w->queue_count];
	*q = (struct queue){.vq = e->args[1], .index = w->queue_count++};
	snprintf(name, sizeof(name), "%.*s queue %u", TRACE_WHAT_MAX, device, queue);
	put_name(w, "thread_name", PROCESS_GUEST, LANE_QUEUE + q->index, name);
	snprintf(name, sizeof(name), "%.*s queue %u, interrupts", TRACE_WHAT_MAX, device, queue);
	put_name(w, "thread_name", PROCESS_GUEST, LANE_INTERRUPTS + q->index, name);
	return q;
}

/* A moment on the reactor's lane, within its turn. */
static void put_moment(struct drawing *w, const char *what, const struct timeline_event *e)
{
	struct lane *l = lane_of(w, e->tid, true, 0);
	char name[LABEL_MAX];

	if (!l)
		return;
	snprintf(name, sizeof(name), "%s %.*s queue %u", what, TRACE_WHAT_MAX,
		w->t->devices[e->device], (unsigned int)e->args[0]);
	put_slice(w, name, PROCESS_REACTORS, lane_id(l), e->time_ns, POINT_US);
}

static unsigned int reactor_lane(struct drawing *w, uint32_t tid)
{
	const struct lane *l = lane_of(w, tid, true, 0);

	return l ? lane_id(l) : 0;
}

/* --- events --- */

static void lane_turns(struct drawing *w, struct lane *l, uint64_t time_ns, const char *next)
{
	if (l && *l->what)
		put_slice(w, l->what, l->reactor ? PROCESS_REACTORS : PROCESS_GUEST, lane_id(l),
			l->since_ns, us_of(w, time_ns) - us_of(w, l->since_ns));
	if (!l)
		return;
	snprintf(l->what, sizeof(l->what), "%s", next);
	l->since_ns = time_ns;
}

static void draw_exit(struct drawing *w, const struct timeline_event *e)
{
	struct lane *l = lane_of(w, e->tid, false, (unsigned int)e->args[0]);
	uint64_t reason = e->args[1];
	char what[LABEL_MAX];

	if (reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO)
		snprintf(what, sizeof(what), "%s %s 0x%" PRIx64, vcpu_exit_name((uint32_t)reason),
			e->args[4] ? "write" : "read", e->args[2]);
	else
		snprintf(what, sizeof(what), "%s", vcpu_exit_name((uint32_t)reason));
	lane_turns(w, l, e->time_ns, what);
}

static void draw_kick(struct drawing *w, const struct timeline_event *e)
{
	struct queue *q = queue_of(w, e);

	put_moment(w, "kick", e);
	if (!q || q->kick_ns)
		return;
	q->kick_ns = e->time_ns;
	q->flow = ++w->flows;
	put_flow(w, "s", q->flow, PROCESS_REACTORS, reactor_lane(w, e->tid), e->time_ns);
}

/* The first completion after a kick is the one that the kick has waited for. */
static void draw_push(struct drawing *w, const struct timeline_event *e)
{
	struct queue *q = queue_of(w, e);

	if (!q)
		return;
	q->tid = e->tid;
	if (!q->push_ns)
		q->push_ns = e->time_ns;
	if (!q->kick_ns)
		return;
	put_slice(w, "kick to completion", PROCESS_GUEST, LANE_QUEUE + q->index, q->kick_ns,
		us_of(w, e->time_ns) - us_of(w, q->kick_ns));
	put_slice(w, "completion", PROCESS_GUEST, LANE_QUEUE + q->index, e->time_ns, POINT_US);
	put_flow(w, "t", q->flow, PROCESS_GUEST, LANE_QUEUE + q->index, e->time_ns);
	q->kick_ns = 0;
}

static void draw_irq(struct drawing *w, const struct timeline_event *e)
{
	struct queue *q = e->args[1] ? queue_of(w, e) : NULL;

	put_moment(w, "interrupt", e);
	if (!q)
		return;
	if (q->push_ns)
		put_slice(w, "completion to interrupt", PROCESS_GUEST, LANE_INTERRUPTS + q->index,
			q->push_ns, us_of(w, e->time_ns) - us_of(w, q->push_ns));
	q->push_ns = 0;
	/* A kick that is not answered yet has its arrow before it. */
	if (!q->flow || q->kick_ns)
		return;
	put_flow(w, "f", q->flow, PROCESS_REACTORS, reactor_lane(w, e->tid), e->time_ns);
	q->flow = 0;
}

/* Interrupts are raised in the turn of the completion; one that the driver does not want yet comes
 * with another. */
static void draw_turn_end(struct drawing *w, const struct timeline_event *e)
{
	char what[LABEL_MAX];
	struct lane *l = lane_of(w, e->tid, true, (unsigned int)e->args[0]);

	if (l && *l->what) {
		snprintf(what, sizeof(what), "turn, %" PRIu64 " completions", e->args[1]);
		snprintf(l->what, sizeof(l->what), "%s", what);
	}
	lane_turns(w, l, e->time_ns, "");
	for (unsigned int i = 0; i < w->queue_count; i++)
		if (w->queues[i].tid == e->tid)
			w->queues[i].push_ns = 0;
}

static void draw(struct drawing *w, const struct timeline_event *e)
{
	switch (e->type) {
	case TRACE_E_VCPU_ENTRY:
		lane_turns(w, lane_of(w, e->tid, false, (unsigned int)e->args[0]), e->time_ns,
			"in the guest");
		break;
	case TRACE_E_VCPU_EXIT:
		draw_exit(w, e);
		break;
	case TRACE_E_KICK:
		draw_kick(w, e);
		break;
	case TRACE_E_VQ_PUSH:
		draw_push(w, e);
		break;
	case TRACE_E_IRQ:
		draw_irq(w, e);
		break;
	case TRACE_E_TURN_BEGIN:
		lane_turns(
			w, lane_of(w, e->tid, true, (unsigned int)e->args[0]), e->time_ns, "turn");
		break;
	case TRACE_E_TURN_END:
		draw_turn_end(w, e);
		break;
	default:
		break;
	}
}

/* --- the file --- */

static int by_time(const void *a, const void *b)
{
	const struct timeline_event *x = a, *y = b;

	return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
}

/* What was going on when the trace ended is drawn up to there. */
static void draw_rest(struct drawing *w, uint64_t end_ns)
{
	for (unsigned int i = 0; i < w->lane_count; i++)
		lane_turns(w, &w->lanes[i], end_ns, "");
}

static void put_head(struct drawing *w)
{
	char name[TRACE_GUEST_MAX + 8];

	fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", w->to);
	snprintf(name, sizeof(name), "guest %s", w->t->guest);
	put_name(w, "process_name", PROCESS_GUEST, 0, name);
	put_name(w, "process_name", PROCESS_REACTORS, 0, "reactors");
}

uint64_t timeline_write(struct timeline *t, FILE *to, uint64_t span_ns, uint64_t lost)
{
	size_t kept = t->count < TIMELINE_EVENTS_MAX ? (size_t)t->count : TIMELINE_EVENTS_MAX;
	struct drawing *w = calloc(1, sizeof(*w));
	uint64_t end_ns, drawn = 0;
	size_t first = 0;

	if (!w)
		return 0;
	w->t = t;
	w->to = to;
	/* Two CPUs' events may have come in the wrong order. */
	qsort(t->events, kept, sizeof(*t->events), by_time);
	end_ns = kept ? t->events[kept - 1].time_ns : 0;
	while (first < kept && t->events[first].time_ns + span_ns < end_ns)
		first++;
	w->start_ns = first < kept ? t->events[first].time_ns : 0;
	put_head(w);
	for (size_t i = first; i < kept; i++, drawn++)
		draw(w, &t->events[i]);
	draw_rest(w, end_ns);
	fprintf(to, "\n],\"otherData\":{\"events\":%" PRIu64 ",\"lost\":%" PRIu64 "}}\n", drawn,
		lost);
	free(w);
	return drawn;
}

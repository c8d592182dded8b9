/* SPDX-License-Identifier: Apache-2.0 */
/* The last moments of one guest as a trace for Perfetto and Chrome. One thread.
 *
 *   process "guest"     vcpu 0      | in the guest | KVM_EXIT_IO | in the guest | …
 *                       DEVICE qN   |  kick to completion  |     |  … |
 *                       … interrupts                   | completion to interrupt |
 *   process "reactors"  reactor 0   |  turn   [kick]  |   | turn        [interrupt] |
 *
 * with arrows: kick → completion → interrupt. */
#ifndef TRACE_TIMELINE_H
#define TRACE_TIMELINE_H

#include <linux/types.h>
#include <stdint.h>
#include <stdio.h>

#include "bpf/layout.h"
#include "core/diag.h"

#define TIMELINE_DEVICES_MAX 64
/* Older ones are left out; a few megabytes. */
#define TIMELINE_EVENTS_MAX 131072u

/* An event without its strings. */
struct timeline_event {
	uint64_t time_ns;
	uint32_t tid;
	uint16_t type, device; /* device: in `devices` */
	uint64_t args[TRACE_ARGS_MAX];
};

struct timeline {
	char guest[TRACE_GUEST_MAX];
	char devices[TIMELINE_DEVICES_MAX][TRACE_WHAT_MAX];
	unsigned int device_count;
	struct timeline_event *events; /* a ring */
	uint64_t count;                /* taken so far */
};

/* timeline_types: a bit each event type that it is made of. */
uint32_t timeline_types(void);

/* timeline_init: -ENOMEM. timeline_take: `ctx` is the timeline; for trace_events.take. */
int timeline_init(struct timeline *t, const char *guest, struct diag *d);
void timeline_finish(struct timeline *t);
void timeline_take(void *ctx, const struct trace_event *e);

/* timeline_write: the JSON of the last `span_ns`; `lost`: events that the kernel had no room for.
 * Returns how many events it is made of. */
uint64_t timeline_write(struct timeline *t, FILE *to, uint64_t span_ns, uint64_t lost);

#endif

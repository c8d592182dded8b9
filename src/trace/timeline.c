/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping a guest's last events in a ring; drawing is timeline_write.c. */
#include "trace/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint32_t timeline_types(void)
{
	static const uint8_t types[] = {TRACE_E_VCPU_ENTRY, TRACE_E_VCPU_EXIT, TRACE_E_KICK,
		TRACE_E_VQ_PUSH, TRACE_E_IRQ, TRACE_E_TURN_BEGIN, TRACE_E_TURN_END,
		TRACE_E_GUEST_STATE};
	uint32_t bits = 0;

	for (size_t i = 0; i < sizeof(types); i++)
		bits |= 1u << types[i];
	return bits;
}

int timeline_init(struct timeline *t, const char *guest, struct diag *d)
{
	memset(t, 0, sizeof(*t));
	strcpy(t->guest, guest);
	t->events = calloc(TIMELINE_EVENTS_MAX, sizeof(*t->events));
	return t->events ? 0 : diag_errno(d, -ENOMEM, "a ring of events");
}

void timeline_finish(struct timeline *t)
{
	free(t->events);
	t->events = NULL;
}

/* More devices than there are names for are all called as the last. */
static uint16_t device_index(struct timeline *t, const char *name)
{
	unsigned int i = 0;

	while (i < t->device_count && strncmp(t->devices[i], name, TRACE_WHAT_MAX) != 0)
		i++;
	if (i == t->device_count && i < TIMELINE_DEVICES_MAX)
		memcpy(t->devices[t->device_count++], name, TRACE_WHAT_MAX);
	return (uint16_t)(i < TIMELINE_DEVICES_MAX ? i : TIMELINE_DEVICES_MAX - 1);
}

void timeline_take(void *ctx, const struct trace_event *e)
{
	struct timeline *t = ctx;
	struct timeline_event *to = &t->events[t->count++ % TIMELINE_EVENTS_MAX];

	to->time_ns = e->time_ns;
	to->tid = e->tid;
	to->type = (uint16_t)e->type;
	to->device = *e->what ? device_index(t, e->what) : 0;
	memcpy(to->args, e->args, sizeof(to->args));
}

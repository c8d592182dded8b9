/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMetrics of guests' memory devices, and of the reclaim policy. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "core/check.h"
#include "rpc/metrics.h"
#include "rpc/reclaim.h"

/* Of balloons and of virtio-mem: guests without have no samples. Pages are given in bytes. */
#define BALLOON_PAGE_BYTES 4096

struct memory_family {
	const char *name, *unit, *help;
	bool counter, mem; /* mem: of virtio-mem, else of the balloon */
	size_t offset;
	uint64_t scale;
	bool wide;
};

#define BALLOON(name_, unit_, counter_, scale_, member, help_)                                     \
	{                                                                                          \
		.name = "ringvisor_guest_balloon_" name_, .unit = unit_, .help = help_,            \
		.counter = counter_, .offset = offsetof(struct guest_snapshot, balloon.member),    \
		.scale = scale_, .wide = sizeof(((struct guest_snapshot *)0)->balloon.member) == 8 \
	}
#define MEM(name_, unit_, counter_, member, help_)                                                 \
	{                                                                                          \
		.name = "ringvisor_guest_mem_" name_, .unit = unit_, .help = help_,                \
		.counter = counter_, .mem = true,                                                  \
		.offset = offsetof(struct guest_snapshot, member), .scale = 1, .wide = true        \
	}

static const struct memory_family memory_families[] = {
	BALLOON("actual_bytes", "bytes", false, BALLOON_PAGE_BYTES, actual_pages,
		"Memory that the guest says its balloon has given."),
	BALLOON("target_bytes", "bytes", false, BALLOON_PAGE_BYTES, target_pages,
		"Memory that the guest's balloon is asked to give."),
	BALLOON("reclaim_bytes", "bytes", false, BALLOON_PAGE_BYTES, reclaim_pages,
		"What of the target is the reclaim policy's."),
	BALLOON("reported_bytes", "bytes", true, 1, reported_bytes,
		"Free memory that the guest has reported."),
	BALLOON("discards", NULL, true, 1, discards,
		"Runs of pages given back to the host for the balloon."),
	BALLOON("discarded_bytes", "bytes", true, 1, discarded_bytes,
		"Memory given back to the host for the balloon."),
	BALLOON("discard_failures", NULL, true, 1, discard_failures,
		"Runs of pages that the host did not take back."),
	MEM("plugged_bytes", "bytes", false, mem_size.plugged_size,
		"Memory that the guest has plugged."),
	MEM("requested_bytes", "bytes", false, mem_size.requested_size,
		"Memory that the guest is asked to plug."),
	MEM("region_bytes", "bytes", false, mem_size.region_size,
		"Memory that the guest could plug at most."),
	MEM("requests", NULL, true, mem.requests, "Requests of the guest's driver."),
	MEM("discards", NULL, true, mem.discards, "Ranges of blocks given back to the host."),
	MEM("discarded_bytes", "bytes", true, mem.discarded_bytes,
		"Blocks given back to the host, resident or not."),
};

static uint64_t value_of(const struct memory_family *m, const struct guest_snapshot *g)
{
	const char *at = (const char *)g + m->offset;
	uint64_t wide = 0;
	uint32_t narrow = 0;

	if (m->wide)
		memcpy(&wide, at, sizeof(wide));
	else
		memcpy(&narrow, at, sizeof(narrow));
	return (m->wide ? wide : narrow) * m->scale;
}

static void put_memory_family(FILE *f, const struct memory_family *m,
	struct guest_snapshot *const *guests, unsigned int count)
{
	metrics_head(f, m->name, m->counter ? "counter" : "gauge", m->unit, m->help);
	for (unsigned int i = 0; i < count; i++)
		if (metrics_has_vmm(guests[i]) &&
			(m->mem ? guests[i]->has_mem : guests[i]->has_balloon))
			fprintf(f, "%s%s{guest=\"%s\"} %" PRIu64 "\n", m->name,
				m->counter ? "_total" : "", guests[i]->name,
				value_of(m, guests[i]));
}

void metrics_memory(FILE *f, struct guest_snapshot *const *guests, unsigned int count)
{
	for (size_t i = 0; i < ARRAY_SIZE(memory_families); i++)
		put_memory_family(f, &memory_families[i], guests, count);
	metrics_head(f, "ringvisor_guest_balloon_statistics_age_seconds", "gauge", "seconds",
		"Time since the guest last gave memory statistics.");
	for (unsigned int i = 0; i < count; i++) {
		const struct guest_snapshot *g = guests[i];

		if (metrics_has_vmm(g) && g->balloon.statistics_ns)
			fprintf(f,
				"ringvisor_guest_balloon_statistics_age_seconds{guest=\"%s\"} "
				"%.9f\n",
				g->name, (double)(g->taken_ns - g->balloon.statistics_ns) / 1e9);
	}
}

void metrics_reclaim(FILE *f, const struct reclaim *r)
{
	metrics_head(f, "ringvisor_reclaim_events", "counter", NULL,
		"Times that the kernel told of memory pressure.");
	fprintf(f, "ringvisor_reclaim_events_total %" PRIu64 "\n", r->events);
	metrics_head(
		f, "ringvisor_reclaim_steps", "counter", NULL, "Decisions of the reclaim policy.");
	fprintf(f, "ringvisor_reclaim_steps_total %" PRIu64 "\n", r->steps);
	metrics_head(f, "ringvisor_reclaim_pressure_ratio", "gauge", "ratio",
		"Part of the time that tasks waited for memory, before the last decision.");
	fprintf(f, "ringvisor_reclaim_pressure_ratio %.6f\n", r->last_ppm / 1e6);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One snapshot a guest, from wherever it lives. */
#include "rpc/gather.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
	const struct guest_snapshot *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void gather_put(struct gather *g)
{
	if (--g->left > 0)
		return;
	if (g->count)
		qsort(g->snapshots, g->count, sizeof(*g->snapshots), compare_names);
	g->ready(g);
	for (unsigned int i = 0; i < g->count; i++)
		free(g->snapshots[i]);
	free(g->snapshots);
	free(g);
}

static void gather_answered(struct slot_op *op)
{
	struct gather *g = op->ctx;

	if (op->snapshot) {
		if (op->snapshot->status == GUEST_STATUS_STARTING) {
			op->snapshot->cpus = op->slot->cpus;
			op->snapshot->memory_bytes = op->slot->memory_bytes;
		}
		g->snapshots[g->count++] = op->snapshot;
		op->snapshot = NULL;
	}
	gather_put(g);
}

bool gather_start(struct slots *s, void (*ready)(struct gather *), void *ctx)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return false;
	g->snapshots = calloc(s->count + 1, sizeof(*g->snapshots));
	if (!g->snapshots) {
		free(g);
		return false;
	}
	g->ready = ready;
	g->ctx = ctx;
	g->left = 1; /* one for this function */
	list_for_each (l, &s->list)
		if (slot_snapshot(list_entry(l, struct slot, link), gather_answered, g))
			g->left++;
	gather_put(g);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The reclaim policy's call to a guest's home and back: a new target, then how the guest is. */
#include "core/check.h"
#include "rpc/slots.h"

/* --- at home --- */

static void statistics_came(struct balloon_stats_call *call, enum status status)
{
	struct slot_op *op = container_of(call, struct slot_op, stats);

	(void)status; /* the figures tell how old they are */
	op->balloon_device->class->balloon->figures(op->balloon_device, &op->balloon);
	slot_op_return(op);
}

void slot_reclaim_work(struct slot_op *op)
{
	struct guest *g = op->guest;
	const struct balloon_controller *controller;

	op->balloon_device = g->state == GUEST_RUNNING ? machine_balloon(g->machine) : NULL;
	if (!op->balloon_device) {
		op->err = GUEST_DEVICE_NOT_PRESENT;
		slot_op_return(op);
		return;
	}
	controller = op->balloon_device->class->balloon;
	controller->figures(op->balloon_device, &op->balloon);
	if (op->vmm_ns == g->started_ns && op->requests == op->balloon.requests)
		controller->reclaim(op->balloon_device, op->pages);
	op->vmm_ns = g->started_ns;
	op->stats.done = statistics_came;
	controller->stats(op->balloon_device, &op->stats);
}

/* --- at the control reactor --- */

bool slot_reclaim(struct slot *slot, slot_done done, void *ctx)
{
	struct slot_op *op = slot_op_new(slot, SLOT_RECLAIM, done, ctx);

	if (!op)
		return false;
	op->pages = slot->reclaim.target_pages;
	op->vmm_ns = slot->reclaim.known ? slot->reclaim.vmm_ns : 0;
	op->requests = slot->reclaim.figures.requests;
	slot_op_submit(op);
	return true;
}

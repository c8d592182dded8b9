/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on the devices of a guest, on their way from the control reactor to its home and back. */
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "rpc/slots.h"

/* --- at home --- */

struct device *slot_op_device(struct slot_op *op, struct device *(*find)(struct machine *m),
	const char *what, const char *option)
{
	struct device *dev = find(op->guest->machine);
	char text[DIAG_TEXT_MAX];

	if (dev)
		return dev;
	snprintf(text, sizeof(text), "guest %s has no %s device: its config did not ask for %s",
		op->guest->name, what, option);
	op->err = GUEST_DEVICE_NOT_PRESENT;
	op->detail = strdup(text);
	return NULL;
}

static struct device *balloon_of(struct slot_op *op)
{
	return slot_op_device(op, machine_balloon, "balloon", "virtio_balloon");
}

static void balloon_open(struct slot_op *op)
{
	if (balloon_of(op))
		guest_watch_also(&op->holder_link->watch, &op->child_link->watch);
	slot_op_return(op);
}

static void balloon_size(struct slot_op *op)
{
	struct device *dev = balloon_of(op);

	if (dev)
		dev->class->balloon->size(dev, &op->current_pages, &op->requested_pages);
	slot_op_return(op);
}

static void balloon_request(struct slot_op *op)
{
	struct device *dev = balloon_of(op);

	if (dev)
		dev->class->balloon->request(dev, op->pages);
	slot_op_return(op);
}

static void balloon_answered(struct balloon_stats_call *call, enum status status)
{
	struct slot_op *op = container_of(call, struct slot_op, stats);

	op->status = status;
	slot_op_return(op);
}

static void balloon_stats(struct slot_op *op)
{
	struct device *dev = balloon_of(op);

	op->stats.done = balloon_answered;
	if (dev)
		dev->class->balloon->stats(dev, &op->stats);
	else
		slot_op_return(op);
}

static struct device *mem_of(struct slot_op *op)
{
	return slot_op_device(op, machine_mem, "memory", "virtio_mem");
}

static void mem_open(struct slot_op *op)
{
	if (mem_of(op))
		guest_watch_also(&op->holder_link->watch, &op->child_link->watch);
	slot_op_return(op);
}

static void mem_get_size(struct slot_op *op)
{
	struct device *dev = mem_of(op);

	if (dev)
		dev->class->mem->size(dev, &op->mem);
	slot_op_return(op);
}

static void mem_request(struct slot_op *op)
{
	struct device *dev = mem_of(op);
	struct diag d;

	if (dev && dev->class->mem->request(dev, op->requested_size, &d)) {
		op->status = STATUS_INVALID_ARGS;
		op->detail = strdup(d.text);
	}
	slot_op_return(op);
}

/* --- at the control reactor --- */

struct slot_op *slot_device_op(
	struct guest_link *l, void (*work)(struct slot_op *op), slot_done done, void *ctx)
{
	struct slot_op *op = slot_op_new(l->slot, SLOT_DEVICE, done, ctx);

	if (!op)
		return NULL;
	op->work = work;
	op->holder_link = l;
	l->uses++;
	return op;
}

static bool device_start(struct slot_op *op)
{
	if (op)
		slot_op_submit(op);
	return op;
}

bool slot_device_open(struct guest_link *l, struct guest_link *child,
	void (*work)(struct slot_op *op), slot_done done, void *ctx)
{
	struct slot_op *op = slot_device_op(l, work, done, ctx);

	if (!op) {
		guest_link_discard(child);
		return false;
	}
	child->home = l->home;
	op->child_link = child;
	return device_start(op);
}

bool slot_balloon_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx)
{
	return slot_device_open(l, child, balloon_open, done, ctx);
}

bool slot_balloon_size(struct guest_link *l, slot_done done, void *ctx)
{
	return device_start(slot_device_op(l, balloon_size, done, ctx));
}

bool slot_balloon_request(struct guest_link *l, uint32_t pages, slot_done done, void *ctx)
{
	struct slot_op *op = slot_device_op(l, balloon_request, done, ctx);

	if (op)
		op->pages = pages;
	return device_start(op);
}

bool slot_balloon_stats(struct guest_link *l, slot_done done, void *ctx)
{
	return device_start(slot_device_op(l, balloon_stats, done, ctx));
}

bool slot_mem_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx)
{
	return slot_device_open(l, child, mem_open, done, ctx);
}

bool slot_mem_size(struct guest_link *l, slot_done done, void *ctx)
{
	return device_start(slot_device_op(l, mem_get_size, done, ctx));
}

bool slot_mem_request(struct guest_link *l, uint64_t requested_size, slot_done done, void *ctx)
{
	struct slot_op *op = slot_device_op(l, mem_request, done, ctx);

	if (op)
		op->requested_size = requested_size;
	return device_start(op);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on their way from the control reactor to a guest's home and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/controllers.h"
#include "rpc/slot_vsock.h"

static void op_back(struct reactor_msg *msg);

/* --- at home --- */

void slot_op_return(struct slot_op *op)
{
	op->msg.run = op_back;
	reactor_post(op->slots->control, &op->msg);
}

static void op_answered(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct slot_op *op = container_of(call, struct slot_op, call);

	op->err = err;
	op->detail = err ? strdup(detail) : NULL;
	if (op->kind == SLOT_CREATE && !err)
		slot_listeners_adopt(op);
	slot_op_return(op);
}

static void op_create(struct slot_op *op)
{
	guest_create(op->guest, &op->call, &op->config);
}

static void op_run(struct slot_op *op)
{
	guest_run(op->guest, &op->call);
}

static void op_stop(struct slot_op *op)
{
	guest_stop(op->guest, &op->call);
}

static void op_bind(struct slot_op *op)
{
	guest_bind(op->guest, &op->call, &op->holder_link->watch);
}

static int open_serial(struct slot_op *op, struct diag *d)
{
	return stream_client(&op->guest->machine->serial, d);
}

static int open_console(struct slot_op *op, struct diag *d)
{
	struct device *dev = machine_console(op->guest->machine);

	if (dev)
		return dev->class->console->client(dev, d);
	op->err = GUEST_DEVICE_NOT_PRESENT;
	return diag_fail(d, -ENODEV,
		"guest %s has no console device: its config did not ask for virtio_console",
		op->guest->name);
}

bool slot_op_vmm(struct slot_op *op)
{
	struct guest *g = op->guest;
	struct diag d;

	if (!list_empty(&op->holder_link->watch.link) &&
		(g->state == GUEST_CREATED || g->state == GUEST_RUNNING)) {
		machine_drain(g->machine);
		return true;
	}
	diag_fail(&d, -EPIPE, "guest %s is at its end", g->name);
	op->err = GUEST_INTERNAL_ERROR;
	op->detail = strdup(d.text);
	return false;
}

static void op_stream(struct slot_op *op, int (*open)(struct slot_op *op, struct diag *d))
{
	struct diag d;

	if (slot_op_vmm(op)) {
		op->err = GUEST_INTERNAL_ERROR;
		op->fd = open(op, &d);
		if (op->fd < 0)
			op->detail = strdup(d.text);
		else
			op->err = GUEST_OK;
	}
	slot_op_return(op);
}

static void op_serial(struct slot_op *op)
{
	op_stream(op, open_serial);
}

static void op_console(struct slot_op *op)
{
	op_stream(op, open_console);
}

static void op_snapshot(struct slot_op *op)
{
	op->snapshot = calloc(1, sizeof(*op->snapshot));
	if (op->snapshot)
		snapshot_take(op->snapshot, op->guest);
	slot_op_return(op);
}

static void op_device(struct slot_op *op)
{
	if (slot_op_vmm(op))
		op->work(op);
	else
		slot_op_return(op);
}

static void op_free(struct slot_op *op)
{
	guest_free(op->guest);
	slot_op_return(op);
}

static void op_arrived(struct reactor_msg *msg)
{
	static void (*const work[])(struct slot_op * op) = {
		[SLOT_CREATE] = op_create,
		[SLOT_RUN] = op_run,
		[SLOT_STOP] = op_stop,
		[SLOT_BIND] = op_bind,
		[SLOT_SERIAL] = op_serial,
		[SLOT_CONSOLE] = op_console,
		[SLOT_DEVICE] = op_device,
		[SLOT_SNAPSHOT] = op_snapshot,
		[SLOT_RECLAIM] = slot_reclaim_work,
		[SLOT_FREE] = op_free,
	};
	struct slot_op *op = container_of(msg, struct slot_op, msg);

	work[op->kind](op);
}

/* --- at the control reactor --- */

struct slot_op *slot_op_new(struct slot *slot, enum slot_op_kind kind, slot_done done, void *ctx)
{
	struct slot_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	list_init(&op->link);
	list_init(&op->listeners);
	op->slots = slot->slots;
	op->slot = slot;
	op->guest = slot->guest;
	op->kind = kind;
	op->done = done;
	op->ctx = ctx;
	op->fd = -1;
	op->call.done = op_answered;
	config_init(&op->config);
	return op;
}

void slot_op_free(struct slot_op *op)
{
	if (op->fd >= 0)
		close(op->fd);
	free(op->snapshot);
	free(op->detail);
	config_finish(&op->config);
	free(op);
}

void slot_op_post(struct slot_op *op)
{
	struct slot *slot = op->slot;

	op->slots->out++;
	if (slot) {
		slot->ops++;
		slot->runs += op->kind == SLOT_RUN;
		slot->in_motion += op->kind == SLOT_CREATE || op->kind == SLOT_STOP;
	}
	if (op->kind == SLOT_CREATE) {
		slot->cpus = op->config.cpus;
		slot->memory_bytes = op->config.guest_memory;
	}
	if (op->kind == SLOT_BIND)
		op->holder_link->home = op->guest->home;
	op->msg.run = op_arrived;
	reactor_post(op->guest->home, &op->msg);
}

void slot_op_submit(struct slot_op *op)
{
	if (op->slot->moving)
		list_add_tail(&op->slot->waiting, &op->link);
	else
		slot_op_post(op);
}

/* What the answer says about the VMM; answers come in the order of the events. */
static void op_mirror(struct slot_op *op)
{
	struct slot *slot = op->slot;

	slot->ops--;
	switch (op->kind) {
	case SLOT_CREATE:
		slot->in_motion--;
		if (op->err != GUEST_ALREADY_RUNNING)
			slot->made = op->err == GUEST_OK;
		break;
	case SLOT_STOP:
		slot->in_motion--;
		slot->made = false;
		break;
	case SLOT_RUN:
		slot->runs--;
		if (op->err != GUEST_ALREADY_RUNNING)
			slot->made = false;
		break;
	default:
		break;
	}
}

static void op_back(struct reactor_msg *msg)
{
	struct slot_op *op = container_of(msg, struct slot_op, msg);
	struct slots *s = op->slots;
	struct slot *slot = op->slot;

	op->back = true;
	if (op->cancelling)
		return;
	s->out--;
	if (slot) {
		op_mirror(op);
		slot_ref(slot); /* `done` may let go of the last other reference */
	}
	if (op->kind == SLOT_BIND && op->err)
		guest_link_discard(op->holder_link);
	if (op->child_link && op->err)
		guest_link_discard(op->child_link);
	if (op->kind == SLOT_SERIAL || op->kind == SLOT_CONSOLE || op->kind == SLOT_DEVICE) {
		op->holder_link->uses--;
		guest_link_put(op->holder_link);
	}
	if (op->done)
		op->done(op);
	slot_listeners_end(op);
	slot_op_free(op);
	if (slot)
		slot_unref(slot);
	else
		slots_told(s);
}

void slot_op_cancelled(struct reactor_msg *msg)
{
	struct slot_op *op = container_of(msg, struct slot_op, cancel_msg);

	op->cancelling = false;
	if (op->back)
		op_back(&op->msg);
}

static bool op_start(struct slot_op *op)
{
	if (op)
		slot_op_submit(op);
	return op;
}

bool slot_run(struct slot *slot, slot_done done, void *ctx)
{
	return op_start(slot_op_new(slot, SLOT_RUN, done, ctx));
}

bool slot_stop(struct slot *slot, slot_done done, void *ctx)
{
	return op_start(slot_op_new(slot, SLOT_STOP, done, ctx));
}

bool slot_snapshot(struct slot *slot, slot_done done, void *ctx)
{
	return op_start(slot_op_new(slot, SLOT_SNAPSHOT, done, ctx));
}

bool slot_bind(struct slot *slot, struct guest_link *l, slot_done done, void *ctx)
{
	struct slot_op *op = slot_op_new(slot, SLOT_BIND, done, ctx);

	if (!op) {
		guest_link_discard(l);
		return false;
	}
	op->holder_link = l;
	slot_op_submit(op);
	return true;
}

static bool stream_start(struct guest_link *l, enum slot_op_kind kind, slot_done done, void *ctx)
{
	struct slot_op *op = slot_op_new(l->slot, kind, done, ctx);

	if (!op)
		return false;
	l->uses++;
	op->holder_link = l;
	slot_op_submit(op);
	return true;
}

bool slot_serial(struct guest_link *l, slot_done done, void *ctx)
{
	return stream_start(l, SLOT_SERIAL, done, ctx);
}

bool slot_console(struct guest_link *l, slot_done done, void *ctx)
{
	return stream_start(l, SLOT_CONSOLE, done, ctx);
}

/* --- links --- */

static void link_gone_home(struct guest_watch *w, enum status epitaph)
{
	struct guest_link *l = container_of(w, struct guest_link, watch);

	l->epitaph = epitaph;
	reactor_post(l->control, &l->gone_msg);
}

static void link_gone(struct reactor_msg *msg)
{
	struct guest_link *l = container_of(msg, struct guest_link, gone_msg);

	l->slot->made = false;
	if (l->holder)
		l->gone(l, l->epitaph);
	l->holder = NULL;
	l->over = true;
	guest_link_put(l);
}

static void link_unbound(struct reactor_msg *msg)
{
	struct guest_link *l = container_of(msg, struct guest_link, unbind_msg);

	l->unbinding = false;
	l->over = true;
	guest_link_put(l);
}

static void link_unbind_home(struct reactor_msg *msg)
{
	struct guest_link *l = container_of(msg, struct guest_link, unbind_msg);

	guest_unbind(&l->watch);
	l->unbind_msg.run = link_unbound;
	reactor_post(l->control, &l->unbind_msg);
}

struct guest_link *guest_link_new(struct slot *slot, void (*gone)(struct guest_link *, enum status))
{
	struct guest_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	guest_watch_init(&l->watch, link_gone_home);
	l->gone_msg.run = link_gone;
	l->unbind_msg.run = link_unbind_home;
	l->slots = slot->slots;
	l->control = slot->slots->control;
	l->slot = slot;
	l->gone = gone;
	slot->slots->out++;
	return l;
}

void guest_link_put(struct guest_link *l)
{
	struct slots *s = l->slots;

	if (!l->over || l->unbinding || l->uses)
		return;
	free(l);
	s->out--;
	slots_told(s);
}

void guest_link_discard(struct guest_link *l)
{
	l->over = true;
	guest_link_put(l);
}

void guest_link_drop(struct guest_link *l)
{
	l->holder = NULL;
	if (l->unbinding || l->over)
		return;
	l->unbinding = true;
	reactor_post(l->home, &l->unbind_msg);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* MemController: what it holds is a link to the VMM that its Guest was bound to. */
#include "rpc/object_mem.h"

#include "core/check.h"
#include "rpc/object_guest.h"

static void no_memory(struct call *call)
{
	call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
		"the daemon is out of memory for this call");
}

static void op_failed(struct slot_op *op)
{
	call_fail(op->ctx, DOMAIN_GUEST_ERROR, op->err, "%s", op->detail ? op->detail : "");
}

static void opened(struct slot_op *op)
{
	if (op->err)
		op_failed(op);
	else
		guest_object_open(op->ctx, op->child_link);
}

void mem_object_open(struct call *call)
{
	struct guest_link *parent = call->object->held;
	struct guest_link *l = guest_object_link(parent->slot);

	if (!l || !slot_mem_open(parent, l, opened, call))
		no_memory(call);
}

/* --- calls --- */

static void size_answered(struct slot_op *op)
{
	struct call *call = op->ctx;
	struct codec_message reply;

	if (op->err) {
		op_failed(op);
		return;
	}
	codec_reply_init(&reply, &call->msg);
	reply.p.mem_size = (struct mem_size_reply){
		.block_size = op->mem.block_size,
		.region_size = op->mem.region_size,
		.usable_region_size = op->mem.usable_region_size,
		.plugged_size = op->mem.plugged_size,
		.requested_size = op->mem.requested_size,
	};
	call_reply(call, &reply, NULL);
}

/* The message has no reply: an impossible size closes the object. */
static void request_answered(struct slot_op *op)
{
	struct call *call = op->ctx;
	struct object *o = call->object;

	if (o && op->status == STATUS_INVALID_ARGS) {
		struct guest_link *l = o->held;

		object_end(o, STATUS_INVALID_ARGS, op->detail);
		guest_link_drop(l);
	}
	call_done(call);
}

static void mem_handle(struct call *call)
{
	struct guest_link *l = call->object->held;
	bool ok;

	if (call->msg.message->method == METHOD_MEM_GET_SIZE) {
		ok = slot_mem_size(l, size_answered, call);
	} else {
		CHECK(call->msg.message->method == METHOD_MEM_REQUEST);
		ok = slot_mem_request(
			l, call->msg.p.request_size.requested_size, request_answered, call);
	}
	if (!ok)
		no_memory(call);
}

static void mem_release(void *held)
{
	guest_link_drop(held);
}

const struct object_class mem_class = {
	.kind = OBJECT_MEM,
	.name = "MemController",
	.handle = mem_handle,
	.release = mem_release,
};

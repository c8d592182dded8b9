/* SPDX-License-Identifier: Apache-2.0 */
/* MemController: what it holds is a link to the VMM that its Guest was bound to. */
#include "core/check.h"
#include "rpc/object_device.h"

static void size_answered(struct slot_op *op)
{
	struct call *call = op->ctx;
	struct codec_message reply;

	if (op->err) {
		device_failed(op);
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
		device_no_memory(call);
}

const struct object_class mem_class = {
	.kind = OBJECT_MEM,
	.name = "MemController",
	.handle = mem_handle,
	.release = device_object_release,
};

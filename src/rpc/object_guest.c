/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: the streams and controllers of one VMM. What it holds is a link to that VMM. */
#include "rpc/object_guest.h"

#include "core/check.h"
#include "rpc/object_device.h"
#include "rpc/object_vsock.h"

static void link_gone(struct guest_link *l, enum status epitaph)
{
	object_end(l->holder, epitaph, "the guest has come to its end");
}

struct guest_link *guest_object_link(struct slot *slot)
{
	return guest_link_new(slot, link_gone);
}

void guest_object_open(struct call *call, struct guest_link *l)
{
	l->holder = call->child;
	call_open(call, l);
}

static void bind_refused(struct call *call, const char *name)
{
	if (call->msg.message->method == METHOD_HOST_CONNECT)
		call_fail(
			call, DOMAIN_MANAGER, MANAGER_NOT_RUNNING, "guest %s is not running", name);
	else
		call_fail(call, DOMAIN_STATUS, STATUS_BAD_STATE,
			"no VMM has been created in slot %s", name);
}

static void bind_answered(struct slot_op *op)
{
	if (op->err)
		bind_refused(op->ctx, op->slot->name);
	else
		guest_object_open(op->ctx, op->holder_link);
}

void guest_object_bind(struct call *call, struct slot *slot)
{
	struct guest_link *l = guest_object_link(slot);

	if (!l || !slot_bind(slot, l, bind_answered, call))
		call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
			"the daemon is out of memory for this call");
}

/* --- calls --- */

static void stream_answered(struct slot_op *op)
{
	struct call *call = op->ctx;
	struct codec_message reply;

	if (op->err) {
		call_fail(call, DOMAIN_GUEST_ERROR, op->err, "%s", op->detail ? op->detail : "");
		return;
	}
	codec_reply_init(&reply, &call->msg);
	call_reply(call, &reply, &op->fd);
	op->fd = -1;
}

static void guest_get_stream(struct call *call)
{
	bool serial = call->msg.message->method == METHOD_GUEST_GET_SERIAL;
	bool (*get)(struct guest_link *, slot_done, void *) = serial ? slot_serial : slot_console;

	if (!get(call->object->held, stream_answered, call))
		call_fail(call, DOMAIN_GUEST_ERROR, GUEST_INTERNAL_ERROR,
			"the daemon is out of memory for this call");
}

static void guest_handle(struct call *call)
{
	switch (call->msg.message->method) {
	case METHOD_GUEST_GET_SERIAL:
	case METHOD_GUEST_GET_CONSOLE:
		guest_get_stream(call);
		return;
	case METHOD_GUEST_GET_BALLOON:
		device_object_open(call, slot_balloon_open);
		return;
	case METHOD_GUEST_GET_MEM:
		device_object_open(call, slot_mem_open);
		return;
	case METHOD_GUEST_GET_VSOCK:
		vsock_object_open(call);
		return;
	}
	CHECK(!"a method of Guest that the table has and this file has not");
}

const struct object_class guest_class = {
	.kind = OBJECT_GUEST,
	.name = "Guest",
	.handle = guest_handle,
	.release = device_object_release,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Objects for a device of a VMM: how they are opened and let go. */
#include "rpc/object_device.h"

#include "rpc/object_guest.h"

void device_no_memory(struct call *call)
{
	call_fail(call, DOMAIN_STATUS, STATUS_NO_RESOURCES,
		"the daemon is out of memory for this call");
}

void device_failed(struct slot_op *op)
{
	call_fail(op->ctx, DOMAIN_GUEST_ERROR, op->err, "%s", op->detail ? op->detail : "");
}

static void opened(struct slot_op *op)
{
	if (op->err)
		device_failed(op);
	else
		guest_object_open(op->ctx, op->child_link);
}

void device_object_open(struct call *call, device_open_call open)
{
	struct guest_link *parent = call->object->held;
	struct guest_link *l = guest_object_link(parent->slot);

	if (!l || !open(parent, l, opened, call))
		device_no_memory(call);
}

void device_object_release(void *held)
{
	guest_link_drop(held);
}

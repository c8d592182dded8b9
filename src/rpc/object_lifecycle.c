/* SPDX-License-Identifier: Apache-2.0 */
/* GuestLifecycle: Create, Bind, Run, Stop on a slot that its clients share (conformance.md,
 * "Lifecycle"). What it holds is a reference of the slot. */
#include "core/check.h"
#include "rpc/config_table.h"
#include "rpc/object.h"
#include "rpc/object_acceptor.h"
#include "rpc/object_guest.h"
#include "rpc/server.h"
#include "rpc/slots.h"

static void no_memory(struct call *call)
{
	call_fail(call, DOMAIN_GUEST_ERROR, GUEST_INTERNAL_ERROR,
		"the daemon is out of memory for this call");
}

/* Create, Run and Stop end alike. */
static void lifecycle_answered(struct slot_op *op)
{
	struct call *call = op->ctx;

	if (op->kind == SLOT_CREATE && !op->err)
		op->slot->launched = false; /* the guest that was launched is no more */
	if (op->kind == SLOT_CREATE && !op->err)
		acceptor_objects_open(call, op);
	if (op->err)
		call_fail_guest(call, op->err, op->detail ? op->detail : "");
	else
		call_done(call);
}

static void lifecycle_create(struct call *call, struct slot *slot)
{
	struct guest_config config;
	struct codec_fault fault;

	config_init(&config);
	if (call_server(call)->stopping)
		call_fail(call, DOMAIN_STATUS, STATUS_BAD_STATE, "the daemon is stopping");
	else if (config_table_decode(&call->msg, &call->frame, &config, &fault) != CODEC_OK)
		call_fail(call, fault.domain, fault.code, "%s", fault.text.text);
	else if (!slot_create(slot, &config, lifecycle_answered, call))
		no_memory(call);
	config_finish(&config);
}

static void lifecycle_handle(struct call *call)
{
	struct slot *slot = call->object->held;

	switch (call->msg.message->method) {
	case METHOD_LIFECYCLE_CREATE:
		lifecycle_create(call, slot);
		break;
	case METHOD_LIFECYCLE_BIND:
		guest_object_bind(call, slot);
		break;
	case METHOD_LIFECYCLE_RUN:
		if (!slot_run(slot, lifecycle_answered, call))
			no_memory(call);
		break;
	default:
		CHECK(call->msg.message->method == METHOD_LIFECYCLE_STOP);
		if (!slot_stop(slot, lifecycle_answered, call))
			no_memory(call);
		break;
	}
}

static void lifecycle_release(void *held)
{
	slot_unref(held);
}

const struct object_class lifecycle_class = {
	.kind = OBJECT_LIFECYCLE,
	.name = "GuestLifecycle",
	.handle = lifecycle_handle,
	.release = lifecycle_release,
};

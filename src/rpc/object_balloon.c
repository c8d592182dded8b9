/* SPDX-License-Identifier: Apache-2.0 */
/* BalloonController: what it holds is a link to the VMM that its Guest was bound to. */
#include "rpc/object_balloon.h"

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

void balloon_object_open(struct call *call)
{
	struct guest_link *parent = call->object->held;
	struct guest_link *l = guest_object_link(parent->slot);

	if (!l || !slot_balloon_open(parent, l, opened, call))
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
	reply.p.balloon_size = (struct balloon_size_reply){
		.current_num_pages = op->current_pages,
		.requested_num_pages = op->requested_pages,
	};
	call_reply(call, &reply, NULL);
}

static void request_answered(struct slot_op *op)
{
	call_done(op->ctx);
}

static void stats_answered(struct slot_op *op)
{
	struct balloon_stat stats[BALLOON_STATS_MAX];
	struct call *call = op->ctx;
	struct codec_message reply;

	if (op->err) {
		op_failed(op);
		return;
	}
	for (unsigned int i = 0; i < op->stats.count; i++)
		stats[i] = (struct balloon_stat){
			.tag = op->stats.values[i].tag, .value = op->stats.values[i].value};
	codec_reply_init(&reply, &call->msg);
	reply.p.balloon_stats = (struct balloon_stats_reply){
		.status = (int32_t)op->status,
		.stats = {.count = op->stats.count, .items = stats},
	};
	call_reply(call, &reply, NULL);
}

static void balloon_handle(struct call *call)
{
	struct guest_link *l = call->object->held;
	bool ok;

	switch (call->msg.message->method) {
	case METHOD_BALLOON_GET_SIZE:
		ok = slot_balloon_size(l, size_answered, call);
		break;
	case METHOD_BALLOON_REQUEST:
		ok = slot_balloon_request(
			l, call->msg.p.request_pages.requested_num_pages, request_answered, call);
		break;
	default:
		CHECK(call->msg.message->method == METHOD_BALLOON_GET_STATS);
		ok = slot_balloon_stats(l, stats_answered, call);
		break;
	}
	if (!ok)
		no_memory(call);
}

static void balloon_release(void *held)
{
	guest_link_drop(held);
}

const struct object_class balloon_class = {
	.kind = OBJECT_BALLOON,
	.name = "BalloonController",
	.handle = balloon_handle,
	.release = balloon_release,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* BalloonController: what it holds is a link to the VMM that its Guest was bound to. */
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
		device_failed(op);
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
		device_no_memory(call);
}

const struct object_class balloon_class = {
	.kind = OBJECT_BALLOON,
	.name = "BalloonController",
	.handle = balloon_handle,
	.release = device_object_release,
};

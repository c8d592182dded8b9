/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock packets: checks of the header. */
#include "virtio/vsock_packet.h"

#include "core/check.h"

static uint32_t flags_known(const struct vsock_header *h)
{
	if (h->op == VSOCK_OP_SHUTDOWN)
		return VSOCK_SHUTDOWN_BOTH;
	if (h->op == VSOCK_OP_RW && h->type == VSOCK_TYPE_SEQPACKET)
		return VSOCK_SEQ_EOM | VSOCK_SEQ_EOR;
	return 0;
}

bool vsock_route_ok(const struct vsock_header *h, const struct vsock_rules *rules)
{
	if (h->src_cid != rules->guest_cid)
		return false;
	if (h->dst_cid == VSOCK_CID_HOST)
		return true;
	return rules->neighbours && h->dst_cid >= VSOCK_CID_GUEST_FIRST &&
	       h->dst_cid <= VSOCK_CID_GUEST_LAST && h->dst_cid != rules->guest_cid;
}

bool vsock_header_ok(
	const struct vsock_header *h, const struct vsock_rules *rules, uint64_t payload_bytes)
{
	if (!vsock_route_ok(h, rules))
		return false;
	if (h->type != VSOCK_TYPE_STREAM && !(h->type == VSOCK_TYPE_SEQPACKET && rules->seqpacket))
		return false;
	if (h->op < VSOCK_OP_REQUEST || h->op > VSOCK_OP_CREDIT_REQUEST)
		return false;
	if (h->flags & ~flags_known(h))
		return false;
	return h->len == payload_bytes;
}

struct vsock_header vsock_header_reset(const struct vsock_header *h, uint32_t guest_cid)
{
	return (struct vsock_header){
		.src_cid = h->dst_cid,
		.dst_cid = guest_cid,
		.src_port = h->dst_port,
		.dst_port = h->src_port,
		.type = h->type,
		.op = VSOCK_OP_RST,
	};
}

const char *vsock_op_name(uint16_t op)
{
	static const char *const names[] = {
		[VSOCK_OP_INVALID] = "INVALID",
		[VSOCK_OP_REQUEST] = "REQUEST",
		[VSOCK_OP_RESPONSE] = "RESPONSE",
		[VSOCK_OP_RST] = "RST",
		[VSOCK_OP_SHUTDOWN] = "SHUTDOWN",
		[VSOCK_OP_RW] = "RW",
		[VSOCK_OP_CREDIT_UPDATE] = "CREDIT_UPDATE",
		[VSOCK_OP_CREDIT_REQUEST] = "CREDIT_REQUEST",
	};

	return op < ARRAY_SIZE(names) ? names[op] : "unknown";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock packets: checks of the header. */
#include "virtio/vsock_packet.h"

#include "core/check.h"

static uint32_t flags_known(const struct vsock_header *h)
{
	return h->op == VSOCK_OP_SHUTDOWN ? VSOCK_SHUTDOWN_BOTH : 0;
}

bool vsock_header_ok(const struct vsock_header *h, uint32_t guest_cid, uint64_t payload_bytes)
{
	if (h->src_cid != guest_cid || h->dst_cid != VSOCK_CID_HOST)
		return false;
	if (h->type != VSOCK_TYPE_STREAM)
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock packets (virtio 1.2 §5.10.6): the header, and the checks on a copy of it. Any thread. */
#ifndef VIRTIO_VSOCK_PACKET_H
#define VIRTIO_VSOCK_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#define VSOCK_CID_HOST     2u
#define VSOCK_HEADER_BYTES 44u

enum vsock_type { VSOCK_TYPE_STREAM = 1, VSOCK_TYPE_SEQPACKET = 2 };

enum vsock_op {
	VSOCK_OP_INVALID,
	VSOCK_OP_REQUEST,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

/* Flags of VSOCK_OP_SHUTDOWN: what the sender will not do any more. */
#define VSOCK_SHUTDOWN_RCV  1u
#define VSOCK_SHUTDOWN_SEND 2u
#define VSOCK_SHUTDOWN_BOTH (VSOCK_SHUTDOWN_RCV | VSOCK_SHUTDOWN_SEND)

/* As in guest memory, little-endian. */
struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* of the payload */
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct vsock_header) == VSOCK_HEADER_BYTES, "virtio 1.2 §5.10.6");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are used as they are");

/* vsock_header_ok: may the guest `guest_cid` send this header with that much payload to the host?
 * Credit is not looked at: it is the connection's. */
bool vsock_header_ok(const struct vsock_header *h, uint32_t guest_cid, uint64_t payload_bytes);

/* vsock_header_reset: the RST that answers `h`. It comes from where `h` was sent to, even if there
 * is no such place. */
struct vsock_header vsock_header_reset(const struct vsock_header *h, uint32_t guest_cid);

/* vsock_op_name: "REQUEST" and so on; static, never NULL. */
const char *vsock_op_name(uint16_t op);

#endif

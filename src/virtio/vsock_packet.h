/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock packets (virtio 1.2 §5.10.6): the header, and the checks on a copy of it. Any thread. */
#ifndef VIRTIO_VSOCK_PACKET_H
#define VIRTIO_VSOCK_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#define VSOCK_CID_HOST        2u
#define VSOCK_CID_GUEST_FIRST 3u
#define VSOCK_CID_GUEST_LAST  0xfffffffeu
#define VSOCK_HEADER_BYTES    44u

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

/* Flags of VSOCK_OP_RW of SEQPACKET: the last packet of a message; the sender's MSG_EOR as well. */
#define VSOCK_SEQ_EOM 1u
#define VSOCK_SEQ_EOR 2u

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

/* What a guest may send. */
struct vsock_rules {
	uint32_t guest_cid;
	bool seqpacket;  /* it has negotiated VIRTIO_VSOCK_F_SEQPACKET */
	bool neighbours; /* to other guests, not only to the host */
};

/* vsock_header_ok: may the guest send this header with that much payload? Credit and the type of
 * a connection are not looked at: they are the connection's. */
bool vsock_header_ok(
	const struct vsock_header *h, const struct vsock_rules *rules, uint64_t payload_bytes);
/* vsock_route_ok: is it from this guest and to somebody that it may talk to? The destination fits
 * 32 bits then. */
bool vsock_route_ok(const struct vsock_header *h, const struct vsock_rules *rules);

/* vsock_header_reset: the RST that answers `h`. It comes from where `h` was sent to, even if there
 * is no such place. */
struct vsock_header vsock_header_reset(const struct vsock_header *h, uint32_t guest_cid);

/* vsock_op_name: "REQUEST" and so on; static, never NULL. */
const char *vsock_op_name(uint16_t op);

#endif

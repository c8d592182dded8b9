/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock device on the fake reactor, a guest's driver for it, and a client that accepts and
 * connects. Include fake_io.h as well. One at a time in a process. */
#ifndef SUPPORT_VSOCK_RIG_H
#define SUPPORT_VSOCK_RIG_H

#include "support/device_rig.h"
#include "virtio/vsock.h"

#define VRIG_CID        3u
#define VRIG_QUEUE      64
#define VRIG_SLOT_BYTES 0x10000u
#define VRIG_BUF_ALLOC  65536u /* of the guest's connections, unless they say otherwise */
#define VRIG_ACCEPT_MAX 64

struct vrig_packet {
	struct vsock_header h;
	uint8_t data[VRIG_SLOT_BYTES];
};

/* A connection as the guest sees it. */
struct vrig_conn {
	uint32_t host_port, guest_port;
	uint32_t buf_alloc, fwd_cnt;
	int fd;            /* the client's end; -1: none */
	uint16_t type;     /* 0: VSOCK_TYPE_STREAM */
	uint32_t host_cid; /* who is at the other end; 0: VSOCK_CID_HOST */
};

struct vrig_connect {
	struct vsock_connect base;
	bool is_done;
	int err, fd;
	uint32_t host_port;
};

struct vrig {
	struct reactor *reactor;
	struct device_rig dev;
	struct vsock vsock;
	bool shares_reactor;
	bool rx_again; /* receive buffers are offered again as soon as they were used */
	uint32_t rx_bytes;
	uint64_t features;                                     /* of the ring, for vrig_start */
	unsigned int tx_slot[VRIG_QUEUE], rx_slot[VRIG_QUEUE]; /* by head */
	bool tx_busy[VRIG_QUEUE], rx_busy[VRIG_QUEUE];         /* by slot */
	uint32_t used_bytes;                                   /* of the last receive buffer */

	/* The client. */
	struct vsock_acceptor acceptor;
	struct vsock_accept accepts[VRIG_ACCEPT_MAX]; /* not answered yet */
	unsigned int accept_count, accept_closed;
};

/* vrig_init: nothing started. vrig_start: driver with `rx` receive buffers of rx_bytes.
 * vrig_finish: resets, closes, and checks that nothing is left. */
void vrig_init(struct vrig *r, uint64_t seed);
/* vrig_init_beside: another guest on the reactor of one that is there, which goes last. */
void vrig_init_beside(struct vrig *r, struct vrig *first, uint32_t cid);
void vrig_start(struct vrig *r, unsigned int rx, uint32_t rx_bytes);
void vrig_finish(struct vrig *r);
void vrig_run(struct vrig *r);

/* vrig_rx_add: offers so many more receive buffers, as long as there is room. */
void vrig_rx_add(struct vrig *r, unsigned int count);
/* vrig_send: one packet as it is, header and data in chains of their own buffers; false: no room.
 * vrig_send_split: the header in two buffers of 1 and 43 bytes. */
bool vrig_send(struct vrig *r, const struct vsock_header *h, const void *data, uint32_t len_bytes);
bool vrig_send_split(struct vrig *r, const struct vsock_header *h);
/* vrig_take: the next packet for the guest, after a run; false: there is none. */
bool vrig_take(struct vrig *r, struct vrig_packet *p);
/* vrig_expect: takes the next packet and checks its op and ports; any CREDIT_UPDATE that comes
 * before is passed over, unless it is what is expected. vrig_expect_none: nothing but those comes.
 */
void vrig_expect(struct vrig *r, const struct vrig_conn *c, uint16_t op, struct vrig_packet *p);
void vrig_expect_none(struct vrig *r);

/* vrig_op: a packet of the connection. vrig_data: RW. vrig_piece: the same with flags. */
void vrig_op(struct vrig *r, const struct vrig_conn *c, uint16_t op, uint32_t flags);
void vrig_data(struct vrig *r, const struct vrig_conn *c, const void *data, uint32_t len_bytes);
void vrig_piece(struct vrig *r, const struct vrig_conn *c, const void *data, uint32_t len_bytes,
	uint32_t flags);

/* vrig_listen: the rig's acceptor. vrig_answer: answers the oldest Accept with one end of a pair
 * of the type that was asked for and gives the other; -1: refuses. */
void vrig_listen(struct vrig *r, uint32_t port);
int vrig_answer(struct vrig *r, bool accept);
/* vrig_guest_connects: a whole connection that the guest asked for. vrig_client_connects: one that
 * the client asked for. */
struct vrig_conn vrig_guest_connects(struct vrig *r, uint32_t host_port, uint32_t guest_port);
struct vrig_conn vrig_guest_connects_as(
	struct vrig *r, uint32_t host_port, uint32_t guest_port, uint16_t type);
struct vrig_conn vrig_client_connects(struct vrig *r, uint32_t guest_port);
void vrig_connect_start(struct vrig *r, struct vrig_connect *c, uint32_t guest_port);

/* What a client can read now: as read(2), -EAGAIN if there is nothing. */
int vrig_read(struct vrig *r, int fd, void *to, uint32_t len_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw packets of a hostile vsock driver, and what the device sends. On the host there has to be an
 * echo at port 80, at port 81 somebody who accepts and does not read, at port 83 an echo of
 * messages; in the guest with CID 4 the services of vsock_services.c. CPU 0 only; all false with
 * fail().
 */
#ifndef GUEST_HOSTILE_VSOCK_H
#define GUEST_HOSTILE_VSOCK_H

#include "hostile.h"
#include "vsock.h"

#define HV_CLOSED_PORT   79 /* nobody listens */
#define HV_ECHO_PORT     80
#define HV_DEAF_PORT     81
#define HV_MESSAGE_PORT  83
#define HV_NEIGHBOUR_CID 4

#define HV_SEQPACKET 2 /* type; feature bit 1; and the flag of a message's last packet */
#define HV_EOM       1U

#define HV_RX_QUEUE    0
#define HV_EVENT_QUEUE 2
#define HV_RX_BUFFERS  16
#define HV_RX_BYTES    4096UL
#define HV_ANSWER_US   5000000
#define HV_SILENCE_US  20000
#define HV_OPS         8
#define HV_BUF_ALLOC   65536
#define HV_DATA_MAX    32768UL /* of the scratch, its second half */

/* What the device has sent since the last hv_forget(). */
extern struct hv {
	uint8_t *area; /* HV_RX_BUFFERS pages */
	uint32_t buffer_bytes;
	unsigned total, count[HV_OPS]; /* packets */
	struct vsock_header last[HV_OPS];
	uint64_t bytes, ends; /* payload; packets that end a message */
	uint32_t port;        /* the next one of ours */
} hv;

void hv_forget(void);

/* Offers that many receive buffers, with hv_rx_start of HV_RX_BYTES each; they are offered again
 * after use. hv_rx_offer: one more. */
bool hv_rx_start(struct hostile *h, unsigned count);
bool hv_rx_start_with(struct hostile *h, unsigned count, uint32_t len);
void hv_rx_offer(struct hostile *h, uint8_t *buffer, uint32_t len, bool is_writable);

/* Takes what has come; for some time; waits for a packet with that op; has to get nothing. */
void hv_pump(struct hostile *h);
void hv_pass(struct hostile *h, uint64_t us);
bool hv_expect(struct hostile *h, uint16_t op);
bool hv_nothing_comes(struct hostile *h);

bool hv_is_broken(const struct hostile *h);

/* Where the payload of what is sent comes from. */
uint8_t *hv_data(const struct hostile *h);

/* A sound header. */
struct vsock_header hv_packet(
	const struct hostile *h, uint32_t port, uint32_t host_port, uint16_t op);

/* Gives TX a chain, or a packet with as much payload as its header says, and waits until it is
 * back. */
bool hv_chain_send(struct hostile *h, const struct vring_segment *segments, unsigned count);
bool hv_send(struct hostile *h, const struct vsock_header *header);
bool hv_send_op(
	struct hostile *h, struct vsock_header *header, uint16_t op, uint32_t flags, uint32_t len);

/* Sends it and waits for the RST that belongs to it. */
bool hv_reset_answers(struct hostile *h, const struct vsock_header *header);

/* Sends data on and on, of one message if it is of that type, until the RST comes. */
bool hv_over_credit(struct hostile *h, struct vsock_header *header);

/* Connects: as the header says; or to a port of the host from a new one. */
bool hv_open(struct hostile *h, struct vsock_header *header);
bool hv_connect(struct hostile *h, uint32_t host_port, struct vsock_header *header);
bool hv_connect_with(
	struct hostile *h, uint32_t host_port, uint32_t buf_alloc, struct vsock_header *header);

/* Still a device: an echo works. */
bool hv_echo_works(struct hostile *h);

#endif

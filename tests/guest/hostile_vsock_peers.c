/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile vsock, where messages have an end (SEQPACKET), and against another guest. */
#include "hostile_vsock.h"

#include "clock.h"
#include "lib.h"
#include "shell.h"
#include "x86.h"

#define MESSAGES     5000
#define SMALL_BUFFER 45 /* one byte beside the header */
#define FLOOD        5000
#define MANY         200

/* --- messages --- */

static bool message_connect(struct hostile *h, struct vsock_header *header)
{
	*header = hv_packet(h, hv.port++, HV_MESSAGE_PORT, VSOCK_OP_REQUEST);
	header->type = HV_SEQPACKET;
	return hv_open(h, header);
}

/* Until so many messages have come back whole. */
static bool messages_expect(struct hostile *h, uint64_t ends, uint64_t bytes)
{
	uint64_t start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	while (hv.ends < ends || hv.bytes < bytes) {
		hv_pump(h);
		if (rdtsc() - start > limit)
			break;
	}
	return (hv.ends == ends && hv.bytes == bytes) ||
	       fail("%lu bytes in %lu messages, not %lu in %lu", hv.bytes, hv.ends, bytes, ends);
}

static bool message_send(
	struct hostile *h, struct vsock_header *header, uint32_t flags, uint32_t len)
{
	return hv_send_op(h, header, VSOCK_OP_RW, flags, len);
}

static bool message_echo_works(struct hostile *h)
{
	struct vsock_header header;
	if (!message_connect(h, &header))
		return false;
	hv_forget();
	return message_send(h, &header, 0, 100) && message_send(h, &header, HV_EOM, 50) &&
	       message_send(h, &header, HV_EOM, 7) && messages_expect(h, 2, 157) &&
	       hv_send_op(h, &header, VSOCK_OP_RST, 0, 0);
}

/* A message that never ends may take its credit, and no more. */
static bool message_without_end(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !message_connect(h, &header))
		return false;
	return hv_over_credit(h, &header) && message_echo_works(h);
}

static bool messages_empty(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !message_connect(h, &header))
		return false;
	for (unsigned i = 0; i < MESSAGES; i++)
		if (!message_send(h, &header, i % 2 ? HV_EOM : 0, 0))
			return false;
	return message_echo_works(h);
}

/* Many of one byte, their answers not wanted: only so many as the credit allows are kept. */
static bool messages_tiny(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !message_connect(h, &header))
		return false;
	header.buf_alloc = 0;
	for (unsigned i = 0; i < MESSAGES && !hv.count[VSOCK_OP_RST]; i++)
		if (!message_send(h, &header, HV_EOM, 1))
			return false;
	return message_echo_works(h);
}

/* Buffers with room for one byte of a message, for the whole of it. */
static bool messages_in_crumbs(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start_with(h, HV_RX_BUFFERS, SMALL_BUFFER) || !message_connect(h, &header))
		return false;
	hv_forget();
	return message_send(h, &header, HV_EOM, 1000) && messages_expect(h, 1, 1000);
}

/* Credit for less than the message that waits, up and down, then for all of it. */
static bool message_credit_shrinks(struct hostile *h, unsigned *outcome)
{
	static const uint32_t sizes[] = {999, 0, 1, 500, 0};
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !message_connect(h, &header))
		return false;
	header.buf_alloc = 0;
	if (!message_send(h, &header, HV_EOM, 1000))
		return false;
	hv_forget();
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		header.buf_alloc = sizes[i];
		if (!hv_send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0))
			return false;
		hv_pass(h, HV_SILENCE_US);
		if (hv.bytes)
			return fail("%lu bytes came, none were allowed", hv.bytes);
		if (hv.count[VSOCK_OP_RST]) /* one that never fits ends the connection, too */
			return message_echo_works(h);
	}
	header.buf_alloc = 1000;
	return hv_send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0) &&
	       messages_expect(h, 1, 1000) && message_echo_works(h);
}

/* Flags that there are not, the stream's type on a connection of messages, and the reverse. */
static bool message_flags_garbage(struct hostile *h, unsigned *outcome)
{
	static const uint32_t flags[] = {4, 8, 1U << 31, UINT32_MAX};
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(flags) + 2; i++) {
		bool is_stream = i == ARRAY_SIZE(flags);
		if (is_stream ? !hv_connect(h, HV_ECHO_PORT, &header)
			      : !message_connect(h, &header))
			return false;
		header.op = VSOCK_OP_RW;
		header.len = 10;
		if (i < ARRAY_SIZE(flags))
			header.flags = flags[i];
		else
			header.type ^= VSOCK_TYPE_STREAM ^ HV_SEQPACKET;
		if (!hv_reset_answers(h, &header))
			return false;
	}
	return message_echo_works(h) && hv_echo_works(h);
}

static bool message_reset_inside(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < 10; i++) {
		struct vsock_header header;
		if (!hv_rx_start(h, HV_RX_BUFFERS) || !message_connect(h, &header) ||
			!message_send(h, &header, HV_EOM, HV_DATA_MAX) ||
			!message_send(h, &header, 0, HV_DATA_MAX) || !hostile_stop(h) ||
			!hostile_start(h))
			return false;
	}
	return hv_rx_start(h, HV_RX_BUFFERS) && message_echo_works(h);
}

/* --- another guest --- */

static bool neighbour_connect(struct hostile *h, uint32_t port, struct vsock_header *header)
{
	*header = hv_packet(h, hv.port++, port, VSOCK_OP_REQUEST);
	header->dst_cid = HV_NEIGHBOUR_CID;
	return hv_open(h, header);
}

static bool neighbour_answers(struct hostile *h)
{
	struct vsock_header header;
	if (!neighbour_connect(h, VSOCK_PORT_ECHO, &header))
		return false;
	hv_forget();
	return hv_send_op(h, &header, VSOCK_OP_RW, 0, 100) && hv_expect(h, VSOCK_OP_RW) &&
	       hv_send_op(h, &header, VSOCK_OP_RST, 0, 0);
}

/* Each REQUEST is answered, by the other guest or on its behalf. */
static bool neighbour_request_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	*outcome = OUTCOME_CHECKED;
	header.dst_cid = HV_NEIGHBOUR_CID;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < FLOOD; i++) {
		header.src_port = i;
		if (!hv_send(h, &header))
			return false;
	}
	uint64_t start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	while (hv.total < FLOOD && rdtsc() - start < limit)
		hv_pump(h);
	if (hv.count[VSOCK_OP_RST] != FLOOD)
		return fail("%u RSTs for %u REQUESTs", hv.count[VSOCK_OP_RST], FLOOD);
	return neighbour_answers(h);
}

/* What the echo sends back is not taken; it takes no more than it said. */
static bool neighbour_over_credit(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !neighbour_connect(h, VSOCK_PORT_ECHO, &header))
		return false;
	header.buf_alloc = 0;
	return hv_over_credit(h, &header) && neighbour_answers(h);
}

/* In its name, to it and to the host; and on a connection of its own that it may have. */
static bool neighbour_spoofed(struct hostile *h, unsigned *outcome)
{
	struct vsock_header live;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !neighbour_connect(h, VSOCK_PORT_ECHO, &live))
		return false;
	hv_forget();
	for (unsigned i = 0; i < 4; i++) {
		struct vsock_header header = live;
		header.op = i % 2 ? VSOCK_OP_RST : VSOCK_OP_REQUEST;
		header.src_cid = HV_NEIGHBOUR_CID;
		header.dst_cid = i < 2 ? VSOCK_CID_HOST : hostile_vsock_cid(h);
		if (!hv_send(h, &header))
			return false;
	}
	hv_pass(h, HV_SILENCE_US);
	if (hv.count[VSOCK_OP_RESPONSE])
		return fail("it got a connection");
	hv_forget();
	return hv_send_op(h, &live, VSOCK_OP_RW, 0, 50) && hv_expect(h, VSOCK_OP_RW);
}

/* Streams that nobody reads, a reset under all of them: the other guest is told. */
static bool neighbour_connections(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < MANY; i++)
		if (!neighbour_connect(h, i % 2 ? VSOCK_PORT_ECHO : VSOCK_PORT_SOURCE, &header) ||
			!hv_send_op(h, &header, VSOCK_OP_RW, 0, 1000))
			return false;
	return hostile_stop(h) && hostile_start(h) && hv_rx_start(h, HV_RX_BUFFERS) &&
	       neighbour_answers(h);
}

#define MESSAGE   (NEEDS_VSOCK | NEEDS_SEQPACKET)
#define NEIGHBOUR NEEDS_VSOCK
#define CHECKED   OUTCOME_CHECKED

const struct hostile_case hostile_vsock_peer_cases[] = {
	{"vsock-message-without-end", MESSAGE, CHECKED, message_without_end},
	{"vsock-messages-empty", MESSAGE, CHECKED, messages_empty},
	{"vsock-messages-tiny", MESSAGE, CHECKED, messages_tiny},
	{"vsock-messages-in-crumbs", MESSAGE, CHECKED, messages_in_crumbs},
	{"vsock-message-credit-shrinks", MESSAGE, CHECKED, message_credit_shrinks},
	{"vsock-message-flags-garbage", MESSAGE, CHECKED, message_flags_garbage},
	{"vsock-message-reset-inside", MESSAGE, CHECKED, message_reset_inside},
	{"vsock-neighbour-request-flood", NEIGHBOUR, CHECKED, neighbour_request_flood},
	{"vsock-neighbour-over-credit", NEIGHBOUR, CHECKED, neighbour_over_credit},
	{"vsock-neighbour-spoofed", NEIGHBOUR, CHECKED, neighbour_spoofed},
	{"vsock-neighbour-connections", NEIGHBOUR, CHECKED, neighbour_connections},
};
const unsigned hostile_vsock_peer_count = ARRAY_SIZE(hostile_vsock_peer_cases);

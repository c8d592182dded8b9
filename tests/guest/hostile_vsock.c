/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile vsock packets (virtio 1.2 §5.10.6). */
#include "hostile_vsock.h"

#include "clock.h"
#include "lib.h"
#include "shell.h"
#include "x86.h"

#define LEEWAY_US 1200000 /* a second, and some */
#define FLOOD     20000
#define MANY      400
#define RESETS    20

/* --- floods --- */

static bool request_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, 4))
		return false;
	for (unsigned i = 0; i < FLOOD; i++) {
		header.src_port = i;
		if (!hv_send(h, &header))
			return false;
	}
	uint64_t start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	while (hv.total < FLOOD && rdtsc() - start < limit)
		hv_pump(h);
	if (hv.count[VSOCK_OP_RST] != FLOOD || hv.total != FLOOD)
		return fail("%u RSTs and %u others for %u REQUESTs", hv.count[VSOCK_OP_RST],
			hv.total - hv.count[VSOCK_OP_RST], FLOOD);
	return hv_echo_works(h);
}

/* No buffers for the answers: the queue has to stop, and a reset to help. */
static bool request_flood_unanswered(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct vsock_header header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	uint64_t token, start = rdtsc(), limit = HV_SILENCE_US * 10 * clock_tsc_khz() / 1000;
	struct vring_segment segment = {(uint64_t)h->scratch, sizeof(header)};
	memcpy(h->scratch, &header, sizeof(header));
	while (rdtsc() - start < limit) {
		while (vring_add(&h->queue->ring, &segment, 1, 0, 1))
			;
		vring_show(&h->queue->ring);
		virtio_kick(h->queue);
		while (vring_take(&h->queue->ring, &token, NULL))
			;
	}
	return true;
}

static bool rst_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header live, header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_RST);
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect(h, HV_ECHO_PORT, &live))
		return false;
	hv_forget();
	for (unsigned i = 0; i < FLOOD; i++) {
		header.src_port = i;
		header.dst_port = i % 2 ? HV_CLOSED_PORT : HV_ECHO_PORT;
		if (!hv_send(h, &header))
			return false;
	}
	for (unsigned i = 0; i < FLOOD / 10; i++)
		if (!hv_send_op(h, &live, VSOCK_OP_RST, 0, 0))
			return false;
	return hv_nothing_comes(h) && hv_echo_works(h);
}

/* Connections that nobody ends; the reset has to. */
static bool connection_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < MANY; i++)
		if (!hv_connect(h, i % 2 ? HV_ECHO_PORT : HV_DEAF_PORT, &header) ||
			!hv_send_op(h, &header, VSOCK_OP_RW, 0, 1000))
			return false;
	return true;
}

/* A reset in the middle of data both ways, again and again. */
static bool resets_with_data(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < RESETS; i++) {
		struct vsock_header header;
		if (!hv_rx_start(h, i % HV_RX_BUFFERS + 1))
			return false;
		for (unsigned c = 0; c < 4; c++)
			if (!hv_connect(h, c % 2 ? HV_ECHO_PORT : HV_DEAF_PORT, &header) ||
				!hv_send_op(h, &header, VSOCK_OP_RW, 0, HV_DATA_MAX))
				return false;
		if (!hostile_stop(h) || !hostile_start(h))
			return false;
	}
	return hv_rx_start(h, HV_RX_BUFFERS) && hv_echo_works(h);
}

/* --- credit --- */

static bool over_credit(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect(h, HV_DEAF_PORT, &header))
		return false;
	return hv_over_credit(h, &header) && hv_echo_works(h);
}

/* buf_alloc down to nothing and up again, with bytes waiting all the time. */
static bool buf_alloc_shrinks(struct hostile *h, unsigned *outcome)
{
	static const uint32_t sizes[] = {0, 2, 1, 0, 7, 3, 100, 0, UINT32_MAX};
	struct vsock_header header;
	uint32_t allowed = 0;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect_with(h, HV_ECHO_PORT, 0, &header))
		return false;
	hv_forget();
	if (!hv_send_op(h, &header, VSOCK_OP_RW, 0, 1000))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		header.buf_alloc = sizes[i];
		if (sizes[i] > allowed)
			allowed = sizes[i];
		if (!hv_send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0))
			return false;
		hv_pass(h, HV_SILENCE_US);
		if (hv.bytes > allowed)
			return fail("%lu bytes came, %u were allowed", hv.bytes, allowed);
	}
	uint64_t start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	while (hv.bytes < 1000 && rdtsc() - start < limit)
		hv_pump(h);
	return hv.bytes == 1000 ? hv_echo_works(h) : fail("%lu of 1000 bytes came", hv.bytes);
}

/* It says that it has forwarded what it never got: no credit, until it says something sound. */
static bool fwd_cnt_ahead(struct hostile *h, unsigned *outcome)
{
	static const uint32_t ahead[] = {1, 5000, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect_with(h, HV_ECHO_PORT, 0, &header))
		return false;
	hv_forget();
	header.buf_alloc = HV_BUF_ALLOC;
	for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
		header.fwd_cnt = ahead[i];
		if (!hv_send_op(h, &header, VSOCK_OP_RW, 0, 100))
			return false;
		hv_pass(h, HV_SILENCE_US);
		if (hv.bytes)
			return fail("%lu bytes came with fwd_cnt %u", hv.bytes, ahead[i]);
	}
	header.fwd_cnt = 0;
	return hv_send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0) && hv_expect(h, VSOCK_OP_RW);
}

/* --- headers --- */

/* Each on a key that nobody has, and on a live connection, which it ends. */
static bool headers_refused(struct hostile *h, unsigned count,
	void (*spoil)(struct vsock_header *header, unsigned which))
{
	for (unsigned i = 0; i < count; i++) {
		struct vsock_header header = hv_packet(h, hv.port++, HV_ECHO_PORT, VSOCK_OP_RW);
		header.len = 10;
		spoil(&header, i);
		if (!hv_reset_answers(h, &header))
			return false;
		struct vsock_header live;
		if (!hv_connect(h, HV_ECHO_PORT, &live))
			return false;
		live.op = VSOCK_OP_RW;
		live.len = 10;
		spoil(&live, i);
		if (!hv_reset_answers(h, &live))
			return false;
	}
	return hv_echo_works(h);
}

static void op_spoil(struct vsock_header *header, unsigned which)
{
	static const uint16_t ops[] = {0, 8, 255, 256 + VSOCK_OP_RW, UINT16_MAX};
	header->op = ops[which];
}

static bool op_garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return hv_rx_start(h, HV_RX_BUFFERS) && headers_refused(h, 5, op_spoil);
}

static void type_spoil(struct vsock_header *header, unsigned which)
{
	static const uint16_t types[] = {0, 2, 3, UINT16_MAX};
	header->type = types[which];
}

static bool type_garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return hv_rx_start(h, HV_RX_BUFFERS) && headers_refused(h, 4, type_spoil);
}

static void flags_spoil(struct vsock_header *header, unsigned which)
{
	header->op = VSOCK_OP_SHUTDOWN;
	header->len = 0;
	header->flags = 4U << which * 9;
}

static bool flags_garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return hv_rx_start(h, HV_RX_BUFFERS) && headers_refused(h, 4, flags_spoil);
}

/* The header's length is not that of the payload. */
static bool length_lies(struct hostile *h, unsigned *outcome)
{
	static const uint32_t lies[] = {0, 9, 11, 0x7fffffff, UINT32_MAX};
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct vsock_header header;
		if (!hv_connect(h, HV_ECHO_PORT, &header))
			return false;
		header.op = VSOCK_OP_RW;
		header.len = lies[i];
		memcpy(h->scratch, &header, sizeof(header));
		struct vring_segment segments[] = {
			{(uint64_t)h->scratch, sizeof(header)}, {(uint64_t)hv_data(h), 10}};
		hv_forget();
		if (!hv_chain_send(h, segments, 2) || !hv_expect(h, VSOCK_OP_RST))
			return false;
	}
	return hv_echo_works(h);
}

/* Neither from nor to somebody else: no connection comes of it, and nobody else's ends. */
static bool cid_spoofed(struct hostile *h, unsigned *outcome)
{
	static const uint64_t cids[] = {0, 1, 2, 4, 77, UINT32_MAX, 1UL << 32, UINT64_MAX};
	struct vsock_header live;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect(h, HV_ECHO_PORT, &live))
		return false;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cids); i++) {
		struct vsock_header header = live;
		uint64_t cid = cids[i / 2];
		header.op = i % 2 ? VSOCK_OP_RST : VSOCK_OP_REQUEST;
		header.src_cid = cid;
		hv_forget();
		if (!hv_send(h, &header))
			return false;
		header.src_cid = live.src_cid;
		header.dst_cid = cid | (cid == VSOCK_CID_HOST ? 1UL << 32 : 0);
		if (!hv_send(h, &header))
			return false;
		hv_pass(h, HV_SILENCE_US / 4);
		if (hv.count[VSOCK_OP_RESPONSE])
			return fail("CID 0x%lx got a connection", cid);
	}
	hv_forget();
	return hv_send_op(h, &live, VSOCK_OP_RW, 0, 50) && hv_expect(h, VSOCK_OP_RW);
}

/* --- chains --- */

static bool header_split(struct hostile *h, unsigned *outcome)
{
	static const uint32_t firsts[] = {1, 43, 22, 8};
	struct vsock_header header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	uint64_t at = (uint64_t)h->scratch;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		header.src_port = hv.port++;
		memcpy(h->scratch, &header, sizeof(header));
		struct vring_segment segments[] = {
			{at, firsts[i]}, {at + firsts[i], sizeof(header) - firsts[i]}};
		hv_forget();
		if (!hv_chain_send(h, segments, 2) || !hv_expect(h, VSOCK_OP_RST))
			return false;
		if (hv.last[VSOCK_OP_RST].dst_port != header.src_port)
			return fail("the RST goes to port %u", hv.last[VSOCK_OP_RST].dst_port);
	}
	return hv_echo_works(h);
}

static bool header_short(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = hv_packet(h, 0, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	memcpy(h->scratch, &header, sizeof(header));
	for (uint32_t len = 1; len < sizeof(header); len++) {
		struct vring_segment segment = {(uint64_t)h->scratch, len};
		if (!hv_chain_send(h, &segment, 1))
			return false;
	}
	return hv_nothing_comes(h) && hv_echo_works(h);
}

/* Too small for a header, or not to be written: they come back empty, the packet waits for better.
 */
static bool rx_too_small(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = hv_packet(h, hv.port++, HV_CLOSED_PORT, VSOCK_OP_REQUEST);
	struct vring *rx = &h->dev.queues[HV_RX_QUEUE].ring;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, 0))
		return false;
	hv_rx_offer(h, hv.area, 1, true);
	hv_rx_offer(h, hv.area, 43, true);
	hv_rx_offer(h, hv.area, 4096, false);
	memcpy(h->scratch, &header, sizeof(header));
	struct vring_segment segment = {(uint64_t)h->scratch, sizeof(header)};
	vring_add(&h->queue->ring, &segment, 1, 0, 1);
	vring_show(&h->queue->ring);
	virtio_kick(h->queue);
	uint64_t token, start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	for (unsigned count = 0; count < 3;) {
		uint32_t written;
		if (vring_take(rx, &token, &written)) {
			if (written)
				return fail("%u bytes in a buffer that is too small", written);
			count++;
		}
		if (hv_is_broken(h)) { /* as good: the frame resets it */
			*outcome = OUTCOME_CHECKED;
			return true;
		}
		if (rdtsc() - start > limit)
			return fail("%u of 3 bad buffers came back", count);
	}
	hv_rx_offer(h, hv.area, HV_RX_BYTES, true);
	return hv_expect(h, VSOCK_OP_RST);
}

static bool event_garbage(struct hostile *h, unsigned *outcome)
{
	struct virtio_queue *events = &h->dev.queues[HV_EVENT_QUEUE];
	struct vring_segment segments[] = {
		{(uint64_t)h->scratch, 1}, {HOSTILE_FAR, 8}, {(uint64_t)h->scratch, 4096}};
	(void)outcome;
	if (!hv_rx_start(h, HV_RX_BUFFERS))
		return false;
	vring_add(&events->ring, segments, 3, 0, 1);
	vring_add(&events->ring, segments, 0, 3, 2);
	vring_show(&events->ring);
	virtio_kick(events);
	return hv_is_broken(h) || hv_echo_works(h) || hv_is_broken(h);
}

/* --- states --- */

static bool request_twice(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect(h, HV_ECHO_PORT, &header))
		return false;
	header.op = VSOCK_OP_REQUEST;
	/* The second ends it, the third meets a key that rests. */
	return hv_reset_answers(h, &header) && hv_reset_answers(h, &header) && hv_echo_works(h);
}

static bool response_unasked(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = hv_packet(h, hv.port++, HV_ECHO_PORT, VSOCK_OP_RESPONSE);
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_reset_answers(h, &header) ||
		!hv_connect(h, HV_ECHO_PORT, &header))
		return false;
	header.op = VSOCK_OP_RESPONSE;
	return hv_reset_answers(h, &header) && hv_echo_works(h);
}

/* Overlooked for a second, then answered. */
static bool data_after_shutdown(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!hv_rx_start(h, HV_RX_BUFFERS) || !hv_connect(h, HV_DEAF_PORT, &header) ||
		!hv_send_op(h, &header, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND, 0))
		return false;
	hv_forget();
	if (!hv_send_op(h, &header, VSOCK_OP_RW, 0, 100))
		return false;
	hv_pass(h, HV_SILENCE_US);
	if (hv.count[VSOCK_OP_RST])
		return fail("no leeway");
	hv_pass(h, LEEWAY_US);
	header.flags = 0;
	header.len = 100;
	return hv_reset_answers(h, &header) && hv_echo_works(h);
}

#define VSOCK   NEEDS_VSOCK
#define CHECKED OUTCOME_CHECKED

const struct hostile_case hostile_vsock_cases[] = {
	{"vsock-request-flood", VSOCK, CHECKED, request_flood},
	{"vsock-request-flood-unanswered", VSOCK, OUTCOME_ANY, request_flood_unanswered},
	{"vsock-rst-flood", VSOCK, CHECKED, rst_flood},
	{"vsock-connection-flood", VSOCK, CHECKED, connection_flood},
	{"vsock-resets-with-data", VSOCK, CHECKED, resets_with_data},
	{"vsock-over-credit", VSOCK, CHECKED, over_credit},
	{"vsock-buf-alloc-shrinks", VSOCK, CHECKED, buf_alloc_shrinks},
	{"vsock-fwd-cnt-ahead", VSOCK, CHECKED, fwd_cnt_ahead},
	{"vsock-op-garbage", VSOCK, CHECKED, op_garbage},
	{"vsock-type-garbage", VSOCK, CHECKED, type_garbage},
	{"vsock-flags-garbage", VSOCK, CHECKED, flags_garbage},
	{"vsock-length-lies", VSOCK, CHECKED, length_lies},
	{"vsock-cid-spoofed", VSOCK, CHECKED, cid_spoofed},
	{"vsock-header-split", VSOCK, CHECKED, header_split},
	{"vsock-header-short", VSOCK, CHECKED, header_short},
	{"vsock-rx-too-small", VSOCK, CHECKED, rx_too_small},
	{"vsock-event-garbage", VSOCK, OUTCOME_ANY, event_garbage},
	{"vsock-request-twice", VSOCK, CHECKED, request_twice},
	{"vsock-response-unasked", VSOCK, CHECKED, response_unasked},
	{"vsock-data-after-shutdown", VSOCK, CHECKED, data_after_shutdown},
};
const unsigned hostile_vsock_count = ARRAY_SIZE(hostile_vsock_cases);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile vsock packets (virtio 1.2 §5.10.6). On the host there has to be an echo at port 80, and
 * at port 81 somebody who accepts and does not read.
 */
#include "clock.h"
#include "hostile.h"
#include "lib.h"
#include "page.h"
#include "shell.h"
#include "vsock.h"
#include "x86.h"

#define ECHO_PORT   80
#define DEAF_PORT   81
#define CLOSED_PORT 79 /* nobody listens */

#define RX_QUEUE     0
#define EVENT_QUEUE  2
#define RX_BUFFERS   16
#define RX_BYTES     4096UL
#define ANSWER_US    5000000
#define SILENCE_US   20000
#define LEEWAY_US    1200000 /* a second, and some */
#define OPS          8
#define FLOOD        20000
#define MANY         400
#define BUF_ALLOC    65536
#define DATA_MAX     32768UL /* of the scratch, its second half */
#define RESETS       20
#define OVER_PACKETS 256

/* What the device has sent since the last forget(). */
static struct {
	uint8_t *area;
	unsigned total, count[OPS];
	struct vsock_header last[OPS];
	uint64_t bytes;
	uint32_t port; /* the next one of ours */
} seen;

uint64_t hostile_vsock_cid(const struct hostile *h)
{
	return mmio_read32(h->dev.config.address);
}

static uint8_t *data_of(const struct hostile *h)
{
	return h->scratch + HOSTILE_SCRATCH / 2;
}

static void forget(void)
{
	seen.total = 0;
	seen.bytes = 0;
	memset(seen.count, 0, sizeof(seen.count));
}

static void rx_offer(struct hostile *h, uint8_t *buffer, uint32_t len, bool is_writable)
{
	struct virtio_queue *rx = &h->dev.queues[RX_QUEUE];
	struct vring_segment segment = {(uint64_t)buffer, len};
	vring_add(&rx->ring, &segment, !is_writable, is_writable, (uint64_t)buffer);
	if (vring_show(&rx->ring))
		virtio_kick(rx);
}

static bool rx_start(struct hostile *h, unsigned count)
{
	if (!seen.area)
		seen.area = page_alloc(RX_BUFFERS * RX_BYTES / PAGE_SIZE);
	if (!seen.area)
		return fail("no memory");
	if (!seen.port)
		seen.port = 1024 + (uint32_t)(rdtsc() >> 8 & 0xffffff);
	forget();
	for (unsigned i = 0; i < count; i++)
		rx_offer(h, seen.area + i * RX_BYTES, RX_BYTES, true);
	return true;
}

/* Takes what has come. */
static void pump(struct hostile *h)
{
	uint64_t token;
	uint32_t written;
	while (vring_take(&h->dev.queues[RX_QUEUE].ring, &token, &written)) {
		struct vsock_header header;
		memcpy(&header, (const uint8_t *)token, sizeof(header));
		if (written >= sizeof(header)) {
			seen.total++;
			seen.bytes += written - sizeof(header);
			seen.count[header.op % OPS]++;
			seen.last[header.op % OPS] = header;
		}
		rx_offer(h, (uint8_t *)token, RX_BYTES, true);
	}
}

static bool is_broken(const struct hostile *h)
{
	return virtio_status(&h->dev) & VIRTIO_S_NEEDS_RESET;
}

/* Gives TX a chain and waits until it is back. */
static bool chain_send(struct hostile *h, const struct vring_segment *segments, unsigned count)
{
	uint64_t token, start = rdtsc(), limit = ANSWER_US * clock_tsc_khz() / 1000;
	if (!vring_add(&h->queue->ring, segments, count, 0, 1))
		return fail("no room in the ring");
	if (vring_show(&h->queue->ring))
		virtio_kick(h->queue);
	while (!vring_take(&h->queue->ring, &token, NULL)) {
		pump(h);
		if (rdtsc() - start > limit)
			return fail(
				"a packet does not come back, status 0x%x", virtio_status(&h->dev));
	}
	pump(h);
	return true;
}

/* A packet with as much payload, from data_of(), as the header says. */
static bool packet_send(struct hostile *h, const struct vsock_header *header)
{
	struct vring_segment segments[] = {
		{(uint64_t)h->scratch, sizeof(*header)}, {(uint64_t)data_of(h), header->len}};
	memcpy(h->scratch, header, sizeof(*header));
	return chain_send(h, segments, header->len ? 2 : 1);
}

static struct vsock_header packet_make(
	const struct hostile *h, uint32_t port, uint32_t host_port, uint16_t op)
{
	return (struct vsock_header){.src_cid = hostile_vsock_cid(h),
		.dst_cid = VSOCK_CID_HOST,
		.src_port = port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = BUF_ALLOC};
}

static bool expect(struct hostile *h, uint16_t op)
{
	uint64_t start = rdtsc(), limit = ANSWER_US * clock_tsc_khz() / 1000;
	while (!seen.count[op]) {
		pump(h);
		if (rdtsc() - start > limit)
			return fail("no packet with op %u came, but %u others%s", op, seen.total,
				is_broken(h) ? "; it needs a reset" : "");
	}
	return true;
}

/* Passes some time, taking what comes. */
static void pass(struct hostile *h, uint64_t us)
{
	uint64_t start = rdtsc(), limit = us * clock_tsc_khz() / 1000;
	while (rdtsc() - start < limit)
		pump(h);
}

static bool nothing_comes(struct hostile *h)
{
	pass(h, SILENCE_US);
	return !seen.total || fail("%u packets came, op %u first", seen.total,
				      seen.count[VSOCK_OP_RST] ? VSOCK_OP_RST : 0);
}

static bool reset_answers(struct hostile *h, const struct vsock_header *header)
{
	forget();
	if (!packet_send(h, header) || !expect(h, VSOCK_OP_RST))
		return false;
	const struct vsock_header *rst = &seen.last[VSOCK_OP_RST];
	return (rst->dst_port == header->src_port && rst->src_port == header->dst_port) ||
	       fail("the RST goes from %u to %u", rst->src_port, rst->dst_port);
}

/* A connection with that credit for the host; the header for its further packets. */
static bool connect_with(
	struct hostile *h, uint32_t host_port, uint32_t buf_alloc, struct vsock_header *header)
{
	*header = packet_make(h, seen.port++, host_port, VSOCK_OP_REQUEST);
	header->buf_alloc = buf_alloc;
	forget();
	if (!packet_send(h, header))
		return false;
	if (!expect(h, VSOCK_OP_RESPONSE))
		return fail("nobody accepts at port %u of the host", host_port);
	return true;
}

static bool connect_to(struct hostile *h, uint32_t host_port, struct vsock_header *header)
{
	return connect_with(h, host_port, BUF_ALLOC, header);
}

static bool send_op(
	struct hostile *h, struct vsock_header *header, uint16_t op, uint32_t flags, uint32_t len)
{
	header->op = op;
	header->flags = flags;
	header->len = len;
	return packet_send(h, header);
}

/* Still a device: an echo works. */
static bool echo_works(struct hostile *h)
{
	struct vsock_header header;
	if (!connect_to(h, ECHO_PORT, &header) || !send_op(h, &header, VSOCK_OP_RW, 0, 100) ||
		!expect(h, VSOCK_OP_RW))
		return false;
	return send_op(h, &header, VSOCK_OP_RST, 0, 0);
}

/* --- floods --- */

static bool request_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = packet_make(h, 0, CLOSED_PORT, VSOCK_OP_REQUEST);
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, 4))
		return false;
	for (unsigned i = 0; i < FLOOD; i++) {
		header.src_port = i;
		if (!packet_send(h, &header))
			return false;
	}
	uint64_t start = rdtsc(), limit = ANSWER_US * clock_tsc_khz() / 1000;
	while (seen.total < FLOOD && rdtsc() - start < limit)
		pump(h);
	if (seen.count[VSOCK_OP_RST] != FLOOD || seen.total != FLOOD)
		return fail("%u RSTs and %u others for %u REQUESTs", seen.count[VSOCK_OP_RST],
			seen.total - seen.count[VSOCK_OP_RST], FLOOD);
	return echo_works(h);
}

/* No buffers for the answers: the queue has to stop, and a reset to help. */
static bool request_flood_unanswered(struct hostile *h, unsigned *outcome)
{
	(void)outcome;
	struct vsock_header header = packet_make(h, 0, CLOSED_PORT, VSOCK_OP_REQUEST);
	uint64_t token, start = rdtsc(), limit = SILENCE_US * 10 * clock_tsc_khz() / 1000;
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
	struct vsock_header live, header = packet_make(h, 0, CLOSED_PORT, VSOCK_OP_RST);
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_to(h, ECHO_PORT, &live))
		return false;
	forget();
	for (unsigned i = 0; i < FLOOD; i++) {
		header.src_port = i;
		header.dst_port = i % 2 ? CLOSED_PORT : ECHO_PORT;
		if (!packet_send(h, &header))
			return false;
	}
	for (unsigned i = 0; i < FLOOD / 10; i++)
		if (!send_op(h, &live, VSOCK_OP_RST, 0, 0))
			return false;
	return nothing_comes(h) && echo_works(h);
}

/* Connections that nobody ends; the reset has to. */
static bool connection_flood(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < MANY; i++)
		if (!connect_to(h, i % 2 ? ECHO_PORT : DEAF_PORT, &header) ||
			!send_op(h, &header, VSOCK_OP_RW, 0, 1000))
			return false;
	return true;
}

/* A reset in the middle of data both ways, again and again. */
static bool resets_with_data(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	for (unsigned i = 0; i < RESETS; i++) {
		struct vsock_header header;
		if (!rx_start(h, i % RX_BUFFERS + 1))
			return false;
		for (unsigned c = 0; c < 4; c++)
			if (!connect_to(h, c % 2 ? ECHO_PORT : DEAF_PORT, &header) ||
				!send_op(h, &header, VSOCK_OP_RW, 0, DATA_MAX))
				return false;
		if (!hostile_stop(h) || !hostile_start(h))
			return false;
	}
	return rx_start(h, RX_BUFFERS) && echo_works(h);
}

/* --- credit --- */

static bool over_credit(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_to(h, DEAF_PORT, &header))
		return false;
	for (unsigned i = 0; i < OVER_PACKETS && !seen.count[VSOCK_OP_RST]; i++)
		if (!send_op(h, &header, VSOCK_OP_RW, 0, DATA_MAX))
			return false;
	return expect(h, VSOCK_OP_RST) && echo_works(h);
}

/* buf_alloc down to nothing and up again, with bytes waiting all the time. */
static bool buf_alloc_shrinks(struct hostile *h, unsigned *outcome)
{
	static const uint32_t sizes[] = {0, 2, 1, 0, 7, 3, 100, 0, UINT32_MAX};
	struct vsock_header header;
	uint32_t allowed = 0;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_with(h, ECHO_PORT, 0, &header))
		return false;
	forget();
	if (!send_op(h, &header, VSOCK_OP_RW, 0, 1000))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		header.buf_alloc = sizes[i];
		if (sizes[i] > allowed)
			allowed = sizes[i];
		if (!send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0))
			return false;
		pass(h, SILENCE_US);
		if (seen.bytes > allowed)
			return fail("%lu bytes came, %u were allowed", seen.bytes, allowed);
	}
	uint64_t start = rdtsc(), limit = ANSWER_US * clock_tsc_khz() / 1000;
	while (seen.bytes < 1000 && rdtsc() - start < limit)
		pump(h);
	return seen.bytes == 1000 ? echo_works(h) : fail("%lu of 1000 bytes came", seen.bytes);
}

/* It says that it has forwarded what it never got: no credit, until it says something sound. */
static bool fwd_cnt_ahead(struct hostile *h, unsigned *outcome)
{
	static const uint32_t ahead[] = {1, 5000, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_with(h, ECHO_PORT, 0, &header))
		return false;
	forget();
	header.buf_alloc = BUF_ALLOC;
	for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
		header.fwd_cnt = ahead[i];
		if (!send_op(h, &header, VSOCK_OP_RW, 0, 100))
			return false;
		pass(h, SILENCE_US);
		if (seen.bytes)
			return fail("%lu bytes came with fwd_cnt %u", seen.bytes, ahead[i]);
	}
	header.fwd_cnt = 0;
	return send_op(h, &header, VSOCK_OP_CREDIT_UPDATE, 0, 0) && expect(h, VSOCK_OP_RW);
}

/* --- headers --- */

/* Each on a key that nobody has, and on a live connection, which it ends. */
static bool headers_refused(struct hostile *h, unsigned count,
	void (*spoil)(struct vsock_header *header, unsigned which))
{
	for (unsigned i = 0; i < count; i++) {
		struct vsock_header header = packet_make(h, seen.port++, ECHO_PORT, VSOCK_OP_RW);
		header.len = 10;
		spoil(&header, i);
		if (!reset_answers(h, &header))
			return false;
		struct vsock_header live;
		if (!connect_to(h, ECHO_PORT, &live))
			return false;
		live.op = VSOCK_OP_RW;
		live.len = 10;
		spoil(&live, i);
		if (!reset_answers(h, &live))
			return false;
	}
	return echo_works(h);
}

static void op_spoil(struct vsock_header *header, unsigned which)
{
	static const uint16_t ops[] = {0, 8, 255, 256 + VSOCK_OP_RW, UINT16_MAX};
	header->op = ops[which];
}

static bool op_garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return rx_start(h, RX_BUFFERS) && headers_refused(h, 5, op_spoil);
}

static void type_spoil(struct vsock_header *header, unsigned which)
{
	static const uint16_t types[] = {0, 2, 3, UINT16_MAX};
	header->type = types[which];
}

static bool type_garbage(struct hostile *h, unsigned *outcome)
{
	*outcome = OUTCOME_CHECKED;
	return rx_start(h, RX_BUFFERS) && headers_refused(h, 4, type_spoil);
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
	return rx_start(h, RX_BUFFERS) && headers_refused(h, 4, flags_spoil);
}

/* The header's length is not that of the payload. */
static bool length_lies(struct hostile *h, unsigned *outcome)
{
	static const uint32_t lies[] = {0, 9, 11, 0x7fffffff, UINT32_MAX};
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct vsock_header header;
		if (!connect_to(h, ECHO_PORT, &header))
			return false;
		header.op = VSOCK_OP_RW;
		header.len = lies[i];
		memcpy(h->scratch, &header, sizeof(header));
		struct vring_segment segments[] = {
			{(uint64_t)h->scratch, sizeof(header)}, {(uint64_t)data_of(h), 10}};
		forget();
		if (!chain_send(h, segments, 2) || !expect(h, VSOCK_OP_RST))
			return false;
	}
	return echo_works(h);
}

/* Neither from nor to somebody else: no connection comes of it, and nobody else's ends. */
static bool cid_spoofed(struct hostile *h, unsigned *outcome)
{
	static const uint64_t cids[] = {0, 1, 2, 4, 77, UINT32_MAX, 1UL << 32, UINT64_MAX};
	struct vsock_header live;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_to(h, ECHO_PORT, &live))
		return false;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cids); i++) {
		struct vsock_header header = live;
		uint64_t cid = cids[i / 2];
		header.op = i % 2 ? VSOCK_OP_RST : VSOCK_OP_REQUEST;
		header.src_cid = cid;
		forget();
		if (!packet_send(h, &header))
			return false;
		header.src_cid = live.src_cid;
		header.dst_cid = cid | (cid == VSOCK_CID_HOST ? 1UL << 32 : 0);
		if (!packet_send(h, &header))
			return false;
		pass(h, SILENCE_US / 4);
		if (seen.count[VSOCK_OP_RESPONSE])
			return fail("CID 0x%lx got a connection", cid);
	}
	forget();
	return send_op(h, &live, VSOCK_OP_RW, 0, 50) && expect(h, VSOCK_OP_RW);
}

/* --- chains --- */

static bool header_split(struct hostile *h, unsigned *outcome)
{
	static const uint32_t firsts[] = {1, 43, 22, 8};
	struct vsock_header header = packet_make(h, 0, CLOSED_PORT, VSOCK_OP_REQUEST);
	uint64_t at = (uint64_t)h->scratch;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		header.src_port = seen.port++;
		memcpy(h->scratch, &header, sizeof(header));
		struct vring_segment segments[] = {
			{at, firsts[i]}, {at + firsts[i], sizeof(header) - firsts[i]}};
		forget();
		if (!chain_send(h, segments, 2) || !expect(h, VSOCK_OP_RST))
			return false;
		if (seen.last[VSOCK_OP_RST].dst_port != header.src_port)
			return fail("the RST goes to port %u", seen.last[VSOCK_OP_RST].dst_port);
	}
	return echo_works(h);
}

static bool header_short(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = packet_make(h, 0, CLOSED_PORT, VSOCK_OP_REQUEST);
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS))
		return false;
	memcpy(h->scratch, &header, sizeof(header));
	for (uint32_t len = 1; len < sizeof(header); len++) {
		struct vring_segment segment = {(uint64_t)h->scratch, len};
		if (!chain_send(h, &segment, 1))
			return false;
	}
	return nothing_comes(h) && echo_works(h);
}

/* Too small for a header, or not to be written: they come back empty, the packet waits for better.
 */
static bool rx_too_small(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = packet_make(h, seen.port++, CLOSED_PORT, VSOCK_OP_REQUEST);
	struct vring *rx = &h->dev.queues[RX_QUEUE].ring;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, 0))
		return false;
	rx_offer(h, seen.area, 1, true);
	rx_offer(h, seen.area, 43, true);
	rx_offer(h, seen.area, 4096, false);
	memcpy(h->scratch, &header, sizeof(header));
	struct vring_segment segment = {(uint64_t)h->scratch, sizeof(header)};
	vring_add(&h->queue->ring, &segment, 1, 0, 1);
	vring_show(&h->queue->ring);
	virtio_kick(h->queue);
	uint64_t token, start = rdtsc(), limit = ANSWER_US * clock_tsc_khz() / 1000;
	for (unsigned count = 0; count < 3;) {
		uint32_t written;
		if (vring_take(rx, &token, &written)) {
			if (written)
				return fail("%u bytes in a buffer that is too small", written);
			count++;
		}
		if (is_broken(h)) { /* as good: the frame resets it */
			*outcome = OUTCOME_CHECKED;
			return true;
		}
		if (rdtsc() - start > limit)
			return fail("%u of 3 bad buffers came back", count);
	}
	rx_offer(h, seen.area, RX_BYTES, true);
	return expect(h, VSOCK_OP_RST);
}

static bool event_garbage(struct hostile *h, unsigned *outcome)
{
	struct virtio_queue *events = &h->dev.queues[EVENT_QUEUE];
	struct vring_segment segments[] = {
		{(uint64_t)h->scratch, 1}, {HOSTILE_FAR, 8}, {(uint64_t)h->scratch, 4096}};
	(void)outcome;
	if (!rx_start(h, RX_BUFFERS))
		return false;
	vring_add(&events->ring, segments, 3, 0, 1);
	vring_add(&events->ring, segments, 0, 3, 2);
	vring_show(&events->ring);
	virtio_kick(events);
	return is_broken(h) || echo_works(h) || is_broken(h);
}

/* --- states --- */

static bool request_twice(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_to(h, ECHO_PORT, &header))
		return false;
	header.op = VSOCK_OP_REQUEST;
	/* The second ends it, the third meets a key that rests. */
	return reset_answers(h, &header) && reset_answers(h, &header) && echo_works(h);
}

static bool response_unasked(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header = packet_make(h, seen.port++, ECHO_PORT, VSOCK_OP_RESPONSE);
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !reset_answers(h, &header) ||
		!connect_to(h, ECHO_PORT, &header))
		return false;
	header.op = VSOCK_OP_RESPONSE;
	return reset_answers(h, &header) && echo_works(h);
}

/* Overlooked for a second, then answered. */
static bool data_after_shutdown(struct hostile *h, unsigned *outcome)
{
	struct vsock_header header;
	*outcome = OUTCOME_CHECKED;
	if (!rx_start(h, RX_BUFFERS) || !connect_to(h, DEAF_PORT, &header) ||
		!send_op(h, &header, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND, 0))
		return false;
	forget();
	if (!send_op(h, &header, VSOCK_OP_RW, 0, 100))
		return false;
	pass(h, SILENCE_US);
	if (seen.count[VSOCK_OP_RST])
		return fail("no leeway");
	pass(h, LEEWAY_US);
	header.flags = 0;
	header.len = 100;
	return reset_answers(h, &header) && echo_works(h);
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

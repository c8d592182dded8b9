/* SPDX-License-Identifier: Apache-2.0 */
/* Raw packets of a hostile vsock driver, one at a time. */
#include "clock.h"
#include "hostile_vsock.h"
#include "lib.h"
#include "page.h"
#include "shell.h"
#include "x86.h"

#define OVER_PACKETS 256 /* of HV_DATA_MAX: more than any credit */

struct hv hv;

uint64_t hostile_vsock_cid(const struct hostile *h)
{
	return mmio_read32(h->dev.config.address);
}

uint8_t *hv_data(const struct hostile *h)
{
	return h->scratch + HOSTILE_SCRATCH / 2;
}

void hv_forget(void)
{
	hv.total = 0;
	hv.bytes = hv.ends = 0;
	memset(hv.count, 0, sizeof(hv.count));
}

void hv_rx_offer(struct hostile *h, uint8_t *buffer, uint32_t len, bool is_writable)
{
	struct virtio_queue *rx = &h->dev.queues[HV_RX_QUEUE];
	struct vring_segment segment = {(uint64_t)buffer, len};
	vring_add(&rx->ring, &segment, !is_writable, is_writable, (uint64_t)buffer);
	if (vring_show(&rx->ring))
		virtio_kick(rx);
}

bool hv_rx_start_with(struct hostile *h, unsigned count, uint32_t len)
{
	if (!hv.area)
		hv.area = page_alloc(HV_RX_BUFFERS * HV_RX_BYTES / PAGE_SIZE);
	if (!hv.area)
		return fail("no memory");
	if (!hv.port)
		hv.port = 1024 + (uint32_t)(rdtsc() >> 8 & 0xffffff);
	hv_forget();
	hv.buffer_bytes = len;
	for (unsigned i = 0; i < count; i++)
		hv_rx_offer(h, hv.area + i * HV_RX_BYTES, len, true);
	return true;
}

bool hv_rx_start(struct hostile *h, unsigned count)
{
	return hv_rx_start_with(h, count, HV_RX_BYTES);
}

void hv_pump(struct hostile *h)
{
	uint64_t token;
	uint32_t written;
	while (vring_take(&h->dev.queues[HV_RX_QUEUE].ring, &token, &written)) {
		struct vsock_header header;
		memcpy(&header, (const uint8_t *)token, sizeof(header));
		if (written >= sizeof(header)) {
			hv.total++;
			hv.bytes += written - sizeof(header);
			hv.ends += header.op == VSOCK_OP_RW && (header.flags & HV_EOM);
			hv.count[header.op % HV_OPS]++;
			hv.last[header.op % HV_OPS] = header;
		}
		hv_rx_offer(h, (uint8_t *)token, hv.buffer_bytes, true);
	}
}

bool hv_is_broken(const struct hostile *h)
{
	return virtio_status(&h->dev) & VIRTIO_S_NEEDS_RESET;
}

bool hv_chain_send(struct hostile *h, const struct vring_segment *segments, unsigned count)
{
	uint64_t token, start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	if (!vring_add(&h->queue->ring, segments, count, 0, 1))
		return fail("no room in the ring");
	if (vring_show(&h->queue->ring))
		virtio_kick(h->queue);
	while (!vring_take(&h->queue->ring, &token, NULL)) {
		hv_pump(h);
		if (rdtsc() - start > limit)
			return fail(
				"a packet does not come back, status 0x%x", virtio_status(&h->dev));
	}
	hv_pump(h);
	return true;
}

bool hv_send(struct hostile *h, const struct vsock_header *header)
{
	struct vring_segment segments[] = {
		{(uint64_t)h->scratch, sizeof(*header)}, {(uint64_t)hv_data(h), header->len}};
	memcpy(h->scratch, header, sizeof(*header));
	return hv_chain_send(h, segments, header->len ? 2 : 1);
}

struct vsock_header hv_packet(
	const struct hostile *h, uint32_t port, uint32_t host_port, uint16_t op)
{
	return (struct vsock_header){.src_cid = hostile_vsock_cid(h),
		.dst_cid = VSOCK_CID_HOST,
		.src_port = port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = HV_BUF_ALLOC};
}

bool hv_expect(struct hostile *h, uint16_t op)
{
	uint64_t start = rdtsc(), limit = HV_ANSWER_US * clock_tsc_khz() / 1000;
	while (!hv.count[op]) {
		hv_pump(h);
		if (rdtsc() - start > limit)
			return fail("no packet with op %u came, but %u others%s", op, hv.total,
				hv_is_broken(h) ? "; it needs a reset" : "");
	}
	return true;
}

void hv_pass(struct hostile *h, uint64_t us)
{
	uint64_t start = rdtsc(), limit = us * clock_tsc_khz() / 1000;
	while (rdtsc() - start < limit)
		hv_pump(h);
}

bool hv_nothing_comes(struct hostile *h)
{
	hv_pass(h, HV_SILENCE_US);
	return !hv.total || fail("%u packets came, op %u first", hv.total,
				    hv.count[VSOCK_OP_RST] ? VSOCK_OP_RST : 0);
}

bool hv_reset_answers(struct hostile *h, const struct vsock_header *header)
{
	hv_forget();
	if (!hv_send(h, header) || !hv_expect(h, VSOCK_OP_RST))
		return false;
	const struct vsock_header *rst = &hv.last[VSOCK_OP_RST];
	return (rst->dst_port == header->src_port && rst->src_port == header->dst_port) ||
	       fail("the RST goes from %u to %u", rst->src_port, rst->dst_port);
}

bool hv_over_credit(struct hostile *h, struct vsock_header *header)
{
	for (unsigned i = 0; i < OVER_PACKETS && !hv.count[VSOCK_OP_RST]; i++)
		if (!hv_send_op(h, header, VSOCK_OP_RW, 0, HV_DATA_MAX))
			return false;
	return hv_expect(h, VSOCK_OP_RST);
}

bool hv_open(struct hostile *h, struct vsock_header *header)
{
	header->op = VSOCK_OP_REQUEST;
	hv_forget();
	if (!hv_send(h, header))
		return false;
	if (!hv_expect(h, VSOCK_OP_RESPONSE))
		return fail(
			"nobody accepts at port %u of CID %lu", header->dst_port, header->dst_cid);
	return true;
}

bool hv_connect_with(
	struct hostile *h, uint32_t host_port, uint32_t buf_alloc, struct vsock_header *header)
{
	*header = hv_packet(h, hv.port++, host_port, VSOCK_OP_REQUEST);
	header->buf_alloc = buf_alloc;
	return hv_open(h, header);
}

bool hv_connect(struct hostile *h, uint32_t host_port, struct vsock_header *header)
{
	return hv_connect_with(h, host_port, HV_BUF_ALLOC, header);
}

bool hv_send_op(
	struct hostile *h, struct vsock_header *header, uint16_t op, uint32_t flags, uint32_t len)
{
	header->op = op;
	header->flags = flags;
	header->len = len;
	return hv_send(h, header);
}

bool hv_echo_works(struct hostile *h)
{
	struct vsock_header header;
	if (!hv_connect(h, HV_ECHO_PORT, &header) || !hv_send_op(h, &header, VSOCK_OP_RW, 0, 100) ||
		!hv_expect(h, VSOCK_OP_RW))
		return false;
	return hv_send_op(h, &header, VSOCK_OP_RST, 0, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock on the real reactor: a guest's thread echoes what a client's thread sends, every byte is
 * compared. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/device_rig.h"
#include "support/run_reactor.h"
#include "virtio/vsock.h"

#define CID        3u
#define ECHO_PORT  7u
#define QUEUE      64u
#define RX_BYTES   4096u
#define SLOT_BYTES 4096u
#define BUF_ALLOC  (QUEUE * SLOT_BYTES / 2)
#define TX_SLOTS   DEVICE_RIG_BUFFERS
#define RX_SLOTS   (DEVICE_RIG_BUFFERS + QUEUE * SLOT_BYTES)

TestSuite(vsock_reactor, .timeout = 100);

struct bench {
	struct reactor *reactor;
	struct device_rig rig;
	struct vsock vsock;
	struct vsock_connect connect;
	int fd;
	uint32_t total; /* to be echoed */
	unsigned int piece;
	bool equal;
	pthread_t guest, client;
	atomic_bool over, kicking, shut; /* shut: the guest has seen the end */
	struct reactor_msg kick, end;

	/* The guest's thread. */
	uint32_t host_port, tx_cnt, fwd_cnt, peer_buf_alloc, peer_fwd_cnt;
	bool connected;
	unsigned int tx_free[QUEUE], tx_free_count, tx_slot[QUEUE], rx_slot[QUEUE];
	uint8_t held[BUF_ALLOC]; /* received, not echoed yet */
	uint32_t held_count;
};

/* --- the guest --- */

static void kick_run(struct reactor_msg *msg)
{
	struct bench *b = container_of(msg, struct bench, kick);

	atomic_store(&b->kicking, false);
	for (unsigned int q = 0; q < 2; q++)
		virtio_queue_kick(&b->vsock.dev.queues[q]);
}

static void show(struct bench *b, unsigned int q)
{
	if (fake_show(&b->rig.queues[q]) && !atomic_exchange(&b->kicking, true))
		reactor_post(b->reactor, &b->kick);
}

static void rx_offer(struct bench *b, unsigned int slot)
{
	struct fake_buf buf = {RX_SLOTS + slot * (uint64_t)RX_BYTES, RX_BYTES, true};
	int id = fake_offer(&b->rig.queues[VSOCK_RX], &buf, 1, false);

	CHECK(id >= 0);
	b->rx_slot[id] = slot;
}

static void tx_reclaim(struct bench *b)
{
	struct fake_used used;

	while (fake_take(&b->rig.queues[VSOCK_TX], &used))
		b->tx_free[b->tx_free_count++] = b->tx_slot[used.id];
}

static bool guest_send(struct bench *b, uint16_t op, const void *data, uint32_t len)
{
	const struct vsock_header h = {.src_cid = CID,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = ECHO_PORT,
		.dst_port = b->host_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = BUF_ALLOC,
		.fwd_cnt = b->fwd_cnt};
	struct fake_buf buf = {0, sizeof(h) + len, false};
	unsigned int slot;
	uint8_t *at;
	int id;

	tx_reclaim(b);
	if (!b->tx_free_count)
		return false;
	slot = b->tx_free[--b->tx_free_count];
	buf.addr = TX_SLOTS + slot * (uint64_t)SLOT_BYTES;
	at = device_rig_mem(&b->rig, buf.addr, SLOT_BYTES);
	memcpy(at, &h, sizeof(h));
	if (len)
		memcpy(at + sizeof(h), data, len);
	id = fake_offer(&b->rig.queues[VSOCK_TX], &buf, 1, false);
	CHECK(id >= 0);
	b->tx_slot[id] = slot;
	show(b, VSOCK_TX);
	return true;
}

static void guest_echo(struct bench *b)
{
	uint32_t room = b->peer_buf_alloc - (b->tx_cnt - b->peer_fwd_cnt);
	uint32_t len = b->held_count < room ? b->held_count : room;

	if (len > SLOT_BYTES - VSOCK_HEADER_BYTES)
		len = SLOT_BYTES - VSOCK_HEADER_BYTES;
	if (!len)
		return;
	b->fwd_cnt += len;
	if (!guest_send(b, VSOCK_OP_RW, b->held, len)) {
		b->fwd_cnt -= len;
		return;
	}
	b->tx_cnt += len;
	b->held_count -= len;
	memmove(b->held, b->held + len, b->held_count);
}

static void guest_packet(struct bench *b, const uint8_t *bytes)
{
	struct vsock_header h;

	memcpy(&h, bytes, sizeof(h));
	b->peer_buf_alloc = h.buf_alloc;
	b->peer_fwd_cnt = h.fwd_cnt;
	b->host_port = h.src_port;
	if (h.op == VSOCK_OP_REQUEST) {
		CHECK(guest_send(b, VSOCK_OP_RESPONSE, NULL, 0));
	} else if (h.op == VSOCK_OP_RW) {
		CHECK(h.len <= BUF_ALLOC - b->held_count);
		memcpy(b->held + b->held_count, bytes + sizeof(h), h.len);
		b->held_count += h.len;
	} else if (h.op == VSOCK_OP_CREDIT_REQUEST) {
		guest_send(b, VSOCK_OP_CREDIT_UPDATE, NULL, 0);
	} else if (h.op == VSOCK_OP_SHUTDOWN) {
		CHECK(h.flags == VSOCK_SHUTDOWN_BOTH);
		CHECK(guest_send(b, VSOCK_OP_RST, NULL, 0));
		atomic_store(&b->shut, true);
	}
}

static void *guest_run(void *arg)
{
	struct bench *b = arg;
	struct fake_used used;

	while (!atomic_load(&b->over)) {
		bool any = false;

		while (fake_take(&b->rig.queues[VSOCK_RX], &used)) {
			unsigned int slot = b->rx_slot[used.id];

			guest_packet(b, device_rig_mem(&b->rig,
						RX_SLOTS + slot * (uint64_t)RX_BYTES, RX_BYTES));
			rx_offer(b, slot);
			show(b, VSOCK_RX);
			any = true;
		}
		guest_echo(b);
		if (!any)
			sched_yield();
	}
	return NULL;
}

/* --- the client --- */

static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

static uint32_t client_send(struct bench *b, uint32_t at)
{
	uint8_t data[65536];
	uint32_t len = b->total - at < b->piece ? b->total - at : b->piece;
	ssize_t n;

	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(at + i);
	n = send(b->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n > 0 ? (uint32_t)n : 0;
}

static uint32_t client_receive(struct bench *b, uint32_t at)
{
	uint8_t data[65536];
	ssize_t n = recv(b->fd, data, sizeof(data), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		b->equal &= data[i] == pattern(at + (uint32_t)i);
	return n > 0 ? (uint32_t)n : 0;
}

static void *client_run(void *arg)
{
	struct bench *b = arg;
	uint32_t sent = 0, got = 0;

	while (got < b->total) {
		struct pollfd p = {.fd = b->fd, .events = POLLIN};

		if (sent < b->total)
			p.events |= POLLOUT;
		if (poll(&p, 1, 20000) != 1 || (p.revents & POLLHUP))
			break;
		if (p.revents & POLLOUT)
			sent += client_send(b, sent);
		got += client_receive(b, got);
	}
	b->equal &= got == b->total;
	close(b->fd);
	while (!atomic_load(&b->shut))
		sched_yield();
	reactor_post(b->reactor, &b->end);
	return NULL;
}

/* --- the reactor's thread --- */

static void closed(struct vsock *v)
{
	reactor_stop(container_of(v, struct bench, vsock)->reactor);
}

static void end_run(struct reactor_msg *msg)
{
	struct bench *b = container_of(msg, struct bench, end);

	atomic_store(&b->over, true);
	pthread_join(b->guest, NULL);
	pthread_join(b->client, NULL);
	virtio_device_reset(&b->vsock.dev);
	vsock_close(&b->vsock, closed);
}

static void connected(struct vsock_connect *c, int err, uint32_t host_port, int fd)
{
	struct bench *b = container_of(c, struct bench, connect);

	(void)host_port;
	CHECK(!err);
	b->fd = fd;
	CHECK(!pthread_create(&b->client, NULL, client_run, b));
}

static void start(struct reactor *r, void *ctx)
{
	struct bench *b = ctx;

	b->reactor = r;
	device_rig_init(&b->rig, r);
	CHECK(!vsock_init(&b->vsock, &b->rig.env, CID, NULL));
	device_rig_attach(&b->rig, &b->vsock.dev);
	CHECK(device_rig_start(&b->rig, VIRTIO_F_EVENT_IDX, QUEUE));
	for (unsigned int i = 0; i < QUEUE; i++) {
		b->tx_free[b->tx_free_count++] = i;
		rx_offer(b, i);
	}
	fake_show(&b->rig.queues[VSOCK_RX]);
	b->connect.done = connected;
	CHECK(!vsock_connect(&b->vsock, ECHO_PORT, &b->connect));
	CHECK(!pthread_create(&b->guest, NULL, guest_run, b));
}

static void echo(uint32_t total, unsigned int piece, unsigned int poll_us)
{
	const struct reactor_params p = {.core = -1, .poll_us = poll_us};
	static struct bench b;
	struct vsock_figures figures;

	memset(&b, 0, sizeof(b));
	b.total = total;
	b.piece = piece;
	b.equal = true;
	b.kick.run = kick_run;
	b.end.run = end_run;
	run_reactor(&p, start, &b, NULL);
	cr_assert(b.equal, "bytes differ, or are missing");
	figures = b.vsock.figures;
	cr_assert_eq(figures.bytes_to_guest, total);
	cr_assert_eq(figures.bytes_from_guest, total);
	vsock_finish(&b.vsock);
	device_rig_finish(&b.rig);
}

Test(vsock_reactor, echoes_megabytes)
{
	echo(4u << 20, 65536, 0);
}

Test(vsock_reactor, echoes_megabytes_while_it_polls)
{
	echo(4u << 20, 65536, 50);
}

Test(vsock_reactor, echoes_small_pieces)
{
	echo(200000, 100, 0);
}

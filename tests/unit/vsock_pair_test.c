/* SPDX-License-Identifier: Apache-2.0 */
/* Guest to guest on two reactors: one guest's thread sends, the other's echoes, each device on a
 * reactor and a thread of its own, and every byte is compared. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "core/check.h"
#include "core/reactor.h"
#include "support/device_rig.h"
#include "virtio/vsock_neighbour.h"

#define ASKER      3u
#define ECHO       4u
#define ECHO_PORT  7u
#define ASKER_PORT 1022u
#define QUEUE      64u
#define SLOT_BYTES 4096u
#define BUF_ALLOC  (QUEUE * SLOT_BYTES / 2)
#define TX_SLOTS   DEVICE_RIG_BUFFERS
#define RX_SLOTS   (DEVICE_RIG_BUFFERS + QUEUE * SLOT_BYTES)
#define TOTAL      (2u << 20)

TestSuite(vsock_pair, .timeout = 100);

/* One guest, its device, and the thread that is its driver. */
struct guest {
	struct reactor *reactor;
	struct device_rig rig;
	struct vsock vsock;
	struct vsock_guests guests;
	uint32_t cid, peer_cid, port, peer_port;
	pthread_t thread;
	atomic_bool over, kicking;
	struct reactor_msg begin, kick, end;

	/* The thread's. */
	uint32_t tx_cnt, fwd_cnt, peer_buf_alloc, peer_fwd_cnt, received;
	bool connected, equal, shut, asked;
	unsigned int tx_free[QUEUE], tx_free_count, tx_slot[QUEUE], rx_slot[QUEUE];
	uint8_t held[BUF_ALLOC]; /* received, not echoed yet */
	uint32_t held_count;
};

static struct guest asker, echo;
static struct neighbours *all;
static struct reactor *reactors[2];
static atomic_uint closed_count;

/* --- the driver --- */

static void kick_run(struct reactor_msg *msg)
{
	struct guest *g = container_of(msg, struct guest, kick);

	atomic_store(&g->kicking, false);
	for (unsigned int q = 0; q < 2; q++)
		virtio_queue_kick(&g->vsock.dev.queues[q]);
}

static void show(struct guest *g, unsigned int q)
{
	if (fake_show(&g->rig.queues[q]) && !atomic_exchange(&g->kicking, true))
		reactor_post(g->reactor, &g->kick);
}

static void rx_offer(struct guest *g, unsigned int slot)
{
	struct fake_buf buf = {RX_SLOTS + slot * (uint64_t)SLOT_BYTES, SLOT_BYTES, true};
	int id = fake_offer(&g->rig.queues[VSOCK_RX], &buf, 1, false);

	CHECK(id >= 0);
	g->rx_slot[id] = slot;
}

static bool guest_send(struct guest *g, uint16_t op, const void *data, uint32_t len)
{
	const struct vsock_header h = {.src_cid = g->cid,
		.dst_cid = g->peer_cid,
		.src_port = g->port,
		.dst_port = g->peer_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.flags = op == VSOCK_OP_SHUTDOWN ? VSOCK_SHUTDOWN_BOTH : 0,
		.buf_alloc = BUF_ALLOC,
		.fwd_cnt = g->fwd_cnt};
	struct fake_buf buf = {0, sizeof(h) + len, false};
	struct fake_used used;
	unsigned int slot;
	uint8_t *at;
	int id;

	while (fake_take(&g->rig.queues[VSOCK_TX], &used))
		g->tx_free[g->tx_free_count++] = g->tx_slot[used.id];
	if (!g->tx_free_count)
		return false;
	slot = g->tx_free[--g->tx_free_count];
	buf.addr = TX_SLOTS + slot * (uint64_t)SLOT_BYTES;
	at = device_rig_mem(&g->rig, buf.addr, SLOT_BYTES);
	memcpy(at, &h, sizeof(h));
	if (len)
		memcpy(at + sizeof(h), data, len);
	id = fake_offer(&g->rig.queues[VSOCK_TX], &buf, 1, false);
	CHECK(id >= 0);
	g->tx_slot[id] = slot;
	show(g, VSOCK_TX);
	return true;
}

/* As much as one packet and the credit take. */
static uint32_t sendable(const struct guest *g, uint32_t len)
{
	uint32_t room = g->peer_buf_alloc - (g->tx_cnt - g->peer_fwd_cnt);

	len = len < room ? len : room;
	return len < SLOT_BYTES - VSOCK_HEADER_BYTES ? len : SLOT_BYTES - VSOCK_HEADER_BYTES;
}

static void echo_run(struct guest *g)
{
	uint32_t len = sendable(g, g->held_count);

	if (!len)
		return;
	g->fwd_cnt += len;
	if (!guest_send(g, VSOCK_OP_RW, g->held, len)) {
		g->fwd_cnt -= len;
		return;
	}
	g->tx_cnt += len;
	g->held_count -= len;
	memmove(g->held, g->held + len, g->held_count);
}

static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

static void asker_run(struct guest *g)
{
	uint8_t data[SLOT_BYTES];
	uint32_t len = sendable(g, TOTAL - g->tx_cnt);

	if (!g->asked)
		g->asked = guest_send(g, VSOCK_OP_REQUEST, NULL, 0);
	if (g->received == TOTAL && !g->shut)
		g->shut = guest_send(g, VSOCK_OP_SHUTDOWN, NULL, 0);
	if (!g->connected || !len)
		return;
	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(g->tx_cnt + i);
	if (guest_send(g, VSOCK_OP_RW, data, len))
		g->tx_cnt += len;
}

static void data_take(struct guest *g, const uint8_t *bytes, uint32_t len)
{
	if (g == &echo) {
		CHECK(len <= BUF_ALLOC - g->held_count);
		memcpy(g->held + g->held_count, bytes, len);
		g->held_count += len;
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		g->equal &= bytes[i] == pattern(g->received + i);
	g->received += len;
	g->fwd_cnt += len;
	guest_send(g, VSOCK_OP_CREDIT_UPDATE, NULL, 0);
}

static void packet_take(struct guest *g, const uint8_t *bytes)
{
	struct vsock_header h;

	memcpy(&h, bytes, sizeof(h));
	CHECK(h.src_cid == g->peer_cid && h.dst_cid == g->cid);
	g->peer_buf_alloc = h.buf_alloc;
	g->peer_fwd_cnt = h.fwd_cnt;
	g->peer_port = h.src_port;
	if (h.op == VSOCK_OP_REQUEST)
		CHECK(guest_send(g, VSOCK_OP_RESPONSE, NULL, 0));
	else if (h.op == VSOCK_OP_RESPONSE)
		g->connected = true;
	else if (h.op == VSOCK_OP_RW)
		data_take(g, bytes + sizeof(h), h.len);
	else if (h.op == VSOCK_OP_CREDIT_REQUEST)
		guest_send(g, VSOCK_OP_CREDIT_UPDATE, NULL, 0);
	else if (h.op == VSOCK_OP_SHUTDOWN && h.flags == VSOCK_SHUTDOWN_BOTH)
		guest_send(g, VSOCK_OP_RST, NULL, 0);
	else if (h.op == VSOCK_OP_RST)
		g->peer_buf_alloc = 0;
	if ((h.op == VSOCK_OP_RST && g == &asker) || (h.op == VSOCK_OP_SHUTDOWN && g == &echo))
		reactor_post(g->reactor, &g->end);
}

static void *guest_run(void *arg)
{
	struct guest *g = arg;
	struct fake_used used;

	while (!atomic_load(&g->over)) {
		bool any = false;

		while (fake_take(&g->rig.queues[VSOCK_RX], &used)) {
			unsigned int slot = g->rx_slot[used.id];

			packet_take(g, device_rig_mem(&g->rig,
					       RX_SLOTS + slot * (uint64_t)SLOT_BYTES, SLOT_BYTES));
			rx_offer(g, slot);
			show(g, VSOCK_RX);
			any = true;
		}
		if (g == &echo)
			echo_run(g);
		else
			asker_run(g);
		if (!any)
			sched_yield();
	}
	return NULL;
}

/* --- the reactors' threads --- */

static void closed(struct vsock *v)
{
	(void)v;
	if (atomic_fetch_add(&closed_count, 1) == 1)
		reactor_stop(reactors[0]);
}

static void guests_stopped(struct vsock_guests *g)
{
	vsock_close(g->v, closed);
}

static void end_run(struct reactor_msg *msg)
{
	struct guest *g = container_of(msg, struct guest, end);

	atomic_store(&g->over, true);
	pthread_join(g->thread, NULL);
	virtio_device_reset(&g->vsock.dev);
	vsock_guests_stop(&g->guests, guests_stopped);
}

static void begin_run(struct reactor_msg *msg)
{
	struct guest *g = container_of(msg, struct guest, begin);

	device_rig_init(&g->rig, g->reactor);
	CHECK(!vsock_init(&g->vsock, &g->rig.env, g->cid, NULL));
	CHECK(!vsock_guests_init(&g->guests, &g->vsock, all, NULL));
	device_rig_attach(&g->rig, &g->vsock.dev);
	vsock_guests_attach(&g->guests);
	CHECK(device_rig_start(&g->rig, VIRTIO_F_EVENT_IDX, QUEUE));
	for (unsigned int i = 0; i < QUEUE; i++) {
		g->tx_free[g->tx_free_count++] = i;
		rx_offer(g, i);
	}
	fake_show(&g->rig.queues[VSOCK_RX]);
	CHECK(!pthread_create(&g->thread, NULL, guest_run, g));
	/* Who asks comes when there is somebody to ask. */
	if (g == &echo)
		reactor_post(asker.reactor, &asker.begin);
}

static void guest_init(struct guest *g, unsigned int home, uint32_t cid, uint32_t peer_cid)
{
	memset(g, 0, sizeof(*g));
	g->reactor = reactors[home];
	g->cid = cid;
	g->peer_cid = peer_cid;
	g->equal = true;
	g->begin.run = begin_run;
	g->kick.run = kick_run;
	g->end.run = end_run;
}

static void talk(unsigned int asker_home, unsigned int echo_home)
{
	const struct reactor_params params[2] = {
		{.index = 0, .core = -1}, {.index = 1, .core = -1, .poll_us = 20}};
	struct diag d;

	atomic_store(&closed_count, 0);
	all = neighbours_create();
	cr_assert_eq(reactors_start(reactors, params, 2, &d), 0, "%s", d.text);
	guest_init(&asker, asker_home, ASKER, ECHO);
	guest_init(&echo, echo_home, ECHO, ASKER);
	asker.port = ASKER_PORT;
	asker.peer_port = echo.port = ECHO_PORT;
	reactor_post(echo.reactor, &echo.begin);
	reactor_run(reactors[0]);
	reactors_stop(reactors, 2);
	cr_assert(asker.equal, "other bytes came back");
	cr_assert_eq(asker.received, TOTAL);
	cr_assert_eq(echo.vsock.figures.bytes_to_guest, TOTAL);
	for (unsigned int i = 0; i < 2; i++) {
		struct guest *g = i ? &echo : &asker;

		cr_assert_eq(g->vsock.count, 0u);
		cr_assert_eq(g->vsock.neighbour_conns, 0u);
		vsock_guests_finish(&g->guests);
		vsock_finish(&g->vsock);
		device_rig_finish(&g->rig);
	}
	neighbours_destroy(all);
}

Test(vsock_pair, on_two_reactors)
{
	talk(0, 1);
}

Test(vsock_pair, the_other_way_round)
{
	talk(1, 0);
}

Test(vsock_pair, on_one_reactor)
{
	talk(1, 1);
}

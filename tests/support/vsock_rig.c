/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock device on the fake reactor, with a guest's driver and a client. */
#include "support/vsock_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"

#define TX_SLOTS (DEVICE_RIG_BUFFERS)
#define RX_SLOTS (DEVICE_RIG_BUFFERS + VRIG_QUEUE * (uint64_t)VRIG_SLOT_BYTES)

/* --- the client --- */

static void accept_seen(struct vsock_acceptor *a, const struct vsock_accept *request)
{
	struct vrig *r = container_of(a, struct vrig, acceptor);

	if (r->accept_count < VRIG_ACCEPT_MAX)
		r->accepts[r->accept_count++] = *request;
	else
		vsock_accepted(&r->vsock, request, -EAGAIN);
}

static void acceptor_closed(struct vsock_acceptor *a)
{
	container_of(a, struct vrig, acceptor)->accept_closed++;
}

void vrig_listen(struct vrig *r, uint32_t port)
{
	cr_assert_eq(vsock_listen(&r->vsock, port, &r->acceptor), 0);
}

int vrig_answer(struct vrig *r, bool accept)
{
	struct vsock_accept request = r->accepts[0];
	int pair[2] = {-1, -1};

	cr_assert_gt(r->accept_count, 0u, "nobody asked");
	memmove(r->accepts, r->accepts + 1, --r->accept_count * sizeof(request));
	if (accept)
		cr_assert_eq(
			socketpair(AF_UNIX,
				request.type == VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM,
				0, pair),
			0);
	vsock_accepted(&r->vsock, &request, accept ? pair[0] : -ECONNREFUSED);
	return pair[1];
}

static void connect_done(struct vsock_connect *base, int err, uint32_t host_port, int fd)
{
	struct vrig_connect *c = container_of(base, struct vrig_connect, base);

	cr_assert_not(c->is_done, "a connect ends once");
	c->is_done = true;
	c->err = err;
	c->host_port = host_port;
	c->fd = fd;
}

void vrig_connect_start(struct vrig *r, struct vrig_connect *c, uint32_t guest_port)
{
	*c = (struct vrig_connect){.base.done = connect_done, .fd = -1};
	cr_assert_eq(vsock_connect(&r->vsock, guest_port, &c->base), 0);
}

int vrig_read(struct vrig *r, int fd, void *to, uint32_t len_bytes)
{
	ssize_t n;

	vrig_run(r);
	n = recv(fd, to, len_bytes, MSG_DONTWAIT);
	return n < 0 ? -errno : (int)n;
}

/* --- the guest --- */

static unsigned int slot_take(bool *busy)
{
	for (unsigned int i = 0; i < VRIG_QUEUE; i++) {
		if (busy[i])
			continue;
		busy[i] = true;
		return i;
	}
	return VRIG_QUEUE;
}

static void tx_reclaim(struct vrig *r)
{
	struct fake_used used;

	while (fake_take(&r->dev.queues[VSOCK_TX], &used)) {
		cr_assert_eq(used.len_bytes, 0u, "nothing is written into what the guest sends");
		r->tx_busy[r->tx_slot[used.id]] = false;
	}
}

static bool send_bufs(
	struct vrig *r, unsigned int slot, const struct fake_buf *bufs, unsigned int n)
{
	int id =
		fake_offer(&r->dev.queues[VSOCK_TX], bufs, n, r->features & VIRTIO_F_INDIRECT_DESC);

	if (id < 0) {
		r->tx_busy[slot] = false;
		return false;
	}
	r->tx_slot[id] = slot;
	device_rig_show(&r->dev, VSOCK_TX);
	return true;
}

static unsigned int tx_slot_take(struct vrig *r)
{
	tx_reclaim(r);
	return slot_take(r->tx_busy);
}

bool vrig_send(struct vrig *r, const struct vsock_header *h, const void *data, uint32_t len_bytes)
{
	unsigned int slot = tx_slot_take(r);
	uint64_t at = TX_SLOTS + slot * (uint64_t)VRIG_SLOT_BYTES;
	const struct fake_buf bufs[2] = {
		{at, sizeof(*h), false}, {at + sizeof(*h), len_bytes, false}};

	CHECK(len_bytes <= VRIG_SLOT_BYTES - sizeof(*h));
	if (slot == VRIG_QUEUE)
		return false;
	memcpy(device_rig_mem(&r->dev, at, sizeof(*h)), h, sizeof(*h));
	if (len_bytes)
		memcpy(device_rig_mem(&r->dev, at + sizeof(*h), len_bytes), data, len_bytes);
	return send_bufs(r, slot, bufs, len_bytes ? 2 : 1);
}

bool vrig_send_split(struct vrig *r, const struct vsock_header *h)
{
	unsigned int slot = tx_slot_take(r);
	uint64_t at = TX_SLOTS + slot * (uint64_t)VRIG_SLOT_BYTES;
	const struct fake_buf bufs[2] = {{at, 1, false}, {at + 100, sizeof(*h) - 1, false}};

	if (slot == VRIG_QUEUE)
		return false;
	memcpy(device_rig_mem(&r->dev, at, 1), h, 1);
	memcpy(device_rig_mem(&r->dev, at + 100, sizeof(*h) - 1), (const uint8_t *)h + 1,
		sizeof(*h) - 1);
	return send_bufs(r, slot, bufs, 2);
}

void vrig_rx_add(struct vrig *r, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		unsigned int slot = slot_take(r->rx_busy);
		struct fake_buf buf = {
			RX_SLOTS + slot * (uint64_t)VRIG_SLOT_BYTES, r->rx_bytes, true};
		int id;

		if (slot == VRIG_QUEUE)
			break;
		id = fake_offer(
			&r->dev.queues[VSOCK_RX], &buf, 1, r->features & VIRTIO_F_INDIRECT_DESC);
		CHECK(id >= 0);
		r->rx_slot[id] = slot;
	}
	device_rig_show(&r->dev, VSOCK_RX);
}

bool vrig_take(struct vrig *r, struct vrig_packet *p)
{
	struct fake_used used;
	unsigned int slot;
	const uint8_t *bytes;

	vrig_run(r);
	tx_reclaim(r);
	if (!fake_take(&r->dev.queues[VSOCK_RX], &used))
		return false;
	slot = r->rx_slot[used.id];
	bytes = device_rig_mem(
		&r->dev, RX_SLOTS + slot * (uint64_t)VRIG_SLOT_BYTES, VRIG_SLOT_BYTES);
	r->used_bytes = used.len_bytes;
	memset(p, 0, sizeof(*p));
	if (used.len_bytes) {
		cr_assert_geq(used.len_bytes, sizeof(p->h));
		memcpy(&p->h, bytes, sizeof(p->h));
		cr_assert_eq(p->h.len, used.len_bytes - sizeof(p->h));
		memcpy(p->data, bytes + sizeof(p->h), p->h.len);
	}
	r->rx_busy[slot] = false;
	if (r->rx_again)
		vrig_rx_add(r, 1);
	return true;
}

void vrig_expect(struct vrig *r, const struct vrig_conn *c, uint16_t op, struct vrig_packet *p)
{
	do
		cr_assert(vrig_take(r, p), "no %s comes", vsock_op_name(op));
	while (p->h.op == VSOCK_OP_CREDIT_UPDATE && op != VSOCK_OP_CREDIT_UPDATE);
	cr_assert_eq(p->h.op, op, "%s instead of %s", vsock_op_name(p->h.op), vsock_op_name(op));
	cr_assert_eq(p->h.src_cid, c && c->host_cid ? c->host_cid : VSOCK_CID_HOST);
	cr_assert_eq(p->h.dst_cid, r->vsock.guest_cid);
	cr_assert_eq(p->h.type, c && c->type ? c->type : VSOCK_TYPE_STREAM);
	if (c) {
		cr_assert_eq(p->h.src_port, c->host_port);
		cr_assert_eq(p->h.dst_port, c->guest_port);
	}
}

void vrig_expect_none(struct vrig *r)
{
	static struct vrig_packet p;

	while (vrig_take(r, &p))
		cr_assert_eq(p.h.op, VSOCK_OP_CREDIT_UPDATE, "%s", vsock_op_name(p.h.op));
}

static struct vsock_header header_of(const struct vrig *r, const struct vrig_conn *c, uint16_t op)
{
	return (struct vsock_header){
		.src_cid = r->vsock.guest_cid,
		.dst_cid = c->host_cid ? c->host_cid : VSOCK_CID_HOST,
		.src_port = c->guest_port,
		.dst_port = c->host_port,
		.type = c->type ? c->type : VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = c->buf_alloc,
		.fwd_cnt = c->fwd_cnt,
	};
}

void vrig_op(struct vrig *r, const struct vrig_conn *c, uint16_t op, uint32_t flags)
{
	struct vsock_header h = header_of(r, c, op);

	h.flags = flags;
	cr_assert(vrig_send(r, &h, NULL, 0));
}

void vrig_piece(struct vrig *r, const struct vrig_conn *c, const void *data, uint32_t len_bytes,
	uint32_t flags)
{
	struct vsock_header h = header_of(r, c, VSOCK_OP_RW);

	h.len = len_bytes;
	h.flags = flags;
	cr_assert(vrig_send(r, &h, data, len_bytes));
}

void vrig_data(struct vrig *r, const struct vrig_conn *c, const void *data, uint32_t len_bytes)
{
	vrig_piece(r, c, data, len_bytes, 0);
}

/* --- whole connections --- */

struct vrig_conn vrig_guest_connects_as(
	struct vrig *r, uint32_t host_port, uint32_t guest_port, uint16_t type)
{
	static struct vrig_packet p;
	struct vrig_conn c = {host_port, guest_port, VRIG_BUF_ALLOC, 0, -1, type, 0};

	vrig_op(r, &c, VSOCK_OP_REQUEST, 0);
	vrig_run(r);
	c.fd = vrig_answer(r, true);
	vrig_expect(r, &c, VSOCK_OP_RESPONSE, &p);
	vrig_expect(r, &c, VSOCK_OP_CREDIT_UPDATE, &p);
	return c;
}

struct vrig_conn vrig_guest_connects(struct vrig *r, uint32_t host_port, uint32_t guest_port)
{
	return vrig_guest_connects_as(r, host_port, guest_port, VSOCK_TYPE_STREAM);
}

struct vrig_conn vrig_client_connects(struct vrig *r, uint32_t guest_port)
{
	static struct vrig_packet p;
	struct vrig_conn c = {0, guest_port, VRIG_BUF_ALLOC, 0, -1, 0, 0};
	struct vrig_connect connect;

	vrig_connect_start(r, &connect, guest_port);
	vrig_expect(r, NULL, VSOCK_OP_REQUEST, &p);
	cr_assert_eq(p.h.dst_port, guest_port);
	cr_assert_not(connect.is_done);
	c.host_port = p.h.src_port;
	vrig_op(r, &c, VSOCK_OP_RESPONSE, 0);
	vrig_run(r);
	cr_assert(connect.is_done);
	cr_assert_eq(connect.err, 0);
	cr_assert_eq(connect.host_port, c.host_port);
	c.fd = connect.fd;
	vrig_expect(r, &c, VSOCK_OP_CREDIT_UPDATE, &p);
	return c;
}

/* --- the rig --- */

void vrig_run(struct vrig *r)
{
	fake_io_run(r->reactor);
}

static void init_on(struct vrig *r, struct reactor *reactor, uint32_t cid)
{
	struct diag d;

	memset(r, 0, sizeof(*r));
	r->acceptor = (struct vsock_acceptor){.accept = accept_seen, .closed = acceptor_closed};
	r->reactor = reactor;
	device_rig_init(&r->dev, r->reactor);
	cr_assert_eq(vsock_init(&r->vsock, &r->dev.env, cid, &d), 0);
	device_rig_attach(&r->dev, &r->vsock.dev);
}

void vrig_init(struct vrig *r, uint64_t seed)
{
	init_on(r, fake_io_create(seed), VRIG_CID);
}

void vrig_init_beside(struct vrig *r, struct vrig *first, uint32_t cid)
{
	init_on(r, first->reactor, cid);
	r->shares_reactor = true;
}

void vrig_start(struct vrig *r, unsigned int rx, uint32_t rx_bytes)
{
	r->rx_again = true;
	r->rx_bytes = rx_bytes;
	memset(r->tx_busy, 0, sizeof(r->tx_busy));
	memset(r->rx_busy, 0, sizeof(r->rx_busy));
	cr_assert(device_rig_start(&r->dev, r->features, VRIG_QUEUE));
	vrig_rx_add(r, rx);
}

static bool all_closed;

static void vsock_is_closed(struct vsock *v)
{
	(void)v;
	all_closed = true;
}

void vrig_finish(struct vrig *r)
{
	all_closed = false;
	virtio_device_reset(&r->vsock.dev);
	vrig_run(r);
	cr_assert_not(r->vsock.dev.resetting);
	vsock_close(&r->vsock, vsock_is_closed);
	vrig_run(r);
	cr_assert(all_closed);
	vsock_finish(&r->vsock);
	if (!r->shares_reactor) {
		cr_assert_eq(fake_io_in_flight(r->reactor, -1), 0u);
		fake_io_destroy(r->reactor);
	}
	device_rig_finish(&r->dev);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A guest and a client that do whatever a string of bytes says. */
#include "support/vsock_storm.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"

#define CLIENTS  16
#define CONNECTS 8

struct storm {
	const uint8_t *at, *end;
	struct vrig rig;
	int clients[CLIENTS]; /* -1: free */
	struct vrig_connect connects[CONNECTS];
	unsigned int connect_next;
	uint32_t last_host_port, last_buf_alloc, last_fwd_cnt; /* as the device told last */
	uint8_t data[VRIG_SLOT_BYTES];
};

static uint8_t byte_take(struct storm *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static uint32_t word_take(struct storm *s)
{
	uint32_t word = 0;

	for (unsigned int i = 0; i < 4; i++)
		word |= (uint32_t)byte_take(s) << 8 * i;
	return word;
}

/* --- the guest --- */

/* Sound, but for one field, perhaps. */
static void packet_send(struct storm *s)
{
	uint8_t ports = byte_take(s), spoil = byte_take(s), size = byte_take(s);
	uint32_t len = size < 200 ? size : (size - 199u) * 1000u;
	struct vsock_header h = {.src_cid = VRIG_CID,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = ports & 7,
		.dst_port = ports & 0x80 ? s->last_host_port : 80u + (ports >> 3 & 3),
		.type = s->rig.features && (ports & 1) ? VSOCK_TYPE_SEQPACKET : VSOCK_TYPE_STREAM,
		.op = byte_take(s) % 9,
		.buf_alloc = 1u << (byte_take(s) & 31)};

	if (h.op != VSOCK_OP_RW)
		len = spoil & 1 ? len : 0;
	if (h.op == VSOCK_OP_SHUTDOWN)
		h.flags = 1 + (ports >> 5 & 3) % 3;
	if (h.op == VSOCK_OP_RW && h.type == VSOCK_TYPE_SEQPACKET)
		h.flags = spoil & 3;
	h.len = len;
	switch (spoil >> 3) {
	case 1:
		h.src_cid = word_take(s);
		break;
	case 2:
		h.dst_cid = word_take(s);
		break;
	case 3:
		h.type = byte_take(s);
		break;
	case 4:
		h.flags = word_take(s);
		break;
	case 5:
		h.len = word_take(s);
		break;
	case 6:
		h.fwd_cnt = word_take(s);
		break;
	case 7:
		h.buf_alloc = word_take(s);
		break;
	default:
		break;
	}
	vrig_send(&s->rig, &h, s->data, len);
}

static void garbage_send(struct storm *s)
{
	struct vsock_header h;

	for (unsigned int i = 0; i < sizeof(h); i++)
		((uint8_t *)&h)[i] = byte_take(s);
	vrig_send(&s->rig, &h, s->data, byte_take(s));
}

static void packets_take(struct storm *s)
{
	static struct vrig_packet p;

	while (vrig_take(&s->rig, &p)) {
		if (!s->rig.used_bytes)
			continue;
		CHECK(p.h.op >= VSOCK_OP_REQUEST && p.h.op <= VSOCK_OP_CREDIT_REQUEST);
		CHECK(p.h.dst_cid == VRIG_CID);
		s->last_host_port = p.h.src_port;
	}
}

static void driver_reset(struct storm *s)
{
	virtio_device_reset(&s->rig.vsock.dev);
	vrig_run(&s->rig);
	CHECK(!s->rig.vsock.dev.resetting);
	vrig_start(&s->rig, 4, 4096);
	s->rig.rx_again = false;
}

/* --- the client --- */

static void client_add(struct storm *s, int fd)
{
	if (fd < 0)
		return;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (s->clients[i] >= 0)
			continue;
		s->clients[i] = fd;
		return;
	}
	close(fd);
}

static void answer(struct storm *s, bool accept)
{
	if (s->rig.accept_count)
		client_add(s, vrig_answer(&s->rig, accept));
}

static void connect_one(struct storm *s)
{
	struct vrig_connect *c;

	if (s->connect_next == CONNECTS)
		return;
	c = &s->connects[s->connect_next++];
	vrig_connect_start(&s->rig, c, byte_take(s) & 7);
}

static void connects_look(struct storm *s)
{
	for (unsigned int i = 0; i < s->connect_next; i++) {
		if (!s->connects[i].is_done)
			continue;
		client_add(s, s->connects[i].fd);
		s->connects[i].fd = -1;
	}
}

static void client_act(struct storm *s, uint8_t what)
{
	int *fd = &s->clients[byte_take(s) % CLIENTS];
	uint32_t len = byte_take(s) * 250u;

	if (*fd < 0)
		return;
	if (what == 0)
		(void)!send(*fd, s->data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (what == 1)
		(void)!recv(*fd, s->data, len, MSG_DONTWAIT);
	else if (what == 2)
		shutdown(*fd, (int)(len % 3));
	if (what != 3)
		return;
	close(*fd);
	*fd = -1;
}

/* --- all of it --- */

static void act(struct storm *s)
{
	uint8_t what = byte_take(s);

	switch (what % 20) {
	case 0 ... 5:
		packet_send(s);
		break;
	case 6:
		garbage_send(s);
		break;
	case 7:
		device_rig_offer(
			&s->rig.dev, VSOCK_TX, DEVICE_RIG_BUFFERS, 1 + byte_take(s), false);
		break;
	case 8:
		packets_take(s);
		break;
	case 9:
		s->rig.rx_bytes = 1 + byte_take(s) * 17u;
		vrig_rx_add(&s->rig, 1 + byte_take(s) % 16);
		break;
	case 10 ... 13:
		client_act(s, (what % 20) - 10);
		break;
	case 14:
	case 15:
		answer(s, what % 20 == 14);
		break;
	case 16:
		connect_one(s);
		break;
	case 17:
		fake_io_advance_ns(s->rig.reactor, byte_take(s) * 50000000ULL);
		break;
	case 18:
		if (byte_take(s) % 16 == 0)
			driver_reset(s);
		break;
	default:
		vrig_run(&s->rig);
		break;
	}
}

void vsock_storm(const uint8_t *bytes, size_t len_bytes)
{
	static struct storm s;

	uint8_t seed;

	memset(&s, 0, sizeof(s));
	memset(s.clients, -1, sizeof(s.clients));
	s.at = bytes;
	s.end = bytes + len_bytes;
	seed = byte_take(&s);
	vrig_init(&s.rig, 1 + seed);
	s.rig.features = seed & 1 ? VSOCK_F_SEQPACKET : 0;
	vrig_start(&s.rig, 8, 4096);
	s.rig.rx_again = false;
	for (uint32_t port = 80; port < 83; port++)
		vrig_listen(&s.rig, port);
	while (s.at < s.end) {
		act(&s);
		connects_look(&s);
	}
	vrig_finish(&s.rig);
	connects_look(&s);
	for (unsigned int i = 0; i < s.connect_next; i++)
		CHECK(s.connects[i].is_done);
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (s.clients[i] >= 0)
			close(s.clients[i]);
}

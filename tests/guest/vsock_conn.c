/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock connections: states, credit, and who may send next. */
#include "vsock.h"

#include "lib.h"
#include "page.h"
#include "x86.h"

#define HASH_SIZE   1024
#define REPLIES_MAX 256 /* RSTs for packets that belong to no connection */
#define PLEDGE_MAX  (24 * MIB)
#define RUN_BUDGET  256
#define PORT_FIRST  49152U
#define PORTS       (65536U - PORT_FIRST)
#define CONTROL(op) ((uint8_t)(1U << (op)))

static struct {
	struct vsock_conn *all, *free;
	uint64_t pages;
	struct vsock_conn *hash[HASH_SIZE];
	struct vsock_conn *ready_first, *ready_last;
	unsigned count;
	uint64_t pledged, pledge_max;
	struct vsock_header replies[REPLIES_MAX];
	unsigned reply_first, reply_count;
} conns;

/* Survives a reset, and starts anywhere: the other end may remember the last ports. */
static uint32_t port_last;

void vsock_conns_start(void)
{
	memset(&conns, 0, sizeof(conns));
	if (!port_last)
		port_last = (uint32_t)rdtsc();
	conns.pages = (VSOCK_CONNS_MAX * sizeof(struct vsock_conn) + PAGE_SIZE - 1) / PAGE_SIZE;
	conns.all = page_alloc(conns.pages);
	conns.pledge_max = page_free_count() * PAGE_SIZE / 2;
	if (conns.pledge_max > PLEDGE_MAX)
		conns.pledge_max = PLEDGE_MAX;
	for (unsigned i = 0; conns.all && i < VSOCK_CONNS_MAX; i++) {
		conns.all[i].next = conns.free;
		conns.free = &conns.all[i];
	}
}

unsigned vsock_conn_count(void)
{
	return conns.count;
}

/* --- the table --- */

static struct vsock_conn **bucket(uint64_t cid, uint32_t peer_port, uint32_t port)
{
	uint32_t key = (uint32_t)cid * 31 + peer_port * 2654435761U + port * 40503;
	return &conns.hash[(key ^ key >> 16) % HASH_SIZE];
}

static struct vsock_conn *conn_find(uint64_t cid, uint32_t peer_port, uint32_t port)
{
	struct vsock_conn *c = *bucket(cid, peer_port, port);
	while (c && (c->cid != cid || c->peer_port != peer_port || c->port != port))
		c = c->next;
	return c;
}

/* So much is always left that each further connection gets the least. */
static uint32_t credit_choose(const struct vsock_service *service)
{
	uint64_t left = conns.pledge_max - conns.pledged;
	uint64_t reserve = (uint64_t)VSOCK_BUF_MIN * (VSOCK_CONNS_MAX - conns.count);
	uint64_t share = left > reserve ? (left - reserve) / 8 & ~(PAGE_SIZE - 1) : 0;
	if (!service->keeps || share > VSOCK_BUF_ALLOC)
		return VSOCK_BUF_ALLOC;
	return share > VSOCK_BUF_MIN ? (uint32_t)share : VSOCK_BUF_MIN;
}

static struct vsock_conn *conn_add(const struct vsock_service *service, void *owner, uint32_t port,
	uint64_t cid, uint32_t peer_port)
{
	uint32_t buf_alloc = credit_choose(service);
	uint64_t pledged = service->keeps ? buf_alloc : 0;
	struct vsock_conn *c = conns.free, **head = bucket(cid, peer_port, port);
	if (!c || pledged > conns.pledge_max - conns.pledged)
		return NULL;
	conns.free = c->next;
	memset(c, 0, sizeof(*c));
	c->service = service;
	c->owner = owner;
	c->cid = cid;
	c->peer_port = peer_port;
	c->port = port;
	c->buf_alloc = buf_alloc;
	c->pledged = pledged;
	conns.pledged += pledged;
	c->next = *head;
	*head = c;
	conns.count++;
	return c;
}

static void conn_unlink(struct vsock_conn *c)
{
	struct vsock_conn **link = bucket(c->cid, c->peer_port, c->port);
	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
}

static void state_set(struct vsock_conn *c, enum vsock_state state)
{
	static const uint8_t allowed[] = {
		[VSOCK_FREE] = 1 << VSOCK_CONNECTING | 1 << VSOCK_OPEN,
		[VSOCK_CONNECTING] = 1 << VSOCK_OPEN | 1 << VSOCK_CLOSED,
		[VSOCK_OPEN] = 1 << VSOCK_CLOSING | 1 << VSOCK_CLOSED,
		[VSOCK_CLOSING] = 1 << VSOCK_CLOSED,
		[VSOCK_CLOSED] = 1 << VSOCK_FREE,
	};
	if (!(allowed[c->state] & 1 << state))
		print("vsock: a connection goes from state %u to %u\n", c->state, state);
	c->state = state;
}

static void conn_free_if_unused(struct vsock_conn *c)
{
	if (c->state != VSOCK_CLOSED || c->in_flight || c->is_ready)
		return;
	vsock_service_release(c);
	conns.pledged -= c->pledged;
	conns.count--;
	state_set(c, VSOCK_FREE);
	c->next = conns.free;
	conns.free = c;
}

/* Nothing more is sent or received for it. */
static void conn_close(struct vsock_conn *c)
{
	if (c->state != VSOCK_CONNECTING)
		vsock_stats.closed++;
	conn_unlink(c);
	state_set(c, VSOCK_CLOSED);
	if (c->service->changed)
		c->service->changed(c);
	conn_free_if_unused(c);
}

void vsock_conns_reset(void)
{
	for (unsigned i = 0; conns.all && i < VSOCK_CONNS_MAX; i++)
		if (conns.all[i].state != VSOCK_FREE && conns.all[i].state != VSOCK_CLOSED)
			conn_close(&conns.all[i]);
	conns.reply_count = 0;
}

/* The device has been reset: it has no packets any more. */
void vsock_conns_stop(void)
{
	if (!conns.all)
		return;
	vsock_conns_reset();
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		struct vsock_conn *c = &conns.all[i];
		c->in_flight = 0;
		c->is_ready = false;
		if (c->state == VSOCK_CLOSED)
			conn_free_if_unused(c);
	}
	page_free(conns.all, conns.pages);
	memset(&conns, 0, sizeof(conns));
}

/* --- sending --- */

void vsock_conn_wake(struct vsock_conn *c)
{
	if (c->is_ready || c->state == VSOCK_CLOSED)
		return;
	c->is_ready = true;
	c->ready_next = NULL;
	if (conns.ready_first)
		conns.ready_last->ready_next = c;
	else
		conns.ready_first = c;
	conns.ready_last = c;
}

static void control_add(struct vsock_conn *c, enum vsock_op op)
{
	c->control |= CONTROL(op);
	vsock_conn_wake(c);
}

static bool packet_send(
	struct vsock_conn *c, enum vsock_op op, uint32_t flags, const uint8_t *data, uint32_t len)
{
	struct vsock_header h = {.src_cid = vsock_cid(),
		.dst_cid = c->cid,
		.src_port = c->port,
		.dst_port = c->peer_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = c->buf_alloc,
		.fwd_cnt = c->fwd_cnt};
	if (!vsock_send(&h, data, c))
		return false;
	c->in_flight++;
	c->fwd_told = c->fwd_cnt;
	return true;
}

void vsock_sent(struct vsock_conn *c, uint32_t len)
{
	c->in_flight--;
	if (len && c->service->sent)
		c->service->sent(c, len);
	conn_free_if_unused(c);
}

/* What the peer still has room for; one that takes back what it promised gets nothing. */
static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent_count - c->peer_fwd_cnt;
	return under_way < c->peer_buf_alloc ? c->peer_buf_alloc - under_way : 0;
}

/* Each of these: -1 no room in the queue, 0 nothing to send, 1 sent. */
static int control_send(struct vsock_conn *c)
{
	static const enum vsock_op order[] = {
		VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE, VSOCK_OP_CREDIT_UPDATE};
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(c->control & CONTROL(order[i])))
			continue;
		if (!packet_send(c, order[i], 0, NULL, 0))
			return -1;
		c->control &= (uint8_t)~CONTROL(order[i]);
		return 1;
	}
	return 0;
}

static int data_send(struct vsock_conn *c)
{
	uint32_t max = credit(c);
	const uint8_t *data;
	if (c->state != VSOCK_OPEN || !max || (c->peer_ended & VSOCK_SHUTDOWN_RCV) ||
		(c->own_ended & VSOCK_SHUTDOWN_SEND))
		return 0;
	if (!vsock_has_room()) /* an offer cannot be given back */
		return -1;
	uint32_t len = c->service->offer(c, max < VSOCK_PACKET_MAX ? max : VSOCK_PACKET_MAX, &data);
	if (!len)
		return 0;
	packet_send(c, VSOCK_OP_RW, 0, data, len);
	c->sent_count += len;
	return 1;
}

static int end_send(struct vsock_conn *c)
{
	uint32_t ends = c->state == VSOCK_OPEN ? c->service->ends(c) | c->own_ended : c->own_ended;
	if (ends == c->own_ended)
		return 0;
	if (!packet_send(c, VSOCK_OP_SHUTDOWN, ends, NULL, 0))
		return -1;
	c->own_ended = (uint8_t)ends;
	if (ends == VSOCK_SHUTDOWN_BOTH)
		state_set(c, VSOCK_CLOSING);
	return 1;
}

/* One packet of this connection. */
static int conn_run(struct vsock_conn *c)
{
	if (c->state == VSOCK_CLOSED)
		return 0;
	int done = control_send(c);
	if (!done)
		done = data_send(c);
	if (!done)
		done = end_send(c);
	return done;
}

static bool replies_send(void)
{
	bool any = false;
	while (conns.reply_count && vsock_send(&conns.replies[conns.reply_first], NULL, NULL)) {
		conns.reply_first = (conns.reply_first + 1) % REPLIES_MAX;
		conns.reply_count--;
		vsock_stats.rst_sent++;
		any = true;
	}
	return any;
}

bool vsock_conns_run(void)
{
	bool any = replies_send();
	for (unsigned i = 0; conns.ready_first && i < RUN_BUDGET; i++) {
		struct vsock_conn *c = conns.ready_first;
		int done = conn_run(c);
		if (done < 0)
			break;
		conns.ready_first = c->ready_next;
		c->is_ready = false;
		any = true;
		if (done > 0)
			vsock_conn_wake(c); /* at the end: the others first */
		else
			conn_free_if_unused(c);
	}
	return any;
}

/* --- receiving --- */

/* Answers a packet by an RST; false: no room for it now. */
static bool reply(const struct vsock_header *h)
{
	if (h->op == VSOCK_OP_RST)
		return true;
	if (conns.reply_count == REPLIES_MAX)
		return false;
	conns.replies[(conns.reply_first + conns.reply_count++) % REPLIES_MAX] =
		(struct vsock_header){.src_cid = h->dst_cid,
			.dst_cid = h->src_cid,
			.src_port = h->dst_port,
			.dst_port = h->src_port,
			.type = h->type,
			.op = VSOCK_OP_RST};
	return true;
}

/* The RST goes past the connection's own packets: it is nobody's any more. */
static bool conn_reset(struct vsock_conn *c, const struct vsock_header *h)
{
	if (!reply(h))
		return false;
	conn_close(c);
	return true;
}

void vsock_conn_abort(struct vsock_conn *c)
{
	struct vsock_header h = {.src_cid = c->cid,
		.dst_cid = vsock_cid(),
		.src_port = c->peer_port,
		.dst_port = c->port,
		.type = VSOCK_TYPE_STREAM};
	while (!reply(&h))
		vsock_step();
	if (c->state != VSOCK_CLOSED)
		conn_close(c);
}

void vsock_consumed(struct vsock_conn *c, uint32_t len)
{
	c->fwd_cnt += len;
	if (c->state == VSOCK_OPEN && c->fwd_cnt - c->fwd_told > c->buf_alloc / 2)
		control_add(c, VSOCK_OP_CREDIT_UPDATE);
}

static bool request_take(const struct vsock_header *h)
{
	void *owner = NULL;
	const struct vsock_service *service = vsock_listener(h->dst_port, &owner);
	struct vsock_conn *c =
		service ? conn_add(service, owner, h->dst_port, h->src_cid, h->src_port) : NULL;
	if (!c) {
		if (!reply(h))
			return false;
		vsock_stats.refused++;
		return true;
	}
	c->peer_buf_alloc = h->buf_alloc;
	c->peer_fwd_cnt = h->fwd_cnt;
	vsock_stats.opened++;
	state_set(c, VSOCK_OPEN);
	control_add(c, VSOCK_OP_RESPONSE);
	if (service->changed)
		service->changed(c);
	return true;
}

static bool data_take(struct vsock_conn *c, const struct vsock_header *h, const uint8_t *data)
{
	if (h->len > c->buf_alloc - (c->received_count - c->fwd_cnt)) {
		vsock_stats.over_credit++;
		return conn_reset(c, h);
	}
	c->received_count += h->len;
	/* It was on its way when we said that we take no more, or there is nobody to echo to. */
	if (c->state != VSOCK_OPEN || (c->own_ended & VSOCK_SHUTDOWN_RCV)) {
		c->fwd_cnt += h->len;
		return true;
	}
	return c->service->receive(c, data, h->len) || conn_reset(c, h);
}

static bool shutdown_take(struct vsock_conn *c, const struct vsock_header *h)
{
	c->peer_ended |= h->flags & VSOCK_SHUTDOWN_BOTH;
	if (c->peer_ended == VSOCK_SHUTDOWN_BOTH)
		return conn_reset(c, h);
	if (c->service->changed)
		c->service->changed(c);
	vsock_conn_wake(c);
	return true;
}

static bool open_take(struct vsock_conn *c, const struct vsock_header *h, const uint8_t *data)
{
	switch (h->op) {
	case VSOCK_OP_SHUTDOWN:
		return shutdown_take(c, h);
	case VSOCK_OP_RW:
		return data_take(c, h, data);
	case VSOCK_OP_CREDIT_REQUEST:
		control_add(c, VSOCK_OP_CREDIT_UPDATE);
		return true;
	case VSOCK_OP_CREDIT_UPDATE:
		return true;
	default:
		vsock_stats.bad++;
		return conn_reset(c, h);
	}
}

static bool conn_take(struct vsock_conn *c, const struct vsock_header *h, const uint8_t *data)
{
	if (h->op == VSOCK_OP_RST) {
		vsock_stats.rst_received++;
		conn_close(c);
		return true;
	}
	bool had_credit = credit(c);
	c->peer_buf_alloc = h->buf_alloc;
	c->peer_fwd_cnt = h->fwd_cnt;
	if (c->state == VSOCK_CONNECTING) {
		if (h->op != VSOCK_OP_RESPONSE)
			return conn_reset(c, h);
		vsock_stats.opened++;
		state_set(c, VSOCK_OPEN);
		if (c->service->changed)
			c->service->changed(c);
		vsock_conn_wake(c);
		return true;
	}
	if (!had_credit && credit(c))
		vsock_conn_wake(c);
	return open_take(c, h, data);
}

bool vsock_receive(const uint8_t *packet, uint32_t written)
{
	struct vsock_header h;
	if (written < sizeof(h)) {
		vsock_stats.bad++;
		return true;
	}
	memcpy(&h, packet, sizeof(h));
	struct vsock_conn *c = conn_find(h.src_cid, h.src_port, h.dst_port);
	bool is_bad = h.len != written - sizeof(h) || h.dst_cid != vsock_cid() ||
		      h.type != VSOCK_TYPE_STREAM;
	bool taken;
	if (is_bad) {
		taken = reply(&h);
		vsock_stats.bad += taken;
	} else if (c) {
		taken = conn_take(c, &h, packet + sizeof(h));
	} else if (h.op == VSOCK_OP_REQUEST) {
		taken = request_take(&h);
	} else {
		taken = reply(&h);
	}
	if (taken) {
		vsock_stats.rx_packets++;
		vsock_stats.rx_bytes += h.len;
	}
	return taken;
}

/* --- our own --- */

static uint32_t port_choose(uint64_t cid, uint32_t peer_port)
{
	for (uint32_t i = 0; i < PORTS; i++) {
		uint32_t port = PORT_FIRST + port_last++ % PORTS;
		if (!conn_find(cid, peer_port, port))
			return port;
	}
	return 0;
}

struct vsock_conn *vsock_conn_open(const struct vsock_service *service, void *owner, uint32_t port,
	uint64_t cid, uint32_t peer_port)
{
	if (!port)
		port = port_choose(cid, peer_port);
	if (!port || conn_find(cid, peer_port, port))
		return NULL;
	struct vsock_conn *c = conn_add(service, owner, port, cid, peer_port);
	if (!c)
		return NULL;
	state_set(c, VSOCK_CONNECTING);
	control_add(c, VSOCK_OP_REQUEST);
	return c;
}

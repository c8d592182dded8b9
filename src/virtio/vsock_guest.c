/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest's packets do to a connection in each of its states (conformance.md, "Vsock"). */
#include <sys/socket.h>

#include "core/check.h"
#include "virtio/vsock_conn.h"

/* --- while there is no connection yet --- */

static void connecting_packet(struct vsock_conn *c, const struct vsock_header *h)
{
	bool unsent = c->pending & VSOCK_PENDING(VSOCK_OP_REQUEST);

	if (h->op == VSOCK_OP_RESPONSE && !unsent)
		vsock_connect_answered(c);
	else
		vsock_conn_close(c, h->op == VSOCK_OP_RST ? VSOCK_CLOSE_CLEAN : VSOCK_CLOSE_FORCED);
}

static void accepting_packet(struct vsock_conn *c, const struct vsock_header *h)
{
	if (h->op == VSOCK_OP_SHUTDOWN)
		vsock_conn_close(c, VSOCK_CLOSE_RST);
	else
		vsock_conn_close(c, h->op == VSOCK_OP_RST ? VSOCK_CLOSE_QUIET : VSOCK_CLOSE_FORCED);
}

/* --- data --- */

/* Data after SHUTDOWN(SEND): nobody can take it, as the client has got its end of file; for a
 * moment it is overlooked. */
static void late_data(struct vsock_conn *c)
{
	uint64_t now_ns = reactor_now_ns(vsock_home(c->v));

	if (now_ns - c->peer_shutdown_ns >= VSOCK_LEEWAY_NS)
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
}

static enum vsock_taken connected_data(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	if (c->peer_shutdown & VSOCK_SHUTDOWN_SEND) {
		late_data(c);
		return VSOCK_TAKEN_DONE;
	}
	if (h->len && c->type == VSOCK_TYPE_STREAM && !vsock_tx_room(c, chain))
		return VSOCK_TAKEN_BACK;
	if (!credit_received(&c->credit, h->len)) {
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
		return VSOCK_TAKEN_DONE;
	}
	c->v->figures.bytes_from_guest += h->len;
	if (c->type == VSOCK_TYPE_SEQPACKET) {
		vsock_seq_data(c, h, chain);
		return VSOCK_TAKEN_DONE;
	}
	if (!h->len)
		return VSOCK_TAKEN_DONE;
	vsock_share_used(c);
	return vsock_tx_data(c, chain);
}

/* --- shutdown --- */

/* True if both directions are shut down now; the bits accumulate. */
static bool peer_shutdown(struct vsock_conn *c, uint32_t flags)
{
	if (flags & ~c->peer_shutdown & VSOCK_SHUTDOWN_SEND)
		c->peer_shutdown_ns = reactor_now_ns(vsock_home(c->v));
	c->peer_shutdown |= flags;
	return c->peer_shutdown == VSOCK_SHUTDOWN_BOTH;
}

static void connected_shutdown(struct vsock_conn *c, uint32_t flags)
{
	bool stops_reading = flags & ~c->peer_shutdown & VSOCK_SHUTDOWN_RCV;
	bool both = peer_shutdown(c, flags);

	if (stops_reading) {
		shutdown(c->file.fd, SHUT_RD);
		list_del(&c->data_link);
	}
	if (both)
		vsock_conn_drain(c);
	else if (stops_reading)
		vsock_conn_unwanted(c);
	else
		vsock_conn_out_moved(c);
}

/* --- by state --- */

static enum vsock_taken connected_packet(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	switch (h->op) {
	case VSOCK_OP_RW:
		return connected_data(c, h, chain);
	case VSOCK_OP_SHUTDOWN:
		connected_shutdown(c, h->flags);
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		vsock_rx_control(c, VSOCK_PENDING(VSOCK_OP_CREDIT_UPDATE));
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_RST:
		vsock_conn_close(c, VSOCK_CLOSE_CLEAN);
		break;
	default:
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
		break;
	}
	return VSOCK_TAKEN_DONE;
}

/* The client is gone; what the guest still sends is dropped. */
static void closing_packet(struct vsock_conn *c, const struct vsock_header *h)
{
	if (h->op == VSOCK_OP_RST)
		vsock_conn_close(c, VSOCK_CLOSE_CLEAN);
	else if (h->op == VSOCK_OP_SHUTDOWN && peer_shutdown(c, h->flags))
		vsock_conn_close(c, VSOCK_CLOSE_RST);
	else if (h->op == VSOCK_OP_REQUEST || h->op == VSOCK_OP_RESPONSE)
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
}

static void draining_packet(struct vsock_conn *c, const struct vsock_header *h)
{
	if (h->op == VSOCK_OP_RST)
		vsock_conn_close(c, VSOCK_CLOSE_CLEAN);
	else if (h->op == VSOCK_OP_RW)
		late_data(c);
	else if (h->op == VSOCK_OP_REQUEST || h->op == VSOCK_OP_RESPONSE)
		vsock_conn_close(c, VSOCK_CLOSE_FORCED);
}

static enum vsock_taken conn_packet(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain)
{
	enum vsock_taken taken = VSOCK_TAKEN_DONE;

	credit_peer(&c->credit, h->buf_alloc, h->fwd_cnt);
	switch (c->state) {
	case VSOCK_CONNECTING:
		connecting_packet(c, h);
		break;
	case VSOCK_ACCEPTING:
		accepting_packet(c, h);
		break;
	case VSOCK_CONNECTED:
		taken = connected_packet(c, h, chain);
		break;
	case VSOCK_CLOSING:
		closing_packet(c, h);
		break;
	case VSOCK_DRAINING:
		draining_packet(c, h);
		break;
	default:
		CHECK(!"a closed connection is in no table");
	}
	vsock_conn_read_check(c);
	return taken;
}

/* --- entry --- */

static struct vsock_key key_of(const struct vsock_header *h)
{
	return (struct vsock_key){
		(uint32_t)h->dst_cid, h->dst_port, (uint32_t)h->src_cid, h->src_port};
}

/* Nobody expects this packet, or it is unsound. An RST is never answered. */
static void refuse(struct vsock *v, struct vsock_conn *c, const struct vsock_header *h)
{
	struct vsock_header reset = vsock_header_reset(h, v->guest_cid);

	if (c)
		vsock_conn_close(c, h->op == VSOCK_OP_RST ? VSOCK_CLOSE_QUIET : VSOCK_CLOSE_FORCED);
	if (c || h->op == VSOCK_OP_RST)
		return;
	v->figures.refused++;
	vsock_rx_reply(v, &reset);
}

enum vsock_taken vsock_guest_packet(
	struct vsock *v, const struct vsock_header *h, const struct vq_chain *chain)
{
	const struct vsock_key key = key_of(h);
	const struct vsock_rules rules = vsock_rules(v);
	struct vsock_conn *c = vsock_route_ok(h, &rules) ? vsock_conn_find(v, &key) : NULL;

	if (!vsock_header_ok(h, &rules, chain->out_bytes - VSOCK_HEADER_BYTES) ||
		(c && h->type != c->type))
		refuse(v, c, h);
	else if (c)
		return conn_packet(c, h, chain);
	else if (h->op != VSOCK_OP_REQUEST || !vsock_request(v, h, &key))
		refuse(v, NULL, h);
	return VSOCK_TAKEN_DONE;
}

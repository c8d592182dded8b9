/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts on their way to a client, and its answers. */
#include "rpc/accepts.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/connection.h"

/* An answer that the client owes, even if nobody waits for it any more. */
struct accept {
	struct list link; /* accepts.sent */
	uint32_t txid, object;
	const struct slot_listener *listener;
	struct slot_accept *asked; /* NULL: it was too late */
};

void accepts_init(struct accepts *s, struct connection *c)
{
	*s = (struct accepts){.conn = c};
	list_init(&s->sent);
	list_init(&s->waiting);
}

static void accept_free(struct accepts *s, struct accept *a)
{
	list_del(&a->link);
	s->sent_count--;
	free(a);
}

void accepts_finish(struct accepts *s)
{
	CHECK(list_empty(&s->waiting));
	while (!list_empty(&s->sent))
		accept_free(s, list_first(&s->sent, struct accept, link));
}

static struct accept *accept_find(struct accepts *s, uint32_t txid)
{
	list_for_each (l, &s->sent) {
		struct accept *a = list_entry(l, struct accept, link);

		if (a->txid == txid)
			return a;
	}
	return NULL;
}

/* At most ACCEPTS_MAX are in use. */
static uint32_t next_txid(struct accepts *s)
{
	do
		s->txid = (s->txid + 1) & ~CODEC_TXID_SERVER;
	while (accept_find(s, s->txid | CODEC_TXID_SERVER));
	return s->txid | CODEC_TXID_SERVER;
}

static bool accept_send(struct accepts *s, struct slot_accept *asked)
{
	const struct object *o = asked->listener->holder;
	struct accept *a = malloc(sizeof(*a));
	struct codec_message call;

	if (!a)
		return false;
	*a = (struct accept){
		.txid = next_txid(s), .object = o->id, .listener = asked->listener, .asked = asked};
	list_init(&a->link);
	list_add_tail(&s->sent, &a->link);
	s->sent_count++;
	asked->sent = a;
	codec_call_init(&call, METHOD_ACCEPTOR_ACCEPT, a->object, a->txid);
	call.p.accept = (struct accept_call){
		.src_cid = asked->request.src_cid,
		.src_port = asked->request.src_port,
		.port = asked->request.port,
	};
	connection_send(s->conn, &call, NULL);
	return true;
}

static void accepts_send(struct accepts *s)
{
	while (s->sent_count < ACCEPTS_MAX && !list_empty(&s->waiting)) {
		struct slot_listener *l = list_first(&s->waiting, struct slot_listener, turn);
		struct slot_accept *a = list_first(&l->waiting, struct slot_accept, link);

		list_del(&a->link);
		list_del(&l->turn);
		if (!list_empty(&l->waiting))
			list_add_tail(&s->waiting, &l->turn);
		if (!accept_send(s, a))
			slot_accept_answer(a, -1);
	}
}

static void accept_late(struct slot_accept *asked)
{
	struct slot_listener *l = asked->listener;

	if (asked->sent)
		asked->sent->asked = NULL;
	slot_accept_answer(asked, -1);
	if (list_empty(&l->waiting))
		list_del(&l->turn);
}

void accepts_ask(struct accepts *s, struct slot_accept *a)
{
	struct slot_listener *l = a->listener;

	slot_accept_wait(a, accept_late);
	list_add_tail(&l->waiting, &a->link);
	if (list_empty(&l->turn))
		list_add_tail(&s->waiting, &l->turn);
	accepts_send(s);
}

void accepts_drop(struct accepts *s, struct slot_listener *gone)
{
	while (!list_empty(&gone->waiting))
		slot_accept_drop(list_first(&gone->waiting, struct slot_accept, link));
	list_del(&gone->turn);
	list_for_each_safe (l, &s->sent) {
		struct accept *a = list_entry(l, struct accept, link);

		if (a->listener != gone)
			continue;
		if (a->asked)
			slot_accept_drop(a->asked);
		accept_free(s, a);
	}
	accepts_send(s);
}

bool accepts_answered(struct accepts *s, const struct codec_message *reply, struct frame *f)
{
	struct accept *a = accept_find(s, reply->txid);
	int fd = reply->form == CODEC_REPLY ? frame_take_fd(f, 0) : -1;

	if (a && a->object == reply->object) {
		if (a->asked)
			slot_accept_answer(a->asked, fd);
		else if (fd >= 0)
			close(fd);
		accept_free(s, a);
		accepts_send(s);
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

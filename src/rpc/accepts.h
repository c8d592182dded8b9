/* SPDX-License-Identifier: Apache-2.0 */
/* Accept, the one call that the server makes, on one connection: what was sent and waits for the
 * client's answer, and what waits to be sent. Control reactor. */
#ifndef RPC_ACCEPTS_H
#define RPC_ACCEPTS_H

#include "rpc/codec.h"
#include "rpc/slot_vsock.h"

struct connection;

/* Accepts that a client has not answered; further ones wait for an answer, the listeners in turns.
 */
#define ACCEPTS_MAX 64

/* Embedded in its connection. */
struct accepts {
	struct connection *conn;
	struct list sent; /* struct accept */
	unsigned int sent_count;
	struct list waiting; /* struct slot_listener.turn: those whose `waiting` is not empty */
	uint32_t txid;       /* of the last one, without bit 31 */
};

void accepts_init(struct accepts *s, struct connection *c);
/* accepts_finish: the connection is over: every listener has been released already. */
void accepts_finish(struct accepts *s);

/* accepts_ask: asks the client that holds a->listener, now or later. Not answered in time, or
 * without memory: refused. accepts_drop: the listener goes; an answer that still comes has nothing
 * to answer. */
void accepts_ask(struct accepts *s, struct slot_accept *a);
void accepts_drop(struct accepts *s, struct slot_listener *l);

/* accepts_answered: the client's reply or ERROR reply; its descriptor passes on. False: no call
 * with this txid waits on this object. */
bool accepts_answered(struct accepts *s, const struct codec_message *reply, struct frame *f);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What call.c, object.c and object_take.c do for each other. Control reactor. */
#ifndef RPC_OBJECT_PRIVATE_H
#define RPC_OBJECT_PRIVATE_H

#include "rpc/object.h"

/* --- call.c --- */

bool call_has_reply(const struct call *call);
/* call_enter: it counts as one of the connection's. call_leave: from here on its answer goes
 * nowhere. */
void call_enter(struct call *call, struct connection *c);
void call_leave(struct call *call);
/* call_outlives: the same for a call whose connection has come to its end, which it still counts
 * for. */
void call_outlives(struct call *call);
/* call_keep: a call that waits gets a copy of the payload. False: out of memory. */
bool call_keep(struct call *call);
/* call_free: with what it holds; its object may go on. */
void call_free(struct call *call);
/* call_refuse: the ERROR reply, and the end of what it was to create; the call stays.
 * call_end_children: only the latter. */
void call_refuse(struct call *call, const struct codec_fault *fault);
void call_end_children(struct call *call, enum status epitaph);
/* call_created_kind: which kind of object the message creates, and under which id; OBJECT_ANY:
 * none. */
enum object_kind call_created_kind(const struct codec_message *m, uint32_t *id);

/* --- object.c --- */

/* object_pump: starts what may start. The object may be gone afterwards. */
void object_pump(struct object *o);
/* object_close: the client lets go: calls that it made before still run, its id is free at once. */
void object_close(struct object *o);

#endif

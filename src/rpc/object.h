/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol objects of one connection, and the calls on them.
 *
 * A client chooses an object's id in the call that creates it and may use it at once: until the
 * creating call is answered the object is *opening*, and calls on it wait. Ordinary calls of an
 * object run one after the other, so that their replies keep the order; concurrent ones (Run) run
 * beside them, but start in order as well.
 *
 *   call ──▶ object->waiting ──▶ class->handle ──▶ call_reply / call_fail, now or later
 *
 * Control reactor only. */
#ifndef RPC_OBJECT_H
#define RPC_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/guest_error.h"
#include "core/list.h"
#include "rpc/codec.h"

struct connection;
struct object;

enum object_state { OBJECT_OPENING, OBJECT_OPEN, OBJECT_GONE };

/* One call from the client, or one of its one-way messages, until it is answered. */
struct call {
	struct list link;            /* object->waiting or ->running */
	struct list calls_link;      /* connection->calls */
	struct connection *conn;     /* NULL: the client has gone, nobody wants the answer */
	struct connection *left;     /* then: the one that it counts for; NULL: none */
	struct object *object;       /* NULL: it was released meanwhile */
	struct object *child;        /* that the call creates; NULL: none, or released meanwhile */
	struct list acceptors;       /* struct object.opener_link: those that its config creates */
	struct codec_message msg;    /* views of the payload: until the handler returns */
	struct frame frame;          /* and its descriptors */
	uint8_t *kept;               /* the payload's copy of a call that waits */
	struct codec_fault *refusal; /* it is to be refused when its turn comes */
};

struct object_class {
	enum object_kind kind;
	const char *name; /* "GuestLifecycle" */
	/* Takes the call; answers it with call_reply, call_fail or call_open, now or later. */
	void (*handle)(struct call *call);
	/* Lets go of what the object held: the client closed it or went away. */
	void (*release)(void *held);
};

struct object {
	uint32_t id;
	enum object_state state;
	bool closing; /* its client closed it: released when the calls before that have run */
	bool pumping;
	const struct object_class *class;
	struct connection *conn;
	void *held;          /* of the class; while open */
	struct list link;    /* connection->objects; its own once it is closing */
	struct list waiting; /* struct call */
	struct list running;
	struct call *active;     /* the ordinary one of those that run */
	struct call *opener;     /* opening: the call that creates it */
	struct list opener_link; /* call->acceptors, if it is one of those */
};

/* The classes, one a file. object_class_find: NULL for kinds that no client creates. */
extern const struct object_class host_class, lifecycle_class, guest_class, vsock_endpoint_class,
	vsock_acceptor_class, balloon_class, mem_class;
const struct object_class *object_class_find(enum object_kind kind);

void object_init(
	struct object *o, struct connection *c, uint32_t id, const struct object_class *class);

/* object_take: a frame that came on `c`: decodes it, checks it against the connection's objects and
 * calls, and runs it or lets it wait. The frame is used up. CODEC_OK, or CODEC_VIOLATION with
 * `fault`. */
enum codec_verdict object_take(struct connection *c, struct frame *f, struct codec_fault *fault);

/* object_end: the server closes the object: its pending calls are answered PEER_CLOSED with the
 * detail, then Closed goes out. `held` is the caller's. */
void object_end(struct object *o, enum status epitaph, const char *detail);

/* object_release_all: the connection is over: every object is released, calls that wait are
 * dropped, calls that run lose their connection. */
void object_release_all(struct connection *c);

/* call_open_acceptor: one of the acceptors that the call's config creates is open and holds `held`;
 * the call is not answered by it. */
void call_open_acceptor(struct object *acceptor, void *held);

/* call_server: of the connection, or NULL if that has gone.
 * call_reply_init: an empty reply to it. */
struct server *call_server(const struct call *call);

/* Each ends the call; the call is freed.
 * call_reply: `fds` are reply->nfds descriptors, which pass. call_done: the empty reply.
 * call_open: the empty reply (if the message has one), and the call's child is open and holds
 * `held`; released at once if the client has let go of it.
 * call_done_ended: the same, but what was created has come to its end already: Closed follows.
 * call_fail: the ERROR reply (if it has one); the child is closed. */
void call_reply(struct call *call, struct codec_message *reply, const int *fds);
void call_done(struct call *call);
void call_open(struct call *call, void *held);
void call_done_ended(struct call *call, enum status epitaph);
__attribute__((format(printf, 4, 5))) void call_fail(
	struct call *call, enum error_domain domain, unsigned int code, const char *fmt, ...);
void call_fail_guest(struct call *call, enum guest_error err, const char *detail);

#endif

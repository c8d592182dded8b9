/* SPDX-License-Identifier: Apache-2.0 */
/* One client: its socket, its input as frames, its output queue, its objects and pending calls.
 *
 *   open ──end of stream──▶ closing ──output sent, or 1 s──▶ dead ──nothing in flight──▶ left ──▶
 * freed ├──── violation ──────▶ ↑                               ↑ └──── 1 MiB or 256 descriptors
 * unread, broken, server's end
 *
 * Left: the socket is closed, but calls that the client made are still being worked on. Until they
 * have ended it counts as a connection: else a client could pile up work without bound by coming
 * back again and again.
 *
 * Control reactor only. */
#ifndef RPC_CONNECTION_H
#define RPC_CONNECTION_H

#include "core/io_op.h"
#include "core/list.h"
#include "core/reactor.h"
#include "rpc/accepts.h"
#include "rpc/codec.h"
#include "rpc/frame.h"
#include "rpc/object.h"
#include "rpc/outbox.h"

struct server;

#define CONNECTION_OBJECTS_MAX  256 /* without the Host */
#define CONNECTION_CALLS_MAX    64
#define CONNECTION_ONE_WAYS_MAX 256 /* that wait for their turn */
#define CONNECTION_OUTPUT_MAX   (1u << 20)
#define CONNECTION_FDS_MAX      256  /* in the output: four for each call that may be pending */
#define CONNECTION_BUCKETS      32   /* power of two */
#define CONNECTION_GONE_MAX     1024 /* closed ids that are remembered */

enum connection_state { CONNECTION_OPEN, CONNECTION_CLOSING, CONNECTION_DEAD, CONNECTION_LEFT };

struct connection {
	struct server *server;
	struct list link; /* server->connections */
	enum connection_state state;
	bool deaf; /* no more is read */
	struct io_file file;

	struct io_op recv_op, send_op;
	struct msghdr recv_msg, send_msg;
	struct iovec recv_iov, send_iov[OUTBOX_IOV_MAX];
	union frame_control recv_control, send_control;
	struct frame_reader reader;

	struct outbox outbox;
	struct reactor_task flush_task;    /* at the end of the turn: one send for all replies */
	struct reactor_task end_task;      /* leaves the open state outside of any handler */
	struct reactor_timer linger_timer; /* closing: how long a slow reader is waited for */

	struct object host;
	struct list objects[CONNECTION_BUCKETS]; /* struct object, by id */
	struct list closing;                     /* closed by their client, calls left */
	unsigned int object_count;               /* in `objects` */
	struct list calls;                       /* struct call: all that wait or run */
	unsigned int call_count;                 /* of those, the ones that have a reply */
	unsigned int one_ways;                   /* and the others */
	unsigned int calls_left;                 /* that run on without their client */
	struct accepts accepts;                  /* the server's own calls */
	uint32_t *gone;          /* a ring of ids that were closed; allocated with the first */
	unsigned int gone_count; /* ever */
};

/* connection_create: takes the socket over (also when it fails: closed then). NULL: out of memory.
 */
struct connection *connection_create(struct server *s, int fd);

/* connection_send: queues a message for the end of the turn. `fds` (m->nfds of them) pass to the
 * connection. On a connection that is not open it only closes them. */
void connection_send(struct connection *c, const struct codec_message *m, const int *fds);

/* connection_closed: the event Closed for this id, which is remembered: later calls on it are
 * dropped. */
void connection_closed(struct connection *c, uint32_t id, enum status epitaph);
/* connection_remember_gone: the same without the event, for an id that its client closed.
 * connection_was_open: the id is remembered so. */
void connection_remember_gone(struct connection *c, uint32_t id);
bool connection_was_open(const struct connection *c, uint32_t id);

/* connection_call_left, connection_call_ended: a call that goes on when the client is gone, and its
 * end. */
void connection_call_left(struct connection *c);
void connection_call_ended(struct connection *c);

/* connection_object: NULL if there is none. */
struct object *connection_object(struct connection *c, uint32_t id);

/* connection_stop_reading: no more calls from here; what is pending goes on. */
void connection_stop_reading(struct connection *c);
/* connection_close: sends what is queued, waits a little for the reader, then ends. Everything that
 * the client holds is released. */
void connection_close(struct connection *c);

#endif

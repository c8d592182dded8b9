/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the client library: one connection's state, and what its files offer each other. */
#ifndef RPC_CLIENT_PRIVATE_H
#define RPC_CLIENT_PRIVATE_H

#include <ringvisor/client.h>
#include <stdarg.h>

#include "core/config.h"
#include "rpc/codec.h"

#define CLIENT_ACCEPTS_MAX 64
#define CLIENT_OUTPUT_MAX  (1u << 20)

/* A message on its way out; owns its descriptors. */
struct client_chunk {
	struct client_chunk *next;
	uint32_t len_bytes, sent_bytes;
	uint8_t nfds; /* 0 once they are sent */
	int fds[FRAME_FDS_MAX];
	uint8_t bytes[];
};

/* A call that waits for its reply. */
struct client_call {
	uint32_t txid;
	rv_object object;
	rv_object created; /* by this call; 0: none */
	const struct message *message;
	rv_done_fn done; /* NULL: nobody waits any more */
	void *user;
};

struct client_object {
	rv_object id;
	enum object_kind kind;
};

/* A guest's connection that nobody has answered yet. */
struct client_accept {
	uint32_t txid;
	rv_object acceptor;
};

enum client_state {
	CLIENT_OPEN,
	CLIENT_ENDED,     /* the socket is closed, every call has failed */
	CLIENT_DESTROYED, /* by a callback; freed when it returns */
};

/* Touched by one thread at a time. */
struct rv_client {
	enum client_state state;
	unsigned int busy; /* functions on the stack that may be in a callback */
	int sock, epoll;
	struct rv_events events;
	void *user;
	struct frame_reader reader;

	struct client_chunk *out_first, **out_last;
	size_t out_bytes;
	bool out_broken; /* the peer takes no more; what it said last is still to be read */
	bool out_polled; /* EPOLLOUT is watched */

	uint32_t last_txid;
	rv_object last_object;
	unsigned int call_count, object_count, accept_count;
	struct client_call calls[RV_CALLS_MAX];
	struct client_object objects[RV_OBJECTS_MAX];
	struct client_accept accepts[CLIENT_ACCEPTS_MAX];

	struct rv_error end; /* why it ended; a violation's text is kept here until it does */
	bool end_known;
};

struct rv_config {
	struct guest_config c;
};

/* What async callbacks get is embedded in this; a waiting call takes the block along. */
struct client_reply {
	struct rv_reply reply;
	void *block; /* host_info, guests, …: one allocation */
	struct rv_error error;
};

/* client_fail: fills in *e (may be NULL) and returns -1. client_fail_errno: domain SYSTEM. */
__attribute__((format(printf, 4, 5))) int client_fail(
	struct rv_error *e, uint32_t domain, uint32_t code, const char *fmt, ...);
__attribute__((format(printf, 3, 4))) int client_fail_errno(
	struct rv_error *e, int err, const char *fmt, ...);

int client_fail_va(struct rv_error *e, uint32_t domain, uint32_t code, const char *fmt, va_list ap);

/* client.c */
/* client_enter, client_leave: around everything that may call a callback: rv_destroy in one takes
 * effect in the outermost client_leave, behind which *c may be gone. */
void client_enter(struct rv_client *c);
void client_leave(struct rv_client *c);

/* client_events.c */
/* client_end: the connection has ended because of us or of the peer: all calls fail.
 * client_handle_input: the messages that the reader has. */
__attribute__((format(printf, 3, 4))) void client_end(
	struct rv_client *c, int err, const char *fmt, ...);
void client_handle_input(struct rv_client *c);
/* client_accepts_drop: nobody answers the acceptor's requests any more. */
void client_accepts_drop(struct rv_client *c, rv_object acceptor);

/* client_objects.c */
/* client_object_create: a new id of that kind. client_object_kind: OBJECT_HOST for 0, OBJECT_ANY
 * for an id that is not there. client_object_remove: true if it was there. */
int client_object_create(
	struct rv_client *c, enum object_kind kind, rv_object *id, struct rv_error *e);
enum object_kind client_object_kind(const struct rv_client *c, rv_object id);
bool client_object_remove(struct rv_client *c, rv_object id);
/* client_calls_fail: ends each call that waits for `object` (0 with all_objects: each). */
void client_calls_fail(
	struct rv_client *c, bool all_objects, rv_object object, const struct rv_error *e);
/* client_call_find: NULL if none waits under that txid. client_call_take: removes it from the list.
 * client_call_finish: hands the reply over. */
struct client_call *client_call_find(struct rv_client *c, uint32_t txid);
struct client_call client_call_take(struct rv_client *c, struct client_call *call);
void client_call_finish(
	struct rv_client *c, const struct client_call *call, struct rv_reply *reply);
/* client_call_begin: checks that the call can be made and sets up *m.
 * client_call_send: sends it (fds are duplicated) and notes who waits; one-way messages have no
 * `done`. created: 0, or the object that the call makes, which is removed again on failure. */
int client_call_begin(struct rv_client *c, enum message_method method, rv_object object,
	struct codec_message *m, struct rv_error *e);
int client_call_send(struct rv_client *c, const struct codec_message *m, const int *fds,
	rv_object created, rv_done_fn done, void *user, struct rv_error *e);
/* client_call_forget: the last call's `done` will not be called; its reply is thrown away. */
void client_call_forget(struct rv_client *c, uint32_t txid);

/* client_io.c */
/* client_send: queues m with the descriptors (owned from here on, also on failure), sends what the
 * socket takes. client_flush: the same for what is queued. client_receive: one recvmsg into the
 * reader: > 0, 0 at the end of the stream, -EAGAIN, -errno. */
int client_send(
	struct rv_client *c, const struct codec_message *m, const int *fds, struct rv_error *e);
void client_flush(struct rv_client *c);
int client_receive(struct rv_client *c);
void client_output_drop(struct rv_client *c);

/* client_reply.c: the reply's payload as public structs; -1 with r->error set when memory is short
 * or the daemon's data make no sense. The descriptor moves to r->reply.fd. */
int client_reply_decode(struct client_reply *r, const struct codec_message *m, struct frame *f);
void client_reply_finish(struct client_reply *r);
void client_error_copy(struct rv_error *e, const struct error_reply *reply);

#endif

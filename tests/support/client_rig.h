/* SPDX-License-Identifier: Apache-2.0 */
/* The client library at one end of a socket pair, and the daemon's side of it, played by the test.
 * Replies can be sent before a waiting call is made: txids count from 1. One client at a time. */
#ifndef TESTS_CLIENT_RIG_H
#define TESTS_CLIENT_RIG_H

#include <ringvisor/client.h>

#include "rpc/codec.h"

/* No wait of a test takes longer. */
#define WAIT_MS 60000

/* The daemon's side: its socket, and the last message that came (peer_expect). */
extern int peer_sock;
extern struct frame peer_frame;
extern struct codec_message peer_got;

/* What the callbacks saw. */
struct client_rig_seen {
	unsigned int done, closed, violations, accepts, disconnects;
	struct rv_error error;
	bool failed;
	rv_object closed_object;
	uint32_t epitaph, host_port;
	int fd;
	struct rv_accept accept;
	struct rv_balloon_size balloon;
	struct rv_mem_size mem;
};
extern struct client_rig_seen client_rig_seen;

/* Callbacks that only note what they got. */
extern const struct rv_events client_rig_events;
void client_rig_done(struct rv_client *c, void *user, struct rv_reply *reply);

/* client_rig_start: a client, and nothing seen. client_rig_stop: destroys it (NULL: it is gone). */
struct rv_client *client_rig_start(const struct rv_events *events);
void client_rig_stop(struct rv_client *c);

/* peer_expect: waits for the client's next message, which has to be of that method.
 * peer_send: a message with m->nfds descriptors. peer_send_raw: bytes.
 * peer_reply_init, peer_reply, peer_error: the reply to a call, perhaps one that is not made yet.
 * peer_closed: the event Closed. */
void peer_expect(enum message_method method);
void peer_send(const struct codec_message *m, const int *fds);
void peer_send_raw(const void *bytes, size_t len);
void peer_reply_init(
	struct codec_message *reply, enum message_method method, uint32_t object, uint32_t txid);
void peer_reply(enum message_method method, uint32_t object, uint32_t txid);
void peer_error(enum message_method method, uint32_t object, uint32_t txid,
	enum error_domain domain, uint32_t code, const char *text);
void peer_closed(uint32_t object, enum status epitaph);

/* client_rig_until: dispatches until `*counter` is `value`. */
void client_rig_until(struct rv_client *c, const unsigned int *counter, unsigned int value);
void client_rig_until_disconnected(struct rv_client *c);
unsigned int client_rig_open_fds(void);

/* One object of each kind, made without waiting for any reply. */
struct objects {
	rv_object lifecycle, guest, vsock, acceptor, balloon, mem;
};

void client_rig_make_objects(struct rv_client *c, struct objects *o);
/* A guest's connection comes to o->acceptor: cid 42, source port 5000, port 1024. */
void peer_accept(const struct objects *o, uint32_t txid);

#endif

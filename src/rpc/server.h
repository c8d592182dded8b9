/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's control channel: the listening socket, its connections, the guests' slots. Control
 * reactor, which is the first of the set; server_init and server_finish before and after it runs.
 */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <sys/types.h>

#include "core/guest.h"
#include "core/io_op.h"
#include "core/list.h"
#include "core/reactor.h"
#include "rpc/listener.h"
#include "rpc/slots.h"

#define SERVER_CONNECTIONS_MAX 64
#define SERVER_UIDS_MAX        32

struct reclaim;
struct server;

struct server_params {
	struct reactor *const *reactors; /* the first one is the control reactor */
	unsigned int reactor_count;
	const struct guest_env *env;
	struct listener *listener; /* stays the caller's */
	const uid_t *uids;         /* besides root's and the daemon's own */
	unsigned int uid_count;
	struct reclaim *reclaim; /* opened; stays the caller's. NULL: nothing is reclaimed */
	/* The answer to server_stop: no guest, no connection, nothing in flight. */
	void (*stopped)(struct server *s);
	void *ctx;
};

struct server {
	struct reactor *control;
	struct server_params params;
	uid_t uids[SERVER_UIDS_MAX];
	struct slots slots;

	struct io_file file;
	struct io_op accept_op;
	struct reactor_timer accept_timer;
	struct list connections;
	unsigned int connection_count;
	uint64_t accepted, refused; /* connections, ever */

	bool stopping, quiet, over;
	bool reclaiming; /* params.reclaim has not ended */
	struct reactor_task stopped_task;
};

/* server_init: nothing is accepted yet. server_start: on the control reactor, once it runs. */
void server_init(struct server *s, const struct server_params *p);
void server_start(struct server *s);
/* server_stop: accepts nobody any more, stops all guests, tells their clients, then calls
 * params.stopped, never from inside. Harmless twice. */
void server_stop(struct server *s);

/* --- private to src/rpc --- */

/* server_connection_over: a connection has been freed. */
void server_connection_over(struct server *s);

#endif

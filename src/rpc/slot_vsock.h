/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's vsock as the control reactor knows it: ports that its clients listen on, connections
 * that they ask for.
 *
 *   guest ──REQUEST──▶ accept (home) ──struct slot_accept──▶ listener->asked (control)
 *   guest ◀──RESPONSE, RST── (home) ◀──the same───────────── slot_accept_answer
 *
 * Control reactor, unless a line says otherwise. */
#ifndef RPC_SLOT_VSOCK_H
#define RPC_SLOT_VSOCK_H

#include "rpc/slots.h"

/* Requests of one listener that are not answered; more are refused at once. */
#define SLOT_ACCEPTS_MAX 1024
/* A client that has not answered for so long refuses. */
#define SLOT_ACCEPT_NS 10000000000ULL

struct slot_accept;

/* Somebody of a connection who listens on a port of a VMM. Heap; its holder lets go with
 * slot_listener_release. */
struct slot_listener {
	struct list link; /* slot_op.listeners */
	uint32_t port;
	uint32_t id;  /* acceptor_id in the configuration */
	void *holder; /* struct object; NULL: none yet, or no more */
	/* The guest wants a connection: to be answered with slot_accept_answer, or dropped. */
	void (*asked)(struct slot_listener *l, struct slot_accept *a);
	/* The VMM is gone, and the listener with it: only the release is left. */
	void (*gone)(struct slot_listener *l, enum status epitaph);
	struct list turn, waiting; /* the holder's (rpc/accepts.c) */

	/* Private. */
	struct slots *slots;
	struct reactor *home;
	struct guest_link *bound;       /* tells of the VMM's end; NULL: it has */
	struct list early;              /* struct slot_accept: before there was a holder */
	struct vsock_acceptor acceptor; /* home */
	struct device *dev;             /* home; NULL: the listener is not there (any more) */
	unsigned int unanswered;        /* home */
	bool listens;                   /* written at home before the answer */
	bool released;
	struct reactor_msg unlisten_msg;
};

/* One connection that the guest asks for. */
struct slot_accept {
	struct slot_listener *listener;
	struct vsock_accept request;
	struct list link;    /* the holder's */
	struct accept *sent; /* the holder's */

	/* Private. */
	struct reactor_msg msg;
	struct reactor_timer timer;
	void (*late)(struct slot_accept *a);
	int fd;
};

/* slot_vsock_open: as slot_balloon_open.
 * slot_vsock_listen: takes the listener over in any case; with op->status OK and op->err GUEST_OK
 * it is op->listener, and the taker sets that to NULL. ALREADY_BOUND, NO_RESOURCES, BAD_STATE.
 * slot_vsock_connect: op->status: OK with host_port and fd, CONNECTION_REFUSED, TIMED_OUT,
 * NO_RESOURCES. NULL: out of memory. slot_vsock_cancel: nobody wants it any more; `done` comes all
 * the same. */
bool slot_vsock_open(struct guest_link *l, struct guest_link *child, slot_done done, void *ctx);
bool slot_vsock_listen(
	struct guest_link *l, struct slot_listener *listener, slot_done done, void *ctx);
struct slot_op *slot_vsock_connect(
	struct guest_link *l, uint32_t guest_port, slot_done done, void *ctx);
void slot_vsock_cancel(struct slot_op *op);

/* slot_listener_new: NULL: out of memory. slot_listener_deliver: it has a holder now: what
 * the guest has asked before. slot_listener_release: by its holder, or before it ever
 * had one: the port is free (for whoever asks after this), what is not answered is refused.
 * slot_listener_list: of a configuration, to `listeners`; false: out of memory. */
struct slot_listener *slot_listener_new(struct slot *slot, uint32_t port, uint32_t id);
void slot_listener_deliver(struct slot_listener *l);
void slot_listener_release(struct slot_listener *l);
bool slot_listener_list(
	struct slot *slot, const struct guest_config *config, struct list *listeners);

/* slot_accept_answer: fd: the end that the device is to use, ownership passes; -1: refused.
 * slot_accept_drop: its listener is being released. slot_accept_wait: `late` comes after
 * SLOT_ACCEPT_NS, unless it is answered or dropped first. */
void slot_accept_answer(struct slot_accept *a, int fd);
void slot_accept_drop(struct slot_accept *a);
void slot_accept_wait(struct slot_accept *a, void (*late)(struct slot_accept *a));

/* --- private to slot*.c --- */

/* Home: slot_listeners_adopt: takes over the ports that the VMM, which has just been created, has
 * reserved. Control: slot_listeners_end: those that nobody has taken. */
void slot_listeners_adopt(struct slot_op *op);
void slot_listeners_end(struct slot_op *op);

#endif

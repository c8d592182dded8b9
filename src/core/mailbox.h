/* SPDX-License-Identifier: Apache-2.0 */
/* The exit mailbox: a vCPU's port and memory accesses on their way to the home reactor.
 *
 *   vCPU thread                                home reactor
 *   mailbox_post (write) ──▶ ring of exits ──▶ mailbox_drain ──▶ handle()
 *   mailbox_ask  (read)  ──▶               ◀── reply
 *
 * One producer, one consumer, first in first out, so that a read sees the effect of each earlier
 * write. Writes are posted: the vCPU goes on at once. A read, or a write whose effect must be there
 * before the next guest instruction, waits: it spins a little, if the
 * reactor runs on another CPU, then sleeps on a futex. The reactor
 * is woken only if it is not awake already for this mailbox. */
#ifndef CORE_MAILBOX_H
#define CORE_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/reactor.h"

#define MAILBOX_ENTRIES 64 /* power of two */

struct mailbox_exit {
	uint64_t addr;
	uint64_t data;
	uint64_t mark;      /* vm_coalesced_mark at the exit */
	uint8_t kind;       /* enum bus_kind */
	uint8_t size_bytes; /* 1, 2, 4, 8 */
	bool is_write;
	bool waits; /* the vCPU sleeps until the reply */
};

struct mailbox {
	/* The vCPU's line. */
	_Alignas(64) uint32_t head; /* exits posted, ever */
	uint32_t asked;             /* exits that waited, ever */
	uint64_t full;              /* times that the ring was full */

	/* The reactor's line. */
	_Alignas(64) uint32_t tail; /* exits handled, ever */
	uint32_t answered;          /* of those that waited */
	uint64_t reply;
	bool draining;

	/* Both. */
	_Alignas(64) uint32_t posted; /* the wake-up message is on its way */
	uint32_t sleeping;            /* the vCPU sleeps on `bell` */
	uint32_t bell; /* futex: bumped by the reactor for a sleeper, and by mailbox_abort */
	uint32_t aborted;
	uint32_t window_ns; /* vCPU: how long it looks before it sleeps; adapts */
	int home_cpu;       /* where the reactor ran when it last drained */

	const char *guest; /* its name, for probes; NULL: none */
	unsigned int vcpu; /* for probes */
	struct reactor *home;
	struct reactor_msg wake;
	void (*handle)(void *ctx, struct mailbox_exit *e); /* a read's result goes to e->data */
	void *ctx;

	struct mailbox_exit ring[MAILBOX_ENTRIES];
};

/* mailbox_init: `handle` runs on `home`, once an exit, in order. Before the vCPU's thread starts.
 */
void mailbox_init(struct mailbox *b, struct reactor *home,
	void (*handle)(void *, struct mailbox_exit *), void *ctx);

/* mailbox_post: posts a write and returns; sleeps only while the ring is full. vCPU thread.
 * False if the mailbox was aborted: the exit is lost, the guest is being torn down. */
bool mailbox_post(struct mailbox *b, const struct mailbox_exit *e);
/* mailbox_ask: posts and waits until it has been handled; *reply gets a read's value. vCPU thread.
 */
bool mailbox_ask(struct mailbox *b, const struct mailbox_exit *e, uint64_t *reply);

/* mailbox_drain: handles all that is in it now. Home reactor; also called before a kick or a
 * control call is handled, so that a doorbell cannot overtake the posted write that enabled its
 * queue. Safe from within `handle` (no-op). */
void mailbox_drain(struct mailbox *b);
/* mailbox_abort: a vCPU that waits now or later returns at once. Home reactor. The mailbox may be
 * freed once a message that the vCPU's thread posted at its end has arrived: messages of one sender
 * arrive in order. */
void mailbox_abort(struct mailbox *b);

#endif

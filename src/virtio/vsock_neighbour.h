/* SPDX-License-Identifier: Apache-2.0 */
/* Guest to guest: connections between two guests of one process that both allow it.
 *
 *   guest A ── REQUEST to B ──▶ device A ─ a pair of sockets ─ a message ─▶ device B ── REQUEST ──▶
 *                                  ▲                                            │        guest B
 *   guest A ◀──── RESPONSE ──── device A ◀──────────── a message ────────────  device B ◀─ RESPONSE
 *
 * From then on each device has one end of the pair as the socket of its own connection, so that all
 * rules of credit, of slow readers and of ends are those of a client of the host; an RST of one
 * guest is the end of the connection to the other. No device touches the other's memory, and their
 * reactors may be different ones. Home reactor, but for init and finish. */
#ifndef VIRTIO_VSOCK_NEIGHBOUR_H
#define VIRTIO_VSOCK_NEIGHBOUR_H

#include "core/neighbours.h"
#include "virtio/vsock.h"

/* Connections that one guest waits for at a time, and what it may have with others at all (each
 * takes a descriptor); more are refused. */
#define VSOCK_CALLS_MAX           64u
#define VSOCK_NEIGHBOUR_CONNS_MAX 1024u

/* Embedded in the device. */
struct vsock_guests {
	struct vsock *v;
	struct neighbours *all; /* NULL: it talks to the host only */
	struct neighbour me;
	struct list calls; /* that wait for another guest */
	unsigned int call_count;
	struct reactor_task end_task;
	void (*stopped)(struct vsock_guests *g);
};

/* vsock_guests_init: `all` NULL: off. -EADDRINUSE with text: another guest has the address.
 * vsock_guests_finish: stopped, or never attached; safe on a zeroed struct. Any thread. */
int vsock_guests_init(
	struct vsock_guests *g, struct vsock *v, struct neighbours *all, struct diag *d);
void vsock_guests_finish(struct vsock_guests *g);

/* vsock_guests_attach: others reach it from now on. vsock_guests_stop: no more; what it waits for
 * is cancelled, then `stopped` is called, not from within. Before vsock_close. */
void vsock_guests_attach(struct vsock_guests *g);
void vsock_guests_stop(struct vsock_guests *g, void (*stopped)(struct vsock_guests *g));

#endif

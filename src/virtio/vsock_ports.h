/* SPDX-License-Identifier: Apache-2.0 */
/* The host's vsock ports: who listens, which ephemeral ports are free, which keys rest.
 *
 * A key rests (quarantine, conformance.md) for ten seconds after a forced close, so that late
 * packets of the old connection do not meet a new one. Home reactor, but for init and finish. */
#ifndef VIRTIO_VSOCK_PORTS_H
#define VIRTIO_VSOCK_PORTS_H

#include "core/list.h"
#include "virtio/vsock_table.h"

#define VSOCK_EPHEMERAL_FIRST 49152u
#define VSOCK_EPHEMERAL_LAST  65535u
#define VSOCK_EPHEMERAL_COUNT (VSOCK_EPHEMERAL_LAST - VSOCK_EPHEMERAL_FIRST + 1)
#define VSOCK_QUARANTINE_NS   10000000000ULL
#define VSOCK_LISTENERS_MAX   65536u

struct vsock_acceptor;

struct vsock_listener {
	struct vsock_node node;
	struct list link;
	struct vsock_acceptor *acceptor; /* NULL: of the configuration, and nobody took it yet */
	struct list pending; /* struct vsock_conn.accept_link: the acceptor has not answered */
};

struct vsock_ports {
	struct vsock_table listeners, quarantine;
	struct list listening;                      /* struct vsock_listener */
	struct list resting;                        /* keys in quarantine, oldest first */
	uint64_t taken[VSOCK_EPHEMERAL_COUNT / 64]; /* a bit for each port that has uses */
	uint32_t *uses; /* of each ephemeral port: a listener, connections, resting keys */
	uint32_t last;  /* the ephemeral port that was given last */
};

/* vsock_ports_init: -ENOMEM, -errno. vsock_ports_finish: frees listeners and keys; safe on a zeroed
 * struct. */
int vsock_ports_init(struct vsock_ports *p, struct diag *d);
void vsock_ports_finish(struct vsock_ports *p);

/* vsock_ports_listen: a listener for the port, owned by `p`. -EADDRINUSE: there is one; -ENOSPC:
 * VSOCK_LISTENERS_MAX of them; -ENOMEM. vsock_ports_unlisten: frees it, at once; it has nothing
 * pending. vsock_ports_listener: the port's, or NULL. */
int vsock_ports_listen(struct vsock_ports *p, uint32_t port, struct vsock_listener **out);
void vsock_ports_unlisten(struct vsock_ports *p, struct vsock_listener *l);
struct vsock_listener *vsock_ports_listener(struct vsock_ports *p, uint32_t port);

/* vsock_ports_pick: the next free ephemeral port after the one that was given last; -ENOSPC. */
int vsock_ports_pick(struct vsock_ports *p, uint64_t now_ns, uint32_t *port);

/* vsock_ports_use, vsock_ports_unuse: a connection has this host port, has it no more. A port of
 * another guest's is none of the host's. */
void vsock_ports_use(struct vsock_ports *p, const struct vsock_key *key);
void vsock_ports_unuse(struct vsock_ports *p, const struct vsock_key *key);

/* vsock_ports_rest: the key is in quarantine from now on (again, if it is already; not at all if
 * there is no memory). vsock_ports_is_resting: true until VSOCK_QUARANTINE_NS later.
 * vsock_ports_resting: how many keys are. vsock_ports_forget: the oldest `max` are not any more;
 * true if there are others. */
void vsock_ports_rest(struct vsock_ports *p, const struct vsock_key *key, uint64_t now_ns);
bool vsock_ports_is_resting(struct vsock_ports *p, const struct vsock_key *key, uint64_t now_ns);
uint32_t vsock_ports_resting(struct vsock_ports *p, uint64_t now_ns);
bool vsock_ports_forget(struct vsock_ports *p, uint32_t max);

#endif

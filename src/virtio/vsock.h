/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio vsock (virtio 1.2 §5.10): sockets between the guest and clients of this host. Streams as
 * drawn here; SEQPACKET's messages are in vsock_seq.c.
 *
 *   tx  ─▶ header copied, checked ─▶ connection ─▶ batch of chains ─▶ one sendmsg ─▶ ┌────────┐
 *                  │                     └─ what the socket does not take: kept ────▶ │ client │
 *                  └─ no such connection: an RST is queued                            │ socket │
 *   rx  ◀─ control packets first; then the connections that have data, in turns: recvmsg ◀────┘
 *
 * A client that does not read stops only its own connection: its bytes are kept, at most as many as
 * its credit allows. The meaning of each packet in each state is conformance.md, "Vsock". Home
 * reactor, but for init and finish. */
#ifndef VIRTIO_VSOCK_H
#define VIRTIO_VSOCK_H

#include "core/controllers.h"
#include "core/device.h"
#include "virtio/device.h"
#include "virtio/vsock_packet.h"
#include "virtio/vsock_ports.h"

#define VSOCK_F_STREAM    (1ULL << 0)
#define VSOCK_F_SEQPACKET (1ULL << 1)

#define VSOCK_RX         0
#define VSOCK_TX         1
#define VSOCK_EVENT      2
#define VSOCK_QUEUES     3
#define VSOCK_QUEUE_SIZE 256

#define VSOCK_EVENT_QUEUE_SIZE 64
/* virtio 1.2 §5.10.6.7 */
#define VSOCK_EVENT_TRANSPORT_RESET 0u

/* Connections, and keys that rest. */
#define VSOCK_CONNS_MAX 65536u
/* A connection costs the daemon a descriptor or two. One guest gets this part of what the process
 * may have, so that it cannot take away what the others and new clients need. */
#define VSOCK_FILES_SHARE 8u
/* RSTs for packets that belong to no connection; more stop the tx queue. */
#define VSOCK_REPLIES_MAX 256u
/* What a connection keeps for its client, besides what its socket holds. A stream begins with the
 * most, as long as few have been promised that, and gets its share of what is said in vsock_share.c
 * then; when the guest's connections have been promised very much, they get little. */
#define VSOCK_BUF_ALLOC       (1u << 20)
#define VSOCK_BUF_ALLOC_MANY  (64u << 10)
#define VSOCK_BUF_ALLOC_SMALL (16u << 10)
#define VSOCK_BUF_ALLOC_SEQ   (256u << 10) /* and no message of the guest's can be longer */
#define VSOCK_SHARE_BYTES     (4u << 20)
#define VSOCK_PLEDGE_MAX      (256ULL << 20)
/* The longest message of a client; the guest's have room in what is kept for its connection. */
#define VSOCK_MESSAGE_MAX (1u << 20)

/* How long the guest may take to answer a REQUEST, and a SHUTDOWN of both directions. */
#define VSOCK_ANSWER_NS 5000000000ULL
/* Data that the guest sends after its SHUTDOWN is dropped for so long; then it is an error. */
#define VSOCK_LEEWAY_NS 1000000000ULL

struct vsock_guests;
struct vsock_rx_chain;

/* The streams that had data of the guest's lately; vsock_share.c. */
struct vsock_busy {
	uint64_t until_ns;
	uint32_t period, count, before; /* in this period and the one before */
};

/* Embedded in its device. */
struct vsock {
	struct virtio_device dev;
	uint8_t config[8]; /* guest_cid */
	uint32_t guest_cid;
	struct vsock_table table; /* struct vsock_conn.node: all that are not closed */
	struct vsock_ports ports;
	struct list conns;   /* all but those in the next two */
	struct list control; /* connections with control packets to send */
	struct list data;    /* connections with data to read, in turns */
	struct list leaving; /* connections that the reset under way has not come to yet */
	struct list reap;    /* to be freed */
	struct reactor_task reset_task, reap_task;
	uint32_t count;     /* of conns and reap */
	uint32_t conns_max; /* VSOCK_CONNS_MAX, or fewer where the process may have few files */
	uint64_t serial, pledged_bytes;
	struct vsock_busy busy;
	struct vsock_guests *guests;     /* the way to other guests; NULL: none */
	uint32_t neighbour_conns;        /* of count: to other guests */
	struct vsock_acceptor *fallback; /* for ports without a listener; NULL: none */
	bool forgetting;                 /* a reset is at `leaving`, or at the keys that rest */
	bool closing;
	void (*closed)(struct vsock *v);

	/* rx */
	struct vsock_header replies[VSOCK_REPLIES_MAX];
	uint32_t replies_first, replies_count;
	struct vsock_rx_chain *rx_chains; /* VSOCK_QUEUE_SIZE */
	struct list rx_unused;            /* of these records */
	struct list rx_spare;             /* taken from the queue, not needed yet; oldest first */
	struct list rx_ops_free;
	struct vsock_conn *piecewise;  /* whose message is delivered from a copy */
	struct list piecewise_waiting; /* those that come after it */
	unsigned int rx_ops, rx_ops_busy;
	uint64_t asked_bytes;      /* of the streams' reads, ever */
	uint64_t starved_since_ns; /* 0: not */

	/* tx */
	struct list tx_filled; /* connections with a batch to send at the end of serve() */
	struct list batches_free;
	unsigned int batches, batches_busy;
	struct iovec tx_iov[VSOCK_QUEUE_SIZE];

	/* event */
	bool event_pending; /* TRANSPORT_RESET, as soon as there is a buffer */
	struct iovec event_iov[VSOCK_EVENT_QUEUE_SIZE];

	struct vsock_figures figures;
};

/* vsock_init: env as virtio_device_init; -ENOMEM, -errno. vsock_finish: reset and closed, or never
 * attached. Any thread. */
int vsock_init(struct vsock *v, struct virtio_env *env, uint32_t guest_cid, struct diag *d);
void vsock_finish(struct vsock *v);

/* vsock_close: the device has been reset for good: ends listeners, connections and connects, then
 * calls `closed`, not from within. Once. */
void vsock_close(struct vsock *v, void (*closed)(struct vsock *v));

/* vsock_restored: the driver goes on with a device that is not the one that it talked to: every
 * connection is closed towards its client, and the guest is told by TRANSPORT_RESET. Listeners
 * stay. For who restores a guest; nothing in this VMM does yet. */
void vsock_restored(struct vsock *v);

/* vsock_reserve: a listener of the configuration, whose acceptor comes with vsock_adopt. Before the
 * guest runs; any thread. Errors as vsock_ports_listen. */
int vsock_reserve(struct vsock *v, uint32_t port);

/* The others: see struct vsock_controller. */
int vsock_listen(struct vsock *v, uint32_t port, struct vsock_acceptor *a);
int vsock_adopt(struct vsock *v, uint32_t port, struct vsock_acceptor *a);
void vsock_unlisten(struct vsock *v, uint32_t port, struct vsock_acceptor *a);
void vsock_accepted(struct vsock *v, const struct vsock_accept *request, int fd);
int vsock_connect(struct vsock *v, uint32_t guest_port, struct vsock_connect *c);
/* vsock_connect_over: the same with a socket that is there already, owned if 0 is returned, and
 * whose type is the connection's. With err 0 `done` comes before anything of the guest's is written
 * to it; its fd is -1 in any case. */
int vsock_connect_over(struct vsock *v, uint32_t guest_port, struct vsock_connect *c, int fd);
void vsock_connect_cancel(struct vsock *v, struct vsock_connect *c);
void vsock_figures(struct vsock *v, struct vsock_figures *to);

extern const struct device_class vsock_class;

#endif

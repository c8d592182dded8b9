/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream sockets between this guest and others (virtio 1.2 §5.10). CPU 0 only.
 *
 *   vsock.c           the device: its queues, when to poll and when to sleep
 *   vsock_conn.c      connections: states, credit, who may send next
 *   vsock_services.c  what listens always: ports 7 (echo), 9 (discard), 19 (source)
 *   vsock_stream.c    what a command opens or accepts
 *
 * Everything happens in vsock_step, which whoever waits calls again and again: the shell while it
 * waits for a key, and a command while it waits for its peer.
 */
#ifndef GUEST_VSOCK_H
#define GUEST_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_pci.h"

#define VSOCK_CID_HOST  2
#define VSOCK_CONNS_MAX 1024
#define VSOCK_BUF_ALLOC                                                                            \
	(256U << 10) /* at most; a connection that has to keep its bytes may get less */
#define VSOCK_BUF_MIN      8192U
#define VSOCK_PACKET_MAX   65536U
#define VSOCK_HEADER_BYTES 44U

enum { VSOCK_PORT_ECHO = 7, VSOCK_PORT_DISCARD = 9, VSOCK_PORT_SOURCE = 19 };

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

#define VSOCK_TYPE_STREAM   1
#define VSOCK_SHUTDOWN_RCV  1U
#define VSOCK_SHUTDOWN_SEND 2U
#define VSOCK_SHUTDOWN_BOTH 3U

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct vsock_header) == VSOCK_HEADER_BYTES, "virtio 1.2 §5.10.6");

struct vsock_options {
	struct virtio_options virtio;
	uint32_t buffer_bytes; /* of each RX chain, its header included */
	uint32_t spin_us;      /* polls for so long after the last packet before it sleeps */
};

struct vsock_stats {
	uint64_t opened, closed, refused; /* refused: REQUESTs that were answered with RST */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rst_sent, rst_received, resets; /* resets: TRANSPORT_RESET events */
	uint64_t bad, over_credit;               /* what the other end did wrong */
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_CONNECTING, /* REQUEST sent */
	VSOCK_OPEN,
	VSOCK_CLOSING, /* SHUTDOWN of both directions sent: an RST will come */
	VSOCK_CLOSED,  /* gone, but the device still reads its bytes */
};

struct vsock_conn;

/* Who is behind a connection. */
struct vsock_service {
	const char *name;
	bool keeps; /* what it receives is not consumed at once: needs memory for its credit */
	/* Data that came; what is used up goes to vsock_consumed. False: no memory, reset it. */
	bool (*receive)(struct vsock_conn *c, const uint8_t *data, uint32_t len);
	/* The next bytes to send, at most `max`, which stay there until sent(); 0: none now. */
	uint32_t (*offer)(struct vsock_conn *c, uint32_t max, const uint8_t **data);
	/* The device has taken so many of the offered bytes. May be NULL. */
	void (*sent)(struct vsock_conn *c, uint32_t len);
	/* What, with nothing on offer, it will not do any more: VSOCK_SHUTDOWN_*. */
	uint32_t (*ends)(const struct vsock_conn *c);
	/* It has changed its state. May be NULL. */
	void (*changed)(struct vsock_conn *c);
};

struct vsock_conn {
	const struct vsock_service *service;
	void *owner;                   /* the service's */
	struct vsock_conn *next;       /* of those with the same hash; free list */
	struct vsock_conn *ready_next; /* of those that have something to send */
	uint64_t cid;
	uint32_t peer_port, port;
	enum vsock_state state;
	uint8_t peer_ended, own_ended; /* VSOCK_SHUTDOWN_* told */
	uint8_t control;               /* packets to send, 1 << op */
	bool is_ready;                 /* on the list */
	uint32_t in_flight;            /* packets that the device has */
	uint32_t sent_count, peer_buf_alloc, peer_fwd_cnt;
	uint32_t received_count, fwd_cnt, fwd_told, buf_alloc;
	uint64_t pledged;
	/* echo: a ring of buf_alloc bytes; source: only `offered`, which is the place in its stream
	 */
	uint8_t *kept;
	uint64_t kept_end, offered, done;
};

/* --- the device --- */

/* Starts the driver with the device's first queues empty; all the services listen. False with
 * fail(). vsock_stop: all connections end without a word, as by a reset. */
bool vsock_start(const struct vsock_options *options);
bool vsock_stop(void);
bool vsock_is_started(void);

/* The options of the last vsock_start, or else what it would be started with. */
extern struct vsock_options vsock_options;

/*
 * Does what there is to do, without waiting. True: call it again soon. False: nothing to do and
 * nothing came for some time, and an interrupt will tell; to be used as irq_any's condition. Looks
 * for a device, and starts it, at the first call.
 */
bool vsock_serve(void);

/* Serves until *word is not 0, or `timeout_us` is over: then false. */
bool vsock_wait(const volatile uint32_t *word, uint64_t timeout_us);

/* One turn; true if anything was done. */
bool vsock_step(void);

uint64_t vsock_cid(void);
extern struct vsock_stats vsock_stats;

/* Queues a packet for the device, `data` staying in place for it; false: no room now. */
bool vsock_send(const struct vsock_header *h, const uint8_t *data, struct vsock_conn *c);
bool vsock_has_room(void);

/* --- connections --- */

void vsock_conns_start(void);
void vsock_conns_stop(void);

/* What the device wrote into an RX buffer; false: not now, the answers have no room. */
bool vsock_receive(const uint8_t *packet, uint32_t written);

/* The device has used a packet of c's with so many bytes. */
void vsock_sent(struct vsock_conn *c, uint32_t len);

/* Sends what is waiting, connections in turns, as long as there is room; true if anything was. */
bool vsock_conns_run(void);
void vsock_conns_reset(void);

/* A connection of our own; NULL: no room, or the port is taken. port 0: any free one. */
struct vsock_conn *vsock_conn_open(const struct vsock_service *service, void *owner, uint32_t port,
	uint64_t cid, uint32_t peer_port);

/* Ends it by RST. */
void vsock_conn_abort(struct vsock_conn *c);

/* It may have something to send, or to end. */
void vsock_conn_wake(struct vsock_conn *c);

/* So many bytes that it received are used up. */
void vsock_consumed(struct vsock_conn *c, uint32_t len);

unsigned vsock_conn_count(void);

/* --- who listens --- */

/* Who takes a connection to this port; NULL: nobody. *owner is what the connection gets. */
const struct vsock_service *vsock_listener(uint32_t port, void **owner);

/* Memory of the pattern (PATTERN_MIX) twice over; NULL without memory. */
const uint8_t *vsock_pattern(void);

/* The services' share of a connection's end. */
void vsock_service_release(struct vsock_conn *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One vsock connection: its states, and what the files of the device do for each other.
 *
 *   CONNECTING ──RESPONSE──▶ ┌───────────┐ ──client is gone──▶ CLOSING ──RST, or 5 s──▶ CLOSED
 *   ACCEPTING ──a socket───▶ │ CONNECTED │
 *                            └───────────┘ ──SHUTDOWN(BOTH)──▶ DRAINING ──all sent────▶ CLOSED
 *
 * and from each of them straight to CLOSED. A closed connection is in no table any more; it is
 * freed when nothing of it is in flight and its RST has been sent. Half-closed connections stay
 * CONNECTED; who will do what no more is in peer_shutdown and own_shutdown. Home reactor; private
 * to vsock*.c. */
#ifndef VIRTIO_VSOCK_CONN_H
#define VIRTIO_VSOCK_CONN_H

#include "trace/probe.h"
#include "virtio/vsock.h"
#include "virtio/vsock_credit.h"
#include "virtio/vsock_kept.h"

enum vsock_state {
	VSOCK_CONNECTING, /* REQUEST is to be sent, or is sent */
	VSOCK_ACCEPTING,  /* the acceptor has not answered */
	VSOCK_CONNECTED,
	VSOCK_CLOSING,  /* SHUTDOWN(BOTH) is to be sent, or is sent */
	VSOCK_DRAINING, /* the guest has shut both down; the client gets what is left */
	VSOCK_CLOSED,
	VSOCK_STATES,
};

enum vsock_close {
	VSOCK_CLOSE_CLEAN,  /* the guest knows */
	VSOCK_CLOSE_RST,    /* clean, and the guest gets an RST */
	VSOCK_CLOSE_FORCED, /* the guest gets an RST, and the key rests */
	VSOCK_CLOSE_QUIET,  /* as forced, but the guest has sent an RST */
	VSOCK_CLOSE_DEVICE, /* the driver is gone */
};

/* Control packets that wait for a receive buffer: 1 << op. */
#define VSOCK_PENDING(op) (1u << (op))

/* Several packets of one connection on their way to its socket, straight from guest memory. */
#define VSOCK_BATCH_CHAINS 64
#define VSOCK_BATCH_IOV    512 /* at least one chain's most */
#define VSOCK_BATCHES_MAX  64

struct vsock_batch {
	struct io_op op;
	struct vsock_conn *conn;
	struct list link; /* in batches_free */
	struct msghdr msg;
	unsigned int chains, iov_count;
	uint32_t bytes;
	struct vq_chain chain[VSOCK_BATCH_CHAINS];
	struct iovec iov[VSOCK_BATCH_IOV];
};

/* One recvmsg into several receive buffers, straight into guest memory. */
#define VSOCK_RECV_CHAINS 16
#define VSOCK_RECV_IOV    64
#define VSOCK_RECV_MAX    64
#define VSOCK_RX_SEGMENTS 32

struct vsock_rx_chain {
	struct list link;
	struct vq_chain chain;
	uint64_t payload_bytes;
	struct iovec iov[VSOCK_RX_SEGMENTS];
};

struct vsock_recv {
	struct io_op op;
	struct vsock_conn *conn;
	struct list link; /* in rx_ops_free */
	struct msghdr msg;
	uint32_t generation; /* of the queue, when its chains were taken */
	uint32_t asked_bytes;
	unsigned int chains, iov_count;
	struct vsock_rx_chain *chain[VSOCK_RECV_CHAINS];
	struct iovec iov[VSOCK_RECV_IOV];
};

/* A message of the client's that the receive buffers at hand could not take as a whole. */
struct vsock_piece {
	uint8_t *bytes; /* NULL: none */
	uint32_t len, done;
};

struct vsock_conn {
	struct vsock_node node;
	struct vsock *v;
	enum vsock_state state;
	uint16_t type; /* enum vsock_type */
	uint64_t serial;
	struct list link; /* in conns or reap */
	struct io_file file;
	struct vsock_credit credit;
	uint32_t share_bytes, busy_period;    /* vsock_share.c */
	uint32_t peer_shutdown, own_shutdown; /* VSOCK_SHUTDOWN_* */
	uint64_t peer_shutdown_ns;            /* since when the guest sends no more */

	/* guest → client, in this order: kept, sending, filling; kept and the others never at once.
	 */
	struct vsock_kept kept;
	struct io_op send; /* of kept */
	struct vsock_batch *sending, *filling;
	struct list fill_link; /* in tx_filled */
	bool out_broken;       /* the client takes nothing any more: all is dropped */

	/* client → guest */
	struct io_op poll;   /* of the socket, as long as it is open */
	uint32_t poll_seen;  /* POLLRDHUP, POLLHUP, POLLERR */
	bool readable;       /* the socket may have something */
	bool in_ended;       /* nothing is read any more */
	bool credit_asked;   /* since there was credit last */
	unsigned int window; /* receive buffers that the next recvmsg takes */
	struct vsock_recv *recv;
	struct list data_link;

	/* SEQPACKET; vsock_seq.c */
	uint32_t next_bytes;      /* the length of the client's next message; 0: unknown */
	struct vsock_piece piece; /* of v->piecewise */
	struct list piece_link;
	struct msghdr out; /* of `send` */
	struct iovec out_iov[2];

	uint32_t pending; /* VSOCK_PENDING(op) */
	struct list control_link;
	struct reactor_timer timer; /* VSOCK_ANSWER_NS */
	struct vsock_connect *connect;
	int given_fd;            /* the socket that the connect is for; -1: a pair will be made */
	struct list accept_link; /* in vsock_listener.pending */
};

static inline struct reactor *vsock_home(const struct vsock *v)
{
	return v->dev.env->reactor;
}

/* VSOCK_PROBE: a probe of a connection, whose arguments all begin alike. */
#define VSOCK_PROBE(name, c, ...)                                                                  \
	PROBE(name, probe_string((c)->v->dev.env->guest), (c)->node.key.host_port,                 \
		(c)->node.key.guest_port, c, ##__VA_ARGS__)

/* --- vsock_conn.c --- */

static inline struct vsock_rules vsock_rules(const struct vsock *v)
{
	return (struct vsock_rules){.guest_cid = v->guest_cid,
		.seqpacket = virtio_has(&v->dev, VSOCK_F_SEQPACKET),
		.neighbours = v->guests};
}

/* vsock_conn_create: in the table, its port in use. NULL: no memory. */
struct vsock_conn *vsock_conn_create(
	struct vsock *v, const struct vsock_key *key, enum vsock_state state, uint16_t type);
struct vsock_conn *vsock_conn_find(struct vsock *v, const struct vsock_key *key);
/* vsock_conns_full: no further connection, please. */
bool vsock_conns_full(struct vsock *v);
/* vsock_conn_open: CONNECTED over this socket, which is owned from now on; `ops` go to the guest.
 */
void vsock_conn_open(struct vsock_conn *c, int fd, uint32_t pending);
/* vsock_conn_close: CLOSED. The connection stays valid for the rest of the turn. A connect that
 * waits for it gets -ECONNREFUSED. vsock_conn_fail: the same with another error. */
void vsock_conn_close(struct vsock_conn *c, enum vsock_close how);
void vsock_conn_fail(struct vsock_conn *c, enum vsock_close how, int err);
/* vsock_conn_release: to be called when something of it has come to its end: frees it if it was the
 * last. */
void vsock_conn_release(struct vsock_conn *c);
/* vsock_conn_in_ended: the client sends nothing any more; `gone`: nor does it read. */
void vsock_conn_in_ended(struct vsock_conn *c, bool gone);
/* vsock_conn_drain: the guest has shut down both directions. vsock_conn_unwanted: it receives
 * nothing any more. */
void vsock_conn_drain(struct vsock_conn *c);
void vsock_conn_unwanted(struct vsock_conn *c);
/* vsock_conn_read_check: starts to read if there is something, and credit. vsock_conn_is_at_end:
 * looks whether the end has come, where nothing can be read. */
bool vsock_conn_is_at_end(const struct vsock_conn *c);
void vsock_conn_read_check(struct vsock_conn *c);
/* vsock_conn_out_moved: bytes have left for the client, or never will. */
void vsock_conn_out_moved(struct vsock_conn *c);

/* --- vsock_guest.c --- */

enum vsock_taken {
	VSOCK_TAKEN_DONE, /* the chain can be given back */
	VSOCK_TAKEN_KEPT, /* it is in a batch */
	VSOCK_TAKEN_BACK, /* there is no room now; nothing was done */
};

/* vsock_guest_packet: the guest sent this header, copied and not checked, with what follows it in
 * the chain. */
enum vsock_taken vsock_guest_packet(
	struct vsock *v, const struct vsock_header *h, const struct vq_chain *chain);

/* --- vsock_endpoint.c --- */

/* vsock_connect_answered: the guest has accepted. vsock_request: a sound REQUEST on a key that is
 * not in use; false: an RST is the answer. */
void vsock_connect_answered(struct vsock_conn *c);
bool vsock_request(struct vsock *v, const struct vsock_header *h, const struct vsock_key *key);
/* vsock_accepted_from: as vsock_accepted, of any key. vsock_connect_from: as vsock_connect_over,
 * from where `key` says, with this type; -ECONNREFUSED as well if the key is in use or rests. */
void vsock_accepted_from(struct vsock *v, const struct vsock_key *key, uint64_t serial, int fd);
int vsock_connect_from(struct vsock *v, const struct vsock_key *key, uint16_t type,
	struct vsock_connect *connect, int fd);

/* --- vsock_neighbour.c --- */

/* vsock_guests_call: the guest of its key is asked; the answer is vsock_accepted_from. False: there
 * is none, or too much is asked. */
bool vsock_guests_call(struct vsock_guests *g, const struct vsock_conn *c);

/* --- vsock_tx.c --- */

enum virtio_serve vsock_tx_serve(struct virtio_queue *q);
/* vsock_tx_room: can data of this chain be taken now? Otherwise the tx queue is woken when it can.
 * vsock_tx_data: takes the payload, within the credit, of a chain for which there was room. */
bool vsock_tx_room(struct vsock_conn *c, const struct vq_chain *chain);
enum vsock_taken vsock_tx_data(struct vsock_conn *c, const struct vq_chain *chain);
/* vsock_tx_drop: all that is left for the client is dropped, and all that will come.
 * vsock_tx_broken: the same, as the client reads no more. */
void vsock_tx_drop(struct vsock_conn *c);
void vsock_tx_broken(struct vsock_conn *c);
/* vsock_tx_waiting: has the client not got all yet? */
bool vsock_tx_waiting(const struct vsock_conn *c);
int vsock_tx_init(struct vsock *v, struct diag *d);
void vsock_tx_finish(struct vsock *v);

/* vsock_tx_lost: there is no memory for what the socket does not take. */
void vsock_tx_lost(struct vsock_conn *c);
/* vsock_tx_make_blocking: the client has set its end of a shared description to non-blocking; a
 * send that is to wait has failed of that. */
void vsock_tx_make_blocking(struct vsock_conn *c);

/* --- vsock_rx.c --- */

enum vsock_sent {
	VSOCK_NOTHING_TO_SEND,
	VSOCK_SENT,
	VSOCK_NO_BUFFER, /* of the guest's */
	VSOCK_NO_OP,
};

/* vsock_rx_take: the next buffer with room for a header and min_bytes; those without are given back
 * as they are. *budget: how many of these may be met. NULL: there is none. vsock_rx_spare: it was
 * not needed; goes before all others. vsock_rx_put: fills it with a packet whose payload is there
 * already. */
struct vsock_rx_chain *vsock_rx_take(struct vsock *v, uint64_t min_bytes, unsigned int *budget);
void vsock_rx_spare(struct vsock *v, struct vsock_rx_chain *rc);
void vsock_rx_put(
	struct vsock_conn *c, struct vsock_rx_chain *rc, uint32_t len_bytes, uint32_t flags);

int vsock_rx_init(struct vsock *v, struct diag *d);
void vsock_rx_finish(struct vsock *v);
enum virtio_serve vsock_rx_serve(struct virtio_queue *q);
/* vsock_rx_control: these control packets are to be sent. vsock_rx_data: the connection's turn will
 * come. vsock_rx_reply: an RST that belongs to no connection; there is room (replies_count). */
void vsock_rx_control(struct vsock_conn *c, uint32_t pending);
void vsock_rx_data(struct vsock_conn *c);
void vsock_rx_reply(struct vsock *v, const struct vsock_header *h);
/* vsock_rx_forget: the queue was reset; nothing is in flight. */
void vsock_rx_forget(struct vsock *v);

/* --- vsock_share.c --- */

/* vsock_share_used: the guest has sent data on a stream. vsock_share_adjust: before its credit is
 * told. vsock_share_socket: the send buffer of the socket, which holds about as much. */
void vsock_share_used(struct vsock_conn *c);
void vsock_share_adjust(struct vsock_conn *c);
void vsock_share_socket(struct vsock_conn *c, int fd, uint32_t bytes);

/* --- vsock_seq.c --- */

/* vsock_seq_data: RW of a SEQPACKET connection, within the credit; its chain is free afterwards.
 * vsock_seq_send: starts to send what is kept. */
void vsock_seq_data(
	struct vsock_conn *c, const struct vsock_header *h, const struct vq_chain *chain);
void vsock_seq_send(struct vsock_conn *c);
/* vsock_seq_rx: the connection's turn: at most one message, or one piece of one, for the guest.
 * vsock_seq_read_check: as vsock_conn_read_check. vsock_seq_drop: the message under way. */
enum vsock_sent vsock_seq_rx(struct vsock_conn *c, unsigned int *budget);
void vsock_seq_read_check(struct vsock_conn *c);
void vsock_seq_drop(struct vsock_conn *c);

/* --- vsock.c --- */

/* vsock_io_ended: a transfer on guest memory has ended; resets may wait for it. */
void vsock_io_ended(struct vsock *v);

#endif

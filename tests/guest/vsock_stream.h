/* SPDX-License-Identifier: Apache-2.0 */
/* A command's end of a vsock connection: what it sends, and what becomes of what comes. CPU 0 only.
 */
#ifndef GUEST_VSOCK_STREAM_H
#define GUEST_VSOCK_STREAM_H

#include "vsock.h"

struct vsock_address {
	uint64_t cid;
	uint32_t port;
};

struct vsock_stream {
	struct vsock_conn *conn; /* NULL before and after */
	/* To send: `left` bytes of which `period` bytes repeat, with as many again behind them;
	 * packets of at most `packet_bytes`. More by vsock_stream_push. */
	const uint8_t *data;
	uint64_t sent, left;
	uint32_t period, packet_bytes;
	uint64_t taken; /* bytes that the device has taken */
	/* What came: the first `size` bytes are kept here, all are counted. */
	uint8_t *text;
	uint64_t size, received;
	/* What it ends once all is sent: VSOCK_SHUTDOWN_*. */
	uint32_t ends;
	/* Not 0: it has come to pass; to be waited for. */
	volatile uint32_t opened, peer_ended, closed, news;
	bool refused;            /* closed without having been open */
	bool reset;              /* closed by the peer before it, and we, had ended */
	volatile uint64_t *also; /* counted up with closed; may be NULL */
};

/* Connects; false with fail() when there is no room for a connection. */
bool vsock_stream_connect(struct vsock_stream *s, struct vsock_address to);

/* Takes the next connection to the port; NULL: no more. */
void vsock_stream_listen(struct vsock_stream *s, uint32_t port);

/* Sends `len` bytes once more from `data`, which stay in place. */
void vsock_stream_push(struct vsock_stream *s, const uint8_t *data, uint64_t len);

/* Ends what is left of it, by RST if it must. The stream may then go away. */
void vsock_stream_close(struct vsock_stream *s);

const struct vsock_service *vsock_stream_listener(uint32_t port, void **owner);

#endif

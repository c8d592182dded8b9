/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream between a device of the guest and people: output is kept until somebody reads it,
 * input waits until the device takes it. Every client gets another handle on the one stream. Home
 * reactor. */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/stream_end.h"
#include "core/io_op.h"
#include "core/reactor.h"

#define STREAM_KEPT_BYTES  65536 /* power of two */
#define STREAM_INPUT_BYTES 512

struct stream {
	struct reactor *home;
	/* Bytes from a client; returns how many of them the device took. It is offered the rest
	 * after stream_input_ready. NULL: input is discarded. */
	uint32_t (*input)(void *ctx, const uint8_t *data, uint32_t len_bytes);
	void *ctx;

	struct stream_end end;
	bool linger; /* stream_close waits a little for a slow reader, or still does */

	uint8_t *kept; /* ring of output; allocated with the first byte */
	uint32_t kept_head, kept_tail;
	struct io_op write_op;
	struct reactor_task flush_task; /* one write for all of a turn's output */
	bool out_broken;

	struct io_op read_op;
	uint8_t in_data[STREAM_INPUT_BYTES];
	uint32_t in_start, in_end;
	bool in_ended;

	struct reactor_timer retry_timer; /* armed after an -EAGAIN */
	struct reactor_timer linger_timer;
	void (*closed)(struct stream *s);
	bool closing;

	uint64_t bytes_out, bytes_in, dropped_bytes;
};

void stream_init(struct stream *s, struct reactor *home,
	uint32_t (*input)(void *ctx, const uint8_t *data, uint32_t len_bytes), void *ctx);

/* stream_client: another handle on the stream for a client: a SOCK_STREAM descriptor,
 * close-on-exec, owned by the caller; -errno with text (-ESHUTDOWN: it is being closed). The first
 * call makes the socket pair and starts the flow. */
int stream_client(struct stream *s, struct diag *d);

/* stream_open_files: uses these descriptors instead (ownership passes; in may be -1), for a
 * terminal or a file. Output is waited for briefly at the end. `loss`: see stream_end_open_files.
 */
void stream_open_files(struct stream *s, int in, int out, struct stream_loss *loss);

/* stream_write: takes the device's output; what does not fit is dropped, the oldest is kept, and
 * counted. */
void stream_write(struct stream *s, const void *data, uint32_t len_bytes);
/* stream_room: how much stream_write would take now. */
uint32_t stream_room(const struct stream *s);

/* stream_input_ready: the device has room again. */
void stream_input_ready(struct stream *s);

/* stream_close: sends what a reader takes at once, cancels, and calls `closed` when nothing is in
 * flight; never from inside the call. Afterwards the struct may be freed. */
void stream_close(struct stream *s, void (*closed)(struct stream *s));

#endif

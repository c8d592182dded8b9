/* SPDX-License-Identifier: Apache-2.0 */
/* Whole messages: a frame from the peer to a checked C struct, and a C struct to the bytes to send.
 *
 * Both ends use the same functions and the same struct codec_message; only `side` differs. What is
 * legal follows from the table in rpc/messages.h.
 *
 * A server's turn, for bytes that came in:
 *
 *	frame_reader_commit(&c->reader, n, fds, nfds);
 *	while ((got = frame_reader_next(&c->reader, &frame, &fault.text)) > 0) {
 *		switch (codec_decode(CODEC_SERVER, &frame, &call, &fault)) {
 *		case CODEC_OK:
 *			// is object call.object open, and of kind call.message->kind?
 *			// a call whose txid is pending already? then handle it:
 *			if (call.message->method == METHOD_LIFECYCLE_CREATE) {
 *				config_init(&config);
 *				verdict = config_table_decode(&call, &frame, &config, &fault);
 *				// CODEC_REFUSED: reply the error, as below
 *			}
 *			codec_reply_init(&reply, &call);
 *			reply.p.info.cores = 2;
 *			n = codec_encode(&reply, out, room);
 *			break;
 *		case CODEC_REFUSED: // reply an error, the connection lives on
 *			codec_error_init(&reply, &call, &fault);
 *			n = codec_encode(&reply, out, room);
 *			// and Closed for the new_id of a creation
 *			break;
 *		case CODEC_VIOLATION:
 *			codec_violation_init(&reply, &fault);
 *			n = codec_encode(&reply, out, room);
 *			// send it, then close
 *		}
 *		frame_finish(&frame); // closes descriptors that nobody took
 *	}
 *	if (got < 0) // a violation too:
 *		codec_fault_frame(&fault, &frame);
 *
 * A client's call:
 *
 *	codec_call_init(&call, METHOD_HOST_GET_INFO, 0, ++txid);
 *	call.p.name.name = wire_string_of("web-1");
 *	n = codec_encode(&call, buf, sizeof(buf));
 *	// … frame of the reply:
 *	codec_decode(CODEC_CLIENT, &frame, &reply, &fault);
 *	// reply.form: CODEC_REPLY → reply.p.get_info; CODEC_ERROR → reply.p.error
 *	info_table_decode(&reply.p.get_info.info, &info, &diag);
 *
 * Nothing here allocates but config_table_decode; any thread. Decoded strings, vectors and tables
 * are views into the frame's payload. */
#ifndef RPC_CODEC_H
#define RPC_CODEC_H

#include <stdint.h>

#include "core/config.h"
#include "core/diag.h"
#include "core/guest_error.h"
#include "rpc/frame.h"
#include "rpc/messages.h"

/* Which end decodes. */
enum codec_side { CODEC_SERVER, CODEC_CLIENT };

enum codec_form {
	CODEC_CALL, /* a call or a one-way message; or an event: see message->shape */
	CODEC_REPLY,
	CODEC_ERROR, /* p.error */
};

/* Bit 31 of a txid: chosen by the server. */
#define CODEC_TXID_SERVER (1u << 31)

/* One message in C. `p`'s member is the one for message and form (rpc/messages.h). */
struct codec_message {
	const struct message *message;
	enum codec_form form;
	uint32_t txid; /* 0 for one-way messages and events */
	uint32_t object;
	uint8_t nfds; /* attached; they ride on the message's first byte */
	union message_payload p;
};

enum codec_verdict {
	CODEC_OK,
	CODEC_REFUSED,   /* understood, but not allowed: ERROR reply with domain, code, text */
	CODEC_VIOLATION, /* event Violation with code, txid, text; the connection ends */
};

struct codec_fault {
	enum error_domain domain; /* of `code`, for CODEC_REFUSED; DOMAIN_STATUS for a violation */
	uint32_t code;
	uint32_t txid; /* of the message at fault; 0: it has none */
	struct diag text;
};

/* codec_decode: everything about `f` that the message table decides: method and form known and in
 * the right direction, txid's side, number of descriptors, payload to the last byte. What needs the
 * connection's state (objects, pending txids) is the caller's to check.
 * CODEC_REFUSED only for a call with a bad guest name; *out is complete then, so that the refusal
 * can be replied and the new_id be closed. After CODEC_VIOLATION *out is undefined.
 * A violation's code is INVALID_ARGS, or NOT_SUPPORTED for a method that does not exist. The frame
 * keeps its descriptors: frame_take_fd. */
enum codec_verdict codec_decode(enum codec_side side, const struct frame *f,
	struct codec_message *out, struct codec_fault *fault);

/* codec_fault_frame: completes the fault of a frame_reader_next that failed; the text is there.
 * codec_fault_set: for violations and refusals that the caller finds itself. Returns `verdict`. */
void codec_fault_frame(struct codec_fault *fault, const struct frame *f);
__attribute__((format(printf, 6, 7))) enum codec_verdict codec_fault_set(struct codec_fault *fault,
	enum codec_verdict verdict, enum error_domain domain, uint32_t code, uint32_t txid,
	const char *fmt, ...);

/* Each sets up *m, payload zeroed, nfds as the table says; the caller then fills m->p (and
 * m->nfds where the table leaves a range).
 * codec_call_init: a call or one-way message by the side that the table names; txid 0 for one-way.
 * codec_reply_init: the reply to `call`. codec_error_init: the ERROR reply to it, with the fault's
 * domain, code and text, which have to live until it is encoded.
 * codec_event_closed: the event Closed. codec_violation_init: the event Violation; as above. */
void codec_call_init(
	struct codec_message *m, enum message_method method, uint32_t object, uint32_t txid);
void codec_reply_init(struct codec_message *m, const struct codec_message *call);
void codec_error_init(
	struct codec_message *m, const struct codec_message *call, const struct codec_fault *fault);
void codec_closed_init(struct codec_message *m, uint32_t object, enum status epitaph);
void codec_violation_init(struct codec_message *m, const struct codec_fault *fault);

/* codec_encode: the message's bytes to `buf`; returns their number, a multiple of 8, or -EMSGSIZE
 * (over `room_bytes` or over FRAME_SIZE_MAX), -EINVAL (a string is not UTF-8). With buf NULL
 * nothing is written: it gives the number of bytes (room_bytes FRAME_SIZE_MAX). */
int codec_encode(const struct codec_message *m, uint8_t *buf, uint32_t room_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by the table: what is legal from whom, decoded and encoded. */
#include "rpc/codec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "core/utf8.h"

enum codec_verdict codec_fault_set(struct codec_fault *fault, enum codec_verdict verdict,
	enum error_domain domain, uint32_t code, uint32_t txid, const char *fmt, ...)
{
	va_list ap;

	fault->domain = domain;
	fault->code = code;
	fault->txid = txid;
	va_start(ap, fmt);
	vsnprintf(fault->text.text, sizeof(fault->text.text), fmt, ap);
	va_end(ap);
	utf8_scrub(fault->text.text);
	return verdict;
}

/* The text is in the fault already. */
static enum codec_verdict violation(struct codec_fault *fault, uint32_t txid)
{
	fault->domain = DOMAIN_STATUS;
	fault->code = STATUS_INVALID_ARGS;
	fault->txid = txid;
	return CODEC_VIOLATION;
}

void codec_fault_frame(struct codec_fault *fault, const struct frame *f)
{
	violation(fault, f->header.txid);
}

/* The message of the table and its form; NULL if this side does not get it. */
static const struct message *identify(
	enum codec_side side, const struct frame_header *h, enum codec_form *form)
{
	bool from_caller = !(h->flags & FRAME_REPLY);
	const struct message *m = message_find(h->method, h->flags & FRAME_EVENT);
	enum message_caller sender = side == CODEC_SERVER ? CALLER_CLIENT : CALLER_SERVER;

	*form = from_caller ? CODEC_CALL : h->flags & FRAME_ERROR ? CODEC_ERROR : CODEC_REPLY;
	if (!m || (m->caller == sender) != from_caller)
		return NULL;
	return from_caller || m->shape == SHAPE_CALL ? m : NULL;
}

static int check_txid(const struct message *m, const struct frame_header *h, struct diag *d)
{
	bool by_server = h->txid & CODEC_TXID_SERVER;

	if (m->shape != SHAPE_CALL) {
		if (h->txid)
			return diag_fail(d, -EPROTO, "%s: txid is %u; a one-way message has 0",
				m->name, h->txid);
		return 0;
	}
	if (!h->txid)
		return diag_fail(d, -EPROTO, "%s: txid is 0; a call needs one", m->name);
	if (by_server != (m->caller == CALLER_SERVER))
		return diag_fail(d, -EPROTO, "%s: txid 0x%08x: bit 31 has to be %s", m->name,
			h->txid, by_server ? "clear" : "set");
	return 0;
}

static void fd_range(
	const struct message *m, enum codec_form form, uint8_t *fds_min, uint8_t *fds_max)
{
	*fds_min = form == CODEC_CALL ? m->fds_min : form == CODEC_REPLY ? m->reply_fds : 0;
	*fds_max = form == CODEC_CALL ? m->fds_max : *fds_min;
}

static int check_envelope(
	const struct message *m, enum codec_form form, const struct frame_header *h, struct diag *d)
{
	uint8_t fds_min, fds_max;

	if (check_txid(m, h, d))
		return -EPROTO;
	if ((m->kind == OBJECT_HOST) != (h->object == 0))
		return diag_fail(
			d, -EPROTO, "%s: object %u does not have this method", m->name, h->object);
	fd_range(m, form, &fds_min, &fds_max);
	if (h->nfds < fds_min || h->nfds > fds_max)
		return diag_fail(d, -EPROTO, "%s%s: nfds is %u; it takes %u to %u", m->name,
			form == CODEC_CALL ? "" : "'s reply", h->nfds, fds_min, fds_max);
	return 0;
}

static const struct wire_layout *payload_layout(const struct message *m, enum codec_form form)
{
	return form == CODEC_CALL ? m->call : form == CODEC_REPLY ? m->reply : &layout_error;
}

enum codec_verdict codec_decode(enum codec_side side, const struct frame *f,
	struct codec_message *out, struct codec_fault *fault)
{
	const struct frame_header *h = &f->header;
	struct wire_reader r = {
		.data = f->payload, .len_bytes = f->payload_bytes, .diag = &fault->text};

	out->message = identify(side, h, &out->form);
	if (!out->message)
		return codec_fault_set(fault, CODEC_VIOLATION, DOMAIN_STATUS, STATUS_NOT_SUPPORTED,
			h->txid, "method 0x%04x with flags 0x%02x is not known here", h->method,
			h->flags);
	if (check_envelope(out->message, out->form, h, &fault->text))
		return violation(fault, h->txid);
	out->txid = h->txid;
	out->object = h->object;
	out->nfds = h->nfds;
	memset(&out->p, 0, sizeof(out->p));
	if (wire_read(&r, payload_layout(out->message, out->form), &out->p) || wire_read_end(&r)) {
		diag_prefix(&fault->text, 0, "%s", out->message->name);
		return violation(fault, h->txid);
	}
	if (!r.refused)
		return CODEC_OK;
	fault->domain = DOMAIN_STATUS;
	fault->code = STATUS_INVALID_ARGS;
	fault->txid = h->txid;
	return CODEC_REFUSED;
}

static void message_init(struct codec_message *m, const struct message *message,
	enum codec_form form, uint32_t object, uint32_t txid)
{
	uint8_t fds_max;

	memset(m, 0, sizeof(*m));
	m->message = message;
	m->form = form;
	m->object = object;
	m->txid = txid;
	fd_range(message, form, &m->nfds, &fds_max);
}

void codec_call_init(
	struct codec_message *m, enum message_method method, uint32_t object, uint32_t txid)
{
	const struct message *message = message_find((uint16_t)method, false);

	CHECK(message && (message->shape == SHAPE_CALL) == (txid != 0));
	message_init(m, message, CODEC_CALL, object, txid);
}

void codec_reply_init(struct codec_message *m, const struct codec_message *call)
{
	message_init(m, call->message, CODEC_REPLY, call->object, call->txid);
}

/* A detail is never empty: without a text the code's own name has to do. */
static struct wire_string fault_detail(const struct codec_fault *fault)
{
	if (fault->text.text[0])
		return wire_string_of(fault->text.text);
	if (fault->domain == DOMAIN_GUEST_ERROR)
		return wire_string_of(guest_error_name(fault->code));
	if (fault->domain == DOMAIN_MANAGER)
		return wire_string_of(manager_error_name(fault->code));
	return wire_string_of(status_name(fault->code));
}

void codec_error_init(
	struct codec_message *m, const struct codec_message *call, const struct codec_fault *fault)
{
	message_init(m, call->message, CODEC_ERROR, call->object, call->txid);
	m->p.error.domain = fault->domain;
	m->p.error.code = fault->code;
	m->p.error.detail = fault_detail(fault);
}

void codec_closed_init(struct codec_message *m, uint32_t object, enum status epitaph)
{
	message_init(m, message_get(METHOD_CLOSE, SHAPE_EVENT), CODEC_CALL, object, 0);
	m->p.closed.epitaph = (int32_t)epitaph;
}

void codec_violation_init(struct codec_message *m, const struct codec_fault *fault)
{
	message_init(m, message_get(METHOD_VIOLATION, SHAPE_EVENT), CODEC_CALL, 0, 0);
	m->p.violation.code = fault->code;
	m->p.violation.txid = fault->txid;
	m->p.violation.detail = fault_detail(fault);
}

static uint8_t header_flags(const struct codec_message *m)
{
	if (m->form == CODEC_CALL)
		return m->message->shape == SHAPE_EVENT ? FRAME_EVENT : 0;
	return m->form == CODEC_REPLY ? FRAME_REPLY : FRAME_REPLY | FRAME_ERROR;
}

int codec_encode(const struct codec_message *m, uint8_t *buf, uint32_t room_bytes)
{
	struct wire_writer w = {
		.buf = buf, .room = room_bytes < FRAME_SIZE_MAX ? room_bytes : FRAME_SIZE_MAX};
	struct frame_header h = {
		.txid = m->txid,
		.object = m->object,
		.method = m->message->method,
		.flags = header_flags(m),
		.nfds = m->nfds,
	};
	int err;

	err = wire_write_raw(&w, NULL, FRAME_HEADER_BYTES);
	if (!err)
		err = wire_write(&w, payload_layout(m->message, m->form), &m->p);
	if (!err)
		err = wire_write_raw(&w, NULL, wire_pad8(w.len_bytes));
	if (err)
		return err;
	h.size = w.len_bytes;
	if (buf)
		frame_header_put(&h, buf);
	return (int)w.len_bytes;
}

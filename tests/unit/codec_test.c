/* SPDX-License-Identifier: Apache-2.0 */
/* The codec over the whole table: round trips, truncation at each byte, every envelope field wrong.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "rpc/codec.h"
#include "support/message_gen.h"

static struct gen gen;

/* Encoded bytes as a frame; descriptors stay -1. */
static struct frame frame_of(const uint8_t *bytes, uint32_t len_bytes)
{
	struct frame f = {.payload = bytes + FRAME_HEADER_BYTES,
		.payload_bytes = len_bytes - FRAME_HEADER_BYTES,
		.fds = {-1, -1, -1, -1}};

	frame_header_get(&f.header, bytes);
	return f;
}

static enum codec_side receiver(const struct codec_message *m)
{
	bool from_client = (m->message->caller == CALLER_CLIENT) == (m->form == CODEC_CALL);

	return from_client ? CODEC_SERVER : CODEC_CLIENT;
}

/* Calls `check` with `rounds` random messages of every kind and form. */
static void for_all_messages(unsigned int rounds,
	void (*check)(const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes))
{
	static uint8_t bytes[FRAME_SIZE_MAX];
	struct codec_message m;

	gen_init(&gen, 42);
	for (unsigned int i = 0; i < message_count * 3 * rounds; i++) {
		enum codec_form form = (enum codec_form)(i % 3);
		const struct message *message = &message_table[i / 3 % message_count];
		int len;

		if (form != CODEC_CALL && message->shape != SHAPE_CALL)
			continue;
		gen_reset(&gen);
		gen_message(&gen, message, form, &m);
		len = codec_encode(&m, bytes, sizeof(bytes));
		cr_assert_gt(len, 0);
		cr_assert_eq(len % 8, 0);
		cr_assert_eq(codec_encode(&m, NULL, FRAME_SIZE_MAX), len);
		check(&m, bytes, (uint32_t)len);
	}
}

static void check_round_trip(
	const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	static uint8_t again[FRAME_SIZE_MAX];
	struct frame f = frame_of(bytes, len_bytes);
	struct codec_fault fault;
	struct codec_message got;

	cr_assert_eq(frame_header_check(&f.header, &fault.text), 0, "%s", fault.text.text);
	cr_assert_eq(codec_decode(receiver(m), &f, &got, &fault), CODEC_OK, "%s", fault.text.text);
	cr_assert_eq(got.message, m->message);
	cr_assert_eq(got.form, m->form);
	cr_assert_eq(got.txid, m->txid);
	cr_assert_eq(got.object, m->object);
	cr_assert_eq(got.nfds, m->nfds);
	cr_assert(gen_same(gen_layout(m->message, m->form), &m->p, &got.p), "%s differs",
		m->message->name);
	cr_assert_eq(codec_encode(&got, again, sizeof(again)), (int)len_bytes);
	cr_assert_eq(memcmp(bytes, again, len_bytes), 0);
}

Test(codec, every_message_survives_a_round_trip)
{
	for_all_messages(200, check_round_trip);
}

static void check_wrong_side(
	const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	struct frame f = frame_of(bytes, len_bytes);
	struct codec_fault fault;
	struct codec_message got;
	enum codec_side other = receiver(m) == CODEC_SERVER ? CODEC_CLIENT : CODEC_SERVER;

	cr_assert_eq(codec_decode(other, &f, &got, &fault), CODEC_VIOLATION);
}

Test(codec, a_message_in_the_wrong_direction_is_a_violation)
{
	for_all_messages(2, check_wrong_side);
}

/* Exact heap copies, so that the address sanitizer sees a read past the end. */
static void check_truncation(
	const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	for (uint32_t cut = FRAME_HEADER_BYTES; cut < len_bytes; cut++) {
		uint8_t *copy = malloc(cut);
		struct codec_fault fault = {.text.text = ""};
		struct codec_message got;
		struct frame f;

		cr_assert(copy);
		memcpy(copy, bytes, cut);
		f = frame_of(copy, cut);
		cr_assert_eq(codec_decode(receiver(m), &f, &got, &fault), CODEC_VIOLATION,
			"%s cut at %u of %u", m->message->name, cut, len_bytes);
		cr_assert_eq(fault.code, STATUS_INVALID_ARGS);
		cr_assert_eq(fault.txid, m->txid);
		cr_assert(fault.text.text[0]);
		free(copy);
	}
}

Test(codec, truncation_at_each_byte_is_a_violation)
{
	for_all_messages(4, check_truncation);
}

static void check_trailing(const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	static uint8_t longer[FRAME_SIZE_MAX + 16];
	struct codec_fault fault;
	struct codec_message got;
	struct frame f;

	memcpy(longer, bytes, len_bytes);
	memset(longer + len_bytes, 0, 8);
	f = frame_of(longer, len_bytes + 8);
	cr_assert_eq(codec_decode(receiver(m), &f, &got, &fault), CODEC_VIOLATION, "%s",
		m->message->name);
}

Test(codec, trailing_bytes_are_a_violation)
{
	for_all_messages(2, check_trailing);
}

static enum codec_verdict decode_with(enum codec_side side, const uint8_t *bytes,
	uint32_t len_bytes, const struct frame_header *h)
{
	struct frame f = frame_of(bytes, len_bytes);
	struct codec_fault fault;
	struct codec_message got;

	f.header = *h;
	return codec_decode(side, &f, &got, &fault);
}

static void check_envelope(const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	enum codec_side side = receiver(m);
	struct frame_header good, h;

	frame_header_get(&good, bytes);
	h = good;
	h.method ^= 0x0080;
	cr_assert_eq(decode_with(side, bytes, len_bytes, &h), CODEC_VIOLATION);
	h = good;
	h.txid = m->message->shape == SHAPE_CALL ? good.txid ^ CODEC_TXID_SERVER : 5;
	cr_assert_eq(decode_with(side, bytes, len_bytes, &h), CODEC_VIOLATION);
	h = good;
	if (m->message->shape == SHAPE_CALL) {
		h.txid = 0;
		cr_assert_eq(decode_with(side, bytes, len_bytes, &h), CODEC_VIOLATION);
	}
	h = good;
	h.object = good.object ? 0 : 1;
	cr_assert_eq(decode_with(side, bytes, len_bytes, &h), CODEC_VIOLATION);
	for (unsigned int nfds = 0; nfds <= FRAME_FDS_MAX; nfds++) {
		bool range = m->form == CODEC_CALL && m->message->fds_max;

		h = good;
		h.nfds = (uint8_t)nfds;
		cr_assert_eq(decode_with(side, bytes, len_bytes, &h),
			range || nfds == good.nfds ? CODEC_OK : CODEC_VIOLATION, "%s with %u fds",
			m->message->name, nfds);
	}
}

Test(codec, every_envelope_field_is_checked)
{
	for_all_messages(2, check_envelope);
}

/* Each byte flipped: never a crash, and what decodes encodes to the same bytes again. */
static void check_flips(const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	static uint8_t again[FRAME_SIZE_MAX];
	uint8_t *copy = malloc(len_bytes);

	cr_assert(copy);
	for (uint32_t at = FRAME_HEADER_BYTES; at < len_bytes; at++) {
		struct codec_fault fault;
		struct codec_message got;
		struct frame f;

		memcpy(copy, bytes, len_bytes);
		copy[at] ^= (uint8_t)(1u << (at % 8));
		f = frame_of(copy, len_bytes);
		if (codec_decode(receiver(m), &f, &got, &fault) == CODEC_VIOLATION)
			continue;
		cr_assert_eq(codec_encode(&got, again, sizeof(again)), (int)len_bytes);
		cr_assert_eq(
			memcmp(copy, again, len_bytes), 0, "%s, byte %u", m->message->name, at);
	}
	free(copy);
}

Test(codec, flipped_bytes_are_noticed_or_kept)
{
	for_all_messages(4, check_flips);
}

static void check_room(const struct codec_message *m, const uint8_t *bytes, uint32_t len_bytes)
{
	(void)bytes;
	for (uint32_t room = 0; room < len_bytes; room++) {
		uint8_t *small = malloc(room + 1);

		cr_assert(small);
		small[room] = 0xa5;
		cr_assert_eq(codec_encode(m, small, room), -EMSGSIZE);
		cr_assert_eq(small[room], 0xa5);
		free(small);
	}
}

Test(codec, encoding_never_passes_the_room)
{
	for_all_messages(2, check_room);
}

static uint32_t open_lifecycle(uint8_t *bytes, struct wire_string name)
{
	struct codec_message m;
	int n;

	codec_call_init(&m, METHOD_HOST_OPEN_LIFECYCLE, 0, 9);
	m.p.open.new_id = 3;
	m.p.open.name = name;
	n = codec_encode(&m, bytes, 512);
	cr_assert_gt(n, 0);
	return (uint32_t)n;
}

static enum codec_verdict decode_name(struct wire_string name, struct codec_fault *fault)
{
	uint8_t bytes[512];
	uint32_t len = open_lifecycle(bytes, name);
	struct frame f = frame_of(bytes, len);
	struct codec_message got;
	enum codec_verdict verdict = codec_decode(CODEC_SERVER, &f, &got, fault);

	/* Complete also when it is refused, so that the caller can answer. */
	if (verdict != CODEC_VIOLATION)
		cr_assert_eq(got.p.open.new_id, 3);
	return verdict;
}

Test(codec, guest_names_follow_their_rule)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz";
	static const char *const bad[] = {"", "A", "a_b", "a b", "a.b", "ä",
		"abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz0"};
	struct codec_fault fault;

	cr_assert_eq(strlen(good), WIRE_NAME_MAX);
	cr_assert_eq(decode_name(wire_string_of(good), &fault), CODEC_OK);
	cr_assert_eq(decode_name(wire_string_of("-"), &fault), CODEC_OK);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_assert_eq(
			decode_name(wire_string_of(bad[i]), &fault), CODEC_REFUSED, "%s", bad[i]);
		cr_assert_eq(fault.domain, DOMAIN_STATUS);
		cr_assert_eq(fault.code, STATUS_INVALID_ARGS);
		cr_assert_eq(fault.txid, 9);
		cr_assert(strstr(fault.text.text, "name"), "%s", fault.text.text);
	}
	cr_assert_eq(decode_name((struct wire_string){"a\0b", 3}, &fault), CODEC_REFUSED);
}

/* A bad name does not hide a violation behind it. */
Test(codec, violation_wins_over_refusal)
{
	uint8_t bytes[512];
	uint32_t len = open_lifecycle(bytes, wire_string_of("BAD"));
	struct frame f = frame_of(bytes, len);
	struct codec_message got;
	struct codec_fault fault;

	bytes[len - 1] = 1; /* the string's padding */
	cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);
	cr_assert(strstr(fault.text.text, "padding"), "%s", fault.text.text);
}

Test(codec, strings_are_checked)
{
	static const char *const bad[] = {
		"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"};
	uint8_t bytes[512];
	struct codec_message got;
	struct codec_fault fault;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t len = open_lifecycle(bytes, wire_string_of("zzzz"));
		struct frame f = frame_of(bytes, len);

		memcpy(bytes + 28, "zzzz", 4);
		memcpy(bytes + 28 + 4 - strlen(bad[i]), bad[i], strlen(bad[i]));
		cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);
		cr_assert(strstr(fault.text.text, "UTF-8"), "%s", fault.text.text);
	}
}

/* Lengths and counts near 2^32 must not wrap. */
Test(codec, huge_lengths_and_counts_are_violations)
{
	static const uint32_t huge[] = {0xffffffff, 0xfffffff8, 0xfffffffc, 0x80000000, 0x7fffffff,
		0x10000000, 0x20000000, 65536, 100};
	uint8_t bytes[512];
	struct codec_message m, got;
	struct codec_fault fault;

	for (size_t i = 0; i < ARRAY_SIZE(huge); i++) {
		uint32_t len = open_lifecycle(bytes, wire_string_of("web"));
		struct frame f = frame_of(bytes, len);

		memcpy(bytes + 24, &huge[i], 4);
		cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);

		codec_call_init(&m, METHOD_BALLOON_GET_STATS, 4, 1);
		codec_reply_init(&m, &m);
		len = (uint32_t)codec_encode(&m, bytes, sizeof(bytes));
		memcpy(bytes + 24, &huge[i], 4);
		f = frame_of(bytes, len);
		cr_assert_eq(codec_decode(CODEC_CLIENT, &f, &got, &fault), CODEC_VIOLATION);

		/* A table: its bytes, its count, then a field's length. */
		for (uint32_t at = 16; at <= 28; at += at == 16 ? 4 : 8) {
			static const uint8_t field[24] = {16, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1};

			codec_call_init(&m, METHOD_LIFECYCLE_CREATE, 4, 1);
			m.p.create.config = (struct wire_table){field + 8, 16, 1};
			len = (uint32_t)codec_encode(&m, bytes, sizeof(bytes));
			f = frame_of(bytes, len);
			cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_OK);
			memcpy(bytes + at, &huge[i], 4);
			cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION,
				"at %u: %u", at, huge[i]);
		}
	}
}

/* `bytes` and `count` of a table have to agree with each other and with the payload. */
Test(codec, tables_that_do_not_add_up_are_violations)
{
	static const uint8_t fields[32] = {
		1, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1};
	static const struct {
		uint32_t bytes, count;
	} bad[] = {{32, 0}, {32, 1}, {32, 3}, {16, 2}, {24, 1}, {24, 2}, {16, 1}, {0, 0}, {40, 2}};
	uint8_t bytes[512];
	struct codec_message m, got;
	struct codec_fault fault;
	struct frame f;
	int len;

	codec_call_init(&m, METHOD_LIFECYCLE_CREATE, 4, 1);
	m.p.create.config = (struct wire_table){fields, sizeof(fields), 2};
	len = codec_encode(&m, bytes, sizeof(bytes));
	f = frame_of(bytes, (uint32_t)len);
	cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_OK);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(bytes + FRAME_HEADER_BYTES, &bad[i], sizeof(bad[i]));
		cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION,
			"%u bytes, %u fields", bad[i].bytes, bad[i].count);
	}
}

Test(codec, reserved_and_padding_bytes_are_zero)
{
	/* method, offset of a byte that has to be zero */
	static const struct {
		enum message_method method;
		uint32_t at;
	} pads[] = {{METHOD_HOST_OPEN_LIFECYCLE, 20}, {METHOD_HOST_LAUNCH, 23},
		{METHOD_LIFECYCLE_BIND, 20}, {METHOD_GUEST_GET_VSOCK, 22},
		{METHOD_VSOCK_CONNECT, 21}, {METHOD_BALLOON_REQUEST, 23}};

	for (size_t i = 0; i < ARRAY_SIZE(pads); i++) {
		const struct message *message = message_find((uint16_t)pads[i].method, false);
		uint8_t bytes[1024];
		struct codec_message m, got;
		struct codec_fault fault;
		struct frame f;
		int len;

		gen_init(&gen, i);
		gen_message(&gen, message, CODEC_CALL, &m);
		len = codec_encode(&m, bytes, sizeof(bytes));
		cr_assert_gt(len, 0);
		bytes[pads[i].at] = 1;
		f = frame_of(bytes, (uint32_t)len);
		cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);
		cr_assert(strstr(fault.text.text, "not zero"), "%s", fault.text.text);
	}
}

Test(codec, object_ids_are_not_zero)
{
	uint8_t bytes[512];
	uint32_t len = open_lifecycle(bytes, wire_string_of("web"));
	struct frame f = frame_of(bytes, len);
	struct codec_message got;
	struct codec_fault fault;

	memset(bytes + 16, 0, 4);
	cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);
	cr_assert(strstr(fault.text.text, "new_id"), "%s", fault.text.text);
}

Test(codec, unknown_methods_are_named)
{
	struct codec_fault fault;
	struct codec_message got;

	for (uint32_t method = 0; method <= 0xffff; method++) {
		struct frame f = {.header = {.size = 16, .txid = 1, .method = (uint16_t)method}};
		char name[16];

		if (message_find((uint16_t)method, false))
			continue;
		cr_assert_eq(codec_decode(CODEC_SERVER, &f, &got, &fault), CODEC_VIOLATION);
		cr_assert_eq(fault.code, STATUS_NOT_SUPPORTED);
		snprintf(name, sizeof(name), "0x%04x", method);
		cr_assert(strstr(fault.text.text, name), "%s", fault.text.text);
	}
}

Test(codec, error_replies_always_have_a_detail)
{
	struct codec_fault fault = {.domain = DOMAIN_GUEST_ERROR, .code = GUEST_NOT_CREATED};
	struct codec_message call, m, got;
	uint8_t bytes[256];
	struct frame f;
	int len;

	codec_call_init(&call, METHOD_LIFECYCLE_RUN, 1, 5);
	codec_error_init(&m, &call, &fault);
	len = codec_encode(&m, bytes, sizeof(bytes));
	f = frame_of(bytes, (uint32_t)len);
	cr_assert_eq(codec_decode(CODEC_CLIENT, &f, &got, &fault), CODEC_OK);
	cr_assert_eq(got.form, CODEC_ERROR);
	cr_assert(wire_string_is(got.p.error.detail, "NOT_CREATED"));
}

Test(codec, text_that_is_not_utf8_is_not_sent)
{
	struct codec_message m;
	uint8_t bytes[256];

	codec_call_init(&m, METHOD_HOST_GET_INFO, 0, 1);
	m.p.name.name = wire_string_of("\xff");
	cr_assert_eq(codec_encode(&m, bytes, sizeof(bytes)), -EINVAL);
}

Test(codec, the_table_has_each_method_once)
{
	for (unsigned int i = 0; i < message_count; i++)
		for (unsigned int k = i + 1; k < message_count; k++)
			cr_assert_not(message_table[i].method == message_table[k].method &&
				      (message_table[i].shape == SHAPE_EVENT) ==
					      (message_table[k].shape == SHAPE_EVENT));
}

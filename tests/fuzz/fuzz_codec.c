/* SPDX-License-Identifier: Apache-2.0 */
/* One frame, decoded as each side would. Invariants: what decodes encodes to the same bytes; tables
 * that decode survive their own round trip; every fault has a text. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/utf8.h"
#include "rpc/codec.h"
#include "rpc/config_table.h"
#include "rpc/info_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static uint8_t again[FRAME_SIZE_MAX], table[FRAME_SIZE_MAX], table2[FRAME_SIZE_MAX];

static void check_fault(const struct codec_fault *fault)
{
	CHECK(fault->text.text[0] && fault->code);
	CHECK(utf8_valid(fault->text.text, strlen(fault->text.text)));
}

static void check_config(const struct codec_message *m, struct frame *f)
{
	struct wire_writer w = {.buf = table, .room = sizeof(table)},
			   w2 = {.buf = table2, .room = sizeof(table2)};
	struct codec_message copy = *m;
	struct guest_config config, config2;
	struct codec_fault fault;
	struct frame f2 = {.header = f->header};
	struct diag d;
	int fds[FRAME_FDS_MAX], fds2[FRAME_FDS_MAX];
	struct wire_table t;
	uint8_t nfds, nfds2;

	config_init(&config);
	if (config_table_decode(m, f, &config, &fault) != CODEC_OK) {
		check_fault(&fault);
		return;
	}
	CHECK(!config_table_encode(&config, &w, &t, fds, &nfds, &d));
	f2.header.nfds = nfds;
	for (unsigned int i = 0; i < nfds; i++)
		f2.fds[i] = dup(fds[i]);
	if (m->message->method == METHOD_HOST_LAUNCH)
		copy.p.launch.config = t;
	else
		copy.p.create.config = t;
	config_init(&config2);
	CHECK(config_table_decode(&copy, &f2, &config2, &fault) == CODEC_OK);
	CHECK(!config_table_encode(&config2, &w2, &t, fds2, &nfds2, &d));
	CHECK(w.len_bytes == w2.len_bytes && !memcmp(table, table2, w.len_bytes) && nfds == nfds2);
	frame_finish(&f2);
	config_finish(&config);
	config_finish(&config2);
}

static void check_info(const struct codec_message *m)
{
	const struct wire_table *in = &m->p.get_info.info;
	struct wire_writer w = {.buf = table, .room = sizeof(table)};
	struct guest_info info;
	struct wire_table t;
	struct diag d = {""};

	if (info_table_decode(in, &info, &d)) {
		CHECK(d.text[0]);
		return;
	}
	CHECK(!info_table_encode(&info, &w, &t));
	CHECK(t.bytes == in->bytes && t.count == in->count);
	CHECK(!t.bytes || !memcmp(t.fields, in->fields, t.bytes));
}

static void check_side(enum codec_side side, const uint8_t *data, uint32_t len_bytes)
{
	struct frame f = {.payload = data + FRAME_HEADER_BYTES,
		.payload_bytes = len_bytes - FRAME_HEADER_BYTES};
	struct codec_fault fault;
	struct codec_message m;
	struct diag d;

	frame_header_get(&f.header, data);
	f.header.size = len_bytes;
	if (frame_header_check(&f.header, &d))
		return;
	if (codec_decode(side, &f, &m, &fault) == CODEC_VIOLATION) {
		check_fault(&fault);
		return;
	}
	CHECK(codec_encode(&m, again, sizeof(again)) == (int)len_bytes);
	CHECK(!memcmp(again + 4, data + 4, len_bytes - 4));
	if (m.form == CODEC_CALL && m.message->fds_max) {
		for (unsigned int i = 0; i < f.header.nfds; i++)
			f.fds[i] = dup(STDIN_FILENO);
		check_config(&m, &f);
		frame_finish(&f);
	}
	if (m.form == CODEC_REPLY && m.message->method == METHOD_HOST_GET_INFO)
		check_info(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	/* The frame reader hands over whole frames of a multiple of 8 only. */
	len_bytes &= ~(size_t)7;
	if (len_bytes < FRAME_HEADER_BYTES || len_bytes > FRAME_SIZE_MAX)
		return 0;
	check_side(CODEC_SERVER, data, (uint32_t)len_bytes);
	check_side(CODEC_CLIENT, data, (uint32_t)len_bytes);
	return 0;
}

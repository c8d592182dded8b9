/* SPDX-License-Identifier: Apache-2.0 */
/* Every line of vectors.txt, made by an independent encoder, decodes and re-encodes to its bytes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/codec.h"
#include "rpc/config_table.h"

#define LINES        18
#define VECTORS_FILE RINGVISOR_SOURCE "/tests/conformance/vectors.txt"

struct vector {
	char name[128];
	enum codec_side side; /* which end receives it */
	uint8_t bytes[512];
	uint32_t len_bytes;
};

static struct vector vectors[LINES + 1];

static void parse_line(const char *line, struct vector *v)
{
	char direction[8], hex[2 * sizeof(v->bytes) + 1];

	cr_assert_eq(sscanf(line, "%127s %7s %1024s", v->name, direction, hex), 3);
	v->side = strcmp(direction, "c2s") ? CODEC_CLIENT : CODEC_SERVER;
	v->len_bytes = (uint32_t)strlen(hex) / 2;
	for (uint32_t i = 0; i < v->len_bytes; i++) {
		unsigned int byte;

		cr_assert_eq(sscanf(hex + (size_t)i * 2, "%2x", &byte), 1);
		v->bytes[i] = (uint8_t)byte;
	}
}

static void load_vectors(void)
{
	FILE *f = fopen(VECTORS_FILE, "r");
	char line[2048];
	size_t count = 0;

	cr_assert(f, "cannot open " VECTORS_FILE);
	while (fgets(line, sizeof(line), f) && count <= LINES)
		parse_line(line, &vectors[count++]);
	fclose(f);
	cr_assert_eq(count, LINES);
}

/* Through the stream reader, with as many descriptors as the header announces. */
static void read_frame(const struct vector *v, struct frame_reader *r, struct frame *f)
{
	struct frame_header h;
	struct diag d;
	int fds[FRAME_FDS_MAX];

	frame_header_get(&h, v->bytes);
	for (int i = 0; i < h.nfds; i++) {
		fds[i] = dup(STDIN_FILENO);
		cr_assert_geq(fds[i], 0);
	}
	frame_reader_init(r);
	cr_assert_eq(frame_reader_push(r, v->bytes, v->len_bytes, fds, h.nfds), (int)v->len_bytes);
	cr_assert_eq(frame_reader_next(r, f, &d), 1, "%s: %s", v->name, d.text);
}

static void decode_vector(
	const char *name, struct frame_reader *r, struct frame *f, struct codec_message *m)
{
	struct codec_fault fault;

	load_vectors();
	for (int i = 0; i < LINES; i++) {
		if (strcmp(vectors[i].name, name))
			continue;
		read_frame(&vectors[i], r, f);
		cr_assert_eq(codec_decode(vectors[i].side, f, m, &fault), CODEC_OK, "%s",
			fault.text.text);
		return;
	}
	cr_assert_fail("no vector %s", name);
}

static void check_config(const struct vector *v, struct frame *f, struct codec_message *m)
{
	static uint8_t again[FRAME_SIZE_MAX], table[FRAME_SIZE_MAX];
	struct wire_writer w = {.buf = table, .room = sizeof(table)};
	struct guest_config config;
	struct codec_fault fault;
	struct codec_message out = *m;
	struct diag d;
	int fds[FRAME_FDS_MAX];

	config_init(&config);
	cr_assert_eq(config_table_decode(m, f, &config, &fault), CODEC_OK, "%s", fault.text.text);
	cr_assert_eq(config_table_encode(&config, &w, &out.p.create.config, fds, &out.nfds, &d), 0);
	cr_assert_eq(codec_encode(&out, again, sizeof(again)), (int)v->len_bytes);
	cr_assert_eq(memcmp(again, v->bytes, v->len_bytes), 0);
	config_finish(&config);
}

Test(vectors, each_decodes_and_encodes_to_the_same_bytes)
{
	load_vectors();
	for (int i = 0; i < LINES; i++) {
		const struct vector *v = &vectors[i];
		uint8_t again[1024];
		struct codec_message m;
		struct codec_fault fault;
		struct frame_reader r;
		struct frame f;

		read_frame(v, &r, &f);
		cr_assert_eq(codec_decode(v->side, &f, &m, &fault), CODEC_OK, "%s: %s", v->name,
			fault.text.text);
		cr_assert_eq(
			codec_encode(&m, again, sizeof(again)), (int)v->len_bytes, "%s", v->name);
		cr_assert_eq(memcmp(again, v->bytes, v->len_bytes), 0, "%s", v->name);
		if (m.message->method == METHOD_LIFECYCLE_CREATE && m.form == CODEC_CALL)
			check_config(v, &f, &m);
		frame_finish(&f);
		frame_reader_finish(&r);
	}
}

Test(vectors, names_say_what_is_decoded)
{
	struct codec_message m;
	struct frame_reader r;
	struct frame f;

	decode_vector("host.open_lifecycle.new_id=1.name=web-1", &r, &f, &m);
	cr_assert_eq(m.p.open.new_id, 1);
	cr_assert(wire_string_is(m.p.open.name, "web-1"));
	frame_reader_finish(&r);

	decode_vector("reply.error.guest_error.13.not_created", &r, &f, &m);
	cr_assert_eq(m.form, CODEC_ERROR);
	cr_assert_eq(m.p.error.domain, DOMAIN_GUEST_ERROR);
	cr_assert_eq(m.p.error.code, GUEST_NOT_CREATED);
	frame_reader_finish(&r);

	decode_vector("guest.closed.epitaph=internal", &r, &f, &m);
	cr_assert_eq(m.message->shape, SHAPE_EVENT);
	cr_assert_eq(m.object, 2);
	cr_assert_eq(m.p.closed.epitaph, STATUS_INTERNAL);
	frame_reader_finish(&r);

	decode_vector("acceptor.accept.cid=42.src_port=5000.port=1024", &r, &f, &m);
	cr_assert_eq(m.object, 7);
	cr_assert_eq(m.p.accept.src_cid, 42);
	cr_assert_eq(m.p.accept.src_port, 5000);
	cr_assert_eq(m.p.accept.port, 1024);
	frame_reader_finish(&r);

	decode_vector("vsock.connect.reply.host_port=49152", &r, &f, &m);
	cr_assert_eq(m.p.vsock_connected.host_port, 49152);
	frame_finish(&f);
	frame_reader_finish(&r);

	decode_vector("violation.code=4.invalid_args.txid=12", &r, &f, &m);
	cr_assert_eq(m.p.violation.code, STATUS_INVALID_ARGS);
	cr_assert_eq(m.p.violation.txid, 12);
	cr_assert(wire_string_is(m.p.violation.detail, "size 17 is not a multiple of 8"));
	frame_reader_finish(&r);
}

Test(vectors, balloon_statistics_are_walked_by_a_cursor)
{
	struct wire_cursor cursor;
	struct balloon_stat stat;
	struct codec_message m;
	struct frame_reader r;
	struct frame f;

	decode_vector("balloon.stats.reply.free=4096.total=65536", &r, &f, &m);
	cr_assert_eq(m.p.balloon_stats.status, STATUS_OK);
	wire_cursor_init(&cursor, &m.p.balloon_stats.stats, &layout_balloon_stat);
	cr_assert(wire_cursor_next(&cursor, &stat));
	cr_assert_eq(stat.tag, 4);
	cr_assert_eq(stat.value, 4096);
	cr_assert(wire_cursor_next(&cursor, &stat));
	cr_assert_eq(stat.tag, 5);
	cr_assert_eq(stat.value, 65536);
	cr_assert_not(wire_cursor_next(&cursor, &stat));
	frame_reader_finish(&r);
}

Test(vectors, configs_hold_what_their_names_say)
{
	struct guest_config config;
	struct codec_fault fault;
	struct codec_message m;
	struct frame_reader r;
	struct frame f;

	decode_vector(
		"lifecycle.create.builtin.cpus=2.memory=64MiB.console.vsock.cid=42", &r, &f, &m);
	config_init(&config);
	cr_assert_eq(config_table_decode(&m, &f, &config, &fault), CODEC_OK);
	cr_assert_eq(config.kernel_type, KERNEL_BUILTIN);
	cr_assert_eq(config.cpus, 2);
	cr_assert_eq(config.guest_memory, 64 << 20);
	cr_assert(config.console && config.vsock);
	cr_assert_eq(config.guest_cid, 42);
	config_finish(&config);
	frame_reader_finish(&r);

	decode_vector("lifecycle.create.linux.kernel=path.ramdisk=fd0.cmdline_add=[quiet,panic=-1]",
		&r, &f, &m);
	cr_assert_eq(config_table_decode(&m, &f, &config, &fault), CODEC_OK);
	cr_assert_str_eq(config.kernel.path, "/boot/vmlinuz");
	cr_assert_geq(config.ramdisk.fd, 0);
	cr_assert_str_eq(config.cmdline, "console=hvc0");
	cr_assert_eq(config.cmdline_add_count, 2);
	cr_assert_str_eq(config.cmdline_add[1], "panic=-1");
	config_finish(&config);
	frame_finish(&f);
	frame_reader_finish(&r);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ping: the round trip of one small call (Host.Info) on a connection that is otherwise idle.
 * calls: as many of them as one pipelined connection carries.
 * serve-start: the daemon's CPU time until a client is connected.
 * Each against a thread that answers the same bytes with read and write and does nothing else, on
 * the same CPU. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/daemon.h"

#define BATCH        64 /* calls with one write */
#define REPLY_MAX    512
#define REPLY_NORMAL 120 /* for the thread, if it has no daemon's to copy */

/* One end of a conversation; the other is a daemon or a thread. */
struct talk {
	struct daemon daemon;
	bool raw;
	int fd;
	uint32_t reply_bytes;
	uint8_t call[BATCH * FRAME_HEADER_BYTES], replies[BATCH * REPLY_MAX];

	pthread_t thread; /* raw: the one that answers */
	int far, cpu;
};

static int info_call(struct daemon *d, struct diag *diag)
{
	struct codec_message call;

	codec_call_init(&call, METHOD_HOST_INFO, 0, daemon_txid(d));
	return daemon_call(d, &call, diag);
}

/* Answers each header-sized call with as many bytes as the daemon does; many with one write. */
static void *raw_main(void *arg)
{
	struct talk *t = arg;
	uint8_t calls[4096], replies[sizeof(calls) / FRAME_HEADER_BYTES * REPLY_MAX] = {0};
	size_t have = 0;
	ssize_t n;

	CHECK(bench_pin(t->cpu) == 0);
	while ((n = read(t->far, calls + have, sizeof(calls) - have)) > 0) {
		size_t whole;

		have += (size_t)n;
		whole = have / FRAME_HEADER_BYTES;
		if (!io_write_all(t->far, replies, whole * t->reply_bytes))
			break;
		have -= whole * FRAME_HEADER_BYTES;
	}
	return NULL;
}

static int raw_start(struct talk *t, struct diag *d)
{
	int pair[2], err;

	t->reply_bytes = REPLY_NORMAL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return diag_errno(d, -errno, "socketpair");
	t->fd = pair[0];
	t->far = pair[1];
	err = -pthread_create(&t->thread, NULL, raw_main, t);
	if (err) {
		close(pair[0]);
		close(pair[1]);
		return diag_errno(d, err, "a thread");
	}
	return 0;
}

static int daemon_talk_start(struct talk *t, struct diag *d)
{
	int err = daemon_start(&t->daemon, t->cpu, d);

	if (err)
		return err;
	err = info_call(&t->daemon, d);
	if (err < 0 || err > REPLY_MAX) {
		daemon_end(&t->daemon);
		return err < 0 ? err : diag_fail(d, -EPROTO, "the reply has %d bytes", err);
	}
	t->reply_bytes = (uint32_t)err;
	t->fd = t->daemon.fd;
	return 0;
}

static int talk_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct talk *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->raw = v->role != BENCH_MEASURED;
	t->cpu = bench_cpu(o, 1);
	for (unsigned int i = 0; i < BATCH; i++)
		frame_header_put(&(struct frame_header){.size = FRAME_HEADER_BYTES,
					 .txid = i + 1,
					 .method = METHOD_HOST_INFO},
			t->call + i * FRAME_HEADER_BYTES);
	err = t->raw ? raw_start(t, d) : daemon_talk_start(t, d);
	if (err)
		free(t);
	else
		*state = t;
	return err;
}

static void talk_teardown(void *state)
{
	struct talk *t = state;

	if (t->raw) {
		shutdown(t->fd, SHUT_RDWR);
		pthread_join(t->thread, NULL);
		close(t->fd);
		close(t->far);
	} else {
		daemon_end(&t->daemon);
	}
	free(t);
}

static int talk_once(struct talk *t, unsigned int calls, struct diag *d)
{
	if (!io_write_all(t->fd, t->call, calls * FRAME_HEADER_BYTES) ||
		!io_read_all(t->fd, t->replies, (size_t)calls * t->reply_bytes))
		return diag_fail(d, -EIO, "the other end is gone");
	return 0;
}

static int ping_slice(void *state, struct bench_slice *s, struct diag *d)
{
	uint64_t start;
	int err;

	do {
		start = bench_now(s);
		err = talk_once(state, 1, d);
	} while (!err && bench_record(s, start, bench_now(s)));
	return err;
}

/* Two batches are on their way at any time, so that neither end waits for the other. */
static int calls_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct talk *t = state;
	bool fine = io_write_all(t->fd, t->call, sizeof(t->call));

	do {
		fine = fine && io_write_all(t->fd, t->call, sizeof(t->call)) &&
		       io_read_all(t->fd, t->replies, (size_t)BATCH * t->reply_bytes);
		bench_count(s, BATCH, 0);
	} while (fine && bench_more(s));
	fine = fine && io_read_all(t->fd, t->replies, (size_t)BATCH * t->reply_bytes);
	bench_count(s, BATCH, 0);
	return fine ? 0 : diag_fail(d, -EIO, "the other end is gone");
}

#define PING  talk_setup, ping_slice, talk_teardown
#define CALLS talk_setup, calls_slice, talk_teardown

static const struct bench_variant ping_variants[] = {
	{"ringvisor serve", BENCH_MEASURED, NULL, PING},
	{"read and write", BENCH_LIMIT, NULL, PING},
};

static const struct bench_target ping_targets[] = {
	{.of = {"ringvisor serve", BENCH_LATENCY, BENCH_P50},
		.over = {"read and write", BENCH_LATENCY, BENCH_P50},
		.bound = 1.3},
};

const struct bench bench_ping = {
	.name = "ping",
	.summary = "one call to the daemon and its reply, against a bare socket",
	.variant = ping_variants,
	.variants = ARRAY_SIZE(ping_variants),
	.target = ping_targets,
	.targets = ARRAY_SIZE(ping_targets),
};

static const struct bench_variant calls_variants[] = {
	{"ringvisor serve", BENCH_MEASURED, NULL, CALLS},
	{"read and write", BENCH_LIMIT, NULL, CALLS},
};

static const struct bench_target calls_targets[] = {
	{.of = {"ringvisor serve", BENCH_OPS, BENCH_P50}, .at_least = true, .bound = 150000},
	{.of = {"ringvisor serve", BENCH_OPS, BENCH_P50},
		.over = {"read and write", BENCH_OPS, BENCH_P50},
		.at_least = true,
		.bound = 0.5},
};

const struct bench bench_calls = {
	.name = "calls",
	.summary = "pipelined calls on one connection, against a bare socket",
	.variant = calls_variants,
	.variants = ARRAY_SIZE(calls_variants),
	.target = calls_targets,
	.targets = ARRAY_SIZE(calls_targets),
};

/* --- start --- */

static int start_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	uint64_t start;
	bool more;
	int err;

	(void)state;
	if (!daemon)
		return -ENOMEM;
	do {
		start = bench_now(s);
		err = daemon_start(daemon, -1, d);
		if (err)
			break;
		more = bench_record(s, start, bench_now(s));
		bench_set(s, "CPU time", "ms", (double)daemon->ready_cpu_ns / 1e6);
		daemon_end(daemon);
	} while (more);
	free(daemon);
	return err;
}

static const struct bench_variant start_variants[] = {
	{"ringvisor serve", BENCH_MEASURED, NULL, NULL, start_slice, NULL},
};

static const struct bench_target start_targets[] = {
	{.of = {"ringvisor serve", "CPU time", BENCH_P50}, .bound = 8},
};

const struct bench bench_serve_start = {
	.name = "serve-start",
	.summary = "exec of the daemon to a client that is connected, and its CPU time until then",
	.variant = start_variants,
	.variants = ARRAY_SIZE(start_variants),
	.target = start_targets,
	.targets = ARRAY_SIZE(start_targets),
};

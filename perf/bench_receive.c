/* SPDX-License-Identifier: Apache-2.0 */
/* receive-ping, receive-calls: what a connection of the control channel would gain from one
 * multishot receive into provided buffers over a receive each, straight into its own buffer. Real
 * frames, the daemon's own frame reader and a ring like the reactor's; everything else of the
 * daemon is left out, so that the difference is as large as it can be. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/daemon.h"
#include "perf/receiver.h"

#define BATCH 64 /* calls with one write */

struct talk {
	struct receiver receiver;
	int near, far;
	uint8_t calls[BATCH * FRAME_HEADER_BYTES], replies[BATCH * RECEIVER_REPLY_BYTES];
};

static const enum receiver_way rearmed = RECEIVER_REARMED, multishot = RECEIVER_MULTISHOT;

static int talk_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct talk *t = calloc(1, sizeof(*t));
	int pair[2], err;

	if (!t)
		return -ENOMEM;
	for (unsigned int i = 0; i < BATCH; i++)
		frame_header_put(
			&(struct frame_header){
				.size = FRAME_HEADER_BYTES, .txid = i + 1, .method = 1},
			t->calls + i * FRAME_HEADER_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(t);
		return diag_errno(d, -errno, "socketpair");
	}
	t->near = pair[0];
	t->far = pair[1];
	err = receiver_start(
		&t->receiver, *(const enum receiver_way *)v->arg, t->far, bench_cpu(o, 1), d);
	if (err) {
		close(pair[0]);
		close(pair[1]);
		free(t);
		return err;
	}
	*state = t;
	return 0;
}

static void talk_teardown(void *state)
{
	struct talk *t = state;

	shutdown(t->near, SHUT_RDWR);
	receiver_finish(&t->receiver);
	close(t->near);
	close(t->far);
	free(t);
}

static bool calls_write(struct talk *t, unsigned int calls)
{
	return io_write_all(t->near, t->calls, calls * FRAME_HEADER_BYTES);
}

static bool replies_read(struct talk *t, unsigned int calls)
{
	return io_read_all(t->near, t->replies, calls * RECEIVER_REPLY_BYTES);
}

static void set_rates(
	const struct talk *t, struct bench_slice *s, uint64_t enters, uint64_t receives)
{
	double ops = (double)s->ops;

	bench_set(s, "io_uring_enter", "a call", (double)(t->receiver.enters - enters) / ops);
	bench_set(s, "receives", "a call", (double)(t->receiver.receives - receives) / ops);
}

static int ping_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct talk *t = state;
	uint64_t enters = t->receiver.enters, receives = t->receiver.receives, start;

	do {
		start = bench_now(s);
		if (!calls_write(t, 1) || !replies_read(t, 1))
			return diag_fail(d, -EIO, "the other end is gone");
	} while (bench_record(s, start, bench_now(s)));
	set_rates(t, s, enters, receives);
	return 0;
}

/* As `calls`: two batches are on their way at any time. */
static int calls_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct talk *t = state;
	uint64_t enters = t->receiver.enters, receives = t->receiver.receives;
	bool fine = calls_write(t, BATCH);

	do {
		fine = fine && calls_write(t, BATCH) && replies_read(t, BATCH);
		bench_count(s, BATCH, 0);
	} while (fine && bench_more(s));
	fine = fine && replies_read(t, BATCH);
	bench_count(s, BATCH, 0);
	set_rates(t, s, enters, receives);
	return fine ? 0 : diag_fail(d, -EIO, "the other end is gone");
}

#define VARIANTS(slice)                                                                            \
	{                                                                                          \
		{"multishot, provided buffers", BENCH_MEASURED, &multishot, talk_setup, slice,     \
			talk_teardown},                                                            \
			{"a receive each", BENCH_PEER, &rearmed, talk_setup, slice,                \
				talk_teardown},                                                    \
	}

static const struct bench_variant ping_variants[] = VARIANTS(ping_slice);
static const struct bench_variant calls_variants[] = VARIANTS(calls_slice);

const struct bench bench_receive_ping = {
	.name = "receive-ping",
	.summary = "one frame and its answer: two ways for the daemon to receive",
	.variant = ping_variants,
	.variants = ARRAY_SIZE(ping_variants),
};

const struct bench bench_receive_calls = {
	.name = "receive-calls",
	.summary = "pipelined frames: two ways for the daemon to receive",
	.variant = calls_variants,
	.variants = ARRAY_SIZE(calls_variants),
};

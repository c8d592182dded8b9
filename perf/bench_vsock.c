/* SPDX-License-Identifier: Apache-2.0 */
/* vsock-ping, vsock-out, vsock-in, vsock-streams, vsock-connect: the embedded guest and a client of
 * its Unix socket, against two threads with a pair of sockets. The client and the reactor are on
 * the first chosen CPU, the guest (or the second thread) on the second.
 *
 * The round trip is timed at the client's end: of a ping-pong that is the same time as at the
 * guest's. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/vsock_guest.h"

#define BLOCK_BYTES  65536
#define STREAMS_MAX  64
#define STORM_PORT   5000
#define STORM_COUNT  2000
#define STORM_AT_ONE 32

/* What one variant is: the size of a message, a block or of the guest's buffers, or how many
 * connections are opened at a time; how many there are. */
struct vsock_arg {
	uint32_t port;
	unsigned int size_bytes, streams;
	const char *start; /* options of the guest's driver */
};

struct vsock_bench {
	struct vsock_guest guest;
	const struct vsock_arg *arg;
	int fd[STREAMS_MAX];
	double enters; /* of the reactor, when the slice began */
	/* The second thread of what is raw; or who accepts. */
	pthread_t thread;
	bool threaded;
	int other[STREAMS_MAX]; /* its sockets; the first is the one if there is one */
	int cpu;
	uint8_t buf[BLOCK_BYTES];
};

static int failed(struct diag *d)
{
	return diag_errno(d, errno ? -errno : -EPIPE, "a vsock connection");
}

/* --- life --- */

static void teardown(void *state)
{
	struct vsock_bench *b = state;

	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		if (b->fd[i] >= 0)
			close(b->fd[i]);
	if (b->threaded) {
		shutdown(b->other[0], SHUT_RDWR);
		pthread_join(b->thread, NULL);
	}
	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		if (b->other[i] >= 0)
			close(b->other[i]);
	vsock_guest_end(&b->guest);
	free(b);
}

static struct vsock_bench *bench_new(const struct bench_variant *v, const struct bench_options *o)
{
	struct vsock_bench *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->arg = v->arg;
	b->cpu = bench_cpu(o, 1);
	memset(b->fd, -1, sizeof(b->fd));
	memset(b->other, -1, sizeof(b->other));
	return b;
}

static int guest_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct vsock_bench *b = bench_new(v, o);
	int err = b ? vsock_guest_start(&b->guest, o, b->arg->start, d) : -ENOMEM;

	for (unsigned int i = 0; !err && i < b->arg->streams; i++) {
		b->fd[i] = vsock_guest_dial(&b->guest, b->arg->port, d);
		err = b->fd[i] < 0 ? b->fd[i] : 0;
	}
	if (err && b)
		teardown(b);
	else
		*state = b;
	return err;
}

static int raw_start(const struct bench_variant *v, const struct bench_options *o,
	void *(*thread)(void *), void **state, struct diag *d)
{
	struct vsock_bench *b = bench_new(v, o);
	int pair[2];

	if (!b)
		return -ENOMEM;
	for (unsigned int i = 0; i < b->arg->streams; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			int err = diag_errno(d, -errno, "socketpair");

			teardown(b);
			return err;
		}
		b->fd[i] = pair[0];
		b->other[i] = pair[1];
	}
	CHECK(pthread_create(&b->thread, NULL, thread, b) == 0);
	b->threaded = true;
	*state = b;
	return 0;
}

static int streams_epoll(const int *fd, unsigned int n, uint32_t events)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned int i = 0; epoll >= 0 && i < n; i++) {
		struct epoll_event e = {.events = events, .data.u32 = i};

		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd[i], &e) == 0);
	}
	return epoll;
}

/* --- the second thread of what is raw --- */

static void *echo_main(void *arg)
{
	struct vsock_bench *b = arg;
	uint8_t buf[BLOCK_BYTES];
	ssize_t n;

	bench_pin(b->cpu);
	while ((n = read(b->other[0], buf, sizeof(buf))) > 0)
		if (send(b->other[0], buf, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	return NULL;
}

static void *source_main(void *arg)
{
	struct vsock_bench *b = arg;
	static uint8_t block[BLOCK_BYTES];

	bench_pin(b->cpu);
	while (send(b->other[0], block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* A block into each that has room. The first that is shut down ends it. */
static void *sources_main(void *arg)
{
	struct vsock_bench *b = arg;
	static uint8_t block[BLOCK_BYTES];
	struct epoll_event ready[STREAMS_MAX];
	int epoll = streams_epoll(b->other, b->arg->streams, EPOLLOUT), n;
	bool ok = true;

	bench_pin(b->cpu);
	while (ok && (n = epoll_wait(epoll, ready, STREAMS_MAX, -1)) > 0)
		for (int i = 0; i < n && ok; i++)
			ok = send(b->other[ready[i].data.u32], block, sizeof(block),
				     MSG_NOSIGNAL | MSG_DONTWAIT) > 0 ||
			     errno == EAGAIN;
	close(epoll);
	return NULL;
}

static void *sink_main(void *arg)
{
	struct vsock_bench *b = arg;
	uint8_t buf[BLOCK_BYTES];

	bench_pin(b->cpu);
	while (read(b->other[0], buf, sizeof(buf)) > 0)
		;
	return NULL;
}

static int raw_echo_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	return raw_start(v, o, echo_main, state, d);
}

static int raw_source_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	return raw_start(v, o, source_main, state, d);
}

static int raw_sources_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	return raw_start(v, o, sources_main, state, d);
}

static int raw_sink_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	return raw_start(v, o, sink_main, state, d);
}

/* --- slices --- */

static bool is_guest(const struct vsock_bench *b)
{
	return b->guest.client;
}

static void calls_begin(struct vsock_bench *b)
{
	b->enters = is_guest(b) ? vsock_guest_enters(&b->guest) : 0;
}

static void calls_end(struct vsock_bench *b, struct bench_slice *s, uint64_t ops)
{
	if (is_guest(b) && ops)
		bench_set(s, "system calls", "per packet",
			(vsock_guest_enters(&b->guest) - b->enters) / (double)ops);
}

static bool ping_once(struct vsock_bench *b)
{
	size_t size = b->arg->size_bytes, got = 0;

	if (send(b->fd[0], b->buf, size, MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	while (got < size) {
		ssize_t n = read(b->fd[0], b->buf, size - got);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static int ping_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct vsock_bench *b = state;
	uint64_t start, end;

	calls_begin(b);
	do {
		start = bench_now(s);
		if (!ping_once(b))
			return failed(d);
		end = bench_now(s);
	} while (bench_record(s, start, end));
	calls_end(b, s, 2 * s->ops);
	return 0;
}

static int out_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct vsock_bench *b = state;

	calls_begin(b);
	do {
		ssize_t n = read(b->fd[0], b->buf, sizeof(b->buf));

		if (n <= 0)
			return failed(d);
		bench_count(s, 0, (uint64_t)n);
	} while (bench_more(s));
	calls_end(b, s, s->bytes / b->arg->size_bytes);
	return 0;
}

static int in_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct vsock_bench *b = state;

	calls_begin(b);
	do {
		ssize_t n = send(b->fd[0], b->buf, sizeof(b->buf), MSG_NOSIGNAL);

		if (n <= 0)
			return failed(d);
		bench_count(s, 0, (uint64_t)n);
	} while (bench_more(s));
	calls_end(b, s, s->bytes / b->arg->size_bytes);
	return 0;
}

/* Jain's index: 1 if all have the same, 1/n if one has all. */
static double fairness(const uint64_t *bytes, unsigned int n)
{
	double sum = 0, squares = 0;

	for (unsigned int i = 0; i < n; i++) {
		sum += (double)bytes[i];
		squares += (double)bytes[i] * (double)bytes[i];
	}
	return squares > 0 ? sum * sum / (n * squares) : 0;
}

/* One block of each connection that has something. */
static bool streams_read(struct vsock_bench *b, int epoll, struct bench_slice *s, uint64_t *bytes)
{
	struct epoll_event ready[STREAMS_MAX];
	int n = epoll_wait(epoll, ready, STREAMS_MAX, SERVED_WAIT_MS);

	for (int i = 0; i < n; i++) {
		ssize_t got = read(b->fd[ready[i].data.u32], b->buf, sizeof(b->buf));

		if (got <= 0)
			return false;
		bytes[ready[i].data.u32] += (uint64_t)got;
		bench_count(s, 0, (uint64_t)got);
	}
	return n > 0;
}

static int streams_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct vsock_bench *b = state;
	uint64_t bytes[STREAMS_MAX] = {0};
	int epoll = streams_epoll(b->fd, b->arg->streams, EPOLLIN);
	bool ok;

	if (epoll < 0)
		return failed(d);
	do {
		ok = streams_read(b, epoll, s, bytes);
	} while (ok && bench_more(s));
	close(epoll);
	if (!ok)
		return failed(d);
	bench_set(s, "fairness", "Jain", fairness(bytes, b->arg->streams));
	return 0;
}

/* --- connections --- */

/* Takes what comes and lets it go when the guest does. */
static void *accept_main(void *arg)
{
	struct vsock_bench *b = arg;
	int held[2 * STORM_AT_ONE], fd;
	unsigned int at = 0;

	bench_pin(b->cpu);
	memset(held, -1, sizeof(held));
	while ((fd = accept(b->other[0], NULL, NULL)) >= 0) {
		if (held[at] >= 0)
			close(held[at]);
		held[at] = fd;
		at = (at + 1) % ARRAY_SIZE(held);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i] >= 0)
			close(held[i]);
	return NULL;
}

static int storm_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct vsock_bench *b;
	int err = guest_setup(v, o, state, d);

	if (err)
		return err;
	b = *state;
	b->other[0] = vsock_guest_listen(&b->guest, STORM_PORT, d);
	if (b->other[0] < 0) {
		err = b->other[0];
		teardown(b);
		return err;
	}
	b->cpu = bench_cpu(o, 0);
	CHECK(pthread_create(&b->thread, NULL, accept_main, b) == 0);
	b->threaded = true;
	return 0;
}

/* The guest counts and times them itself. */
static int storm_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct vsock_bench *b = state;
	unsigned int count = s->options->smoke ? 100 : STORM_COUNT;
	char line[64];
	double rate = 0;
	unsigned int n = 0;

	snprintf(line, sizeof(line), "vsock storm %u %u %u", STORM_PORT, count, b->arg->size_bytes);
	do {
		int err = vsock_guest_command(&b->guest, line, d);
		const char *at = err ? NULL : strstr(b->guest.said, "per_s=");

		if (!at)
			return err ? err : diag_fail(d, -EIO, "no rate in the guest's answer");
		rate += strtod(at + strlen("per_s="), NULL);
		n++;
	} while (bench_more(s));
	bench_set(s, "connections", "/s", rate / n);
	return 0;
}

/* --- the tables --- */

static const struct vsock_arg ping_1 = {VSOCK_GUEST_ECHO, 1, 1, NULL},
			      ping_4096 = {VSOCK_GUEST_ECHO, 4096, 1, NULL},
			      out_one = {VSOCK_GUEST_SOURCE, BLOCK_BYTES, 1, NULL},
			      out_many = {VSOCK_GUEST_SOURCE, BLOCK_BYTES, STREAMS_MAX, NULL},
			      in_4k = {VSOCK_GUEST_DISCARD, 4096, 1, "buf=4096"},
			      in_64k = {VSOCK_GUEST_DISCARD, BLOCK_BYTES, 1, "buf=65536"},
			      storm_1 = {0, 1, 0, NULL}, storm_many = {0, STORM_AT_ONE, 0, NULL};

#define GUEST(name, arg, slice)                                                                    \
	{                                                                                          \
		name, BENCH_MEASURED, &arg, guest_setup, slice, teardown                           \
	}
#define RAW(name, arg, setup, slice)                                                               \
	{                                                                                          \
		name, BENCH_LIMIT, &arg, setup, slice, teardown                                    \
	}
#define RATIO(a, b, what, at, least, ratio)                                                        \
	{                                                                                          \
		.of = {a, what, at}, .over = {b, what, at}, .at_least = least, .bound = ratio      \
	}

static const struct bench_variant ping_variants[] = {
	GUEST("1 byte", ping_1, ping_slice),
	RAW("raw, 1 byte", ping_1, raw_echo_setup, ping_slice),
	GUEST("4096 bytes", ping_4096, ping_slice),
	RAW("raw, 4096 bytes", ping_4096, raw_echo_setup, ping_slice),
};
static const struct bench_target ping_targets[] = {
	RATIO("1 byte", "raw, 1 byte", BENCH_LATENCY, BENCH_P50, false, 2.0),
	RATIO("4096 bytes", "raw, 4096 bytes", BENCH_LATENCY, BENCH_P50, false, 2.0),
	{.of = {"1 byte", BENCH_LATENCY, BENCH_P99},
		.over = {"1 byte", BENCH_LATENCY, BENCH_P50},
		.bound = 3},
	{.of = {"4096 bytes", BENCH_LATENCY, BENCH_P99},
		.over = {"4096 bytes", BENCH_LATENCY, BENCH_P50},
		.bound = 3},
};

static const struct bench_variant out_variants[] = {
	GUEST("64 KiB packets", out_one, out_slice),
	RAW("raw", out_one, raw_source_setup, out_slice),
};
static const struct bench_target out_targets[] = {
	RATIO("64 KiB packets", "raw", BENCH_BYTES, BENCH_P50, true, 0.8),
};

static const struct bench_variant in_variants[] = {
	GUEST("4 KiB buffers", in_4k, in_slice),
	GUEST("64 KiB buffers", in_64k, in_slice),
	RAW("raw", in_64k, raw_sink_setup, in_slice),
};
static const struct bench_target in_targets[] = {
	RATIO("4 KiB buffers", "raw", BENCH_BYTES, BENCH_P50, true, 0.5),
	RATIO("64 KiB buffers", "raw", BENCH_BYTES, BENCH_P50, true, 0.7),
};

static const struct bench_variant streams_variants[] = {
	GUEST("64 streams", out_many, streams_slice),
	{"1 stream", BENCH_PEER, &out_one, guest_setup, streams_slice, teardown},
	RAW("raw, 64 pairs", out_many, raw_sources_setup, streams_slice),
	RAW("raw, 1 pair", out_one, raw_sources_setup, streams_slice),
};
static const struct bench_target streams_targets[] = {
	RATIO("64 streams", "1 stream", BENCH_BYTES, BENCH_P50, true, 1.0),
	{.of = {"64 streams", "fairness", BENCH_P50}, .at_least = true, .bound = 0.95},
};

static const struct bench_variant connect_variants[] = {
	{"32 at a time", BENCH_MEASURED, &storm_many, storm_setup, storm_slice, teardown},
	{"one at a time", BENCH_MEASURED, &storm_1, storm_setup, storm_slice, teardown},
};
static const struct bench_target connect_targets[] = {
	{.of = {"32 at a time", "connections", BENCH_P50}, .at_least = true, .bound = 10000},
};

#define BENCH(text, about, table)                                                                  \
	{                                                                                          \
		.name = text, .summary = about, .variant = table##_variants,                       \
		.variants = ARRAY_SIZE(table##_variants), .target = table##_targets,               \
		.targets = ARRAY_SIZE(table##_targets),                                            \
	}

const struct bench bench_vsock_ping =
	BENCH("vsock-ping", "client to guest to client over vsock", ping);
const struct bench bench_vsock_out = BENCH("vsock-out", "guest to client over vsock", out);
const struct bench bench_vsock_in = BENCH("vsock-in", "client to guest over vsock", in);
const struct bench bench_vsock_streams =
	BENCH("vsock-streams", "guest to client over vsock, one connection and many", streams);
const struct bench bench_vsock_connect =
	BENCH("vsock-connect", "connections that the guest opens and closes", connect);

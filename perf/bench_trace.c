/* SPDX-License-Identifier: Apache-2.0 */
/* trace-vsock, trace-console: what the probes cost a daemon, compiled in and idle, and with
 * `ringtrace hist` attached, against one that was built without them (the target
 * ringvisor-noprobes). The daemon with all its threads is on the second chosen CPU, the client on
 * the first. trace-instructions: the same device code on a fake driver, counted by callgrind. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/daemon.h"
#include "perf/served.h"

#define MESSAGE_BYTES 64
#define ECHO          "CONNECT 7\n"
#define MIB           1048576.0

struct trace_kind {
	const char *program; /* beside ringbench's folder */
	const char *hist;    /* of ringtrace; NULL: none is attached */
	bool console;
};

struct trace_bench {
	const struct trace_kind *kind;
	char folder[64], path[96], uds[96];
	char program[4096], tracer_path[4096], command[5000];
	struct child daemon, tracer;
	struct rv_client *client;
	int fd; /* the echo, or the console */
	uint8_t buf[65536];
};

/* --- set-up --- */

static int daemon_begin(struct trace_bench *b, struct diag *d)
{
	char *argv[] = {b->program, "serve", "--socket", b->path, NULL};

	child_path(b->program, sizeof(b->program), "", b->kind->program);
	if (access(b->program, X_OK))
		return diag_fail(d, -ENOTSUP,
			"no %s: cmake --build BUILD --target ringvisor-noprobes", b->program);
	return served_start(&b->daemon, argv, b->path, &b->client, d);
}

static int guest_begin(struct trace_bench *b, rv_object *guest, struct diag *d)
{
	struct rv_config *config = served_config(64 << 20);
	struct rv_error e;
	int err;

	if (!config)
		return -ENOMEM;
	if (b->kind->console) {
		rv_config_set_device(config, RV_DEVICE_CONSOLE, true);
		err = rv_config_set_cmdline(config, "run=console source 1000000000000000", &e);
	} else {
		rv_config_set_device(config, RV_DEVICE_VSOCK, true);
		err = rv_config_set_vsock_uds_path(config, b->uds, &e);
	}
	err = err ? served_failed(d, &e) : served_launch(b->client, config, guest, d);
	rv_config_destroy(config);
	return err;
}

/* "OK PORT\n"; false: the guest does not listen yet. */
static bool echo_answers(int fd)
{
	char answer[32] = "", *at = answer;

	while (at < answer + sizeof(answer) - 1 && read(fd, at, 1) == 1)
		if (*at++ == '\n')
			break;
	return !strncmp(answer, "OK ", 3);
}

static int echo_connect(struct trace_bench *b, struct diag *d)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", b->uds);
	for (unsigned int i = 0; i < SERVED_WAIT_MS / 10; i++) {
		b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (b->fd >= 0 && !connect(b->fd, (struct sockaddr *)&at, sizeof(at)) &&
			io_write_all(b->fd, ECHO, strlen(ECHO)) && echo_answers(b->fd))
			return 0;
		if (b->fd >= 0)
			close(b->fd);
		b->fd = -1;
		poll(NULL, 0, 10);
	}
	return diag_fail(d, -EIO, "the guest's echo does not answer");
}

/* Its messages come to us, so that it is known when it is attached. */
static int tracer_begin(struct trace_bench *b, struct diag *d)
{
	char *argv[] = {"/bin/sh", "-c", b->command, NULL};
	int err;

	child_path(b->tracer_path, sizeof(b->tracer_path), "RINGTRACE",
		"../src/trace/ringtrace/ringtrace");
	snprintf(b->command, sizeof(b->command), "exec '%s' --pid %d hist %s 2>&1", b->tracer_path,
		b->daemon.pid, b->kind->hist);
	err = child_start(&b->tracer, argv, d);
	if (!err && !child_expect(&b->tracer, "attached"))
		err = diag_fail(d, -ENOTSUP,
			"ringtrace cannot be attached here: try `ringtrace hist %s`",
			b->kind->hist);
	return err;
}

static void trace_teardown(void *state)
{
	struct trace_bench *b = state;

	if (b->tracer.pid)
		child_end(&b->tracer);
	if (b->fd >= 0)
		close(b->fd);
	rv_destroy(b->client);
	if (b->daemon.pid)
		child_end(&b->daemon);
	served_folder_remove(b->folder);
	free(b);
}

static int trace_start(struct trace_bench *b, struct diag *d)
{
	rv_object guest;
	struct rv_error e;
	int err = daemon_begin(b, d);

	if (!err)
		err = guest_begin(b, &guest, d);
	if (!err && b->kind->console)
		err = rv_guest_console(b->client, guest, &b->fd, SERVED_WAIT_MS, &e)
			      ? served_failed(d, &e)
			      : 0;
	else if (!err)
		err = echo_connect(b, d);
	if (!err && b->kind->hist)
		err = tracer_begin(b, d);
	return err;
}

static int trace_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct trace_bench *b = calloc(1, sizeof(*b));
	cpu_set_t before;
	int err;

	if (!b)
		return -ENOMEM;
	b->kind = v->arg;
	b->fd = -1;
	err = served_folder_make(b->folder, d);
	if (err) {
		free(b);
		return err;
	}
	snprintf(b->path, sizeof(b->path), "%s/s", b->folder);
	snprintf(b->uds, sizeof(b->uds), "%s/v", b->folder);
	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	if (o->cpus > 1)
		bench_pin(bench_cpu(o, 1));
	err = trace_start(b, d);
	sched_setaffinity(0, sizeof(before), &before);
	if (err)
		trace_teardown(b);
	else
		*state = b;
	return err;
}

/* --- slices --- */

static void tracer_memory(struct trace_bench *b, struct bench_slice *s)
{
	struct child_memory m;

	if (b->tracer.pid && child_memory_read(&b->tracer, "\n\n", &m))
		bench_set(s, "ringtrace", "MiB resident", (double)m.rss_bytes / MIB);
}

static int echo_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct trace_bench *b = state;
	uint64_t start, cpu = child_cpu_ns(&b->daemon), rounds = s->ops;

	do {
		start = bench_now(s);
		if (!io_write_all(b->fd, b->buf, MESSAGE_BYTES) ||
			!io_read_all(b->fd, b->buf, MESSAGE_BYTES))
			return diag_errno(d, -errno, "the echo's socket");
	} while (bench_record(s, start, bench_now(s)));
	bench_set(s, "daemon", "us CPU per round trip",
		(double)(child_cpu_ns(&b->daemon) - cpu) / 1e3 / (double)(s->ops - rounds));
	tracer_memory(b, s);
	return 0;
}

/* The guest has an endless stream; between the slices the full socket holds it up. */
static int stream_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct trace_bench *b = state;

	do {
		ssize_t n = read(b->fd, b->buf, sizeof(b->buf));

		if (n <= 0)
			return diag_errno(d, -errno, "the console's socket");
		bench_count(s, 0, (uint64_t)n);
	} while (bench_more(s));
	tracer_memory(b, s);
	return 0;
}

/* --- the tables --- */

#define PLAIN  "ringvisor-noprobes"
#define PROBED "../src/main/ringvisor"

static const struct trace_kind vsock_kinds[] = {
	{PLAIN, NULL, false}, {PROBED, NULL, false}, {PROBED, "vsock", false}};
static const struct trace_kind console_kinds[] = {
	{PLAIN, NULL, true}, {PROBED, NULL, true}, {PROBED, "console", true}};

#define VARIANTS(kinds, slice, hist)                                                               \
	{"no probes", BENCH_LIMIT, &(kinds)[0], trace_setup, slice, trace_teardown},               \
		{"detached", BENCH_MEASURED, &(kinds)[1], trace_setup, slice, trace_teardown},     \
	{                                                                                          \
		hist, BENCH_MEASURED, &(kinds)[2], trace_setup, slice, trace_teardown              \
	}
#define AGAINST_PLAIN(variant, metric, least, limit)                                               \
	{                                                                                          \
		.of = {variant, metric, BENCH_P50}, .over = {"no probes", metric, BENCH_P50},      \
		.at_least = least, .bound = limit                                                  \
	}

static const struct bench_variant vsock_variants[] = {
	VARIANTS(vsock_kinds, echo_slice, "hist vsock")};
static const struct bench_variant console_variants[] = {
	VARIANTS(console_kinds, stream_slice, "hist console")};

static const struct bench_target vsock_targets[] = {
	AGAINST_PLAIN("detached", BENCH_LATENCY, false, 1.01),
	AGAINST_PLAIN("hist vsock", BENCH_LATENCY, false, 1.1),
	{.of = {"hist vsock", "ringtrace", BENCH_P50}, .bound = 30},
};
static const struct bench_target console_targets[] = {
	AGAINST_PLAIN("detached", BENCH_BYTES, true, 0.99),
	AGAINST_PLAIN("hist console", BENCH_BYTES, true, 0.9),
	{.of = {"hist console", "ringtrace", BENCH_P50}, .bound = 30},
};

const struct bench bench_trace_vsock = {
	.name = "trace-vsock",
	.summary = "probes and ringtrace: 64 bytes to the guest's vsock echo and back",
	.variant = vsock_variants,
	.variants = ARRAY_SIZE(vsock_variants),
	.target = vsock_targets,
	.targets = ARRAY_SIZE(vsock_targets),
	.fresh = true,
};

const struct bench bench_trace_console = {
	.name = "trace-console",
	.summary = "probes and ringtrace: guest to client over the virtio console",
	.variant = console_variants,
	.variants = ARRAY_SIZE(console_variants),
	.target = console_targets,
	.targets = ARRAY_SIZE(console_targets),
	.fresh = true,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* inflate: a guest gives 1 GiB of pages that it has used to the host, in runs of 4 MiB; also one
 * that does not ask before it takes pages back (virtio 1.2 §5.5.3, MUST_TELL_HOST).
 * unplug: it unplugs 1 GiB of blocks of 2 MiB that it has used; plug: it plugs as many again.
 * Each with control calls on the guest's own reactor meanwhile, one a millisecond and as many as
 * go, and against a loop of madvise over a memory file of the same size. The times are the guest's
 * own, from its first request to its last answer. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "core/slice.h"
#include "perf/bench.h"
#include "perf/daemon.h"
#include "ringvisor/client.h"

#define GIB         (1ULL << 30)
#define SMOKE_BYTES (32ULL << 20)
#define SPARE_BYTES (128ULL << 20) /* of the guest, for itself */
#define BLOCK_BYTES (2ULL << 20)
#define CALL_MS     30000
#define GUEST_MS    120000

#define PAUSE_MS 1

/* What one of the variants does. */
struct kind {
	bool balloon, plug;
	uint64_t run_bytes; /* of one madvise */
	bool storm;         /* control calls without a pause */
	bool untold;        /* the guest does not say before it uses a page again */
};

static const struct kind inflate = {.balloon = true, .run_bytes = 4ULL << 20};
static const struct kind inflate_storm = {.balloon = true, .run_bytes = 4ULL << 20, .storm = true};
static const struct kind inflate_untold = {
	.balloon = true, .run_bytes = 4ULL << 20, .untold = true};
static const struct kind unplug = {.run_bytes = BLOCK_BYTES};
static const struct kind unplug_storm = {.run_bytes = BLOCK_BYTES, .storm = true};
static const struct kind plug = {.plug = true, .run_bytes = BLOCK_BYTES};
static const struct kind plug_storm = {.plug = true, .run_bytes = BLOCK_BYTES, .storm = true};

struct guest {
	const struct kind *kind;
	uint64_t bytes; /* given back in a round */
	struct daemon daemon;
	struct rv_client *client;
	rv_object guest, controller;
	int serial;
	char text[4096]; /* what the guest has said since the last command */
	size_t text_len;
};

static int client_failed(const struct rv_error *error, struct diag *d)
{
	return diag_fail(d, -EPROTO, "%s", error->detail);
}

/* --- the guest's shell --- */

static int shell_read(struct guest *g, int timeout_ms, struct diag *d)
{
	struct pollfd p = {.fd = g->serial, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return timeout_ms ? diag_fail(d, -ETIMEDOUT, "the guest says nothing") : 0;
	if (g->text_len == sizeof(g->text) - 1)
		g->text_len = 0;
	n = read(g->serial, g->text + g->text_len, sizeof(g->text) - 1 - g->text_len);
	if (n <= 0)
		return diag_fail(d, -EIO, "the guest is gone");
	g->text_len += (size_t)n;
	g->text[g->text_len] = '\0';
	return 0;
}

static int shell_send(struct guest *g, const char *line, struct diag *d)
{
	g->text_len = 0;
	g->text[0] = '\0';
	if (!io_write_all(g->serial, line, strlen(line)))
		return diag_fail(d, -EIO, "the guest is gone");
	return 0;
}

static bool shell_has_answer(const struct guest *g)
{
	const char *verdict = strstr(g->text, "VERDICT");

	return verdict && strstr(verdict, "> ");
}

/* The answer is complete: `us` of it, or the reason why not. */
static int shell_answer(const struct guest *g, uint64_t *us, struct diag *d)
{
	const char *verdict = strstr(g->text, "VERDICT"), *at = strstr(g->text, " us=");

	if (!verdict || !strstr(verdict, " ok\r\n") || !at)
		return diag_fail(d, -EPROTO, "the guest said: %.200s", g->text);
	*us = strtoull(at + 4, NULL, 10);
	return 0;
}

static int shell_command(struct guest *g, const char *line, struct diag *d)
{
	uint64_t us;
	int err = shell_send(g, line, d);

	while (!err && !shell_has_answer(g))
		err = shell_read(g, GUEST_MS, d);
	return err ? err : shell_answer(g, &us, d);
}

/* --- set-up --- */

/* All of it has been used, and is the guest's. */
static int balloon_fill(struct guest *g, struct diag *d)
{
	char line[64];
	int err;

	snprintf(line, sizeof(line), "balloon inflate %llu irq%s\n", g->bytes / 4096ULL,
		g->kind->untold ? " untold" : "");
	err = shell_command(g, line, d);
	return err ? err : shell_command(g, "balloon deflate 99999999\n", d);
}

static int guest_launch(struct guest *g, struct diag *d)
{
	struct rv_config *c = rv_config_create();
	struct rv_error error;
	int err;

	if (!c)
		return -ENOMEM;
	rv_config_set_kernel_type(c, RV_KERNEL_BUILTIN);
	rv_config_set_cpus(c, 1);
	rv_config_set_memory(c, SPARE_BYTES + (g->kind->balloon ? g->bytes : 0));
	if (g->kind->balloon) {
		rv_config_set_device(c, RV_DEVICE_BALLOON, true);
	} else {
		rv_config_set_device(c, RV_DEVICE_MEM, true);
		rv_config_set_mem(c, BLOCK_BYTES, g->bytes, 0);
	}
	err = rv_host_launch(g->client, "guest", c, &g->guest, CALL_MS, &error);
	rv_config_destroy(c);
	if (!err)
		err = rv_guest_serial(g->client, g->guest, &g->serial, CALL_MS, &error);
	if (!err)
		err = g->kind->balloon
			      ? rv_guest_balloon(
					g->client, g->guest, &g->controller, CALL_MS, &error)
			      : rv_guest_mem(g->client, g->guest, &g->controller, CALL_MS, &error);
	if (!err && !g->kind->balloon)
		err = rv_mem_request(g->client, g->controller, g->bytes, &error);
	if (err)
		return client_failed(&error, d);
	while (!err && !strstr(g->text, "> "))
		err = shell_read(g, GUEST_MS, d);
	return err || !g->kind->balloon ? err : balloon_fill(g, d);
}

static void guest_teardown(void *state)
{
	struct guest *g = state;

	rv_destroy(g->client);
	if (g->serial >= 0)
		close(g->serial);
	daemon_end(&g->daemon);
	free(g);
}

static int guest_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct rv_error error;
	int err;

	if (!g)
		return -ENOMEM;
	g->kind = v->arg;
	g->bytes = o->smoke ? SMOKE_BYTES : GIB;
	g->serial = -1;
	err = daemon_start(&g->daemon, bench_cpu(o, 1), d);
	if (err) {
		free(g);
		return err;
	}
	g->client = rv_connect(g->daemon.socket, NULL, NULL, CALL_MS, &error);
	err = g->client ? guest_launch(g, d) : client_failed(&error, d);
	if (err)
		guest_teardown(g);
	else
		*state = g;
	return err;
}

/* --- a round --- */

static int resident_get(struct guest *g, uint64_t *bytes, struct diag *d)
{
	struct rv_guest_info *info;
	struct rv_error error;

	if (rv_host_guest_info(g->client, "guest", &info, CALL_MS, &error))
		return client_failed(&error, d);
	*bytes = info->resident_bytes;
	rv_free(info);
	return 0;
}

/* Of virtio-mem all is the guest's, and used; or, before it is plugged, gone. Of the balloon it is
 * as balloon_fill left it: the guest fills what it deflates. */
static int memory_prepare(struct guest *g, struct diag *d)
{
	unsigned long long blocks = g->bytes / BLOCK_BYTES;
	char line[64];
	int err;

	if (g->kind->balloon)
		return 0;
	if (g->kind->plug)
		return shell_command(g, "hotplug all irq\n", d);
	snprintf(line, sizeof(line), "hotplug plug 0 %llu irq\n", blocks);
	err = shell_command(g, line, d);
	snprintf(line, sizeof(line), "hotplug fill 0 %llu\n", blocks);
	return err ? err : shell_command(g, line, d);
}

/* Control calls, one after the other, until the guest has done what it was told. Without a pause
 * between them they and their answers use up a CPU that the rest would have. */
static int calls_meanwhile(struct guest *g, struct bench_slice *s, struct diag *d)
{
	struct pollfd said = {.fd = g->serial, .events = POLLIN};
	struct rv_balloon_size pages;
	struct rv_mem_size size;
	struct rv_error error;

	while (!shell_has_answer(g)) {
		uint64_t start = bench_now(s);
		int err = g->kind->balloon ? rv_balloon_get_size(g->client, g->controller, &pages,
						     CALL_MS, &error)
					   : rv_mem_get_size(g->client, g->controller, &size,
						     CALL_MS, &error);

		if (err)
			return client_failed(&error, d);
		bench_record(s, start, bench_now(s));
		if (!g->kind->storm)
			poll(&said, 1, PAUSE_MS);
		err = shell_read(g, 0, d);
		if (err)
			return err;
	}
	return 0;
}

static int guest_round(struct guest *g, struct bench_slice *s, struct diag *d)
{
	uint64_t before, after, us;
	char line[64];
	int err = memory_prepare(g, d);

	if (!err)
		err = resident_get(g, &before, d);
	if (g->kind->balloon)
		snprintf(line, sizeof(line), "balloon inflate %llu as-is\n", g->bytes / 4096ULL);
	else
		/* By interrupt: a guest that polls takes the CPU from the work. */
		snprintf(line, sizeof(line), "hotplug %s 0 %llu irq\n",
			g->kind->plug ? "plug" : "unplug",
			(unsigned long long)(g->bytes / BLOCK_BYTES));
	if (!err)
		err = shell_send(g, line, d);
	if (!err)
		err = calls_meanwhile(g, s, d);
	if (!err)
		err = shell_answer(g, &us, d);
	if (!err)
		err = resident_get(g, &after, d);
	if (!err && g->kind->balloon)
		err = shell_command(g, "balloon deflate 99999999\n", d);
	if (err)
		return err;
	bench_set(s, "a GiB", "ms", (double)us / 1000 * GIB / g->bytes);
	if (g->kind->plug)
		bench_set(s, "not resident", "%",
			100.0 - 100.0 * ((double)after - (double)before) / (double)g->bytes);
	else
		bench_set(s, "given back", "%",
			100.0 * ((double)before - (double)after) / (double)g->bytes);
	return 0;
}

/* What is measured is the daemon's answer, not for how long this thread waits behind other programs
 * before it sees it. */
static int guest_slice(void *state, struct bench_slice *s, struct diag *d)
{
	int err;

	slice_short();
	do {
		err = guest_round(state, s, d);
	} while (!err && bench_more(s));
	slice_default();
	return err;
}

/* --- the loop --- */

static int loop_round(
	const struct kind *kind, uint64_t bytes, struct bench_slice *s, struct diag *d)
{
	int fd = memfd_create("ringbench", MFD_CLOEXEC), err = 0;
	uint64_t start;
	uint8_t *mem;

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		err = diag_errno(d, -errno, "a memory file");
	mem = err ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!err && mem == MAP_FAILED)
		err = diag_errno(d, -errno, "mmap");
	if (!err) {
		memset(mem, 0xa5, bytes);
		start = bench_now(s);
		for (uint64_t at = 0; at < bytes && !err; at += kind->run_bytes)
			if (madvise(mem + at, kind->run_bytes, MADV_REMOVE))
				err = diag_errno(d, -errno, "madvise");
		bench_set(s, "a GiB", "ms",
			(double)(bench_now(s) - start) / 1e6 * GIB / (double)bytes);
		munmap(mem, bytes);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static int inflate_loop(void *state, struct bench_slice *s, struct diag *d)
{
	(void)state;
	return loop_round(&inflate, s->options->smoke ? SMOKE_BYTES : GIB, s, d);
}

static int unplug_loop(void *state, struct bench_slice *s, struct diag *d)
{
	(void)state;
	return loop_round(&unplug, s->options->smoke ? SMOKE_BYTES : GIB, s, d);
}

#define GUEST guest_setup, guest_slice, guest_teardown

static const struct bench_variant inflate_variants[] = {
	{"balloon", BENCH_MEASURED, &inflate, GUEST},
	{"balloon, calls without a pause", BENCH_MEASURED, &inflate_storm, GUEST},
	{"balloon, without MUST_TELL_HOST", BENCH_MEASURED, &inflate_untold, GUEST},
	{"madvise", BENCH_LIMIT, NULL, NULL, inflate_loop, NULL},
};

static const struct bench_target inflate_targets[] = {
	{.of = {"balloon", "a GiB", BENCH_P50},
		.over = {"madvise", "a GiB", BENCH_P50},
		.bound = 1.5},
	{.of = {"balloon", "given back", BENCH_P50}, .at_least = true, .bound = 99},
	{.of = {"balloon", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
	{.of = {"balloon, calls without a pause", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
};

const struct bench bench_inflate = {
	.name = "inflate",
	.summary = "1 GiB through the balloon to the host, and control calls meanwhile",
	.variant = inflate_variants,
	.variants = ARRAY_SIZE(inflate_variants),
	.target = inflate_targets,
	.targets = ARRAY_SIZE(inflate_targets),
};

static const struct bench_variant unplug_variants[] = {
	{"virtio-mem", BENCH_MEASURED, &unplug, GUEST},
	{"virtio-mem, calls without a pause", BENCH_MEASURED, &unplug_storm, GUEST},
	{"madvise", BENCH_LIMIT, NULL, NULL, unplug_loop, NULL},
};

static const struct bench_target unplug_targets[] = {
	{.of = {"virtio-mem", "a GiB", BENCH_P50},
		.over = {"madvise", "a GiB", BENCH_P50},
		.bound = 1.5},
	{.of = {"virtio-mem", "given back", BENCH_P50}, .at_least = true, .bound = 99},
	{.of = {"virtio-mem", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
	{.of = {"virtio-mem, calls without a pause", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
};

const struct bench bench_unplug = {
	.name = "unplug",
	.summary = "1 GiB of virtio-mem unplugged in blocks of 2 MiB, and control calls meanwhile",
	.variant = unplug_variants,
	.variants = ARRAY_SIZE(unplug_variants),
	.target = unplug_targets,
	.targets = ARRAY_SIZE(unplug_targets),
};

static const struct bench_variant plug_variants[] = {
	{"virtio-mem", BENCH_MEASURED, &plug, GUEST},
	{"virtio-mem, calls without a pause", BENCH_MEASURED, &plug_storm, GUEST},
	{"madvise", BENCH_LIMIT, NULL, NULL, unplug_loop, NULL},
};

static const struct bench_target plug_targets[] = {
	{.of = {"virtio-mem", "a GiB", BENCH_P50},
		.over = {"madvise", "a GiB", BENCH_P50},
		.bound = 1.5},
	{.of = {"virtio-mem", "not resident", BENCH_P50}, .at_least = true, .bound = 99},
	{.of = {"virtio-mem", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
	{.of = {"virtio-mem, calls without a pause", BENCH_LATENCY, BENCH_P99}, .bound = 2e6},
};

const struct bench bench_plug = {
	.name = "plug",
	.summary = "1 GiB of virtio-mem plugged in blocks of 2 MiB, and control calls meanwhile",
	.variant = plug_variants,
	.variants = ARRAY_SIZE(plug_variants),
	.target = plug_targets,
	.targets = ARRAY_SIZE(plug_targets),
};

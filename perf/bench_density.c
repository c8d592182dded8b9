/* SPDX-License-Identifier: Apache-2.0 */
/* density: many embedded guests in one daemon: launched, all running, stopped again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/check.h"
#include "perf/bench.h"
#include "perf/daemon.h"
#include "rpc/config_table.h"

#define GUESTS       200
#define GUESTS_SMOKE 4
#define GUEST_BYTES  (32ULL << 20)

static int launch(struct daemon *daemon, unsigned int number, struct diag *d)
{
	struct guest_config config;
	struct codec_message call;
	uint8_t table[1024], nfds;
	struct wire_writer w = {.buf = table, .room = sizeof(table)};
	int fds[FRAME_FDS_MAX], err;
	char name[32];

	config_init(&config);
	config.kernel_type = KERNEL_BUILTIN;
	config.cpus = 1;
	config.guest_memory = GUEST_BYTES;
	config.given = CONFIG_BIT(CONFIG_KERNEL_TYPE) | CONFIG_BIT(CONFIG_CPUS) |
		       CONFIG_BIT(CONFIG_GUEST_MEMORY);
	codec_call_init(&call, METHOD_HOST_LAUNCH, 0, daemon_txid(daemon));
	snprintf(name, sizeof(name), "guest-%u", number);
	call.p.launch.new_id = number + 1;
	call.p.launch.name = wire_string_of(name);
	err = config_table_encode(&config, &w, &call.p.launch.config, fds, &nfds, d);
	return err ? err : daemon_call(daemon, &call, d);
}

static int stop(struct daemon *daemon, unsigned int number, struct diag *d)
{
	struct codec_message call;
	char name[32];

	codec_call_init(&call, METHOD_HOST_FORCE_SHUTDOWN, 0, daemon_txid(daemon));
	snprintf(name, sizeof(name), "guest-%u", number);
	call.p.name.name = wire_string_of(name);
	return daemon_call(daemon, &call, d);
}

/* All of them once: `step` a guest; the time of each is a sample. */
static int for_all(struct daemon *daemon, unsigned int guests, struct bench_slice *s,
	int (*step)(struct daemon *, unsigned int, struct diag *), const char *rate, struct diag *d)
{
	uint64_t begin = bench_now(s), start;
	int err = 0;

	for (unsigned int i = 0; i < guests && err >= 0; i++) {
		start = bench_now(s);
		err = step(daemon, i, d);
		if (step == launch)
			bench_record(s, start, bench_now(s));
	}
	bench_set(s, rate, "1/s", guests / ((double)(bench_now(s) - begin) / 1e9));
	return err < 0 ? err : 0;
}

/* The daemon is started with the affinity that ringbench came with: virtual CPUs go everywhere. */
static int density_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int err;

	(void)v;
	if (!daemon)
		return -ENOMEM;
	err = daemon_start(daemon, bench_cpu(o, 1), d);
	if (err)
		free(daemon);
	else
		*state = daemon;
	return err;
}

static void density_teardown(void *state)
{
	daemon_end(state);
	free(state);
}

static int density_slice(void *state, struct bench_slice *s, struct diag *d)
{
	unsigned int guests = s->options->smoke ? GUESTS_SMOKE : GUESTS;
	struct child_memory before, after;
	struct daemon *daemon = state;
	int err;

	CHECK(child_memory_read(&daemon->child, "memfd:ringvisor", &before));
	err = for_all(daemon, guests, s, launch, "launched", d);
	if (!err && child_memory_read(&daemon->child, "memfd:ringvisor", &after))
		bench_set(s, "memory a guest", "KiB",
			((double)after.private_bytes - (double)before.private_bytes) / 1024 /
				guests);
	if (!err)
		err = for_all(daemon, guests, s, stop, "stopped", d);
	if (!err && child_memory_read(&daemon->child, "memfd:ringvisor", &after))
		bench_set(s, "left behind a guest", "KiB",
			((double)after.private_bytes - (double)before.private_bytes) / 1024 /
				guests);
	return err;
}

static const struct bench_variant variants[] = {
	{"ringvisor serve", BENCH_MEASURED, NULL, density_setup, density_slice, density_teardown},
};

static const struct bench_target targets[] = {
	{.of = {"ringvisor serve", "memory a guest", BENCH_P50}, .bound = 256},
};

const struct bench bench_density = {
	.name = "density",
	.summary = "200 guests of 32 MiB in one daemon: launches, stops, the daemon's memory a "
		   "guest",
	.variant = variants,
	.variants = ARRAY_SIZE(variants),
	.target = targets,
	.targets = ARRAY_SIZE(targets),
};

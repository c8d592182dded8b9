/* SPDX-License-Identifier: Apache-2.0 */
/* boot: from exec to the first serial byte of the embedded guest, and what the process holds then.
 * idle: the CPU time of a guest that waits at its prompt. */
#include "perf/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "perf/child.h"

struct boot_program {
	char ringvisor[4096], guest[4096];
	char *argv[24];
};

static int boot_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct boot_program *b = calloc(1, sizeof(*b));
	static const char *const ours[] = {NULL, "run", "--builtin", "--memory", "64M", NULL};
	static const char *const qemu[] = {"qemu-system-x86_64", "-M", "microvm", "-enable-kvm",
		"-cpu", "qemu64", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none",
		"-serial", "stdio", "-kernel", NULL};
	const char *const *from = v->role == BENCH_PEER ? qemu : ours;
	unsigned int n = 0;

	(void)o;
	if (!b)
		return -ENOMEM;
	child_path(b->ringvisor, sizeof(b->ringvisor), "RINGVISOR", "../src/main/ringvisor");
	child_path(b->guest, sizeof(b->guest), "RINGVISOR_GUEST", "../tests/guest/guest.elf");
	b->argv[n++] = v->role == BENCH_PEER ? (char *)from[0] : b->ringvisor;
	while (from[n])
		b->argv[n] = (char *)from[n], n++;
	if (v->role == BENCH_PEER) {
		b->argv[n] = b->guest;
		if (access("/usr/bin/qemu-system-x86_64", X_OK) || access(b->guest, R_OK)) {
			free(b);
			return diag_fail(d, -ENOTSUP,
				"qemu-system-x86_64 is not installed (Debian: qemu-system-x86)");
		}
	} else if (access(b->ringvisor, X_OK) || access("/dev/kvm", R_OK | W_OK)) {
		diag_fail(d, -ENOTSUP, "no %s or no /dev/kvm", b->ringvisor);
		free(b);
		return -ENOTSUP;
	}
	*state = b;
	return 0;
}

static int boot_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct boot_program *b = state;
	bool more;

	do {
		uint64_t start = bench_now(s), end;
		struct child_memory m;
		struct child c;
		char byte;
		int err = child_start(&c, b->argv, d);

		if (err)
			return err;
		if (read(c.out, &byte, 1) != 1) {
			child_end(&c);
			return diag_fail(d, -EIO, "%s ended before its first byte", b->argv[0]);
		}
		end = bench_now(s);
		more = bench_record(s, start, end);
		if (!more && child_expect(&c, "\n> ") &&
			child_memory_read(&c, "memfd:ringvisor", &m)) {
			bench_set(s, "private memory", "KiB", (double)m.private_bytes / 1024);
			bench_set(s, "proportional memory", "KiB", (double)m.pss_bytes / 1024);
		}
		child_end(&c);
	} while (more);
	return 0;
}

static int idle_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct boot_program *b = state;
	struct timespec rest;
	uint64_t before, left;
	struct child c;
	int err = child_start(&c, b->argv, d);

	if (err)
		return err;
	if (!child_expect(&c, "\n> ")) {
		child_end(&c);
		return diag_fail(d, -EIO, "%s did not come to its prompt", b->argv[0]);
	}
	left = s->options->slice_ns;
	rest = (struct timespec){
		.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
	before = child_cpu_ns(&c);
	nanosleep(&rest, NULL); /* what is measured is that nothing happens */
	bench_set(s, "CPU time", "us/s",
		(double)(child_cpu_ns(&c) - before) / 1e3 / ((double)left / 1e9));
	child_end(&c);
	return 0;
}

static void boot_teardown(void *state)
{
	free(state);
}

static const struct bench_variant boot_variants[] = {
	{"ringvisor run", BENCH_MEASURED, NULL, boot_setup, boot_slice, boot_teardown},
	{"QEMU microvm", BENCH_PEER, NULL, boot_setup, boot_slice, boot_teardown},
};

static const struct bench_target boot_targets[] = {
	{.of = {"ringvisor run", BENCH_LATENCY, BENCH_P50}, .bound = 60e6},
	{.of = {"ringvisor run", "private memory", BENCH_P50}, .bound = 3072},
};

const struct bench bench_boot = {
	.name = "boot",
	.summary = "exec to the embedded guest's first serial byte, and the process's memory "
		   "besides the guest's",
	.variant = boot_variants,
	.variants = ARRAY_SIZE(boot_variants),
	.target = boot_targets,
	.targets = ARRAY_SIZE(boot_targets),
};

static const struct bench_variant idle_variants[] = {
	{"ringvisor run", BENCH_MEASURED, NULL, boot_setup, idle_slice, boot_teardown},
	{"QEMU microvm", BENCH_PEER, NULL, boot_setup, idle_slice, boot_teardown},
};

const struct bench bench_idle = {
	.name = "idle",
	.summary = "CPU time of an idle guest",
	.variant = idle_variants,
	.variants = ARRAY_SIZE(idle_variants),
};

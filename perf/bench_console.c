/* SPDX-License-Identifier: Apache-2.0 */
/* console-echo…, console-out, console-in: the virtio console of the embedded guest against QEMU's
 * (q35, virtio-serial-pci, a Unix socket as its other end): the same guest image, the same client,
 * the same placing of the threads on the first two chosen CPUs. */
#include "perf/bench.h"

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
#include "perf/served.h"

#define MESSAGE_BYTES 64
#define CHAIN_BYTES   4096 /* the guest's buffers */
#define QEMU          "qemu-system-x86_64"

/* Which of the two CPUs has what; the client has CPU 0. */
enum placing {
	TOGETHER,  /* the monitor has one CPU, the client the other */
	IO_CLIENT, /* the vCPU has a CPU of its own */
	IO_APART,  /* the monitor's I/O has a CPU of its own */
};

static const struct {
	unsigned int io, vcpu;
} places[] = {[TOGETHER] = {1, 1}, [IO_CLIENT] = {0, 1}, [IO_APART] = {1, 0}};

/* What a variant runs. */
struct console_case {
	const char *guest; /* the command that the guest runs */
	enum placing placing;
	bool echoes;
	const char *poll_us; /* of our daemon, which polls unless told; NULL: as it is. QEMU's main
				loop cannot */
};

/* The daemon's counters so far. */
struct counters {
	double enters, interrupts, doorbells; /* io_uring_enter calls; of the guest's devices */
};

/* One VMM with one guest whose console is our socket. */
struct console_bench {
	const struct console_case *of;
	char folder[64], path[96], command[64];
	char program[4096], guest[4096];
	struct child vmm;
	int fd; /* the console */
	struct rv_client *client;
	struct counters before; /* when the slice began; not of QEMU */
	bool counted;
	uint8_t buf[65536];
};

/* --- Ringvisor: a daemon, a guest, GetConsole --- */

static int our_guest(struct console_bench *b, struct diag *d)
{
	struct rv_config *config = served_config(64 << 20);
	struct rv_error e;
	rv_object guest;
	int err;

	if (!config)
		return -ENOMEM;
	rv_config_set_device(config, RV_DEVICE_CONSOLE, true);
	if (rv_config_set_cmdline(config, b->command, &e))
		err = served_failed(d, &e);
	else
		err = served_launch(b->client, config, &guest, d);
	rv_config_destroy(config);
	if (!err && rv_guest_console(b->client, guest, &b->fd, SERVED_WAIT_MS, &e))
		err = served_failed(d, &e);
	return err;
}

static int our_start(struct console_bench *b, struct diag *d)
{
	char *argv[] = {b->program, "serve", "--socket", b->path, NULL, NULL, NULL};
	int err;

	child_path(b->program, sizeof(b->program), "RINGVISOR", "../src/main/ringvisor");
	if (b->of->poll_us) {
		argv[4] = "--poll-us";
		argv[5] = (char *)(uintptr_t)b->of->poll_us;
	}
	err = served_start(&b->vmm, argv, b->path, &b->client, d);
	return err ? err : our_guest(b, d);
}

/* --- QEMU --- */

static int listen_at(const char *path, struct diag *d)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1)) {
		int err = diag_errno(d, -errno, "%s", path);

		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

static int qemu_start(struct console_bench *b, struct diag *d)
{
	char chardev[128];
	char *argv[] = {QEMU, "-M", "q35", "-enable-kvm", "-cpu", "qemu64", "-m", "64", "-name",
		"guest,debug-threads=on", "-nodefaults", "-no-user-config", "-display", "none",
		"-device", "virtio-serial-pci,max_ports=1,disable-legacy=on", "-chardev", chardev,
		"-device", "virtconsole,chardev=c", "-kernel", b->guest, "-append", b->command,
		NULL};
	struct pollfd p;
	int err;

	child_path(b->guest, sizeof(b->guest), "RINGVISOR_GUEST", "../tests/guest/guest.elf");
	if (access("/usr/bin/" QEMU, X_OK) || access(b->guest, R_OK))
		return diag_fail(d, -ENOTSUP, QEMU " is not installed (Debian: qemu-system-x86)");
	snprintf(chardev, sizeof(chardev), "socket,id=c,path=%s", b->path);
	p = (struct pollfd){.fd = listen_at(b->path, d), .events = POLLIN};
	if (p.fd < 0)
		return p.fd;
	err = child_start(&b->vmm, argv, d);
	if (!err && poll(&p, 1, SERVED_WAIT_MS) == 1)
		b->fd = accept(p.fd, NULL, NULL);
	else if (!err)
		err = diag_fail(d, -EIO, QEMU " did not connect its console");
	close(p.fd);
	return err;
}

/* --- life --- */

static void console_teardown(void *state)
{
	struct console_bench *b = state;

	if (b->fd >= 0)
		close(b->fd);
	rv_destroy(b->client);
	if (b->vmm.pid)
		child_end(&b->vmm);
	served_folder_remove(b->folder);
	free(b);
}

static int transfer_failed(struct diag *d)
{
	return diag_errno(d, -errno, "the console's socket");
}

/* One message to the guest and back. */
static int echo_once(struct console_bench *b, struct diag *d)
{
	size_t got = 0;

	if (write(b->fd, b->buf, MESSAGE_BYTES) != MESSAGE_BYTES)
		return transfer_failed(d);
	while (got < MESSAGE_BYTES) {
		ssize_t n = read(b->fd, b->buf, MESSAGE_BYTES - got);

		if (n <= 0)
			return transfer_failed(d);
		got += (size_t)n;
	}
	return 0;
}

/* Starts the VMM on its I/O's CPU, which all of its threads inherit, and moves the vCPU to its own.
 */
static int vmm_start(struct console_bench *b, const struct bench_variant *v,
	const struct bench_options *o, struct diag *d)
{
	bool is_peer = v->role == BENCH_PEER;
	cpu_set_t before;
	int err;

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	if (o->cpus > 1)
		bench_pin(bench_cpu(o, places[b->of->placing].io));
	err = is_peer ? qemu_start(b, d) : our_start(b, d);
	sched_setaffinity(0, sizeof(before), &before);
	if (err || o->cpus < 2)
		return err;
	err = child_thread_pin(&b->vmm, is_peer ? "CPU 0/KVM" : "vcpu 0",
		bench_cpu(o, places[b->of->placing].vcpu));
	return err ? diag_errno(d, err, "pinning the vCPU's thread") : 0;
}

static int console_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	struct console_bench *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->fd = -1;
	b->of = v->arg;
	err = served_folder_make(b->folder, d);
	if (err) {
		free(b);
		return err;
	}
	snprintf(b->path, sizeof(b->path), "%s/s", b->folder);
	snprintf(b->command, sizeof(b->command), "run=%s", b->of->guest);
	err = vmm_start(b, v, o, d);
	/* The first answer says that the guest has booted: from here on it is quiet. */
	if (!err && b->of->echoes)
		err = echo_once(b, d);
	if (err)
		console_teardown(b);
	else
		*state = b;
	return err;
}

/* --- figures of the daemon, which has one reactor and one guest --- */

static double counter_find(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	at = at ? strchr(at, '}') : NULL;
	return at ? strtod(at + 1, NULL) : 0;
}

static bool counters_read(struct console_bench *b, struct counters *c)
{
	char text[65536];
	struct rv_error e;
	ssize_t n;
	int fd;

	if (!b->client || rv_host_metrics(b->client, &fd, SERVED_WAIT_MS, &e))
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	c->enters = counter_find(text, "\nringvisor_reactor_enters_total{");
	c->interrupts = counter_find(text, "\nringvisor_guest_irqs_total{");
	c->doorbells = counter_find(text, "\nringvisor_guest_kicks_total{");
	return true;
}

static void counters_begin(struct console_bench *b)
{
	b->counted = counters_read(b, &b->before);
}

static void counters_end(struct console_bench *b, struct bench_slice *s, uint64_t chains)
{
	struct counters now;

	if (!b->counted || !chains || !counters_read(b, &now))
		return;
	bench_set(s, "system calls", "per chain", (now.enters - b->before.enters) / (double)chains);
	bench_set(s, "interrupts", "per chain",
		(now.interrupts - b->before.interrupts) / (double)chains);
	bench_set(s, "doorbells", "per chain",
		(now.doorbells - b->before.doorbells) / (double)chains);
}

/* --- slices --- */

static int echo_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct console_bench *b = state;
	uint64_t start, end;
	int err;

	memset(b->buf, 'x', MESSAGE_BYTES);
	counters_begin(b);
	do {
		start = bench_now(s);
		err = echo_once(b, d);
		end = bench_now(s);
	} while (!err && bench_record(s, start, end));
	counters_end(b, s, s->ops * 2);
	return err;
}

/* The guest has an endless stream for us; between the slices the full socket holds it up. */
static int out_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct console_bench *b = state;

	counters_begin(b);
	do {
		ssize_t n = read(b->fd, b->buf, sizeof(b->buf));

		if (n <= 0)
			return transfer_failed(d);
		bench_count(s, 0, (uint64_t)n);
	} while (bench_more(s));
	counters_end(b, s, s->bytes / CHAIN_BYTES);
	return 0;
}

static int in_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct console_bench *b = state;

	counters_begin(b);
	do {
		ssize_t n = write(b->fd, b->buf, sizeof(b->buf));

		if (n <= 0)
			return transfer_failed(d);
		bench_count(s, 0, (uint64_t)n);
	} while (bench_more(s));
	counters_end(b, s, s->bytes / CHAIN_BYTES);
	return 0;
}

/* --- the tables --- */

#define NO_POLL "0"

#define CASE(...)                                                                                  \
	&(const struct console_case)                                                               \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define LIFE(work) .setup = console_setup, .slice = work, .teardown = console_teardown

#define SOURCE CASE("console source 1000000000000000", TOGETHER, false, NULL)
#define SINK   CASE("console sink 1000000000000000", TOGETHER, false, NULL)

#define ECHO      "console echo"
#define ECHO_SPIN "console echo spin=50"

#define ECHO_VARIANTS(table, command, placing)                                                     \
	static const struct bench_variant table[] = {                                              \
		{.name = "ringvisor",                                                              \
			.arg = CASE(command, placing, true, NULL),                                 \
			LIFE(echo_slice)},                                                         \
		{.name = "ringvisor, no polling",                                                  \
			.arg = CASE(command, placing, true, NO_POLL),                              \
			LIFE(echo_slice)},                                                         \
		{.name = "QEMU q35",                                                               \
			.role = BENCH_PEER,                                                        \
			.arg = CASE(command, placing, true, NULL),                                 \
			LIFE(echo_slice)},                                                         \
	}

ECHO_VARIANTS(echo_variants, ECHO, IO_CLIENT);
ECHO_VARIANTS(together_variants, ECHO, TOGETHER);
ECHO_VARIANTS(apart_variants, ECHO, IO_APART);
ECHO_VARIANTS(spin_variants, ECHO_SPIN, IO_CLIENT);

static const struct bench_variant out_variants[] = {
	{.name = "ringvisor", .arg = SOURCE, LIFE(out_slice)},
	{.name = "QEMU q35", .role = BENCH_PEER, .arg = SOURCE, LIFE(out_slice)}};
static const struct bench_variant in_variants[] = {
	{.name = "ringvisor", .arg = SINK, LIFE(in_slice)},
	{.name = "QEMU q35", .role = BENCH_PEER, .arg = SINK, LIFE(in_slice)}};

static const struct bench_target echo_targets[] = {
	{.of = {"ringvisor", BENCH_LATENCY, BENCH_P50},
		.over = {"QEMU q35", BENCH_LATENCY, BENCH_P50},
		.bound = 0.7},
};
static const struct bench_target rate_targets[] = {
	{.of = {"ringvisor", BENCH_BYTES, BENCH_P50},
		.over = {"QEMU q35", BENCH_BYTES, BENCH_P50},
		.at_least = true,
		.bound = 2},
	{.of = {"ringvisor", "system calls", BENCH_P50}, .bound = 0.2},
};

#define ECHO_BENCH(title, what, table)                                                             \
	{                                                                                          \
		.name = title, .summary = "64 bytes, client to guest to client; " what,            \
		.variant = table, .variants = ARRAY_SIZE(table), .target = echo_targets,           \
		.targets = ARRAY_SIZE(echo_targets)                                                \
	}

const struct bench bench_console_echo =
	ECHO_BENCH("console-echo", "the vCPU has a CPU of its own", echo_variants);
const struct bench bench_console_echo_together =
	ECHO_BENCH("console-echo-together", "the client has a CPU of its own", together_variants);
const struct bench bench_console_echo_apart =
	ECHO_BENCH("console-echo-apart", "the monitor's I/O has a CPU of its own", apart_variants);

const struct bench bench_console_echo_spin =
	ECHO_BENCH("console-echo-spin", "the guest polls for 50 µs before it halts", spin_variants);

const struct bench bench_console_out = {
	.name = "console-out",
	.fresh = true,
	.summary = "guest to client over the virtio console, chains of 4 KiB",
	.variant = out_variants,
	.variants = ARRAY_SIZE(out_variants),
	.target = rate_targets,
	.targets = ARRAY_SIZE(rate_targets),
};

const struct bench bench_console_in = {
	.name = "console-in",
	.fresh = true,
	.summary = "client to guest over the virtio console, chains of 4 KiB",
	.variant = in_variants,
	.variants = ARRAY_SIZE(in_variants),
	.target = rate_targets,
	.targets = ARRAY_SIZE(rate_targets),
};

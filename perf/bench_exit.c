/* SPDX-License-Identifier: Apache-2.0 */
/* exit: what one vCPU exit to user space costs, by who handles it. The guest is one instruction and
 * a jump; the calling thread is its vCPU, a reactor on the next CPU its home. */
#include "perf/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/reactor.h"
#include "core/vcpu.h"

#define PORT_POST 0x80 /* the port that a PC's firmware writes its progress to: nobody answers */
#define CODE_AT   0x1000

/* In 32-bit protected mode. */
static const uint8_t code_out[] = {0xe6, PORT_POST, 0xeb, 0xfc}; /* 1: out %al, $0x80; jmp 1b */
static const uint8_t code_in[] = {0xe4, PORT_POST, 0xeb, 0xfc};  /* 1: in $0x80, %al; jmp 1b */

enum handling { BY_VCPU, BY_REACTOR };

struct exit_kind {
	const uint8_t *code;
	enum handling handling;
	enum reactor_wake wake;
};

static const struct exit_kind write_here = {code_out, BY_VCPU, REACTOR_WAKE_BEST};
static const struct exit_kind write_posted = {code_out, BY_REACTOR, REACTOR_WAKE_BEST};
static const struct exit_kind write_message = {code_out, BY_REACTOR, REACTOR_WAKE_MSG_CALL};
static const struct exit_kind read_here = {code_in, BY_VCPU, REACTOR_WAKE_BEST};
static const struct exit_kind read_waits = {code_in, BY_REACTOR, REACTOR_WAKE_BEST};
static const struct exit_kind read_message = {code_in, BY_REACTOR, REACTOR_WAKE_MSG_CALL};

struct exit_rig {
	struct vm_host host;
	struct gmem mem;
	struct vm vm;
	struct vcpu vcpu;
	struct bus bus;
	struct reactor *home;
	pthread_t thread;
};

static void access_on_reactor(void *ctx, struct mailbox_exit *e)
{
	struct exit_rig *rig = ctx;

	if (e->is_write)
		bus_write(&rig->bus, e->kind, e->addr, e->size_bytes, e->data);
	else
		e->data = bus_read(&rig->bus, e->kind, e->addr, e->size_bytes);
}

static bool access_on_vcpu(struct vcpu *v, struct mailbox_exit *e)
{
	access_on_reactor(v->owner, e);
	return true;
}

static void *home_main(void *arg)
{
	reactor_run(arg);
	return NULL;
}

static void rig_free(struct exit_rig *rig)
{
	if (rig->home) {
		reactor_stop(rig->home);
		pthread_join(rig->thread, NULL);
		reactor_destroy(rig->home);
	}
	vcpu_finish(&rig->vcpu);
	vm_destroy(&rig->vm);
	gmem_finish(&rig->mem);
	bus_finish(&rig->bus);
	vm_host_close(&rig->host);
	free(rig);
}

static int rig_guest(struct exit_rig *rig, const struct exit_kind *kind, struct diag *d)
{
	struct boot_entry entry = {.protocol = BOOT_PVH, .entry = GPA(CODE_AT)};
	struct gmem_params mem = {.ram_bytes = GMEM_MIN_BYTES, .name = "ringbench"};
	int err = gmem_init(&rig->mem, &mem, d);

	if (!err)
		err = vm_create(&rig->vm, &rig->host, d);
	if (!err)
		err = vm_map_gmem(&rig->vm, &rig->mem, d);
	if (!err)
		err = vcpu_create(&rig->vcpu, &rig->vm, &rig->mem, 0, 1, d);
	if (err)
		return err;
	CHECK(gmem_write(&rig->mem, GPA(CODE_AT), kind->code, sizeof(code_out)));
	rig->vcpu.owner = rig;
	if (kind->handling == BY_VCPU)
		rig->vcpu.access = access_on_vcpu;
	return vcpu_set_boot(&rig->vcpu, &entry, d);
}

static int rig_home(
	struct exit_rig *rig, enum reactor_wake wake, const struct bench_options *o, struct diag *d)
{
	struct reactor_params params = {.core = bench_cpu(o, 1), .wake = wake};
	int err;

	rig->home = reactor_create(&params, d);
	if (!rig->home)
		return -ENOTSUP;
	mailbox_init(&rig->vcpu.box, rig->home, access_on_reactor, rig);
	err = pthread_create(&rig->thread, NULL, home_main, rig->home);
	if (err) {
		reactor_destroy(rig->home);
		rig->home = NULL;
		return diag_errno(d, -err, "a thread");
	}
	return 0;
}

static int exit_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	const struct exit_kind *kind = v->arg;
	struct exit_rig *rig = calloc(1, sizeof(*rig));
	int err;

	if (!rig)
		return -ENOMEM;
	rig->mem.memfd = rig->vm.fd = -1;
	bus_init(&rig->bus);
	if (vm_host_open(&rig->host, NULL, d)) {
		free(rig);
		return -ENOTSUP; /* `d` names the reason */
	}
	err = rig_guest(rig, kind, d);
	if (!err && kind->handling == BY_REACTOR)
		err = rig_home(rig, kind->wake, o, d);
	if (err) {
		rig_free(rig);
		return err;
	}
	*state = rig;
	return 0;
}

static int exit_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct exit_rig *rig = state;
	uint64_t before = bench_now(s), now;

	do {
		uint64_t exits = rig->vcpu.stats.total;

		if (!vcpu_run_once(&rig->vcpu))
			return diag_fail(d, -EIO, "%s", rig->vcpu.diag.text);
		now = bench_now(s);
		if (rig->vcpu.stats.total == exits)
			continue; /* a signal */
		if (!bench_record(s, before, now))
			break;
		before = now;
	} while (true);
	return 0;
}

static void exit_teardown(void *state)
{
	rig_free(state);
}

static const struct bench_variant variants[] = {
	{"write, on the vCPU's thread", BENCH_LIMIT, &write_here, exit_setup, exit_slice,
		exit_teardown},
	{"write, posted to the reactor", BENCH_MEASURED, &write_posted, exit_setup, exit_slice,
		exit_teardown},
	{"that write, woken by message", BENCH_MEASURED, &write_message, exit_setup, exit_slice,
		exit_teardown},
	{"read, on the vCPU's thread", BENCH_MEASURED, &read_here, exit_setup, exit_slice,
		exit_teardown},
	{"read, waits for the reactor", BENCH_MEASURED, &read_waits, exit_setup, exit_slice,
		exit_teardown},
	{"that read, woken by message", BENCH_MEASURED, &read_message, exit_setup, exit_slice,
		exit_teardown},
};

const struct bench bench_exit = {
	.name = "exit",
	.summary = "a vCPU exit: posted write, waiting read, and both handled on the vCPU's thread",
	.variant = variants,
	.variants = ARRAY_SIZE(variants),
};

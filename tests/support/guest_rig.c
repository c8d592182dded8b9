/* SPDX-License-Identifier: Apache-2.0 */
/* The slot, its calls and its serial port. */
#include "support/guest_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "guest_elf.h"
#include "support/run_reactor.h"

#define DEADLINE_NS 60000000000ULL

void rig_skip_without_kvm(void)
{
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip_test("/dev/kvm is not there or not allowed");
}

static void deadline_over(struct reactor_timer *t)
{
	struct rig *rig = container_of(t, struct rig, deadline);

	cr_assert_fail(
		"the script hangs at step %u; serial output so far:\n%s", rig->at, rig->text);
}

static void rig_begin(struct reactor *r, void *ctx)
{
	struct rig *rig = ctx;

	rig->r = r;
	reactor_timer_init(&rig->deadline, deadline_over);
	reactor_timer_start(r, &rig->deadline, DEADLINE_NS);
	rig->env = (struct guest_env){
		.host = &rig->host,
		.builtin = {.data = ringvisor_guest_elf,
			.len_bytes = ringvisor_guest_elf_len,
			.name = "embedded guest"},
		.limits = {.cores = 1},
	};
	rig->guest = guest_new("test", r, &rig->env);
	cr_assert(rig->guest);
	rig->step(rig);
}

void rig_run(struct rig *rig, void (*step)(struct rig *rig))
{
	struct diag d;

	rig_skip_without_kvm();
	rig->step = step;
	rig->serial = -1;
	rig->serial_file = IO_FILE_NONE;
	cr_assert_eq(vm_host_open(&rig->host, NULL, &d), 0, "%s", d.text);
	run_reactor(NULL, rig_begin, rig, NULL);
	vm_host_close(&rig->host);
}

static void rig_ended(struct rig *rig)
{
	if (rig->serial_op.in_flight) {
		io_cancel(rig->r, &rig->serial_op);
		return; /* its completion comes back here */
	}
	io_file_close(rig->r, &rig->serial_file);
	cr_assert(guest_is_idle(rig->guest));
	guest_free(rig->guest);
	rig->guest = NULL;
	reactor_timer_stop(rig->r, &rig->deadline);
	reactor_stop(rig->r);
}

static void finish_stopped(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct rig_call *c = container_of(call, struct rig_call, call);

	cr_assert_eq(err, GUEST_OK, "Stop: %s", detail);
	rig_ended(c->rig);
}

static struct guest_call *rig_call(struct rig *rig, unsigned int i,
	void (*done)(struct guest_call *, enum guest_error, const char *))
{
	CHECK(i < RIG_CALLS);
	memset(&rig->calls[i], 0, sizeof(rig->calls[i]));
	rig->calls[i].rig = rig;
	rig->calls[i].call.done = done;
	return &rig->calls[i].call;
}

void rig_finish(struct rig *rig)
{
	rig->step = NULL;
	guest_stop(rig->guest, rig_call(rig, RIG_CALLS - 1, finish_stopped));
}

static void rig_answered(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct rig_call *c = container_of(call, struct rig_call, call);

	cr_assert_not(c->done, "answered twice");
	cr_assert(!err == !*detail, "an error has a detail, success has none: %d \"%s\"", err,
		detail);
	c->done = true;
	c->order = ++c->rig->answered;
	c->err = err;
	snprintf(c->detail, sizeof(c->detail), "%s", detail);
	if (c->rig->step)
		c->rig->step(c->rig);
}

void rig_config(struct guest_config *c, const char *commands)
{
	char cmdline[512];

	config_init(c);
	c->kernel_type = KERNEL_BUILTIN;
	c->cpus = 1;
	c->guest_memory = 16 << 20;
	c->given = CONFIG_BIT(CONFIG_KERNEL_TYPE) | CONFIG_BIT(CONFIG_CPUS) |
		   CONFIG_BIT(CONFIG_GUEST_MEMORY);
	if (!commands)
		return;
	snprintf(cmdline, sizeof(cmdline), "run=%s", commands);
	free(c->cmdline);
	c->cmdline = strdup(cmdline);
	c->given |= CONFIG_BIT(CONFIG_CMDLINE);
}

void rig_create(struct rig *rig, unsigned int call, struct guest_config *c)
{
	guest_create(rig->guest, rig_call(rig, call, rig_answered), c);
	config_finish(c);
}

void rig_start(struct rig *rig, unsigned int call)
{
	guest_run(rig->guest, rig_call(rig, call, rig_answered));
}

void rig_stop(struct rig *rig, unsigned int call)
{
	guest_stop(rig->guest, rig_call(rig, call, rig_answered));
}

void rig_bind(struct rig *rig, unsigned int call, struct guest_watch *w)
{
	guest_bind(rig->guest, rig_call(rig, call, rig_answered), w);
}

static void serial_read(struct rig *rig)
{
	io_read(rig->r, &rig->serial_op, &rig->serial_file, rig->text + rig->text_len,
		(uint32_t)(sizeof(rig->text) - 1 - rig->text_len), (uint64_t)-1);
}

static void serial_got(struct io_op *op, int res, uint32_t flags)
{
	struct rig *rig = container_of(op, struct rig, serial_op);

	(void)flags;
	if (!rig->step) {
		if (!rig->guest || guest_is_idle(rig->guest))
			rig_ended(rig);
		return;
	}
	if (res <= 0)
		return;
	rig->text_len += (unsigned int)res;
	rig->text[rig->text_len] = '\0';
	cr_assert_lt(rig->text_len, sizeof(rig->text) - 1, "too much output");
	serial_read(rig);
	rig->step(rig);
}

void rig_read_serial(struct rig *rig)
{
	struct diag d;
	int fd = stream_client(&rig->guest->machine->serial, &d);

	cr_assert_geq(fd, 0, "%s", d.text);
	rig->serial = fd;
	io_file_open(rig->r, &rig->serial_file, fd);
	rig->serial_op.done = serial_got;
	serial_read(rig);
}

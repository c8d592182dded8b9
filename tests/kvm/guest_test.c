/* SPDX-License-Identifier: Apache-2.0 */
/* The lifecycle on real KVM with the embedded guest: every state × call, every end. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "support/guest_rig.h"

static struct rig rig;

#define ERR(i)    (rig.calls[i].err)
#define DONE(i)   (rig.calls[i].done)
#define DETAIL(i) (rig.calls[i].detail)

static void create(unsigned int call, const char *commands)
{
	struct guest_config c;

	rig_config(&c, commands);
	rig_create(&rig, call, &c);
}

/* --- how Run ends
 * ------------------------------------------------------------------------------------------- */

static const char *commands;

static void create_and_run(struct rig *r)
{
	switch (r->at++) {
	case 0:
		create(0, commands);
		rig_start(r, 1);
		break;
	case 1:
		cr_assert_eq(ERR(0), GUEST_OK, "%s", DETAIL(0));
		break;
	case 2:
		rig_finish(r);
		break;
	}
}

Test(guest, power_off_ends_run_with_ok)
{
	commands = "halt";
	rig_run(&rig, create_and_run);
	cr_assert_eq(ERR(1), GUEST_OK, "%s", DETAIL(1));
}

static void check_end_name(struct rig *r)
{
	if (r->at == 2)
		cr_assert_str_eq(
			guest_end_name(r->guest), commands[0] == 'h' ? "power-off" : "reboot");
	create_and_run(r);
}

Test(guest, reboot_ends_run_with_ok_and_is_told_apart)
{
	commands = "reboot";
	rig_run(&rig, check_end_name);
	cr_assert_eq(ERR(1), GUEST_OK, "%s", DETAIL(1));
}

Test(guest, triple_fault_is_a_reboot)
{
	commands = "crash triple";
	rig_run(&rig, check_end_name);
	cr_assert_eq(ERR(1), GUEST_OK, "%s", DETAIL(1));
}

Test(guest, vcpu_failure_names_rip_reason_and_bytes)
{
	commands = "crash";
	rig_run(&rig, create_and_run);
	cr_assert_eq(ERR(1), GUEST_VCPU_RUNTIME_FAILURE);
	cr_assert(strstr(DETAIL(1), "vCPU 0: KVM_EXIT_INTERNAL_ERROR"), "%s", DETAIL(1));
	cr_assert(strstr(DETAIL(1), "RIP 0x"), "%s", DETAIL(1));
	cr_assert(strstr(DETAIL(1), "instruction bytes"), "%s", DETAIL(1));
}

/* --- state × call
 * -------------------------------------------------------------------------------------------- */

static void calls_in_state_none(struct rig *r)
{
	static struct guest_watch w;

	switch (r->at++) {
	case 0:
		guest_watch_init(&w, NULL);
		rig_start(r, 0);
		rig_stop(r, 1);
		rig_bind(r, 2, &w);
		break;
	case 3:
		cr_assert_eq(ERR(0), GUEST_NOT_CREATED);
		cr_assert_eq(ERR(1), GUEST_OK);
		cr_assert_eq(ERR(2), GUEST_NOT_CREATED);
		cr_assert_eq(guest_status(r->guest), GUEST_STATUS_NOT_STARTED);
		rig_finish(r);
		break;
	}
}

Test(guest, state_none)
{
	rig_run(&rig, calls_in_state_none);
}

static unsigned int gone_count;
static enum status gone_epitaph;

static void gone(struct guest_watch *w, enum status epitaph)
{
	(void)w;
	gone_count++;
	gone_epitaph = epitaph;
}

static void create_anew_while_created(struct rig *r)
{
	static struct guest_watch w;

	switch (r->at++) {
	case 0:
		guest_watch_init(&w, gone);
		create(0, NULL);
		rig_bind(r, 1, &w);
		create(2, "halt");
		rig_start(r, 3);
		break;
	case 3:
		cr_assert(DONE(0) && DONE(1) && DONE(2) && !DONE(3));
		cr_assert_eq(ERR(2), GUEST_OK, "%s", DETAIL(2));
		cr_assert_eq(gone_count, 1, "the old VMM's Guest is told");
		cr_assert_eq(gone_epitaph, STATUS_INTERNAL);
		break;
	case 4:
		cr_assert_eq(ERR(3), GUEST_OK, "the new VMM ran and powered off: %s", DETAIL(3));
		rig_finish(r);
		break;
	}
}

Test(guest, recreating_non_running_guest_destroys_vmm)
{
	rig_run(&rig, create_anew_while_created);
}

static void failed_create(struct rig *r)
{
	struct guest_config c;

	switch (r->at++) {
	case 0:
		create(0, NULL);
		rig_config(&c, NULL);
		c.cpus = 65;
		rig_create(r, 1, &c);
		rig_start(r, 2);
		break;
	case 3:
		cr_assert_eq(ERR(0), GUEST_OK);
		cr_assert_eq(ERR(1), GUEST_BAD_CONFIG);
		cr_assert(strstr(DETAIL(1), "65"), "%s", DETAIL(1));
		cr_assert_eq(ERR(2), GUEST_NOT_CREATED, "on failure the state is none");
		rig_finish(r);
		break;
	}
}

Test(guest, failed_create_leaves_nothing)
{
	rig_run(&rig, failed_create);
}

static void calls_while_running(struct rig *r)
{
	static struct guest_watch w;

	switch (r->at++) {
	case 0:
		guest_watch_init(&w, gone);
		create(0, NULL);
		rig_start(r, 1);
		rig_bind(r, 2, &w);
		create(3, NULL);
		rig_start(r, 4);
		break;
	case 4:
		cr_assert_eq(ERR(2), GUEST_OK);
		cr_assert_eq(ERR(3), GUEST_ALREADY_RUNNING);
		cr_assert_eq(ERR(4), GUEST_ALREADY_RUNNING);
		cr_assert_not(DONE(1), "the first Run is unaffected");
		cr_assert_eq(guest_status(r->guest), GUEST_STATUS_RUNNING);
		rig_stop(r, 5);
		rig_stop(r, 6);
		break;
	case 7:
		cr_assert_eq(ERR(1), GUEST_CONTROLLER_FORCED_HALT);
		cr_assert_eq(ERR(5), GUEST_OK);
		cr_assert_eq(ERR(6), GUEST_OK);
		cr_assert_lt(rig.calls[1].order, rig.calls[5].order, "Stop replies after teardown");
		cr_assert_eq(gone_count, 1);
		cr_assert_eq(gone_epitaph, STATUS_INTERNAL);
		cr_assert_eq(guest_status(r->guest), GUEST_STATUS_STOPPED);
		cr_assert_gt(guest_uptime_ns(r->guest), 0);
		rig_finish(r);
		break;
	}
}

Test(guest, calls_while_running_and_stop)
{
	rig_run(&rig, calls_while_running);
}

static void missing_kernel(struct rig *r)
{
	struct guest_config c;

	switch (r->at++) {
	case 0:
		rig_config(&c, NULL);
		c.kernel_type = KERNEL_LINUX;
		c.kernel.path = strdup("/nonexistent/vmlinuz");
		c.given |= CONFIG_BIT(CONFIG_KERNEL);
		rig_create(r, 0, &c);
		break;
	case 1:
		cr_assert_eq(ERR(0), GUEST_KERNEL_LOAD_FAILURE);
		cr_assert(strstr(DETAIL(0), "/nonexistent/vmlinuz"), "%s", DETAIL(0));
		rig_finish(r);
		break;
	}
}

Test(guest, missing_kernel_is_a_load_failure)
{
	rig_run(&rig, missing_kernel);
}

/* --- serial port and processors
 * --------------------------------------------------------------------------------- */

static void talk(struct rig *r)
{
	struct guest_config c;

	switch (r->at) {
	case 0:
		rig_config(&c, NULL);
		c.cpus = 2;
		rig_create(r, 0, &c);
		r->at++;
		break;
	case 1:
		cr_assert_eq(ERR(0), GUEST_OK, "%s", DETAIL(0));
		rig_read_serial(r);
		rig_start(r, 1);
		r->at++;
		break;
	case 2:
		if (!strstr(r->text, "\n> "))
			return;
		cr_assert_eq(write(r->serial, "smp\necho over\nhalt\n", 19), 19);
		r->at++;
		break;
	case 3:
		if (!DONE(1) || !strstr(r->text, "powering off"))
			return;
		cr_assert(strstr(r->text, "VERDICT smp ok"), "%s", r->text);
		cr_assert(strstr(r->text, "VERDICT echo ok"), "%s", r->text);
		cr_assert_gt(r->guest->last_exits, 0);
		r->at++;
		rig_finish(r);
		break;
	}
}

Test(guest, serial_input_and_a_second_cpu)
{
	rig_run(&rig, talk);
}

/* --- a Run that does not come to run
 * ------------------------------------------------------------------------------- */

static void check_failed_run(struct rig *r, enum guest_error err, const char *words)
{
	static struct guest_watch w;

	switch (r->at++) {
	case 0:
		guest_watch_init(&w, gone);
		create(0, "halt");
		rig_bind(r, 1, &w);
		rig_start(r, 2);
		break;
	case 3:
		cr_assert_eq(ERR(0), GUEST_OK, "%s", DETAIL(0));
		cr_assert_eq(ERR(2), err, "%s", DETAIL(2));
		cr_assert(strstr(DETAIL(2), words), "%s", DETAIL(2));
		cr_assert_eq(gone_count, 1, "the VMM is gone");
		cr_assert_eq(gone_epitaph, STATUS_INTERNAL);
		rig_start(r, 3);
		break;
	case 4:
		cr_assert_eq(ERR(3), GUEST_NOT_CREATED);
		rig_finish(r);
		break;
	}
}

static void vcpu_without_thread(struct rig *r)
{
	if (r->at == 0) { /* vCPU threads are to run on a CPU that no machine has */
		CPU_ZERO(&r->host.affinity);
		CPU_SET(CPU_SETSIZE - 1, &r->host.affinity);
	}
	check_failed_run(r, GUEST_VCPU_START_FAILURE, "vCPU 0");
}

Test(guest, a_vcpu_that_cannot_start_ends_run_and_vmm)
{
	rig_run(&rig, vcpu_without_thread);
}

static struct device lame;

static unsigned int lame_wanted(const struct guest_config *c)
{
	(void)c;
	return 1;
}

static enum guest_error lame_create(struct device **dev, struct machine *m, struct guest_config *c,
	unsigned int index, struct diag *d)
{
	(void)m;
	(void)c;
	(void)index;
	(void)d;
	*dev = &lame;
	return GUEST_OK;
}

static enum guest_error lame_start(struct device *dev, struct diag *d)
{
	cr_assert_eq(dev, &lame);
	diag_fail(d, -EIO, "this device never starts");
	return GUEST_DEVICE_START_FAILURE;
}

static void lame_destroy(struct device *dev)
{
	cr_assert_eq(dev, &lame);
}

static void device_that_does_not_start(struct rig *r)
{
	static const struct device_class class = {
		.name = "lame",
		.wanted = lame_wanted,
		.create = lame_create,
		.start = lame_start,
		.stop = device_stopped,
		.destroy = lame_destroy,
	};
	static const struct device_class *const classes[] = {&class, NULL};

	r->env.classes = classes;
	check_failed_run(r, GUEST_DEVICE_START_FAILURE, "this device never starts");
}

Test(guest, a_device_that_does_not_start_ends_run_and_vmm)
{
	rig_run(&rig, device_that_does_not_start);
}

static struct bus_range stray_range = {
	.start = 4 << 20,
	.len_bytes = 4096,
	.name = "stray device",
};

static enum guest_error stray_create(struct device **dev, struct machine *m, struct guest_config *c,
	unsigned int index, struct diag *d)
{
	(void)c;
	(void)index;
	cr_assert_eq(bus_add(&m->bus, BUS_MMIO, &stray_range, d), 0);
	*dev = &lame;
	return GUEST_OK;
}

static void stray_destroy(struct device *dev)
{
	bus_remove(&dev->machine->bus, BUS_MMIO, &stray_range);
}

static void device_over_memory(struct rig *r)
{
	static const struct device_class class = {
		.name = "stray",
		.wanted = lame_wanted,
		.create = stray_create,
		.stop = device_stopped,
		.destroy = stray_destroy,
	};
	static const struct device_class *const classes[] = {&class, NULL};

	r->env.classes = classes;
	switch (r->at++) {
	case 0:
		create(0, NULL);
		break;
	case 1:
		cr_assert_eq(ERR(0), GUEST_DEVICE_MEMORY_OVERLAP);
		cr_assert(strstr(DETAIL(0), "stray device at 0x400000..0x400fff"), "%s", DETAIL(0));
		rig_finish(r);
		break;
	}
}

Test(guest, a_device_over_guest_memory_is_an_overlap)
{
	rig_run(&rig, device_over_memory);
}

/* --- Stop at any moment
 * ---------------------------------------------------------------------------------------- */

#define STOPS        24
#define STOP_STEP_NS 700000

static struct reactor_timer stop_timer;

static void stop_now(struct reactor_timer *t)
{
	(void)t;
	rig_stop(&rig, 2);
}

/* Each round a little later, so that some of them meet a guest that wakes its CPUs. */
static void stops_while_cpus_start(struct rig *r)
{
	struct guest_config c;

	if (r->at == STOPS * 3) {
		rig_finish(r);
		return;
	}
	switch (r->at++ % 3) {
	case 0:
		rig_config(&c, "smp");
		c.cpus = 8;
		rig_create(r, 0, &c);
		break;
	case 1:
		cr_assert_eq(ERR(0), GUEST_OK, "%s", DETAIL(0));
		rig_start(r, 1);
		reactor_timer_init(&stop_timer, stop_now);
		reactor_timer_start(r->r, &stop_timer, r->at / 3 * STOP_STEP_NS);
		break;
	case 2: /* Run has been answered; Stop comes next */
		cr_assert_eq(ERR(1), GUEST_CONTROLLER_FORCED_HALT, "%s", DETAIL(1));
		break;
	}
}

Test(guest, stop_while_its_cpus_start)
{
	rig_run(&rig, stops_while_cpus_start);
}

/* --- nothing is left
 * --------------------------------------------------------------------------------------------------
 */

/* Mappings of guests' memory and of virtual CPUs. */
static unsigned int guest_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned int n = 0;
	char line[512];

	cr_assert(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:ringvisor") || strstr(line, "kvm-vcpu");
	fclose(f);
	return n;
}

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	cr_assert(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#define CYCLES 30

static void cycles(struct rig *r)
{
	static unsigned int fds, threads;

	/* The first rounds make what stays: helper threads, the ring's tables. */
	if (r->at % 3 == 0 && r->at / 3 == 5) {
		fds = entries("/proc/self/fd");
		threads = entries("/proc/self/task");
	}
	if (r->at == CYCLES * 3) {
		cr_assert_eq(entries("/proc/self/fd"), fds);
		/* Helper threads come as they are needed, to a maximum of four. */
		cr_assert_leq(entries("/proc/self/task"), threads + 4);
		cr_assert_eq(guest_mappings(), 0);
		rig_finish(r);
		return;
	}
	switch (r->at++ % 3) {
	case 0:
		create(0, "spin 1000");
		break;
	case 1:
		rig_start(r, 1);
		rig_stop(r, 2);
		break;
	case 2:
		cr_assert_eq(ERR(1), GUEST_CONTROLLER_FORCED_HALT);
		break;
	}
}

Test(guest, cycles_leave_no_descriptor_or_thread)
{
	rig_run(&rig, cycles);
}

#define FAILURES 20

/* Everything has been made by the time that the kernel turns out to be none. */
static void failures(struct rig *r)
{
	static unsigned int fds;
	struct guest_config c;

	if (r->at == 5)
		fds = entries("/proc/self/fd");
	if (r->at > 0)
		cr_assert_eq(ERR(0), GUEST_KERNEL_LOAD_FAILURE, "%s", DETAIL(0));
	if (r->at++ == FAILURES) {
		cr_assert_eq(entries("/proc/self/fd"), fds);
		cr_assert_eq(guest_mappings(), 0);
		rig_finish(r);
		return;
	}
	rig_config(&c, NULL);
	c.cpus = 4;
	c.kernel_type = KERNEL_LINUX;
	c.kernel.path = strdup(r->at % 2 ? "/nonexistent/vmlinuz" : "/proc/self/cmdline");
	c.given |= CONFIG_BIT(CONFIG_KERNEL);
	rig_create(r, 0, &c);
}

Test(guest, failed_creates_leave_no_descriptor)
{
	rig_run(&rig, failures);
}

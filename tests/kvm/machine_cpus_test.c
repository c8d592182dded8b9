/* SPDX-License-Identifier: Apache-2.0 */
/* How a machine starts its other CPUs: INIT/SIPI where the probe says that it works, the wakeup
 * mailbox elsewhere. The probe's answer is given here, so both ways of the decision are seen on any
 * host; that a SIPI then starts a CPU, only a host whose KVM takes one can show. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/machine.h"
#include "guest_elf.h"
#include "support/guest_rig.h"
#include "support/run_reactor.h"

#define CPUS            3
#define MADT_WAKEUP     16
#define MADT_ENTRIES_AT 44

static struct vm_host host;
static struct machine *machine;

static void open_host(void)
{
	struct diag d;

	rig_skip_without_kvm();
	cr_assert_eq(vm_host_open(&host, NULL, &d), 0, "%s", d.text);
}

static void close_host(void)
{
	vm_host_close(&host);
}

TestSuite(machine_cpus, .init = open_host, .fini = close_host, .timeout = 60);

static struct machine *build(unsigned int cpus)
{
	const struct blob builtin = {.data = ringvisor_guest_elf,
		.len_bytes = ringvisor_guest_elf_len,
		.name = "embedded guest"};
	struct guest_config config;
	struct machine_params params = {
		.host = &host, .name = "cpus", .config = &config, .builtin = &builtin};
	struct machine *m;
	struct diag d;

	rig_config(&config, "halt");
	config.cpus = (uint8_t)cpus;
	cr_assert_eq(machine_build(&m, &params, &d), GUEST_OK, "%s", d.text);
	config_finish(&config);
	return m;
}

/* The MADT's multiprocessor wakeup structures, as the guest finds them. */
static unsigned int wakeup_structures(const struct machine *m)
{
	const uint8_t *tables = gmem_map(&m->mem, GPA(LAYOUT_ACPI), LAYOUT_ACPI_END - LAYOUT_ACPI);
	const uint8_t *madt = NULL, *end;
	unsigned int found = 0;
	uint32_t len;

	cr_assert(tables);
	for (uint64_t at = 0; !madt && at + 8 < LAYOUT_ACPI_END - LAYOUT_ACPI; at++)
		if (!memcmp(tables + at, "APIC", 4))
			madt = tables + at;
	cr_assert(madt, "no MADT");
	memcpy(&len, madt + 4, sizeof(len));
	end = madt + len;
	for (const uint8_t *entry = madt + MADT_ENTRIES_AT; entry < end; entry += entry[1]) {
		cr_assert_gt(entry[1], 1);
		found += entry[0] == MADT_WAKEUP;
	}
	return found;
}

static uint32_t mp_state(const struct vcpu *v)
{
	struct kvm_mp_state state;

	cr_assert_eq(ioctl(v->fd, KVM_GET_MP_STATE, &state), 0);
	return state.mp_state;
}

static void stopped(struct machine *m)
{
	reactor_stop(m->home);
}

static void start(struct reactor *r, void *ctx)
{
	unsigned int *threads = ctx;
	struct diag d;

	machine_attach(machine, r);
	cr_assert_eq(machine_start(machine, &d), GUEST_OK, "%s", d.text);
	for (unsigned int i = 0; i < machine->cpus; i++)
		*threads += machine->vcpus[i].started;
	machine_stop(machine, stopped);
}

/* How many vCPU threads a start of the machine makes. */
static unsigned int threads_started(void)
{
	unsigned int threads = 0;

	run_reactor(NULL, start, &threads, NULL);
	return threads;
}

Test(machine_cpus, with_init_and_sipi_all_threads_wait_in_kvm)
{
	host.init_sipi = 1;
	machine = build(CPUS);
	cr_assert_not(machine->wakeup_mailbox);
	cr_assert_eq(wakeup_structures(machine), 0, "the guest is offered nothing but SIPI");
	cr_assert_eq(mp_state(&machine->vcpus[0]), KVM_MP_STATE_RUNNABLE);
	for (unsigned int i = 1; i < CPUS; i++)
		cr_assert_eq(mp_state(&machine->vcpus[i]), KVM_MP_STATE_UNINITIALIZED,
			"CPU %u waits for INIT and SIPI", i);
	cr_assert_eq(threads_started(), CPUS);
	machine_destroy(machine);
}

Test(machine_cpus, without_them_the_guest_wakes_by_the_mailbox)
{
	host.init_sipi = 0;
	machine = build(CPUS);
	cr_assert(machine->wakeup_mailbox);
	cr_assert_eq(wakeup_structures(machine), 1);
	cr_assert_eq(threads_started(), 1, "the others' are made when the guest wakes them");
	machine_destroy(machine);
}

Test(machine_cpus, a_wakeup_that_was_not_offered_is_refused)
{
	host.init_sipi = 1;
	machine = build(CPUS);
	cr_assert_eq(machine_wake_ap(machine, 1, GPA(0x1000)), -EINVAL);
	cr_assert_eq(machine->unexpected_wakeups, 1);
	machine_destroy(machine);
}

Test(machine_cpus, one_cpu_needs_neither)
{
	host.init_sipi = 0;
	machine = build(1);
	cr_assert_not(machine->wakeup_mailbox);
	cr_assert_eq(wakeup_structures(machine), 0);
	machine_destroy(machine);
	host.init_sipi = -1;
	machine = build(1);
	cr_assert_eq(host.init_sipi, -1, "a machine with one CPU does not wait for the probe");
	machine_destroy(machine);
}

Test(machine_cpus, the_probe_is_asked_once_and_decides)
{
	bool works = vm_host_init_sipi(&host);

	if (!host.hardware_virt)
		cr_assert_not(works, "no host without VMX/SVM is known to deliver a SIPI");
	cr_assert_eq(host.init_sipi, works);
	machine = build(CPUS);
	cr_assert_eq(machine->wakeup_mailbox, !works);
	machine_destroy(machine);
	host.init_sipi = !works;
	cr_assert_eq(vm_host_init_sipi(&host), !works, "the answer is kept");
}

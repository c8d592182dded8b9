/* SPDX-License-Identifier: Apache-2.0 */
/* Exits that a sound host hardly ever makes, by hand: a real vCPU with its registers and memory,
 * and a struct kvm_run that says what KVM might. Each is handled or told with reason, RIP and
 * instruction bytes. */
#include "core/vcpu.h"

#include <criterion/criterion.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/check.h"
#include "support/tiny_guest.h"

#define BYTES_THERE " 0f 0b 90 f4" /* of `code`, as they are printed */

static const uint8_t code[] = {0x0f, 0x0b, 0x90, 0xf4}; /* ud2; nop; hlt */
static struct tiny_guest t;

static void start(void)
{
	tiny_start(&t, code, sizeof(code));
}

static void finish(void)
{
	tiny_finish(&t);
}

TestSuite(vcpu_exit, .init = start, .fini = finish, .timeout = 60);

static struct kvm_run *exit_is(uint32_t reason)
{
	t.vcpu.end = VCPU_RUNNING;
	t.vcpu.diag.text[0] = '\0';
	t.vcpu.run->exit_reason = reason;
	return t.vcpu.run;
}

static void must_say(const char *words)
{
	cr_assert(strstr(t.vcpu.diag.text, words), "no \"%s\" in: %s", words, t.vcpu.diag.text);
}

/* The vCPU ends, and the text has what a person needs to look for the cause. */
static void must_fail(const char *reason, const char *what)
{
	cr_assert_not(vcpu_take_exit(&t.vcpu), "%s", reason);
	cr_assert_eq(t.vcpu.end, VCPU_FAILED, "%s", reason);
	must_say("vCPU 0: ");
	must_say(reason);
	must_say(what);
	must_say("RIP 0x1000,");
	must_say("instruction bytes");
}

static void must_go_on(const char *name)
{
	cr_assert(vcpu_take_exit(&t.vcpu), "%s", name);
	cr_assert_eq(t.vcpu.end, VCPU_RUNNING, "%s", name);
}

Test(vcpu_exit, failed_entry_tells_the_hardware_reason)
{
	struct kvm_run *run = exit_is(KVM_EXIT_FAIL_ENTRY);

	run->fail_entry.hardware_entry_failure_reason = 0x80000021;
	run->fail_entry.cpu = 1;
	must_fail("KVM_EXIT_FAIL_ENTRY", "hardware entry failure 0x80000021");
	must_say(BYTES_THERE);
}

Test(vcpu_exit, internal_errors_are_told_apart)
{
	static const struct {
		uint32_t sub;
		const char *what;
	} errors[] = {
		{KVM_INTERNAL_ERROR_EMULATION, "KVM cannot emulate"},
		{KVM_INTERNAL_ERROR_SIMUL_EX, "simultaneous exceptions"},
		{KVM_INTERNAL_ERROR_DELIVERY_EV, "while an event was delivered"},
		{KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, "unexpected exit of the processor"},
		{0, "internal error 0"},
		{99, "internal error 99"},
		{UINT32_MAX, "internal error 4294967295"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct kvm_run *run = exit_is(KVM_EXIT_INTERNAL_ERROR);

		run->internal.suberror = errors[i].sub;
		run->internal.ndata = 0;
		must_fail("KVM_EXIT_INTERNAL_ERROR", errors[i].what);
		must_say(BYTES_THERE); /* from memory, as KVM gave none */
	}
}

/* A row of the completion table needs exactly these fields. */
static void emulation_failure(const uint8_t *bytes, uint8_t size, uint32_t ndata, uint64_t flags)
{
	struct kvm_run *run = exit_is(KVM_EXIT_INTERNAL_ERROR);

	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = ndata;
	run->emulation_failure.flags = flags;
	run->emulation_failure.insn_size = size;
	memset(run->emulation_failure.insn_bytes, 0, sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, bytes, size);
}

#define SHOWN KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES

Test(vcpu_exit, emulation_failure_tells_the_bytes_that_kvm_fetched)
{
	static const uint8_t vmcall[] = {0x0f, 0x01, 0xc1};

	emulation_failure(vmcall, sizeof(vmcall), 3, SHOWN);
	must_fail("KVM_EXIT_INTERNAL_ERROR", "KVM cannot emulate the instruction");
	must_say("bytes 0f 01 c1");
	cr_assert_eq(strlen(strstr(t.vcpu.diag.text, "0f 01 c1")), strlen("0f 01 c1"),
		"no bytes that KVM did not count: %s", t.vcpu.diag.text);
}

Test(vcpu_exit, only_a_whole_known_instruction_is_completed)
{
	static const uint8_t stac[] = {0x0f, 0x01, 0xcb};

	emulation_failure(stac, 3, 3, SHOWN);
	must_go_on("stac");
	emulation_failure(stac, 2, 3, SHOWN);
	cr_assert_not(vcpu_take_exit(&t.vcpu), "two bytes of three");
	emulation_failure(stac, 3, 0, SHOWN);
	cr_assert_not(vcpu_take_exit(&t.vcpu), "KVM says that it gave nothing");
	emulation_failure(stac, 3, 3, 0);
	cr_assert_not(vcpu_take_exit(&t.vcpu), "the bytes are not said to be any");
}

Test(vcpu_exit, what_no_machine_of_ours_makes_is_told_by_name_or_number)
{
	static const struct {
		uint32_t reason;
		const char *name;
	} exits[] = {
		{KVM_EXIT_UNKNOWN, "KVM_EXIT_UNKNOWN"},
		{KVM_EXIT_EXCEPTION, "KVM_EXIT_EXCEPTION"},
		{KVM_EXIT_DEBUG, "KVM_EXIT_DEBUG"},
		{KVM_EXIT_HYPERV, "KVM_EXIT_HYPERV"},
		{KVM_EXIT_XEN, "KVM_EXIT_XEN"},
		{KVM_EXIT_DIRTY_RING_FULL, "KVM_EXIT_DIRTY_RING_FULL"},
		{39, "KVM_EXIT_MEMORY_FAULT"},
		{KVM_EXIT_S390_RESET, "exit reason 14"},
		{VCPU_EXIT_REASONS - 1, "exit reason 47"},
		{VCPU_EXIT_REASONS, "exit reason 48"},
		{UINT32_MAX, "exit reason 4294967295"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		exit_is(exits[i].reason);
		must_fail(exits[i].name, "no use for");
		must_say(BYTES_THERE);
	}
}

Test(vcpu_exit, shutdown_and_reset_are_a_reboot)
{
	exit_is(KVM_EXIT_SHUTDOWN);
	cr_assert_not(vcpu_take_exit(&t.vcpu));
	cr_assert_eq(t.vcpu.end, VCPU_TRIPLE_FAULT);
	exit_is(KVM_EXIT_SYSTEM_EVENT)->system_event.type = KVM_SYSTEM_EVENT_RESET;
	cr_assert_not(vcpu_take_exit(&t.vcpu));
	cr_assert_eq(t.vcpu.end, VCPU_TRIPLE_FAULT);
}

Test(vcpu_exit, other_system_events_are_failures)
{
	exit_is(KVM_EXIT_SYSTEM_EVENT)->system_event.type = KVM_SYSTEM_EVENT_CRASH;
	must_fail("KVM_EXIT_SYSTEM_EVENT", "system event 3");
	exit_is(KVM_EXIT_SYSTEM_EVENT)->system_event.type = 77;
	must_fail("KVM_EXIT_SYSTEM_EVENT", "system event 77");
}

Test(vcpu_exit, what_only_says_that_time_went_by_is_no_end)
{
	static const uint32_t reasons[] = {
		KVM_EXIT_HLT,
		KVM_EXIT_IRQ_WINDOW_OPEN,
		KVM_EXIT_INTR,
		KVM_EXIT_SET_TPR,
		KVM_EXIT_TPR_ACCESS,
		KVM_EXIT_NMI,
		KVM_EXIT_IOAPIC_EOI,
		KVM_EXIT_X86_BUS_LOCK,
		KVM_EXIT_NOTIFY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		exit_is(reasons[i]);
		must_go_on(vcpu_exit_name(reasons[i]));
	}
}

Test(vcpu_exit, unknown_msrs_and_hypercalls_are_the_guests_affair)
{
	struct kvm_run *run = exit_is(KVM_EXIT_X86_RDMSR);

	run->msr.error = 0;
	must_go_on("rdmsr");
	cr_assert_eq(run->msr.error, 1, "the guest gets #GP");
	run = exit_is(KVM_EXIT_X86_WRMSR);
	run->msr.error = 0;
	must_go_on("wrmsr");
	cr_assert_eq(run->msr.error, 1);
	run = exit_is(KVM_EXIT_HYPERCALL);
	run->hypercall.ret = 0;
	must_go_on("hypercall");
	cr_assert_eq(run->hypercall.ret, (uint64_t)-1000, "KVM_ENOSYS");
}

/* Where no memory is, and across the end of memory: what can be had, and no more. */
Test(vcpu_exit, instruction_bytes_that_are_not_there_are_not_shown)
{
	struct kvm_regs regs;

	cr_assert_eq(ioctl(t.vcpu.fd, KVM_GET_REGS, &regs), 0);
	regs.rip = 0xd0000000;
	cr_assert_eq(ioctl(t.vcpu.fd, KVM_SET_REGS, &regs), 0);
	exit_is(KVM_EXIT_UNKNOWN);
	cr_assert_not(vcpu_take_exit(&t.vcpu));
	must_say("RIP 0xd0000000, instruction bytes unreadable");
	regs.rip = GMEM_MIN_BYTES - 2;
	cr_assert_eq(ioctl(t.vcpu.fd, KVM_SET_REGS, &regs), 0);
	exit_is(KVM_EXIT_UNKNOWN);
	cr_assert_not(vcpu_take_exit(&t.vcpu));
	cr_assert_str_eq(strstr(t.vcpu.diag.text, "bytes"), "bytes 00 00");
}

Test(vcpu_exit, an_error_of_kvm_run_itself_is_told)
{
	int fd = t.vcpu.fd;

	exit_is(KVM_EXIT_IO); /* as an earlier exit left it: not to be handled once more */
	t.vcpu.fd = t.vm.fd;  /* which does not know the call */
	cr_assert_not(vcpu_run_once(&t.vcpu));
	t.vcpu.fd = fd;
	cr_assert_eq(t.vcpu.end, VCPU_FAILED);
	must_say("vCPU 0: KVM_RUN: ");
	cr_assert_eq(t.vcpu.stats.total, 0, "no exit");
}

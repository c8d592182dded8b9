/* SPDX-License-Identifier: Apache-2.0 */
/* One KVM_RUN and what to do with its exit: a table, a row a reason. */
#include "core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/check.h"
#include "trace/probe.h"

#define VCPU_BYTES_SHOWN 15

static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* --- failures: RIP, reason and instruction bytes
 * ------------------------------------------------------- */

/* The instruction bytes at RIP, as many as can be had without harm; 0 if none. */
static unsigned int vcpu_fetch(struct vcpu *v, uint64_t rip, uint8_t *bytes)
{
	const struct kvm_run *run = v->run;
	struct kvm_translation tr = {.linear_address = rip};
	unsigned int n = 0;

	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
		run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
		run->emulation_failure.ndata >= 1 &&
		(run->emulation_failure.flags &
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
		n = run->emulation_failure.insn_size;
		n = n > VCPU_BYTES_SHOWN ? VCPU_BYTES_SHOWN : n;
		memcpy(bytes, run->emulation_failure.insn_bytes, n);
		return n;
	}
	if (ioctl(v->fd, KVM_TRANSLATE, &tr) < 0 || !tr.valid)
		return 0;
	for (uint64_t at = tr.physical_address; n < VCPU_BYTES_SHOWN; n++)
		if ((at + n) / GMEM_PAGE != at / GMEM_PAGE ||
			!gmem_read(v->mem, GPA(at + n), bytes + n, 1))
			break;
	return n;
}

static void vcpu_fail_at(struct vcpu *v, const char *reason, const char *what)
{
	uint8_t bytes[VCPU_BYTES_SHOWN];
	char hex[VCPU_BYTES_SHOWN * 3 + 1] = "";
	struct kvm_regs regs = {0};
	unsigned int n;

	ioctl(v->fd, KVM_GET_REGS, &regs);
	n = vcpu_fetch(v, regs.rip, bytes);
	for (unsigned int i = 0; i < n; i++)
		snprintf(hex + i * 3, 4, " %02x", bytes[i]);
	v->end = VCPU_FAILED;
	diag_fail(&v->diag, -EIO, "vCPU %u: %s: %s at RIP 0x%llx, instruction bytes%s", v->id,
		reason, what, (unsigned long long)regs.rip, n ? hex : " unreadable");
}

/* By the reason's name; by its number if this program is older than that. */
static void vcpu_fail(struct vcpu *v, const char *what)
{
	const char *name = vcpu_exit_name(v->run->exit_reason);
	char number[32];

	snprintf(number, sizeof(number), "exit reason %u", v->run->exit_reason);
	vcpu_fail_at(v, strcmp(name, "KVM_EXIT_?") ? name : number, what);
}

/* --- exits
 * --------------------------------------------------------------------------------------------------
 */

static bool exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct mailbox_exit e = {
		.addr = run->io.port,
		.kind = BUS_PIO,
		.size_bytes = run->io.size,
		.is_write = run->io.direction == KVM_EXIT_IO_OUT,
	};

	/* Configuration space writes are non-posted on PCI, too. */
	e.waits = e.is_write && e.addr >= LAYOUT_PORT_PCI_ADDRESS &&
		  e.addr < LAYOUT_PORT_PCI_DATA + 4;
	for (uint32_t i = 0; i < run->io.count; i++, data += e.size_bytes) {
		e.data = 0;
		if (e.is_write)
			memcpy(&e.data, data, e.size_bytes);
		if (!v->access(v, &e))
			return true;
		if (!e.is_write)
			memcpy(data, &e.data, e.size_bytes);
	}
	return true;
}

/* Device registers and configuration space: what such a write changes (an ioeventfd, a route, a
 * slot) the kernel must know before the guest's next instruction. */
static bool mmio_write_waits(uint64_t addr)
{
	return addr >= LAYOUT_PCI_MMIO && addr < LAYOUT_ECAM + LAYOUT_ECAM_BYTES;
}

static bool exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct mailbox_exit e = {
		.addr = run->mmio.phys_addr,
		.kind = BUS_MMIO,
		.is_write = run->mmio.is_write,
	};
	uint32_t left = run->mmio.len;
	uint8_t *data = run->mmio.data;

	CHECK(left <= sizeof(run->mmio.data));
	e.waits = e.is_write && mmio_write_waits(e.addr);
	/* A length that is no power of two comes from an access across a page's end; it is split.
	 */
	while (left) {
		e.size_bytes = (uint8_t)(1u << (31 - __builtin_clz(left)));
		e.data = 0;
		if (e.is_write)
			memcpy(&e.data, data, e.size_bytes);
		if (!v->access(v, &e))
			return true;
		if (!e.is_write)
			memcpy(data, &e.data, e.size_bytes);
		data += e.size_bytes;
		e.addr += e.size_bytes;
		left -= e.size_bytes;
	}
	return true;
}

static bool exit_again(struct vcpu *v)
{
	(void)v;
	return true;
}

static bool exit_hypercall(struct vcpu *v)
{
	v->run->hypercall.ret = (uint64_t)-1000; /* KVM_ENOSYS */
	return true;
}

static bool exit_msr(struct vcpu *v)
{
	v->run->msr.error = 1; /* #GP in the guest */
	return true;
}

static bool exit_shutdown(struct vcpu *v)
{
	v->end = VCPU_TRIPLE_FAULT;
	return false;
}

static bool exit_system_event(struct vcpu *v)
{
	char what[32];

	if (v->run->system_event.type == KVM_SYSTEM_EVENT_RESET)
		return exit_shutdown(v);
	snprintf(what, sizeof(what), "system event %u", v->run->system_event.type);
	vcpu_fail(v, what);
	return false;
}

static bool exit_internal_error(struct vcpu *v)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "KVM cannot emulate the instruction",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "fault while an event was delivered",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "unexpected exit of the processor",
	};
	uint32_t sub = v->run->internal.suberror;
	char what[64];

	if (sub == KVM_INTERNAL_ERROR_EMULATION && vcpu_complete(v))
		return true;
	snprintf(what, sizeof(what), "internal error %u", sub);
	vcpu_fail(v, sub < ARRAY_SIZE(names) && names[sub] ? names[sub] : what);
	return false;
}

static bool exit_fail_entry(struct vcpu *v)
{
	char what[64];

	snprintf(what, sizeof(what), "hardware entry failure 0x%llx",
		(unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
	vcpu_fail(v, what);
	return false;
}

static bool exit_unexpected(struct vcpu *v)
{
	vcpu_fail(v, "an exit that this machine has no use for");
	return false;
}

static const struct {
	const char *name;
	bool (*handle)(struct vcpu *v); /* false: the vCPU has ended */
} exits[] = {
	[KVM_EXIT_UNKNOWN] = {"KVM_EXIT_UNKNOWN", exit_unexpected},
	[KVM_EXIT_EXCEPTION] = {"KVM_EXIT_EXCEPTION", exit_unexpected},
	[KVM_EXIT_IO] = {"KVM_EXIT_IO", exit_io},
	[KVM_EXIT_HYPERCALL] = {"KVM_EXIT_HYPERCALL", exit_hypercall},
	[KVM_EXIT_DEBUG] = {"KVM_EXIT_DEBUG", exit_unexpected},
	[KVM_EXIT_HLT] = {"KVM_EXIT_HLT", exit_again},
	[KVM_EXIT_MMIO] = {"KVM_EXIT_MMIO", exit_mmio},
	[KVM_EXIT_IRQ_WINDOW_OPEN] = {"KVM_EXIT_IRQ_WINDOW_OPEN", exit_again},
	[KVM_EXIT_SHUTDOWN] = {"KVM_EXIT_SHUTDOWN", exit_shutdown},
	[KVM_EXIT_FAIL_ENTRY] = {"KVM_EXIT_FAIL_ENTRY", exit_fail_entry},
	[KVM_EXIT_INTR] = {"KVM_EXIT_INTR", exit_again},
	[KVM_EXIT_SET_TPR] = {"KVM_EXIT_SET_TPR", exit_again},
	[KVM_EXIT_TPR_ACCESS] = {"KVM_EXIT_TPR_ACCESS", exit_again},
	[KVM_EXIT_NMI] = {"KVM_EXIT_NMI", exit_again},
	[KVM_EXIT_INTERNAL_ERROR] = {"KVM_EXIT_INTERNAL_ERROR", exit_internal_error},
	[KVM_EXIT_SYSTEM_EVENT] = {"KVM_EXIT_SYSTEM_EVENT", exit_system_event},
	[KVM_EXIT_IOAPIC_EOI] = {"KVM_EXIT_IOAPIC_EOI", exit_again},
	[KVM_EXIT_HYPERV] = {"KVM_EXIT_HYPERV", exit_unexpected},
	[KVM_EXIT_X86_RDMSR] = {"KVM_EXIT_X86_RDMSR", exit_msr},
	[KVM_EXIT_X86_WRMSR] = {"KVM_EXIT_X86_WRMSR", exit_msr},
	[KVM_EXIT_DIRTY_RING_FULL] = {"KVM_EXIT_DIRTY_RING_FULL", exit_unexpected},
	[KVM_EXIT_X86_BUS_LOCK] = {"KVM_EXIT_X86_BUS_LOCK", exit_again},
	[KVM_EXIT_XEN] = {"KVM_EXIT_XEN", exit_unexpected},
	[KVM_EXIT_NOTIFY] = {"KVM_EXIT_NOTIFY", exit_again},
	[39] = {"KVM_EXIT_MEMORY_FAULT", exit_unexpected},
};

const char *vcpu_exit_name(unsigned int reason)
{
	return reason < ARRAY_SIZE(exits) && exits[reason].name ? exits[reason].name : "KVM_EXIT_?";
}

/* What a probe shows of an exit: the port or address, and the bytes of it. */
static uint64_t exit_address(const struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_IO)
		return run->io.port;
	return run->exit_reason == KVM_EXIT_MMIO ? run->mmio.phys_addr : 0;
}

static unsigned int exit_size_bytes(const struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_IO)
		return run->io.size * run->io.count;
	return run->exit_reason == KVM_EXIT_MMIO ? run->mmio.len : 0;
}

static unsigned int exit_is_write(const struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_IO)
		return run->io.direction == KVM_EXIT_IO_OUT;
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write;
}

bool vcpu_take_exit(struct vcpu *v)
{
	uint32_t reason = v->run->exit_reason;

	if (reason < ARRAY_SIZE(exits) && exits[reason].handle)
		return exits[reason].handle(v);
	return exit_unexpected(v);
}

bool vcpu_run_once(struct vcpu *v)
{
	uint32_t reason;

	PROBE(vcpu_entry, probe_string(v->guest), v->id);
	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return true;
		v->run->exit_reason = KVM_EXIT_UNKNOWN; /* an earlier one's is still there */
		vcpu_fail_at(v, "KVM_RUN", strerrordesc_np(errno));
		return false;
	}
	reason = v->run->exit_reason;
	count(&v->stats.total);
	count(&v->stats.exits[reason < VCPU_EXIT_REASONS ? reason : VCPU_EXIT_REASONS - 1]);
	PROBE(vcpu_exit, probe_string(v->guest), v->id, reason, exit_address(v->run),
		exit_size_bytes(v->run), exit_is_write(v->run));
	return vcpu_take_exit(v);
}

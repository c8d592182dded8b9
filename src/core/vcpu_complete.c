/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that KVM's emulator gives up on and that are completed here: a table, a row each.
 *
 * With VMX/SVM the emulator sees little but accesses to devices. Without, it runs the whole guest
 * kernel, and a few instructions of an ordinary kernel are not in it. */
#include "core/vcpu.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/check.h"

#define RFLAGS_AC (1ULL << 18)
#define VECTOR_BP 3

/* Does the instruction's work but for RIP, which is behind it already. */
static bool complete_nothing(struct vcpu *v, struct kvm_regs *regs)
{
	(void)v;
	(void)regs;
	return true;
}

static bool complete_clac(struct vcpu *v, struct kvm_regs *regs)
{
	(void)v;
	regs->rflags &= ~RFLAGS_AC;
	return true;
}

static bool complete_stac(struct vcpu *v, struct kvm_regs *regs)
{
	(void)v;
	regs->rflags |= RFLAGS_AC;
	return true;
}

/* A trap: the guest's handler sees the address behind the instruction. */
static bool complete_int3(struct vcpu *v, struct kvm_regs *regs)
{
	struct kvm_vcpu_events events;

	(void)regs;
	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return false;
	events.exception.injected = 1;
	events.exception.nr = VECTOR_BP;
	events.exception.has_error_code = 0;
	return ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events) == 0;
}

static const struct {
	const char *name;
	uint8_t bytes[4], len_bytes;
	bool (*complete)(struct vcpu *v, struct kvm_regs *regs);
} completions[] = {
	{"int3", {0xcc}, 1, complete_int3},
	{"fwait", {0x9b}, 1, complete_nothing},
	{"clac", {0x0f, 0x01, 0xca}, 3, complete_clac},
	{"stac", {0x0f, 0x01, 0xcb}, 3, complete_stac},
};

_Static_assert(ARRAY_SIZE(completions) <= VCPU_COMPLETIONS, "a counter for each");

const char *vcpu_completion_name(unsigned int i)
{
	return i < ARRAY_SIZE(completions) ? completions[i].name : NULL;
}

/* KVM shows the bytes that it fetched; not all of its failures come with them. */
static bool completion_matches(const struct kvm_run *run, unsigned int i)
{
	return run->emulation_failure.ndata >= 1 &&
	       (run->emulation_failure.flags &
		       KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) &&
	       run->emulation_failure.insn_size >= completions[i].len_bytes &&
	       !memcmp(run->emulation_failure.insn_bytes, completions[i].bytes,
		       completions[i].len_bytes);
}

static bool registers_get(struct vcpu *v, struct kvm_regs *regs)
{
	if (v->run->kvm_valid_regs & KVM_SYNC_X86_REGS) {
		*regs = v->run->s.regs.regs;
		return true;
	}
	return ioctl(v->fd, KVM_GET_REGS, regs) == 0;
}

static bool registers_set(struct vcpu *v, const struct kvm_regs *regs)
{
	if (v->run->kvm_valid_regs & KVM_SYNC_X86_REGS) {
		v->run->s.regs.regs = *regs;
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
		return true;
	}
	return ioctl(v->fd, KVM_SET_REGS, regs) == 0;
}

bool vcpu_complete(struct vcpu *v)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(completions); i++) {
		struct kvm_regs regs;

		if (!completion_matches(v->run, i))
			continue;
		if (!registers_get(v, &regs))
			return false;
		regs.rip += completions[i].len_bytes;
		if (!completions[i].complete(v, &regs) || !registers_set(v, &regs))
			return false;
		__atomic_store_n(
			&v->stats.completions[i], v->stats.completions[i] + 1, __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

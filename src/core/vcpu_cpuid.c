/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's CPUID: what KVM supports, with this machine's topology, less what this host cannot run.
 */
#include "core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define LEAF_ANY_INDEX UINT32_MAX

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* What KVM's emulator lacks: where it runs the guest's kernel, the kernel must not find these. User
 * mode runs natively and asks the processor itself. */
static const struct {
	uint32_t function, index;
	enum cpuid_register reg;
	uint32_t bits;
} emulated_lacks[] = {
	{1, LEAF_ANY_INDEX, CPUID_ECX,
		1u << 23 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 30 | 1u << 12},
	/* popcnt, xsave, osxsave, avx, f16c, rdrand, fma */
	{7, 0, CPUID_EBX,
		1u << 0 | 1u << 5 | 1u << 7 | 1u << 9 | 1u << 16 | 1u << 17 | 1u << 18 | 1u << 20 |
			1u << 21 | 1u << 28 | 1u << 30 | 1u << 31},
	/* fsgsbase, avx2, smep, erms, avx512f, avx512dq, rdseed, smap, avx512ifma, avx512cd,
	   avx512bw, avx512vl */
	{7, 0, CPUID_ECX,
		1u << 1 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 |
			1u << 14},
	/* avx512_vbmi, umip, pku, avx512_vbmi2, vaes, vpclmulqdq, avx512_vnni, avx512_bitalg,
	   avx512_vpopcntdq */
	{7, 0, CPUID_EDX, 1u << 4}, /* fsrm */
	{7, 1, CPUID_EAX, 1u << 4 | 1u << 5 | 1u << 10 | 1u << 11 | 1u << 12},
	/* avx_vnni, avx512_bf16, fzrm, fsrs, fsrc */
	{0xd, LEAF_ANY_INDEX, CPUID_EAX, UINT32_MAX},
};

static uint32_t *cpuid_register(struct kvm_cpuid_entry2 *e, enum cpuid_register reg)
{
	switch (reg) {
	case CPUID_EAX:
		return &e->eax;
	case CPUID_EBX:
		return &e->ebx;
	case CPUID_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

static void cpuid_hide_for_emulator(struct kvm_cpuid_entry2 *e)
{
	for (size_t i = 0; i < sizeof(emulated_lacks) / sizeof(emulated_lacks[0]); i++)
		if (e->function == emulated_lacks[i].function &&
			(emulated_lacks[i].index == LEAF_ANY_INDEX ||
				e->index == emulated_lacks[i].index))
			*cpuid_register(e, emulated_lacks[i].reg) &= ~emulated_lacks[i].bits;
}

/* Bits that hold `cpus` ids. */
static uint32_t id_bits(unsigned int cpus)
{
	uint32_t bits = 0;

	while ((1u << bits) < cpus)
		bits++;
	return bits;
}

/* One socket of `cpus` cores without hyper-threads: what Linux shows then is what was configured.
 */
static void cpuid_set_topology(struct kvm_cpuid_entry2 *e, unsigned int id, unsigned int cpus)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0x0000ffff) | cpus << 16 | id << 24;
		e->ecx |= 1u << 31 |
			  1u << 24; /* hypervisor, TSC deadline timer (in the in-kernel APIC) */
		e->edx = cpus > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
		break;
	case 4: /* Intel: each cache is a core's own but the last level; cores a package */
		e->eax = (e->eax & 0x3fff) | ((e->eax >> 5 & 7) >= 3 ? (cpus - 1) << 14 : 0) |
			 (cpus - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		e->edx = id;
		if (e->index == 0) { /* a core holds one thread */
			e->eax = 0;
			e->ebx = 1;
			e->ecx = 1 << 8;
		} else if (e->index == 1) {
			e->eax = id_bits(cpus);
			e->ebx = cpus;
			e->ecx = 2 << 8 | 1;
		} else {
			e->eax = e->ebx = 0;
			e->ecx = e->index;
		}
		break;
	case 0x80000008: /* AMD: NC and ApicIdCoreIdSize */
		e->ecx = (cpus - 1) | id_bits(cpus) << 12;
		break;
	case 0x8000001d:
		e->eax = (e->eax & 0x3fff) | ((e->eax >> 5 & 7) >= 3 ? (cpus - 1) << 14 : 0);
		break;
	case 0x8000001e: /* AMD: extended APIC id, one thread a core, one node */
		e->eax = id;
		e->ebx = id;
		e->ecx = 0;
		break;
	}
}

int vcpu_set_cpuid(struct vcpu *v, unsigned int cpus, struct diag *d)
{
	const struct kvm_cpuid2 *host = v->vm->host->cpuid;
	size_t bytes = sizeof(*host) + host->nent * sizeof(host->entries[0]);
	struct kvm_cpuid2 *own = malloc(bytes);
	int err = 0;

	if (!own)
		return diag_fail(d, -ENOMEM, "out of memory");
	memcpy(own, host, bytes);
	for (uint32_t i = 0; i < own->nent; i++) {
		cpuid_set_topology(&own->entries[i], v->id, cpus);
		if (!v->vm->host->hardware_virt)
			cpuid_hide_for_emulator(&own->entries[i]);
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, own) < 0)
		err = diag_errno(d, -errno, "vCPU %u: KVM_SET_CPUID2", v->id);
	free(own);
	return err;
}

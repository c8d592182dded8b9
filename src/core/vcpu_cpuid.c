/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's CPUID: what KVM supports, with this machine's topology, less what this host cannot run.
 */
#include "core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CPUID_1_ECX_CX16 (1u << 13)

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

/* KVM since Linux 6.2 lists the topology leaves with their first level only: threads. The cores are
 * a level of their own; without, each CPU would be a package. Room for the entry is there. */
static void cpuid_add_core_level(struct kvm_cpuid2 *own, uint32_t function)
{
	bool threads = false, cores = false;

	for (uint32_t i = 0; i < own->nent; i++) {
		if (own->entries[i].function != function)
			continue;
		threads |= own->entries[i].index == 0;
		cores |= own->entries[i].index == 1;
	}
	if (threads && !cores)
		own->entries[own->nent++] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = 1,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
}

int vcpu_set_cpuid(struct vcpu *v, unsigned int cpus, struct diag *d)
{
	const struct kvm_cpuid2 *host = v->vm->host->cpuid;
	size_t bytes = sizeof(*host) + host->nent * sizeof(host->entries[0]);
	struct kvm_cpuid2 *own = malloc(bytes + 2 * sizeof(host->entries[0]));
	int err = 0;

	if (!own)
		return diag_fail(d, -ENOMEM, "out of memory");
	memcpy(own, host, bytes);
	cpuid_add_core_level(own, 0xb);
	cpuid_add_core_level(own, 0x1f);
	for (uint32_t i = 0; i < own->nent; i++) {
		cpuid_set_topology(&own->entries[i], v->id, cpus);
		/* KVM's emulator cannot cmpxchg16b, which KVM's own list does not tell. */
		if (!v->vm->host->hardware_virt && own->entries[i].function == 1)
			own->entries[i].ecx &= ~CPUID_1_ECX_CX16;
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, own) < 0)
		err = diag_errno(d, -errno, "vCPU %u: KVM_SET_CPUID2", v->id);
	free(own);
	return err;
}

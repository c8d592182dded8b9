/* SPDX-License-Identifier: Apache-2.0 */
/* cpu and smp. */
#include "acpi.h"
#include "apic.h"
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "smp.h"
#include "trap.h"

#define JOIN_TIMEOUT_US 10000000

/* Twelve characters in three registers, as CPUID's signatures are. */
static void signature_print(const char *what, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t regs[4] = {a, b, c, 0};
	char *text = (char *)regs;
	for (unsigned i = 0; i < 12; i++)
		if (text[i] && (text[i] < ' ' || text[i] > '~'))
			text[i] = '?';
	print("%s: %s\n", what, text);
}

bool cmd_cpu(const struct args *args)
{
	(void)args;
	print("cpus: %u of %u run\n", smp_online(), acpi_info.cpu_count);
	for (unsigned i = 0; i < smp_online(); i++)
		print("cpu %u: APIC ID %u\n", i, smp_apic_id(i));

	struct cpuid_regs leaf = cpuid_read(0, 0);
	signature_print("vendor", leaf.ebx, leaf.edx, leaf.ecx);
	leaf = cpuid_read(1, 0);
	print("signature: 0x%x\n", leaf.eax);
	if (leaf.ecx & 1U << 31) {
		leaf = cpuid_read(0x40000000, 0);
		signature_print("hypervisor", leaf.ebx, leaf.ecx, leaf.edx);
	} else {
		print("hypervisor: none\n");
	}
	print("tsc: %lu kHz by %s\n", clock_tsc_khz(), clock_source());
	if (smp_online() != acpi_info.cpu_count)
		return fail("%u of %u CPUs run", smp_online(), acpi_info.cpu_count);
	return true;
}

static uint64_t ap_identify(uint64_t arg)
{
	return (uint64_t)lapic_id() << 32 | (uint32_t)(arg * arg);
}

bool cmd_smp(const struct args *args)
{
	(void)args;
	unsigned wrong = 0;
	for (unsigned cpu = 1; cpu < smp_online(); cpu++)
		cpu_run(cpu, ap_identify, 1000 + cpu);
	for (unsigned cpu = 1; cpu < smp_online(); cpu++) {
		uint64_t result;
		if (!cpu_join(cpu, &result, JOIN_TIMEOUT_US))
			return fail("CPU %u did not answer", cpu);
		uint32_t square = (1000 + cpu) * (1000 + cpu);
		print("cpu %u: APIC ID %u says %u\n", cpu, (uint32_t)(result >> 32),
			(uint32_t)result);
		if (result >> 32 != smp_apic_id(cpu) || (uint32_t)result != square)
			wrong++;
	}
	return wrong ? fail("%u CPUs answered wrongly", wrong) : true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TSC's rate: from the hypervisor's clock page where it has one (KVM), else from CPUID leaf
 * 15H, else measured against the local APIC's timer, which runs at 1 GHz in the hypervisors that
 * this guest meets.
 */
#include "clock.h"

#include <stdbool.h>

#include "apic.h"
#include "lib.h"
#include "trap.h"
#include "x86.h"

#define HYPERVISOR_LEAF       0x40000000
#define KVM_FEATURE_CLOCK2    (1U << 3)
#define MSR_KVM_SYSTEM_TIME   0x4b564d01
#define CALIBRATION_TSC_TICKS 20000000
#define LAPIC_TICKS_PER_MS    1000000UL
#define TICK_MS               500

/* struct pvclock_vcpu_time_info of KVM's documentation. */
struct clock_page {
	uint32_t version, pad;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_ns_mul;
	int8_t tsc_shift;
	uint8_t flags, pad2[2];
};

static uint64_t tsc_khz;
static const char *source;

static uint64_t khz_from_kvm(void)
{
	static struct clock_page page __attribute__((aligned(64)));
	struct cpuid_regs leaf = cpuid_read(HYPERVISOR_LEAF, 0);
	if (leaf.ebx != 0x4b4d564b || leaf.eax < HYPERVISOR_LEAF + 1 || /* "KVMK" */
		!(cpuid_read(HYPERVISOR_LEAF + 1, 0).eax & KVM_FEATURE_CLOCK2))
		return 0;
	msr_write(MSR_KVM_SYSTEM_TIME, (uint64_t)&page | 1);
	uint32_t mul = *(volatile uint32_t *)&page.tsc_to_ns_mul;
	int shift = *(volatile int8_t *)&page.tsc_shift;
	msr_write(MSR_KVM_SYSTEM_TIME, 0);
	if (!mul || shift < -31 || shift > 31)
		return 0;
	uint64_t khz = (1000000UL << 32) / mul;
	return shift < 0 ? khz << -shift : khz >> shift;
}

static uint64_t khz_from_cpuid(void)
{
	if (cpuid_read(0, 0).eax < 0x15)
		return 0;
	struct cpuid_regs leaf = cpuid_read(0x15, 0);
	if (!leaf.eax || !leaf.ebx || !leaf.ecx)
		return 0;
	return (uint64_t)leaf.ecx * leaf.ebx / leaf.eax / 1000;
}

static uint64_t khz_from_lapic(void)
{
	uint32_t ticks = lapic_timer_measure(CALIBRATION_TSC_TICKS);
	return ticks ? CALIBRATION_TSC_TICKS * LAPIC_TICKS_PER_MS / ticks : 0;
}

static void clock_init(void)
{
	static const struct {
		const char *name;
		uint64_t (*khz)(void);
	} sources[] = {
		{"KVM clock", khz_from_kvm},
		{"CPUID leaf 15H", khz_from_cpuid},
		{"local APIC timer", khz_from_lapic},
	};
	for (size_t i = 0; i < ARRAY_SIZE(sources) && !tsc_khz; i++) {
		tsc_khz = sources[i].khz();
		source = sources[i].name;
	}
	if (!tsc_khz) {
		tsc_khz = 1000000;
		source = "a guess";
	}
}

uint64_t clock_tsc_khz(void)
{
	if (!tsc_khz)
		clock_init();
	return tsc_khz;
}

const char *clock_source(void)
{
	clock_tsc_khz();
	return source;
}

uint64_t clock_ns(uint64_t ticks)
{
	uint64_t khz = clock_tsc_khz();
	return ticks / khz * 1000000 + ticks % khz * 1000000 / khz;
}

void clock_delay_us(uint64_t us)
{
	uint64_t ticks = us * clock_tsc_khz() / 1000, start = rdtsc();
	while (rdtsc() - start < ticks)
		cpu_relax();
}

void clock_tick_start(void)
{
	static unsigned vector;
	clock_tsc_khz(); /* it may use the timer */
	if (!vector)
		vector = irq_alloc();
	lapic_timer_start(vector, TICK_MS * LAPIC_TICKS_PER_MS);
}

void clock_tick_stop(void)
{
	lapic_timer_stop();
}

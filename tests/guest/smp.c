/* SPDX-License-Identifier: Apache-2.0 */
/* Start of the other CPUs (Intel SDM volume 3 §9.4.4; ACPI 6.4 §5.2.12.19), and work for them. */
#include "smp.h"

#include <stddef.h>

#include "acpi.h"
#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "lib.h"
#include "page.h"
#include "trap.h"
#include "x86.h"

#define START_TIMEOUT_US  2000000
#define INIT_DELAY_US     1000
#define RING3_STACK_PAGES 8
#define RING0_STACK_PAGES 2
#define MAILBOX_WAKEUP    1

/* The wakeup mailbox: one page, of which the OS writes the first 16 bytes. */
enum {
	MAILBOX_COMMAND = 0,
	MAILBOX_APIC_ID = 4,
	MAILBOX_VECTOR = 8,
};

/*
 * CPU 0 fills in fn and arg and then counts `given` up; the CPU itself fills in result and then
 * counts `done` up, and else writes nothing here.
 */
struct cpu {
	uint32_t apic_id;
	uint64_t (*fn)(uint64_t arg);
	uint64_t arg, result;
	uint64_t given, done;
} __attribute__((aligned(64)));

static struct cpu cpus[CPU_MAX];
static uint32_t online = 1;

/* For ap_start64 in entry.S; of the one CPU that is being started. */
uint64_t ap_ring0_stack, ap_ring3_stack;
uint32_t ap_tss_selector, ap_index;

extern uint8_t gdt[], trampoline_start[], trampoline_end[];
void ap_start64(void);
void smp_ap_main(uint32_t index);

/* Entered by each other CPU in ring 3, interrupts on. */
void smp_ap_main(uint32_t index)
{
	struct cpu *cpu = &cpus[index];
	lapic_enable();
	__atomic_store_n(&online, index + 1, __ATOMIC_RELEASE);
	for (;;) {
		uint64_t done = cpu->done;
		while (__atomic_load_n(&cpu->given, __ATOMIC_ACQUIRE) == done)
			cpu_wait(&cpu->given, done);
		cpu->result = cpu->fn(cpu->arg);
		__atomic_store_n(&cpu->done, done + 1, __ATOMIC_RELEASE);
	}
}

static bool ap_prepare(uint32_t index)
{
	uint8_t *ring0 = page_alloc(RING0_STACK_PAGES), *ring3 = page_alloc(RING3_STACK_PAGES);
	uint8_t *segment = page_alloc((TSS_SIZE + PAGE_SIZE - 1) / PAGE_SIZE);
	if (!ring0 || !ring3 || !segment)
		return false;
	ap_ring0_stack = (uint64_t)ring0 + RING0_STACK_PAGES * PAGE_SIZE;
	ap_ring3_stack = (uint64_t)ring3 + RING3_STACK_PAGES * PAGE_SIZE - 8;
	ap_index = index;
	ap_tss_selector = SEL_TSS + 16 * index;

	uint16_t bitmap = TSS_BITMAP;
	memcpy(segment + TSS_RSP0, &ap_ring0_stack, sizeof(ap_ring0_stack));
	memcpy(segment + TSS_BITMAP_REF, &bitmap, sizeof(bitmap));
	segment[TSS_SIZE - 1] = 0xff;

	uint8_t *descriptor = gdt + ap_tss_selector;
	uint32_t base = (uint32_t)(uint64_t)segment;
	descriptor[2] = (uint8_t)base;
	descriptor[3] = (uint8_t)(base >> 8);
	descriptor[4] = (uint8_t)(base >> 16);
	descriptor[7] = (uint8_t)(base >> 24);
	return true;
}

static bool ap_wait(uint32_t index)
{
	uint64_t start = rdtsc(), limit = clock_tsc_khz() * (START_TIMEOUT_US / 1000);
	while (__atomic_load_n(&online, __ATOMIC_ACQUIRE) <= index) {
		if (rdtsc() - start > limit)
			return false;
		cpu_relax();
	}
	return true;
}

static bool ap_start_by_mailbox(uint32_t index, uint32_t apic_id)
{
	uint64_t mailbox = acpi_info.wakeup_mailbox;
	mmio_write32(mailbox + MAILBOX_APIC_ID, apic_id);
	mmio_write64(mailbox + MAILBOX_VECTOR, (uint64_t)ap_start64);
	mmio_write16(mailbox + MAILBOX_COMMAND, MAILBOX_WAKEUP);
	return ap_wait(index);
}

static bool ap_start_by_ipi(uint32_t index, uint32_t apic_id)
{
	size_t len = (size_t)(trampoline_end - trampoline_start);
	if (!boot_is_ram(TRAMPOLINE, PAGE_SIZE)) {
		print("smp: no RAM at 0x%x for the trampoline\n", TRAMPOLINE);
		return false;
	}
	memcpy((void *)TRAMPOLINE, trampoline_start, len);
	lapic_send_init(apic_id);
	clock_delay_us(INIT_DELAY_US);
	lapic_send_startup(apic_id, TRAMPOLINE);
	return ap_wait(index);
}

void smp_start(void)
{
	uint32_t own = lapic_id();
	cpus[0].apic_id = own;
	for (uint32_t i = 0; i < acpi_info.cpu_count; i++) {
		uint32_t apic_id = acpi_info.apic_ids[i], index = online;
		if (apic_id == own || index == CPU_MAX)
			continue;
		cpus[index].apic_id = apic_id;
		if (!ap_prepare(index)) {
			print("smp: no memory for the stacks of CPU %u\n", index);
			return;
		}
		bool started = acpi_info.wakeup_mailbox ? ap_start_by_mailbox(index, apic_id)
							: ap_start_by_ipi(index, apic_id);
		if (!started) {
			/* Not the next one either: this one might still come and take its stacks.
			 */
			print("smp: the CPU with APIC ID %u did not start\n", apic_id);
			return;
		}
	}
}

unsigned smp_online(void)
{
	return __atomic_load_n(&online, __ATOMIC_ACQUIRE);
}

uint32_t smp_apic_id(unsigned cpu)
{
	return cpus[cpu].apic_id;
}

void cpu_run(unsigned index, uint64_t (*fn)(uint64_t arg), uint64_t arg)
{
	struct cpu *cpu = &cpus[index];
	cpu->fn = fn;
	cpu->arg = arg;
	__atomic_store_n(&cpu->given, cpu->given + 1, __ATOMIC_SEQ_CST);
	lapic_send(cpu->apic_id, VECTOR_WAKE);
}

bool cpu_is_done(unsigned index, uint64_t *result)
{
	struct cpu *cpu = &cpus[index];
	if (__atomic_load_n(&cpu->done, __ATOMIC_ACQUIRE) != cpu->given)
		return false;
	if (result)
		*result = cpu->result;
	return true;
}

bool cpu_join(unsigned index, uint64_t *result, uint64_t timeout_us)
{
	uint64_t start = rdtsc(), limit = timeout_us * clock_tsc_khz() / 1000;
	while (!cpu_is_done(index, result)) {
		if (rdtsc() - start > limit)
			return false;
		cpu_relax();
	}
	return true;
}

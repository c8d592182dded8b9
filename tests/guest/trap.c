/* SPDX-License-Identifier: Apache-2.0 */
/* Privileged operations on behalf of ring 3, and the report of an unexpected exception. */
#include "trap.h"

#include "lib.h"
#include "power.h"
#include "x86.h"

#define FRAME_RFLAGS 2
#define RFLAGS_IF    0x200

volatile uint64_t irq_count[256];
volatile uint64_t irq_any;

/* What trap_common in entry.S pushes, and below it what the CPU did. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct trap {
	struct trap_frame frame;
	uint64_t cr2;
};

static struct trap trap_last;
static uint8_t trap_stack[16384] __attribute__((aligned(16)));

void trap_enter(struct trap_frame *frame, uint64_t cr2);

static uint64_t ring0_irq_enable(uint64_t unused_a, uint64_t unused_b, uint64_t *frame)
{
	(void)unused_a, (void)unused_b;
	frame[FRAME_RFLAGS] |= RFLAGS_IF;
	return 0;
}

/* Not by sti: some hosts lose the I/O privilege level that it needs in ring 3. */
void irq_enable(void)
{
	ring0_call(ring0_irq_enable, 0, 0);
}

unsigned irq_alloc(void)
{
	static unsigned next = VECTOR_DEVICE_FIRST;
	return next <= VECTOR_DEVICE_LAST ? next++ : 0;
}

static uint64_t ring0_rdmsr(uint64_t msr, uint64_t unused, uint64_t *frame)
{
	(void)unused, (void)frame;
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)msr));
	return (uint64_t)high << 32 | low;
}

static uint64_t ring0_wrmsr(uint64_t msr, uint64_t value, uint64_t *frame)
{
	(void)frame;
	__asm__ volatile(
		"wrmsr" ::"c"((uint32_t)msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		: "memory");
	return 0;
}

static uint64_t ring0_cpuid(uint64_t regs_address, uint64_t unused, uint64_t *frame)
{
	(void)unused, (void)frame;
	struct cpuid_regs *regs = (struct cpuid_regs *)regs_address;
	__asm__ volatile("cpuid"
			 : "+a"(regs->eax), "=b"(regs->ebx), "+c"(regs->ecx), "=d"(regs->edx));
	return 0;
}

static uint64_t ring0_triple_fault(uint64_t unused_a, uint64_t unused_b, uint64_t *frame)
{
	(void)unused_a, (void)unused_b, (void)frame;
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt = {0, 0};
	__asm__ volatile("lidt %0; ud2" ::"m"(no_idt));
	return 0;
}

uint64_t msr_read(uint32_t msr)
{
	return ring0_call(ring0_rdmsr, msr, 0);
}

void msr_write(uint32_t msr, uint64_t value)
{
	ring0_call(ring0_wrmsr, msr, value);
}

struct cpuid_regs cpuid_read(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs regs = {.eax = leaf, .ecx = subleaf};
	ring0_call(ring0_cpuid, (uint64_t)&regs, 0);
	return regs;
}

void cpu_triple_fault(void)
{
	for (;;)
		ring0_call(ring0_triple_fault, 0, 0);
}

/* In ring 3, at full speed and with interrupts off: says what happened and ends the guest. */
static void __attribute__((noreturn)) trap_report(const struct trap *trap)
{
	const struct trap_frame *f = &trap->frame;
	print("\ntrap %lu error 0x%lx rip 0x%lx cs 0x%lx rflags 0x%lx rsp 0x%lx cr2 0x%lx\n",
		f->vector, f->error, f->rip, f->cs, f->rflags, f->rsp, trap->cr2);
	print("rax 0x%lx rbx 0x%lx rcx 0x%lx rdx 0x%lx rsi 0x%lx rdi 0x%lx rbp 0x%lx\n", f->rax,
		f->rbx, f->rcx, f->rdx, f->rsi, f->rdi, f->rbp);
	print("VERDICT trap failed: exception %lu at 0x%lx\n", f->vector, f->rip);
	power_off();
	cpu_triple_fault();
}

/* In ring 0, called by trap_common: has it return to trap_report instead of where it came from. */
void trap_enter(struct trap_frame *frame, uint64_t cr2)
{
	static bool is_reporting;
	if (is_reporting) /* the report itself trapped, or another CPU did meanwhile: no way to say
			     more */
		ring0_triple_fault(0, 0, NULL);
	is_reporting = true;
	trap_last.frame = *frame;
	trap_last.cr2 = cr2;
	frame->rip = (uint64_t)trap_report;
	frame->rdi = (uint64_t)&trap_last;
	frame->rsp = (uint64_t)(trap_stack + sizeof(trap_stack) - 8);
	frame->rflags = 0x3002;
	frame->cs = SEL_USER_CODE;
	frame->ss = SEL_USER_DATA;
}

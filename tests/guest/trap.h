/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions, interrupts, and the way from ring 3 into ring 0.
 *
 * An interrupt handler runs in ring 0 and does nothing but count and acknowledge. Who waits for an
 * interrupt reads its counter (or irq_any), checks his condition, and then waits until the counter
 *is no longer what he read:
 *
 *	for (;;) {
 *		uint64_t seen = irq_any;
 *		if (condition())
 *			break;
 *		cpu_wait(&irq_any, seen);
 *	}
 */
#ifndef GUEST_TRAP_H
#define GUEST_TRAP_H

#include <stdint.h>

#include "layout.h"

/* Interrupts taken, by vector, and all of them; written in ring 0 by whichever CPU took it. */
extern volatile uint64_t irq_count[256];
extern volatile uint64_t irq_any;

/* Code for ring 0; frame: the rip, cs, rflags, rsp and ss with which ring 3 will go on. */
typedef uint64_t ring0_fn(uint64_t a, uint64_t b, uint64_t *frame);

/*
 * Runs fn(a, b, frame) in ring 0 with interrupts off and returns what it returned. On some hosts
 * such code is interpreted, at 0.5 us an instruction and with plain integer instructions only: keep
 * it short.
 */
uint64_t ring0_call(ring0_fn *fn, uint64_t a, uint64_t b);

/* Halts this CPU until an interrupt, unless *word is no longer `seen`. May return early. */
void cpu_wait(const volatile uint64_t *word, uint64_t seen);

/* Interrupts of this CPU on, once its local APIC is set up. */
void irq_enable(void);

/* A free vector of its own for a device; 0 when there is none left. */
unsigned irq_alloc(void);

uint64_t msr_read(uint32_t msr);
void msr_write(uint32_t msr, uint64_t value);

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

/* CPUID as ring 0 sees it: in ring 3 some hosts show their own. */
struct cpuid_regs cpuid_read(uint32_t leaf, uint32_t subleaf);

/* Never returns: the CPU is left without an IDT and faults. */
void cpu_triple_fault(void) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The other CPUs: they wait halted in ring 3 until CPU 0 gives them a function to run. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

/* Starts the CPUs of the MADT, by its wakeup mailbox where it has one, else by INIT and SIPI. */
void smp_start(void);

/* CPUs that run, CPU 0 included; they are numbered from 0 without gaps. */
unsigned smp_online(void);

/* APIC ID of CPU `cpu`. */
uint32_t smp_apic_id(unsigned cpu);

/*
 * Starts fn(arg) on another CPU that runs and is idle. fn must not print, allocate or use clock_*.
 * Called by CPU 0.
 */
void cpu_run(unsigned cpu, uint64_t (*fn)(uint64_t arg), uint64_t arg);

/* Whether what cpu_run started has returned; *result, unless NULL, is what it returned. */
bool cpu_is_done(unsigned cpu, uint64_t *result);

/* Waits for cpu_is_done, at most so long. */
bool cpu_join(unsigned cpu, uint64_t *result, uint64_t timeout_us);

#endif

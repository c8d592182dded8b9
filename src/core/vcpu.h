/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual CPU: its thread loops in KVM_RUN and knows no device; accesses go to the exit mailbox.
 */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/loader.h"
#include "core/mailbox.h"
#include "core/vm.h"

struct kvm_run;

#define VCPU_EXIT_REASONS 48 /* by KVM_EXIT_*; the last one counts all that are higher */
#define VCPU_COMPLETIONS  16 /* instructions completed for KVM's emulator; see vcpu_complete.c */

/* How a vCPU's thread ended. */
enum vcpu_end {
	VCPU_RUNNING,
	VCPU_STOPPED,      /* vcpu_stop */
	VCPU_TRIPLE_FAULT, /* the guest's last resort to reboot */
	VCPU_FAILED,       /* with the text in `diag` */
};

/* Counted by the vCPU's thread with relaxed stores; readable by any thread. */
struct vcpu_stats {
	uint64_t exits[VCPU_EXIT_REASONS];
	uint64_t completions[VCPU_COMPLETIONS];
	uint64_t total;
};

struct vcpu {
	struct vm *vm;
	const struct gmem *mem;
	const char *guest; /* its name, for probes; NULL: none */
	unsigned int id;   /* = APIC id */
	int fd;
	struct kvm_run *run;

	/* How an access leaves the thread: into the mailbox unless changed before vcpu_start (a
	 * benchmark handles it on the spot). False: torn down meanwhile. A read's value comes back
	 * in e->data. */
	bool (*access)(struct vcpu *v, struct mailbox_exit *e);
	struct mailbox box;

	struct reactor *home;
	pthread_t thread;
	bool started;
	uint32_t stop; /* atomic */
	struct reactor_msg ended_msg;
	void (*ended)(struct vcpu *v); /* on the home reactor, once, as the thread's last act */
	void *owner;

	enum vcpu_end end; /* for `ended` */
	struct diag diag;
	struct vcpu_stats stats;
};

/* vcpu_create: the KVM vCPU with its CPUID and MSRs, no thread yet. Any thread. -errno with text.
 */
int vcpu_create(struct vcpu *v, struct vm *vm, const struct gmem *mem, unsigned int id,
	unsigned int cpus, struct diag *d);
/* vcpu_finish: closes it; its thread has ended and been joined, or never started. Safe on a zeroed
 * struct. */
void vcpu_finish(struct vcpu *v);

/* vcpu_set_boot: registers for the loader's entry (boot CPU). */
int vcpu_set_boot(struct vcpu *v, const struct boot_entry *entry, struct diag *d);
/* vcpu_set_wakeup: registers as ACPI's multiprocessor wakeup wants them: 64-bit mode, identity map,
 * interrupts off. */
int vcpu_set_wakeup(struct vcpu *v, gpa_t vector, struct diag *d);

/* vcpu_start: makes the thread; `v->ended` will be called on `home` exactly once if this succeeds.
 * Home reactor. */
int vcpu_start(struct vcpu *v, struct reactor *home, struct diag *d);
/* vcpu_stop: asks the thread to leave KVM_RUN and end. Home reactor; harmless if it has ended. */
void vcpu_stop(struct vcpu *v);
/* vcpu_join: after `ended`; returns at once then. */
void vcpu_join(struct vcpu *v);

/* vcpu_exit_name: "KVM_EXIT_IO"; "KVM_EXIT_?" for an unknown one. */
const char *vcpu_exit_name(unsigned int reason);
/* vcpu_completion_name: mnemonic of entry i of the completion table, NULL past its end. */
const char *vcpu_completion_name(unsigned int i);

/* vcpu_run_once: one KVM_RUN and its exit handled, on the calling thread; for benchmarks and probes
 * without a thread. False when the vCPU has ended (v->end). */
bool vcpu_run_once(struct vcpu *v);
/* vcpu_take_exit: what follows from the exit that v->run tells of; the second half of
 * vcpu_run_once, with its result. For tests of exits that a host does not make. */
bool vcpu_take_exit(struct vcpu *v);

/* --- private to vcpu*.c ---- */
int vcpu_set_cpuid(struct vcpu *v, unsigned int cpus, struct diag *d);
bool vcpu_complete(struct vcpu *v);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual PC: memory, vCPUs, buses, serial port, power, devices. Built on a helper thread, then
 * attached to its home reactor, where everything but KVM_RUN happens; destroyed on a helper thread.
 */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "core/bus.h"
#include "core/config.h"
#include "core/device.h"
#include "core/gmem.h"
#include "core/loader.h"
#include "core/neighbours.h"
#include "core/pci.h"
#include "core/power.h"
#include "core/stream.h"
#include "core/uart.h"
#include "core/vcpu.h"
#include "core/vm.h"

/* Why a machine came to its end. */
enum machine_end {
	MACHINE_RUNNING,
	MACHINE_POWER_OFF,   /* ACPI S5 */
	MACHINE_REBOOT,      /* a reset register, or a triple fault */
	MACHINE_FORCED,      /* machine_stop before the guest ended by itself */
	MACHINE_VCPU_FAILED, /* text in `diag` */
};

struct machine_params {
	struct vm_host *host;
	const char *name;
	struct guest_config *config; /* checked; what is used up is taken out of it */
	const struct blob *builtin;  /* the embedded guest's ELF */
	bool huge_pages;
	struct neighbours *neighbours; /* who of the process's guests can be reached; may be NULL */
	const struct device_class *const *classes; /* NULL-terminated, in the order of creation */
};

/* Home reactor, but for the vCPUs' own threads (vcpu.h). */
struct machine {
	char name[64];
	struct neighbours *neighbours;
	struct reactor *home;
	struct gmem mem;
	struct vm vm;
	struct bus bus;
	struct pci_bus pci;
	struct uart uart;
	struct stream serial;
	struct power power;
	struct bus_range wakeup; /* the multiprocessor wakeup mailbox */
	uint8_t wakeup_bytes[16];

	struct vcpu *vcpus;
	unsigned int cpus;   /* made */
	unsigned int live;   /* whose thread has not ended */
	bool wakeup_mailbox; /* APs wait for it; without, they sit in KVM and wait for SIPI */
	struct boot_entry boot;

	struct list devices;
	unsigned int devices_live; /* that have not stopped yet */
	uint64_t memory_bytes;

	/* Coalescing of serial output. */
	struct reactor_timer coalesce_timer;
	uint32_t burst; /* bytes written one exit each since the last tick */
	uint32_t quiet_ticks;

	enum machine_end end;
	struct diag diag; /* of MACHINE_VCPU_FAILED */
	bool started, stopping;
	void (*ended)(struct machine *m);   /* once, when the guest ends by itself */
	void (*stopped)(struct machine *m); /* answer to machine_stop */
	void *owner;
	uint64_t unexpected_wakeups;
	struct machine_counts {
		uint64_t kicks, irqs;
	} counts; /* by the devices */
};

/* machine_build: makes all of it, kernel loaded, no vCPU running. Helper thread; blocks on files.
 * On failure *out is NULL, nothing is left, and the error is of conformance.md's order with text in
 * `d`. */
enum guest_error machine_build(
	struct machine **out, const struct machine_params *p, struct diag *d);

/* machine_attach: from now on it is this reactor's. Before anything else on the reactor. */
void machine_attach(struct machine *m, struct reactor *home);

/* machine_start: the vCPUs run. GUEST_OK, a device's start error, or GUEST_VCPU_START_FAILURE;
 * after an error machine_stop is due as well. */
enum guest_error machine_start(struct machine *m, struct diag *d);

/* machine_stop: stops vCPUs, then devices, then streams; `stopped` is called when nothing is left
 * that moves, never from within. */
void machine_stop(struct machine *m, void (*stopped)(struct machine *m));

/* machine_destroy: frees it; stopped, or never attached. Helper thread. NULL is fine. */
void machine_destroy(struct machine *m);

/* machine_drain: handles all posted exits; called before a kick or a control call is handled. */
void machine_drain(struct machine *m);

/* machine_exits: all vCPUs' exits so far. */
uint64_t machine_exits(const struct machine *m);

/* machine_find: the first device of this class, or NULL. machine_console, machine_balloon: the
 * one that is a console, a balloon. */
struct device *machine_find(struct machine *m, const struct device_class *class);
struct device *machine_console(struct machine *m);
/* machine_vsock: the device whose class has a vsock_controller, or NULL. */
struct device *machine_vsock(struct machine *m);
struct device *machine_balloon(struct machine *m);
struct device *machine_mem(struct machine *m);

/* machine_memory_changed: some guest memory was unplugged; tells every device. Home reactor. */
void machine_memory_changed(struct machine *m);

/* --- private to machine*.c --- */
enum guest_error machine_io_init(struct machine *m, struct diag *d);
void machine_io_attach(struct machine *m);
void machine_io_stop(struct machine *m);
void machine_access(void *ctx, struct mailbox_exit *e);
void machine_came_to_end(struct machine *m, enum machine_end end);
int machine_wake_ap(struct machine *m, uint32_t apic_id, gpa_t vector);

#endif

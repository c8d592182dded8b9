/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's making, its registers at start, and its thread. */
#include "core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "core/slice.h"

#define CR0_PE   (1ULL << 0)
#define CR0_ET   (1ULL << 4)
#define CR0_PG   (1ULL << 31)
#define CR4_PAE  (1ULL << 5)
#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE_WB    ((1u << 11) | 6)
#define MSR_MISC_ENABLE   0x1a0
#define MISC_FAST_STRING  1
#define MSR_K7_HWCR       0xc0010015
#define HWCR_TSC_FREQ_SEL (1u << 24)
#define VCPU_STACK_BYTES  (256 * 1024)

static bool access_by_mailbox(struct vcpu *v, struct mailbox_exit *e)
{
	e->mark = vm_coalesced_mark(v->vm);
	if (e->is_write && !e->waits)
		return mailbox_post(&v->box, e);
	return mailbox_ask(&v->box, e, &e->data);
}

/* Memory is write-back unless the guest says otherwise, as firmware leaves it. */
static int vcpu_set_msrs(struct vcpu *v, struct diag *d)
{
	union { /* the structure ends in an array without a length */
		struct kvm_msrs head;
		char room[sizeof(struct kvm_msrs) + 2 * sizeof(struct kvm_msr_entry)];
	} msrs = {.head.nmsrs = 2};

	msrs.head.entries[0].index = MSR_MISC_ENABLE;
	msrs.head.entries[0].data = MISC_FAST_STRING;
	msrs.head.entries[1].index = MSR_MTRR_DEF_TYPE;
	msrs.head.entries[1].data = MTRR_ENABLE_WB;
	if (ioctl(v->fd, KVM_SET_MSRS, &msrs) != 2)
		return diag_errno(d, -errno, "vCPU %u: KVM_SET_MSRS", v->id);
	/* On AMD, that the TSC counts at the nominal frequency, which Linux wants to see. KVM takes
	 * the bit since Linux 6.8 or so; without it the guest's log has a warning, no more. */
	msrs.head.nmsrs = 1;
	msrs.head.entries[0].index = MSR_K7_HWCR;
	msrs.head.entries[0].data = HWCR_TSC_FREQ_SEL;
	ioctl(v->fd, KVM_SET_MSRS, &msrs);
	return 0;
}

static void vcpu_map_coalesced(struct vcpu *v)
{
	size_t offset = KVM_COALESCED_MMIO_PAGE_OFFSET * 4096UL;

	if (v->vm->coalesced || !v->vm->host->coalesced_pio || offset >= v->vm->host->run_bytes)
		return;
	v->vm->coalesced = (void *)((uint8_t *)v->run + offset);
	v->vm->coalesced_entries =
		(4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio);
}

int vcpu_create(struct vcpu *v, struct vm *vm, const struct gmem *mem, unsigned int id,
	unsigned int cpus, struct diag *d)
{
	int err;

	memset(v, 0, sizeof(*v));
	v->vm = vm;
	v->mem = mem;
	v->id = id;
	v->access = access_by_mailbox;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (v->fd < 0)
		return diag_errno(d, -errno, "KVM_CREATE_VCPU %u", id);
	v->run = mmap(NULL, vm->host->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		err = diag_errno(d, -errno, "mapping vCPU %u", id);
	} else {
		err = vcpu_set_cpuid(v, cpus, d);
	}
	if (!err)
		err = vcpu_set_msrs(v, d);
	if (err) {
		vcpu_finish(v);
		return err;
	}
	if (id == 0)
		vcpu_map_coalesced(v);
	/* Where the emulator gives up often, each of its failures would cost two more ioctls. */
	if (!vm->host->hardware_virt && (vm->host->sync_regs & KVM_SYNC_X86_REGS))
		v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return 0;
}

void vcpu_finish(struct vcpu *v)
{
	if (!v->vm)
		return;
	CHECK(!v->started);
	if (v->id == 0)
		v->vm->coalesced = NULL;
	if (v->run)
		munmap(v->run, v->vm->host->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	memset(v, 0, sizeof(*v));
	v->fd = -1;
}

/* --- registers
 * --------------------------------------------------------------------------------------- */

static struct kvm_segment code_segment(uint16_t selector, bool is_64bit)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = 11,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = !is_64bit,
		.l = is_64bit,
	};
}

static struct kvm_segment data_segment(uint16_t selector)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = 3,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = 1,
	};
}

static int vcpu_set_state(
	struct vcpu *v, struct kvm_sregs *sregs, const struct kvm_regs *regs, struct diag *d)
{
	struct kvm_mp_state state = {.mp_state = KVM_MP_STATE_RUNNABLE};

	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data_segment(LOADER_DS);
	sregs->tr = (struct kvm_segment){
		.limit = 0x67, .selector = LOADER_TSS, .type = 11, .present = 1};
	sregs->gdt.base = LAYOUT_BOOT_GDT;
	sregs->gdt.limit = LOADER_GDT_BYTES - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	if (ioctl(v->fd, KVM_SET_SREGS, sregs) < 0)
		return diag_errno(d, -errno, "vCPU %u: KVM_SET_SREGS", v->id);
	if (ioctl(v->fd, KVM_SET_REGS, regs) < 0)
		return diag_errno(d, -errno, "vCPU %u: KVM_SET_REGS", v->id);
	if (ioctl(v->fd, KVM_SET_MP_STATE, &state) < 0)
		return diag_errno(d, -errno, "vCPU %u: KVM_SET_MP_STATE", v->id);
	return 0;
}

static int vcpu_set_long_mode(struct vcpu *v, gpa_t rip, uint64_t rsi, uint64_t rsp, struct diag *d)
{
	struct kvm_regs regs = {.rip = rip.v, .rsi = rsi, .rsp = rsp, .rbp = rsp, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
		return diag_errno(d, -errno, "vCPU %u: KVM_GET_SREGS", v->id);
	sregs.cs = code_segment(LOADER_CS64, true);
	sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	sregs.cr3 = LAYOUT_BOOT_PAGE_TABLES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	return vcpu_set_state(v, &sregs, &regs, d);
}

/* The state that the PVH boot ABI asks for: 32-bit protected mode, flat, no paging, EBX = start
 * info. */
static int vcpu_set_pvh(struct vcpu *v, const struct boot_entry *entry, struct diag *d)
{
	struct kvm_regs regs = {.rip = entry->entry.v, .rbx = entry->info.v, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
		return diag_errno(d, -errno, "vCPU %u: KVM_GET_SREGS", v->id);
	sregs.cs = code_segment(LOADER_CS32, false);
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	return vcpu_set_state(v, &sregs, &regs, d);
}

int vcpu_set_boot(struct vcpu *v, const struct boot_entry *entry, struct diag *d)
{
	if (entry->protocol == BOOT_PVH)
		return vcpu_set_pvh(v, entry, d);
	return vcpu_set_long_mode(v, entry->entry, entry->info.v, LAYOUT_BOOT_STACK, d);
}

int vcpu_set_wakeup(struct vcpu *v, gpa_t vector, struct diag *d)
{
	return vcpu_set_long_mode(v, vector, 0, 0, d);
}

/* --- the thread
 * ---------------------------------------------------------------------------------------- */

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void kick_handler(int sig)
{
	(void)sig; /* its arrival is what ends KVM_RUN */
}

static void kick_install(void)
{
	struct sigaction sa = {.sa_handler = kick_handler};

	sigemptyset(&sa.sa_mask);
	CHECK(sigaction(kick_signal(), &sa, NULL) == 0);
}

static void ended_msg_run(struct reactor_msg *msg)
{
	struct vcpu *v = container_of(msg, struct vcpu, ended_msg);

	v->ended(v);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];
	sigset_t kick;

	snprintf(name, sizeof(name), "vcpu %u", v->id);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	slice_default();

	while (!__atomic_load_n(&v->stop, __ATOMIC_ACQUIRE))
		if (!vcpu_run_once(v))
			break;
	if (v->end == VCPU_RUNNING)
		v->end = VCPU_STOPPED;
	reactor_post(v->home, &v->ended_msg);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct reactor *home, struct diag *d)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	CHECK(!v->started && v->ended);
	pthread_once(&once, kick_install);
	v->home = home;
	v->ended_msg.run = ended_msg_run;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	/* Not the reactor's own pinning, which a new thread would inherit. */
	if (CPU_COUNT(&v->vm->host->affinity))
		pthread_attr_setaffinity_np(&attr, sizeof(cpu_set_t), &v->vm->host->affinity);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		return diag_errno(d, err, "starting the thread of vCPU %u", v->id);
	v->started = true;
	return 0;
}

void vcpu_stop(struct vcpu *v)
{
	if (!v->started)
		return;
	__atomic_store_n(&v->stop, 1, __ATOMIC_RELEASE);
	/* Before the signal: if that arrives before the thread is in KVM_RUN, this ends KVM_RUN
	 * instead. */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	mailbox_abort(&v->box);
	pthread_kill(v->thread, kick_signal());
}

void vcpu_join(struct vcpu *v)
{
	if (!v->started)
		return;
	pthread_join(v->thread, NULL);
	v->started = false;
}

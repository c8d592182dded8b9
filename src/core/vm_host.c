/* SPDX-License-Identifier: Apache-2.0 */
/* The host's KVM: what it offers, and whether INIT/SIPI works on it. */
#include "core/vm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CPUID_ENTRIES 256

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
};

static int host_check(struct vm_host *h, const char *path, struct diag *d)
{
	int version = ioctl(h->kvm_fd, KVM_GET_API_VERSION, 0);
	int run_bytes;

	if (version != KVM_API_VERSION)
		return diag_fail(d, -ENOTSUP,
			"%s: KVM API version is %d, %d is needed: not a KVM device?", path, version,
			KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return diag_fail(d, -ENOTSUP,
				"%s: this kernel's KVM lacks %s; a kernel of 6.1 or later has it",
				path, needed[i].name);
	run_bytes = ioctl(h->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_bytes < (int)sizeof(struct kvm_run))
		return diag_fail(
			d, -ENOTSUP, "%s: KVM_GET_VCPU_MMAP_SIZE gives %d bytes", path, run_bytes);
	h->run_bytes = (uint32_t)run_bytes;
	h->max_vcpus = (unsigned int)ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	h->sync_regs = (uint64_t)ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
	h->coalesced_pio = ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) > 0;
	return 0;
}

static int host_cpuid(struct vm_host *h, const char *path, struct diag *d)
{
	h->cpuid = calloc(1, sizeof(*h->cpuid) + CPUID_ENTRIES * sizeof(h->cpuid->entries[0]));
	if (!h->cpuid)
		return diag_fail(d, -ENOMEM, "out of memory");
	h->cpuid->nent = CPUID_ENTRIES;
	if (ioctl(h->kvm_fd, KVM_GET_SUPPORTED_CPUID, h->cpuid) < 0)
		return diag_errno(d, -errno, "%s: KVM_GET_SUPPORTED_CPUID", path);
	return 0;
}

#define CPUID_ADDRESSES    0x80000008u
#define ADDRESS_BITS_PLAIN 36u /* of a CPU that does not say */

unsigned int vm_host_address_bits(const struct vm_host *h)
{
	for (uint32_t i = 0; h->cpuid && i < h->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &h->cpuid->entries[i];

		/* Where paging narrows what guests can reach, the third byte says so. */
		if (e->function == CPUID_ADDRESSES)
			return e->eax >> 16 & 0xff ? e->eax >> 16 & 0xff : e->eax & 0xff;
	}
	return ADDRESS_BITS_PLAIN;
}

static bool cpu_has_virtualization(void)
{
	unsigned int a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 5)))
		return true;                                               /* VMX */
	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2)); /* SVM */
}

int vm_host_open(struct vm_host *h, const char *path, struct diag *d)
{
	int err;

	memset(h, 0, sizeof(*h));
	h->init_sipi = -1;
	if (!path)
		path = "/dev/kvm";
	h->kvm_fd = open(path, O_RDWR | O_CLOEXEC);
	if (h->kvm_fd < 0) {
		err = -errno;
		if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
			return diag_errno(d, err,
				"%s: this host offers no KVM; load the kvm_intel or kvm_amd "
				"module, or enable "
				"virtualization in the firmware or for this VM",
				path);
		if (err == -EACCES || err == -EPERM)
			return diag_errno(d, err,
				"%s: not allowed to use KVM; add your user to the group that owns "
				"it (kvm)",
				path);
		return diag_errno(d, err, "%s", path);
	}
	if (sched_getaffinity(0, sizeof(h->affinity), &h->affinity) < 0)
		CPU_ZERO(&h->affinity);
	h->hardware_virt = cpu_has_virtualization();
	err = host_check(h, path, d);
	if (!err)
		err = host_cpuid(h, path, d);
	if (err)
		vm_host_close(h);
	return err;
}

void vm_host_close(struct vm_host *h)
{
	if (h->kvm_fd >= 0)
		close(h->kvm_fd);
	free(h->cpuid);
	memset(h, 0, sizeof(*h));
	h->kvm_fd = -1;
}

const char *vm_host_describe(const struct vm_host *h)
{
	return h->hardware_virt ? "KVM API 12 with VMX/SVM"
				: "KVM API 12 without VMX/SVM (guest kernel mode is interpreted)";
}

/* The probe's boot CPU, in flat 32-bit protected mode: INIT, then SIPI to APIC 1, then a port
 * write. */
static const uint8_t probe_code[] = {
	0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x01, /* movl $1<<24, 0xfee00310 */
	0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x00, 0x00, /* movl $0x4500, 0xfee00300 */
	0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x01, /* movl $1<<24, 0xfee00310 */
	0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x46, 0x00, 0x00, /* movl $0x4600, 0xfee00300 */
	0xe6, 0x80,                                                 /* out %al, $0x80 */
	0xf4,                                                       /* hlt */
};

static bool probe_set_regs(int vcpu)
{
	struct kvm_segment flat = {.limit = 0xffffffff,
		.selector = 8,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1};
	struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
	sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu, KVM_SET_REGS, &regs) == 0;
}

static bool probe_run(const struct vm_host *h, int bsp, int ap)
{
	struct kvm_mp_state state;
	struct kvm_run *run = mmap(NULL, h->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bsp, 0);
	bool reached = false;

	if (run == MAP_FAILED)
		return false;
	/* Anything but the port write at the end means that the probe itself does not work here. */
	for (int tries = 0; tries < 16 && !reached; tries++) {
		if (ioctl(bsp, KVM_RUN, 0) < 0 && errno != EINTR)
			break;
		reached = run->exit_reason == KVM_EXIT_IO;
	}
	munmap(run, h->run_bytes);
	return reached && ioctl(ap, KVM_GET_MP_STATE, &state) == 0 &&
	       state.mp_state != KVM_MP_STATE_UNINITIALIZED &&
	       state.mp_state != KVM_MP_STATE_INIT_RECEIVED;
}

static bool probe_init_sipi(const struct vm_host *h)
{
	struct diag d;
	struct gmem m;
	struct vm vm;
	int bsp = -1, ap = -1;
	bool works = false;

	memset(&m, 0, sizeof(m));
	m.memfd = -1;
	if (vm_create(&vm, h, &d))
		return false;
	if (!gmem_init(
		    &m, &(struct gmem_params){.ram_bytes = GMEM_MIN_BYTES, .name = "probe"}, &d) &&
		!vm_map_gmem(&vm, &m, &d) &&
		gmem_write(&m, GPA(0x1000), probe_code, sizeof(probe_code))) {
		bsp = ioctl(vm.fd, KVM_CREATE_VCPU, 0);
		ap = ioctl(vm.fd, KVM_CREATE_VCPU, 1);
		works = bsp >= 0 && ap >= 0 && probe_set_regs(bsp) && probe_run(h, bsp, ap);
	}
	if (bsp >= 0)
		close(bsp);
	if (ap >= 0)
		close(ap);
	vm_destroy(&vm);
	gmem_finish(&m);
	return works;
}

bool vm_host_init_sipi(struct vm_host *h)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	int known;

	pthread_mutex_lock(&once);
	if (h->init_sipi < 0)
		h->init_sipi = probe_init_sipi(h);
	known = h->init_sipi;
	pthread_mutex_unlock(&once);
	return known;
}

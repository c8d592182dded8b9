/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's services by themselves: a guest of a few instructions on the test's own thread. */
#include "core/vm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "support/tiny_guest.h"

#define PORT_IRR 0x81
#define MSI_ADDR 0xfee00000 /* APIC 0, physical */
#define BELL     0xd0000000
#define WINDOW   0xc8000000

static struct tiny_guest t;

static struct {
	uint8_t next; /* the serial byte that is due */
	unsigned int bytes;
} serial;

static void take_byte(uint64_t addr, uint64_t size_bytes, uint64_t data)
{
	cr_assert_eq(addr, LAYOUT_PORT_UART);
	cr_assert_eq(size_bytes, 1);
	cr_assert_eq(data, serial.next, "byte %u: %u instead of %u", serial.bytes,
		(unsigned int)data, serial.next);
	serial.next++;
	serial.bytes++;
}

static unsigned int take_kept(uint64_t mark)
{
	struct vm_coalesced w;
	unsigned int n = 0;

	for (; vm_coalesced_pop(&t.vm, mark, &w); n++)
		take_byte(w.addr, w.size_bytes, w.data);
	return n;
}

/* Serial bytes that come as exits. */
static bool take_exit(struct mailbox_exit *e)
{
	if (e->kind != BUS_PIO || e->addr != LAYOUT_PORT_UART)
		return false;
	take_kept(e->mark);
	take_byte(e->addr, e->size_bytes, e->data);
	return true;
}

TestSuite(vm, .timeout = 60);

/* --- the host --- */

Test(vm, a_file_that_is_no_kvm_is_refused)
{
	struct vm_host h;
	struct diag d;

	cr_assert_eq(vm_host_open(&h, "/dev/null", &d), -ENOTSUP);
	cr_assert(strstr(d.text, "/dev/null"), "%s", d.text);
	cr_assert_eq(vm_host_open(&h, "/nonexistent/kvm", &d), -ENOENT);
	cr_assert(strstr(d.text, "/nonexistent/kvm"), "%s", d.text);
}

/* --- interrupts --- */

/* Shows each change of the pending vectors 64 to 95. */
static const uint8_t code_irr[] = {
	0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, /* movl $0x1ff, SVR: on */
	0x31, 0xdb,                                                 /* xor %ebx, %ebx */
	0xe6, TINY_PORT_STEP,                                       /* out %al, $0x80 */
	0xa1, 0x20, 0x02, 0xe0, 0xfe,                               /* 1: mov IRR + 0x20, %eax */
	0x39, 0xd8,                                                 /* cmp %ebx, %eax */
	0x74, 0xf7,                                                 /* je 1b */
	0x89, 0xc3,                                                 /* mov %eax, %ebx */
	0xe7, PORT_IRR,                                             /* out %eax, $0x81 */
	0xeb, 0xf1,                                                 /* jmp 1b */
};

static void signal_eventfd(int fd)
{
	const uint64_t one = 1;

	cr_assert_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static void expect_pending(uint64_t vectors)
{
	cr_assert_eq(tiny_run_to(&t, PORT_IRR)->data, vectors, "0x%llx",
		(unsigned long long)t.exits[t.exit_count - 1].data);
}

Test(vm, irqfd_and_its_route_reach_the_vcpu)
{
	int fd = eventfd(0, EFD_CLOEXEC), gsi;

	tiny_start(&t, code_irr, sizeof(code_irr));
	gsi = vm_gsi_alloc(&t.vm);
	cr_assert_geq(gsi, LAYOUT_GSI_LINES);
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x41), 0);
	cr_assert_eq(vm_irqfd(&t.vm, true, gsi, fd), 0);
	tiny_run_to(&t, TINY_PORT_STEP);
	signal_eventfd(fd);
	expect_pending(1 << 1);
	/* The route moves under the irqfd. */
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x42), 0);
	signal_eventfd(fd);
	expect_pending(1 << 1 | 1 << 2);
	/* No irqfd, no interrupt: the next one that comes is another. */
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x43), 0);
	cr_assert_eq(vm_irqfd(&t.vm, false, gsi, fd), 0);
	signal_eventfd(fd);
	cr_assert_geq(vm_msi_send(&t.vm, MSI_ADDR, 0x44), 0);
	expect_pending(1 << 1 | 1 << 2 | 1 << 4);
	close(fd);
	tiny_finish(&t);
}

Test(vm, a_route_that_is_refused_leaves_the_old_one)
{
	int fd = eventfd(0, EFD_CLOEXEC), gsi, vm_fd;

	tiny_start(&t, code_irr, sizeof(code_irr));
	gsi = vm_gsi_alloc(&t.vm);
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x41), 0);
	cr_assert_eq(vm_irqfd(&t.vm, true, gsi, fd), 0);
	vm_fd = t.vm.fd;
	t.vm.fd = -1; /* there is no MSI that KVM would refuse */
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x42), -EBADF);
	t.vm.fd = vm_fd;
	cr_assert_eq(t.vm.msi[gsi].data, 0x41);
	tiny_run_to(&t, TINY_PORT_STEP);
	signal_eventfd(fd);
	expect_pending(1 << 1);
	close(fd);
	tiny_finish(&t);
}

Test(vm, gsis_are_given_to_the_last_and_all_can_be_routed)
{
	int count = 0, gsi;

	tiny_start(&t, code_irr, sizeof(code_irr));
	while ((gsi = vm_gsi_alloc(&t.vm)) >= 0) {
		cr_assert_eq(gsi, LAYOUT_GSI_LINES + count, "each once");
		count++;
	}
	cr_assert_eq(gsi, -ENOSPC);
	cr_assert_eq(LAYOUT_GSI_LINES + count, VM_GSI_MAX);
	/* All but one by hand: each commit would write the whole table. */
	for (gsi = LAYOUT_GSI_LINES; gsi < VM_GSI_MAX - 1; gsi++)
		t.vm.msi[gsi] = (struct vm_msi){.addr = MSI_ADDR, .data = 0x41, .routed = true};
	cr_assert_eq(vm_msi_route(&t.vm, gsi, MSI_ADDR, 0x41), 0);
	vm_gsi_free(&t.vm, 100);
	cr_assert_not(t.vm.msi[100].routed);
	cr_assert_eq(vm_gsi_alloc(&t.vm), 100);
	cr_assert_eq(vm_gsi_alloc(&t.vm), -ENOSPC);
	tiny_finish(&t);
}

/* --- kicks --- */

static const uint8_t code_bell[] = {
	0xa2, 0x00, 0x00, 0x00, 0xd0,       /* 1: mov %al, BELL */
	0x66, 0xa3, 0x00, 0x00, 0x00, 0xd0, /* mov %ax, BELL */
	0xa3, 0x00, 0x00, 0x00, 0xd0,       /* mov %eax, BELL */
	0xe6, TINY_PORT_STEP,               /* out %al, $0x80 */
	0xeb, 0xec,                         /* jmp 1b */
};

Test(vm, an_ioeventfd_takes_writes_of_any_length)
{
	int fd = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC);
	uint64_t count;
	struct diag d;

	tiny_start(&t, code_bell, sizeof(code_bell));
	cr_assert_eq(vm_ioeventfd(&t.vm, true, BELL, fd, &d), 0, "%s", d.text);
	cr_assert_eq(vm_ioeventfd(&t.vm, true, BELL, other, &d), -EEXIST);
	cr_assert(strstr(d.text, "0xd0000000"), "%s", d.text);
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_eq(t.exit_count, 1, "no exit but the last");
	cr_assert_eq(read(fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(count, 3);

	cr_assert_eq(vm_ioeventfd(&t.vm, false, BELL, fd, &d), 0, "%s", d.text);
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_eq(t.exit_count, 4);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert_eq(t.exits[i].kind, BUS_MMIO);
		cr_assert_eq(t.exits[i].addr, BELL);
		cr_assert_eq(t.exits[i].size_bytes, 1 << i);
		cr_assert(t.exits[i].is_write && t.exits[i].waits);
	}
	close(fd);
	close(other);
	tiny_finish(&t);
}

/* --- memory slots --- */

static const uint8_t code_window[] = {
	0xa1, 0x00, 0x00, 0x00, 0xc8, /* 1: mov WINDOW, %eax */
	0xe7, TINY_PORT_STEP,         /* out %eax, $0x80 */
	0xeb, 0xf7,                   /* jmp 1b */
};

Test(vm, slots_come_and_go)
{
	uint32_t *page =
		mmap(NULL, GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct diag d;

	cr_assert_neq(page, MAP_FAILED);
	tiny_start(&t, code_window, sizeof(code_window));
	cr_assert_eq(tiny_run_to(&t, TINY_PORT_STEP)->data, TINY_NOT_THERE);
	*page = 0x11223344;
	cr_assert_eq(vm_slot_set(&t.vm, GMEM_REGIONS_MAX, GPA(WINDOW), GMEM_PAGE, page, &d), 0,
		"%s", d.text);
	cr_assert_eq(tiny_run_to(&t, TINY_PORT_STEP)->data, 0x11223344);
	cr_assert_eq(t.exit_count, 1, "a read of memory is no exit");
	cr_assert_lt(vm_slot_set(&t.vm, GMEM_REGIONS_MAX + 1, GPA(WINDOW), GMEM_PAGE, page, &d), 0,
		"slots do not overlap");
	cr_assert(strstr(d.text, "0xc8000000"), "%s", d.text);
	cr_assert_eq(
		vm_slot_set(&t.vm, GMEM_REGIONS_MAX, GPA(WINDOW), 0, page, &d), 0, "%s", d.text);
	cr_assert_eq(tiny_run_to(&t, TINY_PORT_STEP)->data, TINY_NOT_THERE);
	cr_assert_eq(t.exit_count, 2);
	munmap(page, GMEM_PAGE);
	tiny_finish(&t);
}

/* --- port writes that KVM keeps --- */

#define ROUND 5

/* Rounds of five serial bytes that count up, then a sign. */
static const uint8_t code_serial[] = {
	0x31, 0xdb,                       /* xor %ebx, %ebx */
	0x66, 0xba, 0xf8, 0x03,           /* mov $0x3f8, %dx */
	0xb9, ROUND, 0x00, 0x00, 0x00,    /* 1: mov $5, %ecx */
	0x88, 0xd8, 0xee, 0xfe, 0xc3,     /* 2: mov %bl, %al; out %al, (%dx); inc %bl */
	0xe2, 0xf9, 0xe6, TINY_PORT_STEP, /* loop 2b; out %al, $0x80 */
	0xeb, 0xf0,                       /* jmp 1b */
};

static void start_serial(void)
{
	tiny_start(&t, code_serial, sizeof(code_serial));
	if (!t.host.coalesced_pio)
		cr_skip_test("this KVM does not keep port writes");
	cr_assert_eq(vm_coalesce(&t.vm, true, LAYOUT_PORT_UART, 1), 0);
}

Test(vm, kept_writes_are_taken_in_order_up_to_the_mark)
{
	uint64_t before, after;

	start_serial();
	/* Often enough that the ring goes round. */
	for (unsigned int i = 0; i < 2 * t.vm.coalesced_entries; i++) {
		before = tiny_run_to(&t, TINY_PORT_STEP)->mark;
		cr_assert_eq(t.exit_count, 1, "serial bytes are no exits");
		after = tiny_run_to(&t, TINY_PORT_STEP)->mark;
		cr_assert_eq(after, before + ROUND);
		cr_assert_eq(take_kept(before), ROUND);
		cr_assert_eq(take_kept(before), 0, "what came later stays");
		cr_assert_eq(vm_coalesced_mark(&t.vm), after);
		cr_assert_eq(take_kept(after), ROUND);
	}
	tiny_finish(&t);
}

Test(vm, a_full_ring_gives_exits_behind_what_it_holds)
{
	start_serial();
	t.take = take_exit;
	for (unsigned int i = 0; i < t.vm.coalesced_entries; i++)
		tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_gt(serial.bytes, 0, "it was full");
	take_kept(vm_coalesced_mark(&t.vm));
	cr_assert_eq(serial.bytes, ROUND * t.vm.coalesced_entries);
	tiny_finish(&t);
}

Test(vm, writes_are_exits_again_when_they_are_no_longer_kept)
{
	start_serial();
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_eq(vm_coalesce(&t.vm, false, LAYOUT_PORT_UART, 1), 0);
	cr_assert_eq(take_kept(vm_coalesced_mark(&t.vm)), ROUND, "the old ones are still there");
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_eq(t.exit_count, ROUND + 1);
	tiny_finish(&t);
}

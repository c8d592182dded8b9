/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU's exits become: accesses in pieces, completed instructions, ends. */
#include "core/vcpu.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/check.h"
#include "support/tiny_guest.h"

#define PORT_DATA  0x81
#define RFLAGS_AC  (1u << 18)
#define IDTR_AT    0x2000
#define IDT_AT     0x2100
#define HANDLER_AT 0x2200
#define TEXT_AT    0x3000
#define WORDS_AT   0x3100

static struct tiny_guest t;

TestSuite(vcpu, .timeout = 60);

/* --- instructions that KVM's emulator lacks on a host without VMX/SVM; elsewhere the CPU has them
 * --- */

static const uint8_t code_traps[] = {
	0xbc, 0x00, 0x80, 0x00, 0x00,             /* mov $0x8000, %esp */
	0x9b,                                     /* fwait */
	0x0f, 0x01, 0xcb,                         /* stac */
	0x9c, 0x58, 0xe7, PORT_DATA,              /* pushf; pop %eax; out %eax, $0x81 */
	0x0f, 0x01, 0xca,                         /* clac */
	0x9c, 0x58, 0xe7, PORT_DATA,              /* pushf; pop %eax; out %eax, $0x81 */
	0x0f, 0x01, 0x1d, 0x00, 0x20, 0x00, 0x00, /* lidt IDTR_AT */
	0xcc,                                     /* int3 */
	0xf4,                                     /* hlt */
};

static const uint8_t code_handler[] = {
	0x8b, 0x04, 0x24,     /* mov (%esp), %eax: where it came from */
	0xe7, TINY_PORT_STEP, /* out %eax, $0x80 */
};

static void put(uint64_t gpa, const void *data, size_t len_bytes)
{
	cr_assert(gmem_write(&t.mem, GPA(gpa), data, len_bytes));
}

/* An interrupt gate for the breakpoint. */
static void put_idt(void)
{
	const struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) idtr = {0xff, IDT_AT};
	const uint64_t gate = HANDLER_AT | (uint64_t)LOADER_CS32 << 16 | 0x8eULL << 40;

	put(IDTR_AT, &idtr, sizeof(idtr));
	put(IDT_AT + 3 * sizeof(gate), &gate, sizeof(gate));
	put(HANDLER_AT, code_handler, sizeof(code_handler));
}

/* How often the completion table's entry of this name was used. */
static uint64_t completions(const char *name)
{
	for (unsigned int i = 0; vcpu_completion_name(i); i++)
		if (!strcmp(vcpu_completion_name(i), name))
			return t.vcpu.stats.completions[i];
	cr_assert_fail("%s is not in the table", name);
	return 0;
}

Test(vcpu, completes_what_the_emulator_lacks)
{
	static const char *const names[] = {"fwait", "stac", "clac", "int3"};

	tiny_start(&t, code_traps, sizeof(code_traps));
	put_idt();
	cr_assert(tiny_run_to(&t, PORT_DATA)->data & RFLAGS_AC, "stac");
	cr_assert_not(tiny_run_to(&t, PORT_DATA)->data & RFLAGS_AC, "clac");
	cr_assert_eq(tiny_run_to(&t, TINY_PORT_STEP)->data, TINY_CODE_AT + sizeof(code_traps) - 1,
		"a trap shows the address behind int3");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		cr_assert_leq(completions(names[i]), 1, "%s once, or by the CPU", names[i]);
	cr_assert_null(vcpu_completion_name(VCPU_COMPLETIONS));
	tiny_finish(&t);
}

/* --- CPUID --- */

static const uint8_t code_cpuid[] = {
	0xb8, 0x0b, 0x00, 0x00, 0x00, /* mov $0xb, %eax */
	0x31, 0xc9,                   /* xor %ecx, %ecx */
	0x0f, 0xa2,                   /* cpuid */
	0x93, 0xe7, PORT_DATA,        /* xchg %eax, %ebx; out %eax, $0x81 */
	0xb8, 0x0b, 0x00, 0x00, 0x00, /* mov $0xb, %eax */
	0xb9, 0x01, 0x00, 0x00, 0x00, /* mov $1, %ecx */
	0x0f, 0xa2,                   /* cpuid */
	0x91, 0xe7, PORT_DATA,        /* xchg %eax, %ecx; out %eax, $0x81 */
	0x93, 0xe7, TINY_PORT_STEP,   /* xchg %eax, %ebx; out %eax, $0x80 */
};

Test(vcpu, topology_has_threads_and_cores)
{
	tiny_start(&t, code_cpuid, sizeof(code_cpuid));
	if (!tiny_run_to(&t, PORT_DATA)->data)
		cr_skip_test("this CPU has no topology leaf");
	cr_assert_eq(tiny_run_to(&t, PORT_DATA)->data, 0x0201, "level 1 is of cores");
	cr_assert_eq(tiny_run_to(&t, TINY_PORT_STEP)->data, 1, "one CPU in all");
	tiny_finish(&t);
}

/* --- accesses --- */

static const uint8_t code_strings[] = {
	0xbe, 0x00, 0x30, 0x00, 0x00, /* mov $TEXT_AT, %esi */
	0xb9, 0x05, 0x00, 0x00, 0x00, /* mov $5, %ecx */
	0x66, 0xba, PORT_DATA, 0x00,  /* mov $0x81, %dx */
	0xf3, 0x6e,                   /* rep outsb */
	0xbf, 0x00, 0x31, 0x00, 0x00, /* mov $WORDS_AT, %edi */
	0xb9, 0x05, 0x00, 0x00, 0x00, /* mov $5, %ecx */
	0x66, 0xf3, 0x6d,             /* rep insw */
	0xe6, TINY_PORT_STEP,         /* out %al, $0x80 */
};

static char text[8];
static unsigned int text_len;
static uint16_t words;

static bool take_string(struct mailbox_exit *e)
{
	if (e->addr != PORT_DATA)
		return false;
	if (e->is_write) {
		cr_assert_eq(e->size_bytes, 1);
		cr_assert_lt(text_len, sizeof(text) - 1);
		text[text_len++] = (char)e->data;
	} else {
		cr_assert_eq(e->size_bytes, 2);
		e->data = 0x1100 + words++;
	}
	return true;
}

Test(vcpu, string_instructions_are_an_access_each)
{
	static const uint16_t want[] = {0x1100, 0x1101, 0x1102, 0x1103, 0x1104, 0};
	uint16_t got[ARRAY_SIZE(want)];

	tiny_start(&t, code_strings, sizeof(code_strings));
	t.take = take_string;
	put(TEXT_AT, "hello", 5);
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_str_eq(text, "hello");
	cr_assert(gmem_read(&t.mem, GPA(WORDS_AT), got, sizeof(got)));
	cr_assert_arr_eq(got, want, sizeof(want));
	tiny_finish(&t);
}

static const uint8_t code_crossing[] = {
	0xa1, 0xfd, 0x0f, 0x00, 0xd0, /* mov 0xd0000ffd, %eax */
	0xe7, PORT_DATA,              /* out %eax, $0x81 */
	0xa3, 0xfd, 0x0f, 0x00, 0xd0, /* mov %eax, 0xd0000ffd */
	0xe6, TINY_PORT_STEP,         /* out %al, $0x80 */
};

/* Every byte there reads as the low byte of its address. */
static bool take_crossing(struct mailbox_exit *e)
{
	if (e->kind != BUS_MMIO || e->is_write)
		return false;
	e->data = 0;
	for (unsigned int i = 0; i < e->size_bytes; i++)
		e->data |= (uint64_t)(uint8_t)(e->addr + i) << (8 * i);
	return true;
}

Test(vcpu, accesses_across_a_page_come_in_pieces_that_devices_know)
{
	uint32_t value = 0, seen = 0;

	tiny_start(&t, code_crossing, sizeof(code_crossing));
	t.take = take_crossing;
	cr_assert_eq(tiny_run_to(&t, PORT_DATA)->data, 0x00fffefd);
	tiny_run_to(&t, TINY_PORT_STEP);
	cr_assert_geq(t.exit_count, 3);
	for (unsigned int i = 0; i + 1 < t.exit_count; i++) {
		const struct mailbox_exit *e = &t.exits[i];
		uint64_t offset = e->addr - 0xd0000ffd;

		cr_assert(e->is_write && e->waits);
		cr_assert(e->size_bytes == 1 || e->size_bytes == 2);
		cr_assert_leq(offset + e->size_bytes, 4);
		value |= (uint32_t)(e->data << (8 * offset));
		seen += e->size_bytes;
	}
	cr_assert_eq(seen, 4);
	cr_assert_eq(value, 0x00fffefd);
	tiny_finish(&t);
}

/* --- ends --- */

static const uint8_t code_triple[] = {
	0x0f, 0x01, 0x1d, 0x00, 0x20, 0x00, 0x00, /* lidt IDTR_AT: no entry at all */
	0x0f, 0x0b,                               /* ud2 */
};

Test(vcpu, a_triple_fault_is_an_end_and_no_failure)
{
	tiny_start(&t, code_triple, sizeof(code_triple));
	while (vcpu_run_once(&t.vcpu))
		cr_assert_eq(t.exit_count, 0);
	cr_assert_eq(t.vcpu.end, VCPU_TRIPLE_FAULT);
	tiny_finish(&t);
}

Test(vcpu, exits_have_names)
{
	cr_assert_str_eq(vcpu_exit_name(2), "KVM_EXIT_IO");
	cr_assert_str_eq(vcpu_exit_name(VCPU_EXIT_REASONS), "KVM_EXIT_?");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels, what they find at their entry, command line and initrd. */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/layout.h"
#include "core/loader.h"
#include "support/kernel_image.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

#define TEXT_AT 0x1000000ULL
#define BSS_AT  0x1200000ULL

static struct gmem memory_make(uint64_t ram_bytes)
{
	struct diag d = {""};
	struct gmem m;

	cr_assert_eq(
		gmem_init(&m, &(struct gmem_params){.ram_bytes = ram_bytes, .name = "load"}, &d), 0,
		"%s", d.text);
	return m;
}

/* A kernel of a text segment, a bss, and the note segment if there is one. */
static struct image kernel_make(const void *notes, size_t note_bytes, uint64_t note_align)
{
	struct image_segment segments[] = {
		{PT_LOAD, TEXT_AT, 0xffffffff81000000, 0x200000, "this is the text", 16, 16},
		{PT_LOAD, BSS_AT, 0xffffffff81200000, 0x200000, "data", 4, MIB},
		{PT_NOTE, 0, 0, note_align, notes, note_bytes, note_bytes},
	};

	return image_elf(segments, notes ? 3 : 2, TEXT_AT);
}

static struct image kernel_plain(void)
{
	return kernel_make(NULL, 0, 0);
}

static struct image kernel_pvh(void)
{
	uint8_t notes[64] = {0};
	uint32_t entry = TEXT_AT + 4;
	size_t len = image_note(notes, 0, 4, "Xen", 18, &entry, sizeof(entry));

	return kernel_make(notes, len, 4);
}

static int load(struct gmem *m, const struct image *kernel, const struct image *initrd,
	const char *cmdline, struct boot_entry *entry, struct diag *d)
{
	struct blob k = image_blob(kernel), i = {0};

	if (initrd)
		i = image_blob(initrd);
	d->text[0] = 0;
	return loader_load(m,
		&(struct loader_params){.kernel = &k,
			.initrd = initrd ? &i : NULL,
			.cmdline = cmdline,
			.cpus = 1,
			.rsdp = GPA(LAYOUT_ACPI)},
		entry, d);
}

static void *at(const struct gmem *m, uint64_t gpa, uint64_t len)
{
	void *host = gmem_map(m, GPA(gpa), len);

	cr_assert(host);
	return host;
}

static uint64_t number(const struct gmem *m, uint64_t gpa, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, at(m, gpa, bytes), bytes);
	return value;
}

Test(loader, puts_segments_at_their_physical_addresses)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_plain();
	struct boot_entry entry;
	struct diag d;

	cr_assert_eq(load(&m, &kernel, NULL, NULL, &entry, &d), 0, "%s", d.text);
	cr_assert_eq(memcmp(at(&m, TEXT_AT, 16), "this is the text", 16), 0);
	cr_assert_eq(memcmp(at(&m, BSS_AT, 8), "data\0\0\0\0", 8), 0);
	cr_assert_lt(gmem_resident_bytes(&m), 256 * 1024, "bss is not touched");
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, an_elf_without_a_note_is_entered_as_64_bit_linux)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_plain();
	struct boot_entry entry;
	struct boot_params *p;
	struct diag d;

	cr_assert_eq(load(&m, &kernel, NULL, "console=ttyS0", &entry, &d), 0, "%s", d.text);
	cr_assert_eq(entry.protocol, BOOT_LINUX64);
	cr_assert_eq(entry.entry.v, TEXT_AT);
	cr_assert_eq(entry.info.v, LAYOUT_ZERO_PAGE);
	p = at(&m, LAYOUT_ZERO_PAGE, sizeof(*p));
	cr_assert_eq(p->hdr.boot_flag, 0xaa55);
	cr_assert_eq(memcmp(&p->hdr.header, "HdrS", 4), 0);
	cr_assert_eq(p->hdr.type_of_loader, 0xff);
	cr_assert_eq(p->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	cr_assert_eq(p->acpi_rsdp_addr, LAYOUT_ACPI);
	cr_assert_eq(p->hdr.ramdisk_size, 0);
	cr_assert_eq(p->sentinel, 0);
	cr_assert_str_eq(at(&m, LAYOUT_CMDLINE, 14), "console=ttyS0");
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, a_virtual_entry_point_is_translated)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_plain();
	struct boot_entry entry;
	struct diag d;

	((Elf64_Ehdr *)kernel.data)->e_entry = 0xffffffff81200010;
	cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), 0, "%s", d.text);
	cr_assert_eq(entry.entry.v, BSS_AT + 0x10);
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, a_pvh_note_wins_and_start_info_says_all)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_pvh(), initrd = {(uint8_t *)"initrd bytes", 12};
	struct boot_entry entry;
	uint64_t module;
	struct diag d;

	cr_assert_eq(load(&m, &kernel, &initrd, "quiet", &entry, &d), 0, "%s", d.text);
	cr_assert_eq(entry.protocol, BOOT_PVH);
	cr_assert_eq(entry.entry.v, TEXT_AT + 4);
	cr_assert_eq(entry.info.v, LAYOUT_PVH_START_INFO);
	cr_assert_eq(number(&m, entry.info.v, 4), 0x336ec578);
	cr_assert_eq(number(&m, entry.info.v + 4, 4), 1);
	cr_assert_eq(number(&m, entry.info.v + 12, 4), 1, "one module");
	module = number(&m, entry.info.v + 16, 8);
	cr_assert_eq(number(&m, module, 8), 64 * MIB - 4096);
	cr_assert_eq(number(&m, module + 8, 8), 12);
	cr_assert_eq(memcmp(at(&m, 64 * MIB - 4096, 12), "initrd bytes", 12), 0);
	cr_assert_str_eq(at(&m, number(&m, entry.info.v + 24, 8), 6), "quiet");
	cr_assert_eq(number(&m, entry.info.v + 32, 8), LAYOUT_ACPI);
	cr_assert_eq(number(&m, number(&m, entry.info.v + 40, 8), 8), 0, "the map starts at 0");
	cr_assert_gt(number(&m, entry.info.v + 48, 4), 3);
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, finds_the_note_among_others_in_both_alignments)
{
	for (size_t pad = 4; pad <= 8; pad += 4) {
		struct gmem m = memory_make(64 * MIB);
		uint8_t notes[256] = {0};
		uint64_t entry_point = TEXT_AT + 8;
		struct boot_entry entry;
		struct image kernel;
		struct diag d;
		size_t len;

		len = image_note(notes, 0, pad, "GNU", 18, "not it", 6);
		len = image_note(notes, len, pad, "Xenon", 18, "nor this", 8);
		len = image_note(notes, len, pad, "Xen", 17, "or that", 7);
		len = image_note(notes, len, pad, "Xen", 18, &entry_point, 8);
		kernel = kernel_make(notes, len, pad);
		cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), 0, "%s", d.text);
		cr_assert_eq(entry.protocol, BOOT_PVH, "padding %zu", pad);
		cr_assert_eq(entry.entry.v, entry_point);
		image_free(&kernel);
		gmem_finish(&m);
	}
}

Test(loader, boot_gdt_and_page_tables_are_there_for_either_protocol)
{
	struct image kernels[] = {kernel_plain(), kernel_pvh()};

	for (size_t k = 0; k < ARRAY_SIZE(kernels); k++) {
		struct gmem m = memory_make(64 * MIB);
		uint64_t pdpt = LAYOUT_BOOT_PAGE_TABLES + 0x1000, pd = pdpt + 0x1000;
		struct boot_entry entry;
		struct diag d;

		cr_assert_eq(load(&m, &kernels[k], NULL, "", &entry, &d), 0, "%s", d.text);
		cr_assert_eq(number(&m, LAYOUT_BOOT_GDT + LOADER_CS64, 8), 0x00af9b000000ffff);
		cr_assert_eq(number(&m, LAYOUT_BOOT_GDT + LOADER_DS, 8), 0x00cf93000000ffff);
		cr_assert_eq(number(&m, LAYOUT_BOOT_GDT + LOADER_CS32, 8), 0x00cf9b000000ffff);
		cr_assert_eq(number(&m, LAYOUT_BOOT_GDT + LOADER_TSS, 8), 0x00008b0000000067);
		cr_assert_eq(number(&m, LAYOUT_BOOT_PAGE_TABLES, 8), pdpt | 3);
		cr_assert_eq(number(&m, LAYOUT_BOOT_PAGE_TABLES + 8, 8), 0);
		for (uint64_t i = 0; i < 4; i++)
			cr_assert_eq(number(&m, pdpt + 8 * i, 8), (pd + i * 0x1000) | 3);
		for (uint64_t i = 0; i < 2048; i++)
			cr_assert_eq(number(&m, pd + 8 * i, 8), (i << 21) | 0x83);
		gmem_finish(&m);
		image_free(&kernels[k]);
	}
}

/* The type that the e820 table gives an address; 0: none. */
static uint32_t map_type(const struct boot_params *p, uint64_t address)
{
	for (unsigned int i = 0; i < p->e820_entries; i++) {
		if (address - p->e820_table[i].addr < p->e820_table[i].size)
			return p->e820_table[i].type;
	}
	return 0;
}

static void map_check(uint64_t ram_bytes)
{
	struct gmem m = memory_make(ram_bytes);
	struct image kernel = kernel_plain();
	struct boot_entry entry;
	struct boot_params *p;
	uint64_t usable = 0, last = 0;
	struct diag d;

	cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), 0, "%s", d.text);
	p = at(&m, LAYOUT_ZERO_PAGE, sizeof(*p));
	for (unsigned int i = 0; i < p->e820_entries; i++) {
		cr_assert_geq(p->e820_table[i].addr, last, "ascending, disjoint");
		last = p->e820_table[i].addr + p->e820_table[i].size;
		if (p->e820_table[i].type != 1)
			continue;
		usable += p->e820_table[i].size;
		cr_assert(gmem_is_ram(&m, GPA(p->e820_table[i].addr), p->e820_table[i].size));
	}
	cr_assert_eq(usable, ram_bytes - (MIB - LAYOUT_LOW_RESERVED));
	cr_assert_eq(map_type(p, LAYOUT_BOOT_GDT), 2);
	cr_assert_eq(map_type(p, LAYOUT_ACPI), 3);
	cr_assert_eq(map_type(p, LAYOUT_ECAM), 2);
	cr_assert_eq(map_type(p, LAYOUT_ECAM + LAYOUT_ECAM_BYTES - 1), 2);
	cr_assert_eq(map_type(p, LAYOUT_PCI_MMIO), 0);
	cr_assert_eq(map_type(p, LAYOUT_WAKEUP_MAILBOX), 2);
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, the_memory_map_has_all_ram_and_no_more)
{
	map_check(32 * MIB);
	map_check(3 * GIB - MIB);
	map_check(3 * GIB);
	map_check(5 * GIB);
}

Test(loader, the_initrd_lies_high_page_aligned_and_off_the_kernel)
{
	struct image kernel = kernel_plain(), initrd = {malloc(5 * MIB), 5 * MIB - 100};
	struct gmem m = memory_make(24 * MIB);
	struct boot_entry entry;
	struct boot_params *p;
	struct diag d;

	memset(initrd.data, 0x5a, 5 * MIB);
	cr_assert_eq(load(&m, &kernel, &initrd, "", &entry, &d), 0, "%s", d.text);
	p = at(&m, LAYOUT_ZERO_PAGE, sizeof(*p));
	cr_assert_eq(p->hdr.ramdisk_image, 19 * MIB, "exactly behind the kernel");
	cr_assert_eq(p->hdr.ramdisk_size, 5 * MIB - 100);
	cr_assert_eq(memcmp(at(&m, 19 * MIB, 5 * MIB - 100), initrd.data, 5 * MIB - 100), 0);
	gmem_finish(&m);

	m = memory_make(24 * MIB - 4096);
	cr_assert_eq(load(&m, &kernel, &initrd, "", &entry, &d), -EFBIG);
	cr_assert(strstr(d.text, "give the guest at least 24 MiB"), "%s", d.text);
	gmem_finish(&m);
	image_free(&kernel);
	free(initrd.data);
}

Test(loader, the_command_line_has_a_limit)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_plain();
	char cmdline[2049];
	struct boot_entry entry;
	struct diag d;

	memset(cmdline, 'c', sizeof(cmdline));
	cmdline[2048] = 0;
	cr_assert_eq(load(&m, &kernel, NULL, cmdline, &entry, &d), -EINVAL);
	cr_assert(strstr(d.text, "2048") && strstr(d.text, "2047"), "%s", d.text);
	cmdline[2047] = 0;
	cr_assert_eq(load(&m, &kernel, NULL, cmdline, &entry, &d), 0, "%s", d.text);
	cr_assert_str_eq(at(&m, LAYOUT_CMDLINE, 2048), cmdline);
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, a_kernel_larger_than_memory_says_what_to_give)
{
	struct image kernel = kernel_plain();
	struct gmem m = memory_make(16 * MIB);
	struct boot_entry entry;
	struct diag d;

	cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), -EFBIG);
	cr_assert_str_eq(d.text,
		"test-image: needs 3 MiB at 0x1000000, but the guest has 16 MiB of "
		"memory; give it at least 20 MiB");
	gmem_finish(&m);
	image_free(&kernel);
}

/* Ways to spoil an ELF, and what the error must say. */
struct spoilt {
	void (*spoil)(Elf64_Ehdr *eh, Elf64_Phdr *ph);
	int err;
	const char *says;
};

#define SPOIL(name, statement)                                                                     \
	static void spoil_##name(Elf64_Ehdr *eh, Elf64_Phdr *ph)                                   \
	{                                                                                          \
		(void)eh;                                                                          \
		(void)ph;                                                                          \
		statement;                                                                         \
	}

SPOIL(magic, eh->e_ident[3] = 'f')
SPOIL(class, eh->e_ident[EI_CLASS] = ELFCLASS32)
SPOIL(endian, eh->e_ident[EI_DATA] = ELFDATA2MSB)
SPOIL(machine, eh->e_machine = EM_AARCH64)
SPOIL(type, eh->e_type = ET_REL)
SPOIL(phentsize, eh->e_phentsize = 32)
SPOIL(phnum_zero, eh->e_phnum = 0)
SPOIL(phnum_many, eh->e_phnum = 0xffff)
SPOIL(phoff_far, eh->e_phoff = 1 << 30)
SPOIL(phoff_wraps, eh->e_phoff = UINT64_MAX - 8)
SPOIL(no_segment, ph[0].p_type = ph[1].p_type = PT_NULL)
SPOIL(empty_segments, ph[0].p_filesz = ph[0].p_memsz = ph[1].p_filesz = ph[1].p_memsz = 0)
SPOIL(offset_far, ph[0].p_offset = 1 << 30)
SPOIL(offset_wraps, ph[0].p_offset = UINT64_MAX - 8)
SPOIL(filesz_huge, ph[0].p_filesz = ph[0].p_memsz = UINT64_MAX - ph[0].p_offset)
SPOIL(filesz_over_memsz, ph[0].p_memsz = 15)
SPOIL(paddr_wraps, ph[0].p_paddr = UINT64_MAX - 8)
SPOIL(memsz_wraps, ph[1].p_memsz = UINT64_MAX - 8)
SPOIL(paddr_low, ph[0].p_paddr = LAYOUT_KERNEL_MIN - 1)
SPOIL(paddr_zero, ph[0].p_paddr = LAYOUT_BOOT_PAGE_TABLES)
SPOIL(paddr_high, ph[0].p_paddr = 4 * GIB)
SPOIL(in_the_hole, ph[0].p_paddr = 3 * GIB - 8)
SPOIL(memsz_huge, ph[1].p_memsz = 4 * GIB)
SPOIL(memsz_over_ram, ph[1].p_memsz = 64 * MIB)
SPOIL(overlap, ph[1].p_paddr = TEXT_AT + 15)
SPOIL(overlap_before, ph[1].p_paddr = TEXT_AT - MIB + 1)
SPOIL(entry_outside, eh->e_entry = TEXT_AT + 16)
SPOIL(entry_zero, eh->e_entry = 0)

static const struct spoilt spoilt[] = {
	{spoil_magic, -ENOEXEC, "is not a kernel"},
	{spoil_class, -ENOEXEC, "offset 4"},
	{spoil_endian, -ENOEXEC, "offset 4"},
	{spoil_machine, -ENOEXEC, "offset 18"},
	{spoil_type, -ENOEXEC, "offset 16"},
	{spoil_phentsize, -ENOEXEC, "offset 54"},
	{spoil_phnum_zero, -ENOEXEC, "offset 56"},
	{spoil_phnum_many, -ENOEXEC, "offset 56"},
	{spoil_phoff_far, -ENOEXEC, "truncated"},
	{spoil_phoff_wraps, -ENOEXEC, "truncated"},
	{spoil_no_segment, -ENOEXEC, "none of its 2"},
	{spoil_empty_segments, -ENOEXEC, "none of its 2"},
	{spoil_offset_far, -ENOEXEC, "segment 0"},
	{spoil_offset_wraps, -ENOEXEC, "segment 0"},
	{spoil_filesz_huge, -ENOEXEC, "segment 0"},
	{spoil_filesz_over_memsz, -ENOEXEC, "segment 0 has 0x10 bytes in the file"},
	{spoil_paddr_wraps, -ENOEXEC, "wraps"},
	{spoil_memsz_wraps, -ENOEXEC, "wraps"},
	{spoil_paddr_low, -ENOEXEC, "0x100000 or above"},
	{spoil_paddr_zero, -ENOEXEC, "0x100000 or above"},
	{spoil_paddr_high, -EFBIG, "below 3 GiB"},
	{spoil_in_the_hole, -EFBIG, "below 3 GiB"},
	{spoil_memsz_huge, -EFBIG, "below 3 GiB"},
	{spoil_memsz_over_ram, -EFBIG, "give it at least 84 MiB"},
	{spoil_overlap, -ENOEXEC, "overlap"},
	{spoil_overlap_before, -ENOEXEC, "overlap"},
	{spoil_entry_outside, -ENOEXEC, "entry 0x1000010"},
	{spoil_entry_zero, -ENOEXEC, "entry 0x0"},
};

Test(loader, refuses_spoilt_elfs_and_says_why)
{
	struct gmem m = memory_make(64 * MIB);

	for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++) {
		struct image kernel = kernel_plain();
		struct boot_entry entry;
		struct diag d;

		spoilt[i].spoil((Elf64_Ehdr *)kernel.data, image_phdr(&kernel, 0));
		cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), spoilt[i].err, "%zu: %s", i,
			d.text);
		cr_assert(strstr(d.text, spoilt[i].says), "%zu: %s", i, d.text);
		cr_assert(strstr(d.text, "test-image"), "%zu: %s", i, d.text);
		image_free(&kernel);
	}
	cr_assert_eq(gmem_resident_bytes(&m), 0, "nothing is written before all is checked");
	gmem_finish(&m);
}

Test(loader, refuses_every_truncation_of_an_elf)
{
	struct gmem m = memory_make(64 * MIB);
	struct image kernel = kernel_pvh();

	for (size_t len = 0; len < kernel.len_bytes; len++) {
		struct image cut = image_cut(&kernel, len);
		struct boot_entry entry;
		struct diag d;

		cr_assert_eq(load(&m, &cut, NULL, "", &entry, &d), -ENOEXEC, "at %zu", len);
		cr_assert(strstr(d.text, "test-image"), "at %zu: %s", len, d.text);
		image_free(&cut);
	}
	image_free(&kernel);
	gmem_finish(&m);
}

Test(loader, refuses_malformed_notes)
{
	static const struct {
		uint32_t words[5];
		const char *says;
	} bad[] = {
		{{4, 4, 1, 0x006e6558, 0}, NULL}, /* well-formed, another type */
		{{4, 5, 1, 0x006e6558, 0}, "beyond its segment"},
		{{5, 4, 1, 0x006e6558, 0}, "beyond its segment"},
		{{0xffffffff, 4, 18, 0x006e6558, 0}, "beyond its segment"},
		{{4, 0xffffffff, 18, 0x006e6558, 0}, "beyond its segment"},
		{{4, 2, 18, 0x006e6558, 0}, "expected 4 or 8"},
		{{4, 0, 18, 0x006e6558, 0}, "expected 4 or 8"},
		{{4, 4, 18, 0x006e6558, 0}, "entry 0x0 (PVH note)"},
		{{4, 4, 18, 0x006e6558, TEXT_AT + 16}, "entry 0x1000010 (PVH note)"},
	};
	struct gmem m = memory_make(64 * MIB);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct image kernel = kernel_make(bad[i].words, sizeof(bad[i].words), 4);
		struct boot_entry entry;
		struct diag d;

		cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), bad[i].says ? -ENOEXEC : 0,
			"%zu: %s", i, d.text);
		cr_assert(!bad[i].says || strstr(d.text, bad[i].says), "%zu: %s", i, d.text);
		image_free(&kernel);
	}
	gmem_finish(&m);
}

Test(loader, refuses_what_is_no_kernel)
{
	struct gmem m = memory_make(64 * MIB);
	struct image text = {(uint8_t *)"#!/bin/sh\n", 10}, nothing = {(uint8_t *)"", 0};
	struct boot_entry entry;
	struct diag d;

	cr_assert_eq(load(&m, &text, NULL, "", &entry, &d), -ENOEXEC);
	cr_assert(strstr(d.text, "expected an ELF file") && strstr(d.text, "HdrS"), "%s", d.text);
	cr_assert_eq(load(&m, &nothing, NULL, "", &entry, &d), -ENOEXEC);
	gmem_finish(&m);

	m = memory_make(MIB);
	struct image kernel = kernel_plain();

	cr_assert_eq(load(&m, &kernel, NULL, "", &entry, &d), -EFBIG, "1 MiB holds no kernel");
	image_free(&kernel);
	gmem_finish(&m);
}

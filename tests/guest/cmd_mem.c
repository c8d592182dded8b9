/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem: prints the memory map and checks RAM. A page in each MiB of free memory, or at another
 * distance, and the last of each run, are written with what depends on their address, and read back
 * after all were written, so that a page which appears at two addresses is found too. Not every
 * page by default: the host has to provide each one.
 */
#include "boot.h"
#include "commands.h"
#include "lib.h"
#include "page.h"

#define STRIDE_KIB 1024
#define PATTERN    0x9e3779b97f4a7c15UL

static const char *type_name(uint32_t type)
{
	static const char *const names[] = {
		[1] = "RAM", [2] = "reserved", [3] = "ACPI tables", [4] = "ACPI NVS", [5] = "bad"};
	return type && type < ARRAY_SIZE(names) ? names[type] : "other";
}

/* Writes, or else checks, the last word of a page; returns the number of errors. */
static unsigned page_visit(uint64_t page, bool writes)
{
	volatile uint64_t *word = (volatile uint64_t *)(page + PAGE_SIZE - 8);
	uint64_t expected = (page + 1) * PATTERN;
	if (writes)
		*word = expected;
	return *word != expected;
}

/* Visits the sample pages of all free runs; a run's first page holds its header in the first words.
 */
static unsigned memory_visit(uint64_t stride_pages, bool writes, uint64_t *pages)
{
	unsigned errors = 0;
	*pages = 0;
	for (const struct page_run *run = page_runs(); run; run = run->next) {
		uint64_t base = (uint64_t)run;
		for (uint64_t i = 0; i < run->pages; i += stride_pages, ++*pages)
			errors += page_visit(base + i * PAGE_SIZE, writes);
		errors += page_visit(base + (run->pages - 1) * PAGE_SIZE, writes);
		++*pages;
	}
	return errors;
}

bool cmd_mem(const struct args *args)
{
	uint64_t stride_kib, pages;
	if (!args_number(args, 1, STRIDE_KIB, &stride_kib))
		return false;
	if (stride_kib < 4 || stride_kib > GIB)
		return fail("the distance must be 4 KiB to 1 TiB");
	for (uint32_t i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		print("0x%012lx-0x%012lx %s, %lu KiB\n", range->start,
			range->start + range->len - 1, type_name(range->type), range->len / KIB);
	}
	print("total: %lu KiB RAM, %lu KiB free\n", boot_ram_size() / KIB,
		page_free_count() * PAGE_SIZE / KIB);
	unsigned errors = memory_visit(stride_kib / 4, true, &pages);
	errors += memory_visit(stride_kib / 4, false, &pages);
	print("checked: %lu pages, %u errors\n", pages, errors);
	return errors ? fail("%u errors in %lu pages", errors, pages) : true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's first C function, entered in ring 3: says hello, sets everything up, runs the shell.
 */
#include "boot.h"

#include "acpi.h"
#include "apic.h"
#include "lib.h"
#include "page.h"
#include "paging.h"
#include "shell.h"
#include "smp.h"
#include "trap.h"
#include "uart.h"

#define PVH_MAGIC 0x336ec578

/* struct hvm_start_info of the PVH boot protocol (Xen's public interface). */
struct pvh_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp;
	uint64_t memory_map; /* from here on: version 1 */
	uint32_t memory_map_entries, reserved;
};

struct boot_info boot_info;

void guest_main(const struct pvh_start_info *start_info);

static bool boot_info_init(const struct pvh_start_info *start)
{
	if (start->magic != PVH_MAGIC || start->version < 1) {
		print("boot: no PVH start info, version 1, at %p\n", (const void *)start);
		return false;
	}
	if (start->command_line)
		text_copy(boot_info.command_line, sizeof(boot_info.command_line),
			(const char *)start->command_line);
	boot_info.rsdp = start->rsdp;

	const struct memory_range *ranges = (const struct memory_range *)start->memory_map;
	for (uint32_t i = 0; i < start->memory_map_entries && i < MEMORY_MAP_MAX; i++)
		if (ranges[i].len && ranges[i].len <= UINT64_MAX - ranges[i].start)
			boot_info.ranges[boot_info.range_count++] = ranges[i];
	return true;
}

uint64_t boot_ram_size(void)
{
	uint64_t size = 0;
	for (uint32_t i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].type == MEMORY_RAM)
			size += boot_info.ranges[i].len;
	return size;
}

int boot_is_ram(uint64_t start, uint64_t len)
{
	for (uint32_t i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		if (range->type == MEMORY_RAM && start >= range->start && len <= range->len &&
			start - range->start <= range->len - len)
			return 1;
	}
	return 0;
}

/*
 * Gives [start, end) to the page allocator. The first MiB stays out of it (the real-mode trampoline
 * and firmware's leftovers), and so does the image.
 */
static void memory_add(uint64_t start, uint64_t end)
{
	uint64_t reserved_end = (uint64_t)image_end;
	if (start < reserved_end)
		start = reserved_end;
	if (start < end)
		page_add(start, end - start);
}

static void memory_init(void)
{
	/* RAM that the boot page tables map first: the tables for the rest are allocated from it.
	 */
	for (uint32_t i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t end = range->start + range->len;
		if (range->type == MEMORY_RAM && range->start < 4 * GIB)
			memory_add(range->start, end < 4 * GIB ? end : 4 * GIB);
	}
	for (uint32_t i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t end = range->start + range->len;
		if (range->type != MEMORY_RAM || end <= 4 * GIB)
			continue;
		uint64_t start = range->start > 4 * GIB ? range->start : 4 * GIB;
		if (paging_map(start, end - start, PAGING_MEMORY))
			memory_add(start, end);
		else
			print("boot: no memory to map 0x%lx-0x%lx\n", start, end - 1);
	}
}

void guest_main(const struct pvh_start_info *start_info)
{
	uart_init();
	print("Ringvisor guest %s\n", RINGVISOR_VERSION);
	if (!boot_info_init(start_info))
		cpu_triple_fault();
	acpi_init(boot_info.rsdp); /* before the allocator: the tables may lie in plain RAM */
	memory_init();
	apic_init();
	boot_info.uart_vector = irq_alloc();
	ioapic_route_isa(UART_IRQ, boot_info.uart_vector);
	irq_enable();
	smp_start();
	print("%u CPUs, %lu MiB RAM; try `help`\n", smp_online(), boot_ram_size() / MIB);
	shell_run_script(boot_info.command_line);
	shell_run();
}

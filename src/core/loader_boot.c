/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel finds when it starts: GDT, page tables, memory map, and PVH start info or Linux
 * boot_params. All of it lies below 1 MiB, where every guest has RAM. */
#include "core/check.h"
#include "core/layout.h"
#include "core/loader_image.h"

#define PTE_PRESENT_WRITABLE 0x3ULL
#define PTE_LARGE            0x80ULL
#define PAGE_TABLE_ENTRIES   512

enum map_type { MAP_RAM = 1, MAP_RESERVED = 2, MAP_ACPI = 3 }; /* alike in e820 and PVH */

#define MAP_MAX 10

struct map_entry {
	uint64_t start, size_bytes;
	enum map_type type;
};

struct memory_map {
	unsigned int count;
	struct map_entry entries[MAP_MAX];
};

/* PVH start info, version 1 (xen/include/public/arch-x86/hvm/start_info.h). */
struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t memory_map_count, reserved;
};

struct start_info_module {
	uint64_t start, size_bytes, cmdline, reserved;
};

struct start_info_map {
	uint64_t start, size_bytes;
	uint32_t type, reserved;
};

#define START_INFO_MAGIC 0x336ec578

struct start_info_page {
	struct start_info info;
	struct start_info_module module;
	struct start_info_map map[MAP_MAX];
};

_Static_assert(sizeof(struct start_info) == 56, "PVH start info");
_Static_assert(LAYOUT_PVH_START_INFO + sizeof(struct start_info_page) <= LAYOUT_ZERO_PAGE,
	"the start info's page");
_Static_assert(sizeof(struct boot_params) == 4096, "boot_params");

/* Zeroed low memory. */
static void *low_take(struct gmem *m, uint64_t gpa, uint64_t len_bytes)
{
	void *host = gmem_map(m, GPA(gpa), len_bytes);

	CHECK(host);
	memset(host, 0, len_bytes);
	return host;
}

static void gdt_write(struct gmem *m)
{
	uint64_t *gdt = low_take(m, LAYOUT_BOOT_GDT, LOADER_GDT_BYTES);

	gdt[LOADER_CS64 / 8] = 0x00af9b000000ffff;
	gdt[LOADER_DS / 8] = 0x00cf93000000ffff;
	gdt[LOADER_CS32 / 8] = 0x00cf9b000000ffff;
	gdt[LOADER_TSS / 8] = 0x00008b0000000067;
}

void boot_tables_write(struct gmem *m)
{
	uint64_t *tables = low_take(
		m, LAYOUT_BOOT_PAGE_TABLES, LAYOUT_BOOT_PAGE_TABLES_END - LAYOUT_BOOT_PAGE_TABLES);
	uint64_t *pdpt = tables + PAGE_TABLE_ENTRIES, *pd = pdpt + PAGE_TABLE_ENTRIES;
	uint64_t pdpt_gpa = LAYOUT_BOOT_PAGE_TABLES + GMEM_PAGE, pd_gpa = pdpt_gpa + GMEM_PAGE;

	gdt_write(m);
	tables[0] = pdpt_gpa | PTE_PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (pd_gpa + i * GMEM_PAGE) | PTE_PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4ULL * PAGE_TABLE_ENTRIES; i++)
		pd[i] = i * GMEM_HUGE_PAGE | PTE_PRESENT_WRITABLE | PTE_LARGE;
}

static void map_append(struct memory_map *map, uint64_t start, uint64_t end, enum map_type type)
{
	if (start >= end)
		return;
	CHECK(map->count < MAP_MAX);
	map->entries[map->count++] = (struct map_entry){start, end - start, type};
}

/* Ascending, without overlaps. A hot-plug region is not in it: its driver announces its blocks. */
static void map_build(const struct gmem *m, struct memory_map *map)
{
	map->count = 0;
	map_append(map, 0, LAYOUT_LOW_RESERVED, MAP_RAM);
	map_append(map, LAYOUT_LOW_RESERVED, LAYOUT_ACPI, MAP_RESERVED);
	map_append(map, LAYOUT_ACPI, LAYOUT_ACPI_END, MAP_ACPI);
	map_append(map, LAYOUT_ACPI_END, m->regions[0].size_bytes, MAP_RAM);
	map_append(map, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_BYTES, MAP_RESERVED);
	map_append(map, LAYOUT_WAKEUP_MAILBOX, LAYOUT_WAKEUP_MAILBOX + GMEM_PAGE, MAP_RESERVED);
	/* KVM's own pages on VMX hosts: one for the identity map, three for the TSS. */
	map_append(map, LAYOUT_KVM_IDENTITY, LAYOUT_KVM_TSS + 3 * GMEM_PAGE, MAP_RESERVED);
	for (unsigned int i = 1; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];

		if (r->kind == GMEM_RAM)
			map_append(map, r->start.v, r->start.v + r->size_bytes, MAP_RAM);
	}
}

gpa_t boot_params_write(struct gmem *m, const struct loader_image *image,
	const struct loader_initrd *initrd, gpa_t rsdp)
{
	struct boot_params *params = low_take(m, LAYOUT_ZERO_PAGE, sizeof(*params));
	struct memory_map map;

	params->hdr = image->header;
	params->hdr.type_of_loader = 0xff; /* one without a number of its own */
	params->hdr.setup_data = 0;
	params->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	params->hdr.ramdisk_image = (uint32_t)initrd->start;
	params->hdr.ramdisk_size = (uint32_t)initrd->size_bytes;
	params->ext_ramdisk_image = (uint32_t)(initrd->start >> 32);
	params->ext_ramdisk_size = (uint32_t)(initrd->size_bytes >> 32);
	params->acpi_rsdp_addr = rsdp.v;

	map_build(m, &map);
	params->e820_entries = (uint8_t)map.count;
	for (unsigned int i = 0; i < map.count; i++) {
		params->e820_table[i] = (struct boot_e820_entry){
			.addr = map.entries[i].start,
			.size = map.entries[i].size_bytes,
			.type = map.entries[i].type,
		};
	}
	return GPA(LAYOUT_ZERO_PAGE);
}

gpa_t start_info_write(struct gmem *m, const struct loader_initrd *initrd, gpa_t rsdp)
{
	struct start_info_page *page = low_take(m, LAYOUT_PVH_START_INFO, sizeof(*page));
	struct memory_map map;

	map_build(m, &map);
	for (unsigned int i = 0; i < map.count; i++) {
		page->map[i] = (struct start_info_map){
			.start = map.entries[i].start,
			.size_bytes = map.entries[i].size_bytes,
			.type = map.entries[i].type,
		};
	}
	page->info = (struct start_info){
		.magic = START_INFO_MAGIC,
		.version = 1,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = rsdp.v,
		.memory_map = LAYOUT_PVH_START_INFO + offsetof(struct start_info_page, map),
		.memory_map_count = map.count,
	};
	if (initrd->size_bytes) {
		page->info.module_count = 1;
		page->info.modules =
			LAYOUT_PVH_START_INFO + offsetof(struct start_info_page, module);
		page->module.start = initrd->start;
		page->module.size_bytes = initrd->size_bytes;
	}
	return GPA(LAYOUT_PVH_START_INFO);
}

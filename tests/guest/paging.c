/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping of what lies above 4 GiB. Only absent entries are filled, so no TLB needs a flush. */
#include "paging.h"

#include <stddef.h>

#include "lib.h"
#include "page.h"

#define PTE_PRESENT  0x01UL
#define PTE_TABLE    0x27UL /* present, writable, user, accessed */
#define PTE_MEMORY   0xe7UL /* ... dirty, 2 MiB */
#define PTE_UNCACHED 0x18UL
#define PTE_ADDRESS  0x000ffffffffff000UL

#define ENTRIES       512
#define ADDRESS_LIMIT (1UL << 47)

extern uint64_t boot_pml4[ENTRIES];

/* The table that `entry` refers to, made if it is absent; NULL without memory for it. */
static uint64_t *table_of(uint64_t *entry)
{
	if (!(*entry & PTE_PRESENT)) {
		void *table = page_alloc(1);
		if (!table)
			return NULL;
		*entry = (uint64_t)table | PTE_TABLE;
	}
	return (uint64_t *)(*entry & PTE_ADDRESS);
}

bool paging_map(uint64_t start, uint64_t len_bytes, enum paging_kind kind)
{
	if (start >= ADDRESS_LIMIT || len_bytes > ADDRESS_LIMIT - start)
		return false;

	uint64_t flags = kind == PAGING_MMIO ? PTE_MEMORY | PTE_UNCACHED : PTE_MEMORY;
	uint64_t end = start + len_bytes;
	for (uint64_t page = start & ~(2 * MIB - 1); page < end; page += 2 * MIB) {
		uint64_t *pdpt = table_of(&boot_pml4[page >> 39]);
		uint64_t *pd = pdpt ? table_of(&pdpt[(page >> 30) % ENTRIES]) : NULL;
		if (!pd)
			return false;
		uint64_t *entry = &pd[(page >> 21) % ENTRIES];
		if (!(*entry & PTE_PRESENT))
			*entry = page | flags;
	}
	return true;
}

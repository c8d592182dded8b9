/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space: everything identity-mapped with 2 MiB pages and open to ring 3. The first 4
 * GiB are mapped from the first instruction on, 3 GiB to 4 GiB uncached; the rest on demand. CPU 0
 * only.
 */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include <stdbool.h>
#include <stdint.h>

enum paging_kind {
	PAGING_MEMORY, /* write-back */
	PAGING_MMIO,   /* uncached */
};

/*
 * Maps the 2 MiB pages that [start, start + len_bytes) touches, below 2^47; those already mapped
 * stay as they are. False when the range is not mappable or there is no page left for a table.
 */
bool paging_map(uint64_t start, uint64_t len_bytes, enum paging_kind kind);

#endif

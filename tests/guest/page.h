/* SPDX-License-Identifier: Apache-2.0 */
/* Allocator of whole pages: contiguous, identity-mapped, thus fit for DMA. CPU 0 only. */
#ifndef GUEST_PAGE_H
#define GUEST_PAGE_H

#include <stdint.h>

/* A run of free pages; this header lies in its first page. The list is in order of address. */
struct page_run {
	struct page_run *next;
	uint64_t pages;
};

/* Takes over the whole pages within [start, start + len_bytes), which must be mapped RAM. */
void page_add(uint64_t start, uint64_t len_bytes);

/* `pages` contiguous pages at the lowest address that has room, or NULL: zeroed, or with what
 * happens to be in them. */
void *page_alloc(uint64_t pages);
void *page_take(uint64_t pages);

/* Gives back pages of the above, all of them or a part. */
void page_free(void *start, uint64_t pages);

/* The free runs, to look at; valid until the next call of any of the functions above. */
const struct page_run *page_runs(void);

/* Number of free pages. */
uint64_t page_free_count(void);

#endif

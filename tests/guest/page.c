/* SPDX-License-Identifier: Apache-2.0 */
/* Page allocator: first fit on a list of free runs, whose headers lie in the free pages themselves.
 */
#include "page.h"

#include <stddef.h>

#include "lib.h"

static struct page_run *runs;

static uint64_t run_end(const struct page_run *run)
{
	return (uint64_t)run + run->pages * PAGE_SIZE;
}

void page_add(uint64_t start, uint64_t len_bytes)
{
	uint64_t first = (start + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uint64_t end = (start + len_bytes) & ~(PAGE_SIZE - 1);
	if (first < end)
		page_free((void *)first, (end - first) / PAGE_SIZE);
}

void *page_take(uint64_t pages)
{
	struct page_run **link = &runs;
	while (*link && (*link)->pages < pages)
		link = &(*link)->next;

	struct page_run *run = *link;
	if (!run || !pages)
		return NULL;
	if (run->pages > pages) {
		struct page_run *rest = (struct page_run *)((uint64_t)run + pages * PAGE_SIZE);
		rest->next = run->next;
		rest->pages = run->pages - pages;
		*link = rest;
	} else {
		*link = run->next;
	}
	return run;
}

void *page_alloc(uint64_t pages)
{
	void *start = page_take(pages);
	return start ? memset(start, 0, pages * PAGE_SIZE) : NULL;
}

void page_free(void *start, uint64_t pages)
{
	struct page_run **link = &runs, *before = NULL, *run = start;
	while (*link && *link < run) {
		before = *link;
		link = &before->next;
	}
	run->next = *link;
	run->pages = pages;
	*link = run;
	if (run->next && run_end(run) == (uint64_t)run->next) {
		run->pages += run->next->pages;
		run->next = run->next->next;
	}
	if (before && run_end(before) == (uint64_t)run) {
		before->pages += run->pages;
		before->next = run->next;
	}
}

const struct page_run *page_runs(void)
{
	return runs;
}

uint64_t page_free_count(void)
{
	uint64_t pages = 0;
	for (const struct page_run *run = runs; run; run = run->next)
		pages += run->pages;
	return pages;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A process that needs memory: takes MIB mebibytes, writes to each page, says so, waits for a line
 * of its input, checks each page and ends. Status 0 if all pages kept what was written.
 *
 *   memory_user [-s] MIB
 *
 * -s: every second page goes back at once, so that what is free then is no run of pages. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE  4096u
#define WORDS (PAGE / sizeof(uint64_t))

/* Writes to both ends of each page; false: one was not new. */
static bool pages_write(uint64_t *memory, size_t pages)
{
	for (size_t i = 0; i < pages; i++) {
		uint64_t *page = memory + i * WORDS;
		if (page[0] || page[WORDS - 1])
			return false;
		page[0] = ~(uint64_t)i;
		page[WORDS - 1] = i;
	}
	return true;
}

/* Whether the pages 0, step, 2 * step, … are as they were written. */
static bool pages_check(const uint64_t *memory, size_t pages, size_t step)
{
	for (size_t i = 0; i < pages; i += step) {
		const uint64_t *page = memory + i * WORDS;
		if (page[0] != ~(uint64_t)i || page[WORDS - 1] != i)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	bool sparse = argc == 3 && !strcmp(argv[1], "-s");
	size_t mib = argc == 2 + sparse ? (size_t)strtoul(argv[argc - 1], NULL, 0) : 0;
	size_t pages = (mib << 20) / PAGE, step = sparse ? 2 : 1;
	char byte;
	if (!pages) {
		fprintf(stderr, "usage: memory_user [-s] MIB\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	uint64_t *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || !pages_write(memory, pages)) {
		printf("no new memory\n");
		return 1;
	}
	for (size_t i = 1; sparse && i < pages; i += 2)
		if (madvise(memory + i * WORDS, PAGE, MADV_DONTNEED))
			return 1;
	printf("holds %zu MiB\n", mib / step);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		return 1;
	if (!pages_check(memory, pages, step)) {
		printf("its memory has changed\n");
		return 1;
	}
	printf("kept %zu MiB\n", mib / step);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader told us (PVH start info), copied out of memory that may be overwritten later, and
 * what guest_main chose. */
#ifndef GUEST_BOOT_H
#define GUEST_BOOT_H

#include <stdint.h>

#define MEMORY_RAM     1
#define MEMORY_MAP_MAX 64

/* An entry of the memory map; type 1 is RAM, the others are E820's. */
struct memory_range {
	uint64_t start, len;
	uint32_t type, reserved;
};

struct boot_info {
	char command_line[2048];
	uint64_t rsdp; /* 0 when the loader gave none */
	unsigned uart_vector;
	uint32_t range_count;
	struct memory_range ranges[MEMORY_MAP_MAX];
};

extern struct boot_info boot_info;

/* First and first free byte of the image, its .bss and boot stacks included. */
extern char image_start[], image_end[];

/* Bytes of RAM in the memory map. */
uint64_t boot_ram_size(void);

/* Whether the memory map has RAM all over start ... start + len - 1. */
int boot_is_ram(uint64_t start, uint64_t len);

#endif

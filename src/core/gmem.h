/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: memfd-backed regions of guest-physical addresses, mapped only with bounds checked.
 *
 *   0                3 GiB            4 GiB                        high_end
 *   |---- low RAM ----|-- MMIO hole ---|---- high RAM ----| hot-plug region |
 *
 * Regions are fixed before the first vCPU runs. The addresses of a hot-plug region (virtio-mem) are
 * reserved from the start; which of its blocks exist is kept in a bitmap, and an address in a block
 * that is not plugged maps nowhere, as an address in the MMIO hole. */
#ifndef CORE_GMEM_H
#define CORE_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"

/* A guest-physical address: a struct, so that it cannot be dereferenced or mixed with host
 * pointers. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){(x)})

#define GMEM_PAGE       4096ULL
#define GMEM_HUGE_PAGE  (2ULL << 20)
#define GMEM_HOLE_START (3ULL << 30) /* RAM below it is low RAM */
#define GMEM_HOLE_END   (4ULL << 30) /* high RAM starts here */
#define GMEM_MIN_BYTES  (1ULL << 20)
#define GMEM_MAX_BYTES  (1ULL << 40)

enum gmem_kind { GMEM_RAM, GMEM_HOTPLUG };

struct gmem_region {
	gpa_t start;
	uint64_t size_bytes;  /* multiple of GMEM_PAGE, > 0 */
	uint8_t *host;        /* mapping of the whole region in this process */
	uint64_t file_offset; /* of the region in the memfd */
	enum gmem_kind kind;
	uint64_t block_bytes; /* GMEM_HOTPLUG: power of two */
	uint64_t *plugged;    /* GMEM_HOTPLUG: bitmap, a bit a block */
};

#define GMEM_REGIONS_MAX 3

/* Regions: read by any thread once gmem_init has returned. `plugged`: the home reactor only. */
struct gmem {
	int memfd;
	bool huge;
	unsigned int count;
	struct gmem_region regions[GMEM_REGIONS_MAX]; /* ascending */
	uint64_t ram_bytes;
};

struct gmem_params {
	uint64_t ram_bytes; /* rounded up to GMEM_PAGE by the caller (config_check) */
	bool huge_pages;    /* 2 MiB pages: madvise(MADV_HUGEPAGE), ram_bytes a multiple of 2 MiB */
	uint64_t hotplug_bytes; /* 0: none; multiple of hotplug_block */
	uint64_t hotplug_block; /* power of two, ≥ GMEM_PAGE */
	uint64_t hotplug_align; /* power of two: alignment of the region's start */
	const char *name;       /* for /proc: the memfd is called "ringvisor:<name>" */
};

/* gmem_init: reserves and maps the memory; nothing is touched, so nothing is resident.
 * Errors: -EINVAL, -ENOMEM, -errno of memfd_create/ftruncate/mmap, with the text in `d`. Any
 * thread. */
int gmem_init(struct gmem *m, const struct gmem_params *p, struct diag *d);

/* gmem_finish: unmaps and closes. Nobody may use the memory any more (the VM is closed). Safe on a
 * zeroed struct and after a failed init. */
void gmem_finish(struct gmem *m);

/* gmem_map: the host address of the guest's [gpa, gpa + len_bytes), or NULL unless all of it lies
 * in one region (and in plugged blocks). len_bytes 0 gives NULL. The memory may change at any time:
 * copy once, check the copy. Valid until gmem_finish. */
void *gmem_map(const struct gmem *m, gpa_t gpa, uint64_t len_bytes);

/* gmem_read, gmem_write: copy between guest and host memory; false (nothing copied) unless gmem_map
 * allows it. */
bool gmem_read(const struct gmem *m, gpa_t gpa, void *to, uint64_t len_bytes);
bool gmem_write(const struct gmem *m, gpa_t gpa, const void *from, uint64_t len_bytes);

/* gmem_is_ram: true if [gpa, gpa + len_bytes) is RAM (not hot-plug) within one region. */
bool gmem_is_ram(const struct gmem *m, gpa_t gpa, uint64_t len_bytes);

/* gmem_file_offset: where in the memfd the guest's [gpa, gpa + len_bytes) lies; false unless
 * gmem_map allows it. gmem_host_offset: the same for an address that gmem_map gave, or one behind
 * it; false unless all of it lies in one region. */
bool gmem_file_offset(const struct gmem *m, gpa_t gpa, uint64_t len_bytes, uint64_t *offset);
bool gmem_host_offset(const struct gmem *m, const void *host, uint64_t len_bytes, uint64_t *offset);

/* gmem_high_end: the first address above all regions; device windows may start there. */
gpa_t gmem_high_end(const struct gmem *m);

/* gmem_plug: marks blocks of the hot-plug region as existing or not. [gpa, gpa + len_bytes) must be
 * whole blocks of it: -EINVAL otherwise. Only the bitmap changes; memory slots and discarding are
 * the caller's. Home reactor. */
int gmem_plug(struct gmem *m, gpa_t gpa, uint64_t len_bytes, bool plugged);

/* gmem_plugged: how many of the blocks in the range are plugged; -EINVAL as gmem_plug. */
int64_t gmem_plugged(const struct gmem *m, gpa_t gpa, uint64_t len_bytes);

/* gmem_resident_bytes: how much of the guest's memory the host has allocated: the memfd's
 * st_blocks. */
uint64_t gmem_resident_bytes(const struct gmem *m);

#endif

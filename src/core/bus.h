/* SPDX-License-Identifier: Apache-2.0 */
/* The port and memory buses of one guest: who answers an access. Home reactor only. */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"

enum bus_kind { BUS_PIO, BUS_MMIO };

/* A range that a device answers; embedded in the device, which keeps it until bus_remove. Accesses
 * have size 1, 2, 4 or 8 bytes and lie wholly in the range; `offset` counts from its start. The
 * device decides what an odd size or alignment means; nothing it gets here was checked but that. */
struct bus_range {
	uint64_t start, len_bytes;
	uint64_t (*read)(struct bus_range *range, uint64_t offset, unsigned int size_bytes);
	void (*write)(
		struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value);
	const char *name; /* static; for overlap errors and traces */
};

#define BUS_RANGES_MAX 512

/* Sorted by start, disjoint; looked up by bisection, the last hit first. */
struct bus_map {
	struct bus_range **ranges;
	unsigned int count, room, last;
};

struct bus {
	struct bus_map maps[2]; /* by enum bus_kind */
	uint64_t unclaimed_reads, unclaimed_writes;
};

void bus_init(struct bus *b);
void bus_finish(struct bus *b);

/* bus_add: -EEXIST with both names in `d` if it overlaps, -ENOSPC beyond BUS_RANGES_MAX, -EINVAL if
 * it wraps, -ENOMEM. */
int bus_add(struct bus *b, enum bus_kind kind, struct bus_range *range, struct diag *d);
/* bus_remove: safe if it is not there. */
void bus_remove(struct bus *b, enum bus_kind kind, struct bus_range *range);

/* bus_read, bus_write: dispatch; an access that no range claims wholly reads as all ones (of its
 * size) or is dropped, and is counted, as on a PC. */
uint64_t bus_read(struct bus *b, enum bus_kind kind, uint64_t addr, unsigned int size_bytes);
void bus_write(
	struct bus *b, enum bus_kind kind, uint64_t addr, unsigned int size_bytes, uint64_t value);

#endif

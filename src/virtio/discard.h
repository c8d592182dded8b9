/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of guest memory given back to the host: a hole in the guest's memfd each, punched by the
 * kernel's workers while the reactor goes on. What is touched again afterwards is new and zero.
 *
 * One large hole is in flight at a time, or several small ones. The kernel punches those of one
 * file one by one anyway, and a worker that always finds another keeps its CPU, which may be the
 * reactor's, until the scheduler's next tick.
 *
 * Home reactor. */
#ifndef VIRTIO_DISCARD_H
#define VIRTIO_DISCARD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/gmem.h"
#include "core/io_op.h"

/* In flight at once. */
#define DISCARD_OPS 16
/* The most in flight, in bytes, and the alignment of parts of a longer run. Who touches memory that
 * a hole is being punched around waits until it is there: a reactor, if the guest has its rings in
 * it. */
#define DISCARD_PART_BYTES GMEM_HUGE_PAGE

struct discard;

struct discard_op {
	struct io_op io;
	struct discard *owner;
	uint64_t len_bytes;
};

/* Embedded in its owner, which is not freed while anything is in flight. */
struct discard {
	const struct gmem *mem;
	struct reactor **reactor;         /* of the owner's env: set when it is attached */
	void (*ended)(struct discard *d); /* one operation has ended */
	struct discard_op ops[DISCARD_OPS];
	unsigned int in_flight;
	uint64_t in_flight_bytes;
	int error;                      /* of the last that failed, a negative errno */
	uint64_t runs, bytes, failures; /* figures; bytes of those that succeeded */
};

void discard_init(struct discard *d, const struct gmem *mem, struct reactor **reactor,
	void (*ended)(struct discard *d));

/* discard_part_end: where the operation ends that begins to give back [start, end).
 * discard_run: gives back [offset, offset + len_bytes) of the memfd, whole pages, one part at most;
 * discard_has_room says so. `ended` follows, never from within. */
static inline uint64_t discard_part_end(uint64_t start, uint64_t end)
{
	uint64_t part_end = (start / DISCARD_PART_BYTES + 1) * DISCARD_PART_BYTES;

	return part_end < end ? part_end : end;
}

void discard_run(struct discard *d, uint64_t offset, uint64_t len_bytes);

/* discard_cancel: asks those that have not begun to end; each still says `ended`. */
void discard_cancel(struct discard *d);

static inline bool discard_has_room(const struct discard *d, uint64_t len_bytes)
{
	return d->in_flight < DISCARD_OPS && d->in_flight_bytes + len_bytes <= DISCARD_PART_BYTES;
}

#endif

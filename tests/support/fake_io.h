/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor without a ring, for unit tests of what stands on reactor.h and io_op.h: it takes their
 * place when the test is linked (a test that includes this header gets the library).
 *
 * Ops are done by plain system calls on their descriptors, one after the other in an order drawn
 * from a seed, when the test calls fake_io_run; time stands still until fake_io_advance_ns. The
 * thread that creates a fake reactor is its thread from then on, so verbs may be called right away.
 * What the real one promises holds here: `done` never runs inside a verb, iovecs and message
 * headers are looked at when the turn ends, an op with IO_MORE goes on. */
#ifndef SUPPORT_FAKE_IO_H
#define SUPPORT_FAKE_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "core/io_op.h"
#include "core/reactor.h"

/* fake_io_create: the same seed gives the same order. One at a time in a thread. fake_io_destroy:
 * nothing may be in flight; drops timers. */
struct reactor *fake_io_create(uint64_t seed);
void fake_io_destroy(struct reactor *r);

/* fake_io_run: turns until nothing more can happen without somebody from outside or time. Returns
 * the number of completions. fake_io_turn: one turn; false if nothing happened in it. */
unsigned int fake_io_run(struct reactor *r);
bool fake_io_turn(struct reactor *r);

/* fake_io_advance_ns: runs, then lets time pass; each timer fires at its own deadline, with a
 * fake_io_run after it. */
void fake_io_advance_ns(struct reactor *r, uint64_t delay_ns);

/* How the world misbehaves, by chance; all zero at first. */
struct fake_io_faults {
	unsigned int short_percent; /* of transfers: cut to a random length ≥ 1 (not on eventfds) */
	unsigned int error_percent; /* of ops: fail with `error`, nothing transferred */
	int error;                  /* -errno */
	unsigned int end_percent;   /* of multishot completions: come without IO_MORE */
};
void fake_io_set_faults(struct reactor *r, const struct fake_io_faults *faults);

/* fake_io_fail_next: the next op on `fd` that would complete (-1: on any) completes with `err`,
 * nothing transferred. Up to 16 may be waiting. fake_io_hold: ops on `fd` stay in flight, whatever
 * happens (but cancels), until hold is false; up to 16 descriptors. */
void fake_io_fail_next(struct reactor *r, int fd, int err);
void fake_io_hold(struct reactor *r, int fd, bool hold);

/* How many ops (fd -1: of all files, and jobs) have been started and not completed. */
unsigned int fake_io_in_flight(const struct reactor *r, int fd);

#endif

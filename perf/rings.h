/* SPDX-License-Identifier: Apache-2.0 */
/* Bare rings for benchmarks that compare ways of using io_uring below the reactor. */
#ifndef PERF_RINGS_H
#define PERF_RINGS_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"

/* rings_open: a ring as the reactor's (one issuer, deferred task work), disabled until its thread
 * calls rings_enable. -ENOTSUP with the reason where the kernel has none. */
int rings_open(struct io_uring *ring, struct diag *d);

/* rings_enable: makes the calling thread the ring's one issuer. */
void rings_enable(struct io_uring *ring);

/* rings_send_by_call: one completion with user_data `token` for `to`, by the system call that needs
 * no ring of the sender's (Linux 6.13). Any thread. -errno. */
int rings_send_by_call(struct io_uring *to, uint64_t token);

/* rings_prep_send: the same as an SQE of the ring `from`, which says nothing on success. */
void rings_prep_send(struct io_uring *from, struct io_uring *to, uint64_t token);

/* rings_wait: submits what is queued, waits for at least one completion, takes all; the number of
 * those with user_data `token`. Stores whether any of them was its request's last. */
unsigned int rings_wait(struct io_uring *ring, uint64_t token, bool *ended);

/* rings_sqe: never NULL. */
struct io_uring_sqe *rings_sqe(struct io_uring *ring);

#endif

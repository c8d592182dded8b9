/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements of vsock by commands, against a peer on the host, or in another guest. Each prints
 * one line. */
#ifndef GUEST_VSOCK_BENCH_H
#define GUEST_VSOCK_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "vsock_stream.h"

/* Rounds there and back of `size` bytes over one connection; the peer echoes. */
bool vsock_ping(struct vsock_address to, uint64_t size, uint64_t count);

/*
 * `streams` connections that each send `bytes` bytes of the pattern in packets of at most `size`,
 * and then end. Timed until the peer, having read everything, has closed the last.
 */
bool vsock_send_all(struct vsock_address to, uint64_t bytes, uint32_t size, unsigned streams);

#define VSOCK_STORM_BYTES 4096U /* at most */

/*
 * `count` connections, `parallel` at a time, opened and closed again; meanwhile each sends `bytes`
 * bytes of the pattern, ends its direction, and has to get the same back.
 */
bool vsock_storm(struct vsock_address to, uint64_t count, unsigned parallel, uint32_t bytes);

#endif

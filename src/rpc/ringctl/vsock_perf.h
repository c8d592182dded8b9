/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements of vsock connections whose other end is an echo, discard or source service in the
 * guest (ringctl(1), "vsock-perf"). All that comes back is compared byte by byte. */
#ifndef RINGCTL_VSOCK_PERF_H
#define RINGCTL_VSOCK_PERF_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"

#define PERF_STREAMS_MAX 5
/* A guest that moves nothing for so long is given up. */
#define PERF_SILENCE_MS 10000
/* The pattern's period; at most so much goes into one round trip. */
#define PERF_PERIOD 65536u

enum perf_direction {
	PERF_TO_GUEST,   /* discard: the guest's end of file says that it has taken all */
	PERF_FROM_GUEST, /* source */
	PERF_BOTH,       /* echo */
};

/* Connected SOCK_STREAM sockets; they stay the caller's. */
struct perf_sockets {
	int fd[PERF_STREAMS_MAX];
	unsigned int count;
};

/* perf_round_trips: `count` round trips of `bytes` bytes on each of the sockets, which are echoes,
 * side by side; their times, sorted, to times_ns, which has room for all. perf_throughput: `bytes`
 * bytes on each socket; *time_ns from the first to the last. 0, or -errno with the text in `d`:
 * -ETIMEDOUT (silence), -EPIPE (closed too early), -EBADMSG (other data came), -EINVAL. */
int perf_round_trips(const struct perf_sockets *s, uint32_t bytes, uint32_t count,
	uint64_t *times_ns, struct diag *d);
int perf_throughput(const struct perf_sockets *s, enum perf_direction direction, uint64_t bytes,
	uint64_t *time_ns, struct diag *d);

/* perf_quantile: by nearest rank; `per_mille` 0 is the least, 1000 the greatest of `count` ≥ 1. */
uint64_t perf_quantile(const uint64_t *sorted, uint64_t count, unsigned int per_mille);

#endif

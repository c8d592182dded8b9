/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio entropy device (virtio 1.2 §5.4): whole chains of bytes from the kernel's generator, no
 * faster than a token bucket allows, so that a guest cannot burn a core with it. Home reactor, but
 * for init and finish. */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "core/device.h"
#include "virtio/device.h"

#define RNG_QUEUE_SIZE 64

#define RNG_BYTES_PER_S (1u << 20)   /* sustained */
#define RNG_BURST_BYTES (256u << 10) /* at once, after a while without requests */
#define RNG_CHAIN_COST  64u          /* each chain counts as so many bytes on top: small ones */

/* Embedded in its device. */
struct rng {
	struct virtio_device dev;
	struct iovec iov[RNG_QUEUE_SIZE];
	struct vq_chain chain; /* the one being filled */
	bool filling;
	uint64_t filled_bytes; /* of it */
	int64_t tokens;        /* bytes that may be given now; below 0 after a chain's cost */
	uint64_t tokens_ns;    /* when they were last counted */
	struct reactor_timer timer;
	/* getrandom(2), or a test's stand-in. */
	ssize_t (*random)(void *buf, size_t len_bytes, unsigned int flags);
	uint64_t bytes, waits; /* figures */
};

/* rng_init: env as virtio_device_init; -ENOMEM. rng_finish: reset, or never attached. Any thread.
 */
int rng_init(struct rng *g, struct virtio_env *env, struct diag *d);
void rng_finish(struct rng *g);

extern const struct device_class rng_class;

#endif

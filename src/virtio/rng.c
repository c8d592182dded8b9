/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio entropy device: one chain at a time, in chunks that a turn can afford. */
#include "virtio/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "core/check.h"
#include "virtio/iov.h"

#define CHUNK_BYTES 16384u    /* of one getrandom: some 50 µs */
#define TURN_BYTES  65536u    /* of one turn */
#define RETRY_NS    10000000u /* the generator is not seeded yet */

static struct rng *rng_of(struct virtio_device *dev)
{
	return container_of(dev, struct rng, dev);
}

/* --- the token bucket --- */

static void tokens_count(struct rng *g)
{
	uint64_t now = reactor_now_ns(g->dev.env->reactor);
	uint64_t full_ns = (uint64_t)RNG_BURST_BYTES * 1000000000u / RNG_BYTES_PER_S;
	uint64_t passed = now - g->tokens_ns;
	uint64_t earned;

	if (passed > 2 * full_ns)
		passed = 2 * full_ns; /* and the product below stays small */
	earned = passed * RNG_BYTES_PER_S / 1000000000u;
	if (!earned)
		return;
	g->tokens += (int64_t)earned;
	g->tokens_ns = now;
	if (g->tokens > RNG_BURST_BYTES)
		g->tokens = RNG_BURST_BYTES;
}

/* Waits until `want` more bytes may be given. */
static void tokens_wait(struct rng *g, uint32_t want)
{
	uint64_t missing = (uint64_t)((int64_t)want - g->tokens);

	g->waits++;
	reactor_timer_start(
		g->dev.env->reactor, &g->timer, missing * 1000000000u / RNG_BYTES_PER_S + 1);
}

static void timer_fired(struct reactor_timer *t)
{
	struct rng *g = container_of(t, struct rng, timer);

	virtio_queue_wake(&g->dev.queues[0]);
}

/* --- filling --- */

enum fill { FILL_DONE, FILL_PART, FILL_WAITS };

/* One chunk of the chain, no longer than its next buffer. */
static enum fill fill_chunk(struct rng *g)
{
	uint64_t left = g->chain.in_bytes - g->filled_bytes;
	uint32_t want = left < CHUNK_BYTES ? (uint32_t)left : CHUNK_BYTES;
	struct iovec at;
	ssize_t n;

	tokens_count(g);
	if (g->tokens < want) {
		tokens_wait(g, want);
		return FILL_WAITS;
	}
	if (!iov_slice(chain_in(&g->chain), g->chain.in_count, g->filled_bytes, want, &at, 1))
		return FILL_DONE;
	n = g->random(at.iov_base, at.iov_len, GRND_NONBLOCK);
	if (n <= 0) {
		g->waits++;
		reactor_timer_start(g->dev.env->reactor, &g->timer, RETRY_NS);
		return FILL_WAITS;
	}
	g->filled_bytes += (uint64_t)n;
	g->bytes += (uint64_t)n;
	g->tokens -= n;
	return g->filled_bytes == g->chain.in_bytes ? FILL_DONE : FILL_PART;
}

static void chain_done(struct rng *g, struct virtio_queue *q)
{
	uint64_t n = g->filled_bytes;

	/* A chain of exactly 4 GiB has one byte more than its length field can say. */
	vq_push(&q->vq, &g->chain, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n);
	virtio_queue_flush(q);
	g->tokens -= RNG_CHAIN_COST;
	g->filling = false;
}

static bool chain_next(struct rng *g, struct virtio_queue *q)
{
	if (g->filling)
		return true;
	g->chain = (struct vq_chain){.iov = g->iov, .iov_max = RNG_QUEUE_SIZE};
	g->filled_bytes = 0;
	g->filling = vq_pop(&q->vq, &g->chain);
	return g->filling;
}

static enum virtio_serve rng_serve(struct virtio_queue *q)
{
	struct rng *g = rng_of(q->dev);
	uint64_t start = g->bytes;

	if (reactor_timer_armed(&g->timer))
		return VIRTIO_SERVE_BLOCKED;
	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS && g->bytes - start < TURN_BYTES; i++) {
		enum fill fill;

		if (!chain_next(g, q))
			return VIRTIO_SERVE_IDLE;
		fill = fill_chunk(g);
		if (fill == FILL_WAITS)
			return VIRTIO_SERVE_BLOCKED;
		if (fill == FILL_DONE)
			chain_done(g, q);
	}
	return VIRTIO_SERVE_MORE;
}

/* Nothing is ever in flight: the chain is forgotten, the bucket is not (a guest that resets gets no
 * more than one that does not). */
static void chain_forget(struct rng *g)
{
	g->filling = false;
	reactor_timer_stop(g->dev.env->reactor, &g->timer);
}

static void rng_queue_reset(struct virtio_queue *q)
{
	chain_forget(rng_of(q->dev));
	virtio_queue_reset_done(q);
}

static void rng_reset(struct virtio_device *dev)
{
	chain_forget(rng_of(dev));
	virtio_reset_done(dev);
}

static const struct virtio_device_ops rng_ops = {
	.serve = rng_serve,
	.queue_reset = rng_queue_reset,
	.reset = rng_reset,
};

int rng_init(struct rng *g, struct virtio_env *env, struct diag *d)
{
	static const uint16_t sizes[1] = {RNG_QUEUE_SIZE};

	memset(g, 0, sizeof(*g));
	g->random = getrandom;
	g->tokens = RNG_BURST_BYTES;
	reactor_timer_init(&g->timer, timer_fired);
	return virtio_device_init(&g->dev, &rng_ops, env, "virtio-rng", 0, 1, sizes, d);
}

void rng_finish(struct rng *g)
{
	virtio_device_finish(&g->dev);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio balloon: inflate, deflate, reporting, reset. */
#include "virtio/balloon.h"

#include <endian.h>
#include <string.h>

#include "core/check.h"
#include "trace/probe.h"

#define CONFIG_NUM_PAGES 0
#define CONFIG_ACTUAL    4

#define TURN_PFNS 1024u /* looked at in one turn of a queue */

static struct balloon *balloon_of(struct virtio_device *dev)
{
	return container_of(dev, struct balloon, dev);
}

/* --- config space --- */

static uint32_t config_get(const struct balloon *b, unsigned int offset)
{
	uint32_t value;

	memcpy(&value, b->config + offset, sizeof(value));
	return le32toh(value);
}

static void probe_change(const struct balloon *b)
{
	PROBE(balloon_change, probe_string(b->dev.env->guest), config_get(b, CONFIG_NUM_PAGES),
		config_get(b, CONFIG_ACTUAL));
}

static void config_put(struct balloon *b, unsigned int offset, uint32_t value)
{
	value = htole32(value);
	memcpy(b->config + offset, &value, sizeof(value));
}

/* §5.5.4: the driver writes `actual`, and nothing else. */
static void balloon_config_write(
	struct virtio_device *dev, uint32_t offset, unsigned int size_bytes, uint64_t value)
{
	struct balloon *b = balloon_of(dev);

	for (unsigned int i = 0; i < size_bytes; i++)
		if (offset + i >= CONFIG_ACTUAL)
			b->config[offset + i] = (uint8_t)(value >> 8 * i);
	probe_change(b);
}

void balloon_size(const struct balloon *b, uint32_t *current_pages, uint32_t *requested_pages)
{
	*current_pages = config_get(b, CONFIG_ACTUAL);
	*requested_pages = config_get(b, CONFIG_NUM_PAGES);
}

static void target_set(struct balloon *b)
{
	uint32_t pages = b->baseline + b->reclaimed;

	if (pages == config_get(b, CONFIG_NUM_PAGES))
		return;
	config_put(b, CONFIG_NUM_PAGES, pages);
	probe_change(b);
	virtio_config_changed(&b->dev);
}

void balloon_request(struct balloon *b, uint32_t pages)
{
	b->baseline = pages < b->pages_max ? pages : b->pages_max;
	b->reclaimed = 0;
	b->requests++;
	target_set(b);
}

void balloon_reclaim(struct balloon *b, uint32_t pages)
{
	uint32_t room = b->pages_max - b->baseline;

	b->reclaimed = pages < room ? pages : room;
	target_set(b);
}

void balloon_figures(const struct balloon *b, struct balloon_figures *to)
{
	*to = (struct balloon_figures){
		.actual_pages = config_get(b, CONFIG_ACTUAL),
		.target_pages = config_get(b, CONFIG_NUM_PAGES),
		.baseline_pages = b->baseline,
		.reclaim_pages = b->reclaimed,
		.ram_pages = b->pages_max,
		.requests = b->requests,
		.has_statistics = virtio_has(&b->dev, BALLOON_F_STATS_VQ),
		.free_bytes = b->stats.free_bytes,
		.available_bytes = b->stats.available_bytes,
		.statistics_ns = b->stats.came_ns,
		.reported_bytes = b->reported_bytes,
	};
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++) {
		to->discards += b->lanes[i].discard.runs;
		to->discarded_bytes += b->lanes[i].discard.bytes;
		to->discard_failures += b->lanes[i].discard.failures;
	}
}

/* --- runs --- */

/* Gives the run back, part by part. False: there is no room for all of it now; the rest is the run.
 */
static bool run_flush(struct balloon_lane *l)
{
	while (l->run_start < l->run_end) {
		uint64_t end = discard_part_end(l->run_start, l->run_end);

		if (!discard_has_room(&l->discard, end - l->run_start))
			return false;
		discard_run(&l->discard, l->run_start, end - l->run_start);
		l->run_start = end;
	}
	return true;
}

/* Adds whole pages of the memfd to the lane's run. False: there is another run already, and no
 * room to give it back; nothing was added. */
static bool run_add(struct balloon_lane *l, uint64_t start, uint64_t end)
{
	bool empty = l->run_start == l->run_end;

	/* Ascending, descending, or the same once more. */
	if (!empty && start <= l->run_end && end >= l->run_start) {
		l->run_start = start < l->run_start ? start : l->run_start;
		l->run_end = end > l->run_end ? end : l->run_end;
		return true;
	}
	if (!run_flush(l))
		return false;
	l->run_start = start;
	l->run_end = end;
	return true;
}

/* --- what a chain names --- */

enum look { LOOK_DONE, LOOK_MORE, LOOK_FULL };

/* The next PFNs of the chain, 32 bits each; a rest of fewer bytes means nothing. */
static enum look look_at_pfns(struct balloon_lane *l)
{
	struct balloon *b = l->balloon;
	uint32_t pfns[TURN_PFNS];
	size_t count = chain_read(&l->chain, l->at_bytes, pfns, sizeof(pfns)) / sizeof(pfns[0]);

	for (size_t i = 0; i < count; i++) {
		gpa_t gpa = GPA((uint64_t)le32toh(pfns[i]) * BALLOON_PAGE);
		uint64_t offset;

		if (!gmem_file_offset(b->dev.env->mem, gpa, BALLOON_PAGE, &offset)) {
			b->out_of_range++;
			return LOOK_DONE;
		}
		if (!run_add(l, offset, offset + BALLOON_PAGE))
			return LOOK_FULL;
		l->at_bytes += sizeof(pfns[0]);
		b->inflated++;
	}
	return count == TURN_PFNS ? LOOK_MORE : LOOK_DONE;
}

/* The buffers themselves are free, as far as they are whole pages. */
static enum look look_at_ranges(struct balloon_lane *l)
{
	struct balloon *b = l->balloon;

	while (l->at_bytes < l->chain.in_count) {
		const struct iovec *iov = &chain_in(&l->chain)[l->at_bytes];
		uint64_t offset, start, end;

		/* The virtqueue has checked that all of it is guest memory. */
		CHECK(gmem_host_offset(b->dev.env->mem, iov->iov_base, iov->iov_len, &offset));
		start = (offset + GMEM_PAGE - 1) & ~(GMEM_PAGE - 1);
		end = (offset + iov->iov_len) & ~(GMEM_PAGE - 1);
		if (start < end && !run_add(l, start, end))
			return LOOK_FULL;
		l->at_bytes++;
		b->reported++;
		if (start < end)
			b->reported_bytes += end - start;
	}
	return LOOK_DONE;
}

/* --- lanes --- */

static bool lane_next(struct balloon_lane *l)
{
	if (l->busy)
		return true;
	l->chain = (struct vq_chain){.iov = l->iov, .iov_max = BALLOON_QUEUE_SIZE};
	l->busy = vq_pop(&l->queue->vq, &l->chain);
	l->read = false;
	l->at_bytes = 0;
	l->run_start = l->run_end = 0;
	return l->busy;
}

/* The guest may use a chain's memory as soon as it has the chain back, so that memory has to be
 * gone by then. But a guest that takes pages back only with our leave (§5.5.3, MUST_TELL_HOST) may
 * have the chain while the last of it is on its way: so the host has work while the guest makes the
 * next chain. */
static bool lane_may_answer(const struct balloon_lane *l)
{
	return !l->discard.in_flight ||
	       (l->queue->index == BALLOON_INFLATE &&
		       virtio_has(&l->balloon->dev, BALLOON_F_MUST_TELL_HOST));
}

static enum virtio_serve lane_serve(
	struct balloon_lane *l, enum look (*look)(struct balloon_lane *))
{
	if (!lane_next(l))
		return VIRTIO_SERVE_IDLE;
	if (!l->read) {
		enum look seen = look(l);

		if (seen != LOOK_DONE)
			return seen == LOOK_MORE ? VIRTIO_SERVE_MORE : VIRTIO_SERVE_BLOCKED;
		l->read = true;
	}
	if (!run_flush(l) || !lane_may_answer(l))
		return VIRTIO_SERVE_BLOCKED;
	vq_push(&l->queue->vq, &l->chain, 0);
	virtio_queue_flush(l->queue);
	l->busy = false;
	return VIRTIO_SERVE_MORE;
}

/* Pages that the guest takes back: not before all that it has given is gone. */
static bool deflate_may_answer(const struct balloon *b)
{
	return !b->lanes[BALLOON_INFLATE].discard.in_flight;
}

static bool lanes_quiet(const struct balloon *b)
{
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++)
		if (b->lanes[i].discard.in_flight)
			return false;
	return true;
}

static void lane_ended(struct discard *d)
{
	struct balloon_lane *l = container_of(d, struct balloon_lane, discard);
	struct balloon *b = l->balloon;

	if (b->dev.resetting) {
		if (lanes_quiet(b))
			virtio_reset_done(&b->dev);
		return;
	}
	if (b->lanes[BALLOON_DEFLATE].busy && deflate_may_answer(b))
		virtio_queue_wake(b->lanes[BALLOON_DEFLATE].queue);
	if (!l->queue->resetting)
		virtio_queue_wake(l->queue);
	else if (!d->in_flight)
		virtio_queue_reset_done(l->queue);
}

static enum virtio_serve serve_deflate(struct balloon *b, struct virtio_queue *q)
{
	struct balloon_lane *l = &b->lanes[BALLOON_DEFLATE];

	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS; i++) {
		if (!lane_next(l))
			return VIRTIO_SERVE_IDLE;
		if (!deflate_may_answer(b))
			return VIRTIO_SERVE_BLOCKED;
		b->deflated += l->chain.out_bytes / sizeof(uint32_t);
		vq_push(&q->vq, &l->chain, 0);
		virtio_queue_flush(q);
		l->busy = false;
	}
	return VIRTIO_SERVE_MORE;
}

static enum virtio_serve serve_reporting(struct balloon_lane *l)
{
	if (virtio_has(&l->balloon->dev, BALLOON_F_PAGE_REPORTING))
		return lane_serve(l, look_at_ranges);
	/* A queue that does not exist: its chains stay where they are. */
	return VIRTIO_SERVE_BLOCKED;
}

static enum virtio_serve balloon_serve(struct virtio_queue *q)
{
	struct balloon *b = balloon_of(q->dev);

	switch (q->index) {
	case BALLOON_INFLATE:
		return lane_serve(&b->lanes[BALLOON_INFLATE], look_at_pfns);
	case BALLOON_DEFLATE:
		return serve_deflate(b, q);
	case BALLOON_STATS:
		if (virtio_has(q->dev, BALLOON_F_STATS_VQ))
			return balloon_stats_serve(b, q);
		/* fall through */
	default:
		return serve_reporting(&b->lanes[q->index]);
	}
}

/* --- reset --- */

static void balloon_queue_reset(struct virtio_queue *q)
{
	struct balloon *b = balloon_of(q->dev);
	struct balloon_lane *l = &b->lanes[q->index];

	l->busy = false;
	if (q->index == BALLOON_STATS)
		balloon_stats_lost(b);
	discard_cancel(&l->discard);
	if (!l->discard.in_flight)
		virtio_queue_reset_done(q);
}

/* What the host has asked for stands; what the guest had given is its own again. */
static void balloon_reset(struct virtio_device *dev)
{
	struct balloon *b = balloon_of(dev);

	config_put(b, CONFIG_ACTUAL, 0);
	balloon_stats_lost(b);
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++) {
		b->lanes[i].busy = false;
		discard_cancel(&b->lanes[i].discard);
	}
	if (lanes_quiet(b))
		virtio_reset_done(dev);
}

static const struct virtio_device_ops balloon_ops = {
	.serve = balloon_serve,
	.queue_reset = balloon_queue_reset,
	.reset = balloon_reset,
	.config_write = balloon_config_write,
};

int balloon_init(struct balloon *b, struct virtio_env *env, struct diag *d)
{
	static const uint16_t sizes[BALLOON_QUEUES] = {BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE,
		BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE};
	int err;

	memset(b, 0, sizeof(*b));
	balloon_stats_init(b);
	b->pages_max = env->mem->ram_bytes / BALLOON_PAGE < UINT32_MAX
			       ? (uint32_t)(env->mem->ram_bytes / BALLOON_PAGE)
			       : UINT32_MAX;
	err = virtio_device_init(&b->dev, &balloon_ops, env, "virtio-balloon",
		BALLOON_F_MUST_TELL_HOST | BALLOON_F_STATS_VQ | BALLOON_F_DEFLATE_ON_OOM |
			BALLOON_F_PAGE_REPORTING,
		BALLOON_QUEUES, sizes, d);
	if (err)
		return err;
	b->dev.config = b->config;
	b->dev.config_bytes = BALLOON_CONFIG_BYTES;
	for (unsigned int i = 0; i < BALLOON_QUEUES; i++) {
		b->lanes[i].balloon = b;
		b->lanes[i].queue = &b->dev.queues[i];
		discard_init(&b->lanes[i].discard, env->mem, &env->reactor, lane_ended);
	}
	return 0;
}

void balloon_finish(struct balloon *b)
{
	virtio_device_finish(&b->dev);
}

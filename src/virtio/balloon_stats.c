/* SPDX-License-Identifier: Apache-2.0 */
/* Memory statistics of the balloon (virtio 1.2 §5.5.6.3). The guest leaves one buffer with us;
 * giving it back asks for fresh values, which come with the buffer. One question is out at a time,
 * one for each call. */
#include <endian.h>
#include <string.h>

#include "core/check.h"
#include "virtio/balloon.h"

/* As the guest writes it, packed. */
#define STAT_BYTES 10u

static struct virtio_queue *stats_queue(struct balloon *b)
{
	return &b->dev.queues[BALLOON_STATS];
}

static void call_answer(struct balloon_stats_call *call, enum status status)
{
	list_del(&call->link);
	if (status)
		call->count = 0;
	call->done(call, status);
}

static struct balloon_stats_call *call_first(struct balloon *b)
{
	return list_empty(&b->stats.calls)
		       ? NULL
		       : list_first(&b->stats.calls, struct balloon_stats_call, link);
}

/* The oldest call is the first whose time is up. */
static void deadline_set(struct balloon *b)
{
	struct reactor *r = b->dev.env->reactor;
	struct balloon_stats_call *call = call_first(b);
	uint64_t now = reactor_now_ns(r);

	if (call)
		reactor_timer_start(
			r, &b->stats.timer, call->deadline_ns > now ? call->deadline_ns - now : 1);
	else
		reactor_timer_stop(r, &b->stats.timer);
}

static void deadline_passed(struct reactor_timer *t)
{
	struct balloon *b = container_of(t, struct balloon, stats.timer);
	uint64_t now = reactor_now_ns(b->dev.env->reactor);
	struct balloon_stats_call *call;

	while ((call = call_first(b)) && call->deadline_ns <= now)
		call_answer(call, STATUS_TIMED_OUT);
	deadline_set(b);
}

/* Gives the buffer back if somebody wants to know and it is here. */
static void guest_ask(struct balloon *b)
{
	struct balloon_stats_lane *s = &b->stats;

	if (!s->held || list_empty(&s->calls))
		return;
	vq_push(&stats_queue(b)->vq, &s->chain, 0);
	virtio_queue_flush(stats_queue(b));
	s->held = false;
	s->asked = true;
	virtio_queue_wake(stats_queue(b));
}

/* Tags are passed on as they are; a rest that is no whole entry means nothing. */
static void chain_parse(const struct vq_chain *chain, struct balloon_stats_call *call)
{
	uint8_t entry[STAT_BYTES];

	for (call->count = 0; call->count < BALLOON_STATS_MAX; call->count++) {
		struct balloon_stat_value *to = &call->values[call->count];

		if (chain_read(chain, (uint64_t)call->count * STAT_BYTES, entry, STAT_BYTES) <
			STAT_BYTES)
			break;
		memcpy(&to->tag, entry, sizeof(to->tag));
		memcpy(&to->value, entry + sizeof(to->tag), sizeof(to->value));
		to->tag = le16toh(to->tag);
		to->value = le64toh(to->value);
	}
}

/* §5.5.6.4 */
enum { STAT_FREE = 4, STAT_AVAILABLE = 6 };

/* The last of each tag, for the figures. */
static void stats_keep(struct balloon *b, const struct balloon_stats_call *call)
{
	struct balloon_stats_lane *s = &b->stats;

	s->free_bytes = s->available_bytes = BALLOON_STAT_NONE;
	s->came_ns = reactor_now_ns(b->dev.env->reactor);
	for (unsigned int i = 0; i < call->count; i++)
		if (call->values[i].tag == STAT_FREE)
			s->free_bytes = call->values[i].value;
		else if (call->values[i].tag == STAT_AVAILABLE)
			s->available_bytes = call->values[i].value;
}

enum virtio_serve balloon_stats_serve(struct balloon *b, struct virtio_queue *q)
{
	struct balloon_stats_lane *s = &b->stats;
	struct balloon_stats_call *call = call_first(b);

	if (s->held)
		return VIRTIO_SERVE_BLOCKED;
	s->chain = (struct vq_chain){.iov = s->iov, .iov_max = BALLOON_QUEUE_SIZE};
	if (!vq_pop(&q->vq, &s->chain))
		return VIRTIO_SERVE_IDLE;
	s->held = true;
	if (s->asked && call) {
		chain_parse(&s->chain, call);
		stats_keep(b, call);
		call_answer(call, STATUS_OK);
		deadline_set(b);
	}
	s->asked = false;
	guest_ask(b);
	return s->held ? VIRTIO_SERVE_BLOCKED : VIRTIO_SERVE_MORE;
}

void balloon_stats_lost(struct balloon *b)
{
	struct balloon_stats_call *call;

	b->stats.held = b->stats.asked = false;
	b->stats.free_bytes = b->stats.available_bytes = BALLOON_STAT_NONE;
	b->stats.came_ns = 0;
	while ((call = call_first(b)))
		call_answer(call, STATUS_INTERNAL);
	reactor_timer_stop(b->dev.env->reactor, &b->stats.timer);
}

void balloon_get_stats(struct balloon *b, struct balloon_stats_call *call)
{
	list_init(&call->link);
	call->count = 0;
	if (!virtio_has(&b->dev, BALLOON_F_STATS_VQ)) {
		call->done(call, STATUS_NOT_SUPPORTED);
		return;
	}
	if (!virtio_queue_live(stats_queue(b))) {
		call->done(call, STATUS_INTERNAL);
		return;
	}
	call->deadline_ns = reactor_now_ns(b->dev.env->reactor) + BALLOON_STATS_TIMEOUT_NS;
	list_add_tail(&b->stats.calls, &call->link);
	deadline_set(b);
	guest_ask(b);
}

void balloon_stats_init(struct balloon *b)
{
	list_init(&b->stats.calls);
	b->stats.free_bytes = b->stats.available_bytes = BALLOON_STAT_NONE;
	reactor_timer_init(&b->stats.timer, deadline_passed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio balloon (virtio 1.2 §5.5): pages that the guest does without go back to the host, in runs,
 * asynchronously; statistics; free page reporting. Conformance.md, "Balloon". Home reactor, but for
 * init and finish.
 *
 *   inflate    | PFN PFN PFN … | ──▶ runs of the memfd ──▶ discard.h ──▶ chain given back
 *   reporting  | free range …  | ──▶ ditto
 *   deflate    | PFN …         | ──▶ counted
 *   statistics | tag, value …  | ──▶ kept until somebody asks; giving it back asks the guest */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "core/controllers.h"
#include "core/device.h"
#include "virtio/device.h"
#include "virtio/discard.h"

#define BALLOON_F_MUST_TELL_HOST (1ULL << 0)
#define BALLOON_F_STATS_VQ       (1ULL << 1)
#define BALLOON_F_DEFLATE_ON_OOM (1ULL << 2)
#define BALLOON_F_PAGE_REPORTING (1ULL << 5)

#define BALLOON_CONFIG_BYTES 8u /* num_pages, actual */
#define BALLOON_PAGE         4096u
#define BALLOON_QUEUE_SIZE   128

/* §5.5.2. Drivers before Linux 6.11 number the queues without gaps, so that without
 * FREE_PAGE_HINT, which is not offered, the reporting queue is number 3, and without STATS_VQ it is
 * number 2; the specification has it as 4. All are served alike. */
enum balloon_queue {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_REPORTING_OLD,
	BALLOON_REPORTING,
	BALLOON_QUEUES,
};

#define BALLOON_STATS_TIMEOUT_NS 5000000000ULL

struct balloon;

/* A queue whose chains name memory to give back; one chain at a time. */
struct balloon_lane {
	struct balloon *balloon;
	struct virtio_queue *queue;
	struct iovec iov[BALLOON_QUEUE_SIZE];
	struct vq_chain chain;
	bool busy;         /* there is a chain */
	bool read;         /* all of it has been looked at; its runs may still be in flight */
	uint64_t at_bytes; /* PFNs: how far; reporting: buffers looked at */
	uint64_t run_start, run_end; /* found and not given back yet, in the memfd; equal: none */
	struct discard discard;
};

struct balloon_stats_lane {
	struct iovec iov[BALLOON_QUEUE_SIZE];
	struct vq_chain chain;
	bool held;         /* the guest's buffer is here */
	bool asked;        /* it was given back for somebody: fresh values are on their way */
	struct list calls; /* struct balloon_stats_call, oldest first */
	uint64_t free_bytes, available_bytes, came_ns; /* the last answer; figures */
	struct reactor_timer timer;
};

/* Embedded in its device. */
struct balloon {
	struct virtio_device dev;
	uint8_t config[BALLOON_CONFIG_BYTES];
	uint32_t pages_max;           /* of the guest's RAM */
	uint32_t baseline, reclaimed; /* asked for by clients, and besides by the reclaim policy */
	uint64_t requests;            /* of clients */
	struct balloon_lane lanes[BALLOON_QUEUES];
	struct balloon_stats_lane stats;
	uint64_t inflated, deflated, reported; /* figures: pages named by the guest; ranges */
	uint64_t reported_bytes;               /* in whole pages */
	uint64_t out_of_range;                 /* PFNs */
};

/* balloon_init: env as virtio_device_init; -ENOMEM. balloon_finish: reset, or never attached. Any
 * thread. */
int balloon_init(struct balloon *b, struct virtio_env *env, struct diag *d);
void balloon_finish(struct balloon *b);

/* As struct balloon_controller. */
void balloon_size(const struct balloon *b, uint32_t *current_pages, uint32_t *requested_pages);
void balloon_request(struct balloon *b, uint32_t pages);
void balloon_reclaim(struct balloon *b, uint32_t pages);
void balloon_get_stats(struct balloon *b, struct balloon_stats_call *call);
void balloon_figures(const struct balloon *b, struct balloon_figures *to);

/* --- private to balloon*.c --- */
void balloon_stats_init(struct balloon *b);
enum virtio_serve balloon_stats_serve(struct balloon *b, struct virtio_queue *q);
/* The guest's buffer is gone, and whoever waits is told so. */
void balloon_stats_lost(struct balloon *b);

extern const struct device_class balloon_device_class;

#endif

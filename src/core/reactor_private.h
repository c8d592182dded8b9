/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a reactor, for core/reactor*.c and core/io_op.c only: nobody else sees liburing. */
#ifndef CORE_REACTOR_PRIVATE_H
#define CORE_REACTOR_PRIVATE_H

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "core/check.h"
#include "core/reactor.h"
#include "core/timer_heap.h"

/* What kernels newer than liburing 2.3's header know, by number (include/uapi/linux/io_uring.h). */
#define RING_FEAT_NO_IOWAIT         (1u << 17) /* 6.15 */
#define RING_ENTER_NO_IOWAIT        (1u << 7)
#define RING_REGISTER_SEND_MSG_RING 31u /* 6.13: a message without a ring of one's own */
#define RING_MSG_DATA               0u  /* IORING_MSG_DATA */

#define REACTOR_BATCH 128 /* completions copied out at a time */
#define REACTOR_PEERS 64  /* other reactors that one wakes through its own ring */
#define JOBS_THREADS  4   /* helper threads of one reactor, at most */

/* Completions taken out of the CQ before their turn, so that it cannot overflow. Own thread. */
struct ring_backlog {
	struct io_uring_cqe *cqes;
	uint32_t head, count, room; /* the live ones are [head, head + count) */
};

/* The registered file table. Own thread. */
struct ring_files {
	uint64_t *used; /* a bit a slot */
	uint32_t slots, hint;
};

/* A wake that this reactor's ring sends to another reactor; `op` is heard of only if it failed. */
struct peer_wake {
	struct io_op op;
	struct reactor *target;
};

/* Written by every thread that posts, hence on a cache line of its own. */
struct inbox {
	_Alignas(64) _Atomic(struct reactor_msg *) head; /* newest first; see reactor_inbox.c */
	atomic_uint posting; /* threads inside reactor_post: the reactor is not freed before */
};

/* Helper threads. `lock` guards everything but `affinity`; the reactor holds it only to queue. */
struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t queued_cond;
	struct reactor_msg *head, *tail; /* of the jobs that no thread has taken */
	uint32_t queued, idle, threads;
	bool ending;
	pthread_t thread[JOBS_THREADS];
	cpu_set_t affinity; /* of the reactor's thread before it was pinned */
};

/* Own thread, but for: inbox, jobs, stats (relaxed), stop, and what is constant after creation. */
struct reactor {
	struct inbox inbox;
	struct io_uring ring;
	unsigned int enter_flags; /* in each io_uring_enter */
	unsigned int index;
	int core;
	enum reactor_wake wake; /* never BEST */
	bool msg_call;          /* the kernel knows RING_REGISTER_SEND_MSG_RING */
	int wake_fd;
	atomic_bool stop;
	atomic_bool running;
	bool ending;     /* the wake poll is not armed again */
	bool wake_armed; /* the poll of wake_fd is in the kernel */
	bool threaded;   /* reactors_start made `thread` for it */
	pthread_t thread;
	struct io_op wake_msg;  /* what a MSG_RING message completes */
	struct io_op wake_poll; /* multishot poll of wake_fd */
	struct io_op silent;    /* completions that nobody waits for: failed cancels */
	struct reactor_msg stop_msg;

	uint64_t now_ns;
	uint32_t in_flight;  /* ops of owners */
	uint32_t on_workers; /* of them, those that threads of the kernel carry out */
	uint32_t jobs_out;   /* jobs offloaded, `done` not yet run */
	struct list tasks, hooks, pollers;
	bool pollers_armed;
	uint64_t poll_max_ns, poll_window_ns;
	uint64_t poll_resume_ns;  /* the window stays 0 until then; 0: no pause */
	uint64_t poll_pause_ns;   /* how long the last pause was */
	uint32_t poll_hits_since; /* the last pause */
	struct timer_heap timers;
	struct ring_files files;
	struct ring_backlog backlog;
	struct jobs jobs;
	struct reactor_stats stats;
	uint32_t peer_count;
	struct peer_wake peers[REACTOR_PEERS];
	struct io_uring_cqe batch[REACTOR_BATCH];
};

/* Counters have one writer, so a relaxed store is enough for readers of other threads. */
#define STAT_SET(r, field, value) __atomic_store_n(&(r)->stats.field, (value), __ATOMIC_RELAXED)
#define STAT_ADD(r, field, value) STAT_SET(r, field, (r)->stats.field + (value))

/* reactor_setup.c: the ring, probed; errors as reactor_create's */
int ring_init(struct reactor *r, const struct reactor_params *p, struct diag *d);
void ring_finish(struct reactor *r);
/* ring_explain: the text for a failed io_uring_setup: `disabled` is the value of
 * kernel.io_uring_disabled, -1 if there is no such sysctl. Returns `err`. */
int ring_explain(struct diag *d, int err, int disabled);

/* reactor_ring.c: entries in, completions out */
/* ring_start, ring_end: on the reactor's thread, around all of its turns. */
void ring_start(struct reactor *r);
void ring_end(struct reactor *r);
/* ring_sqe: a zeroed entry; submits at once if the queue is full. Never NULL. */
struct io_uring_sqe *ring_sqe(struct reactor *r);
/* ring_flush: submits what is queued and takes what the kernel has, without waiting and without a
 * system call if there is nothing of either. ring_wait: the same, waits for a completion or
 * until timeout_ns have passed (TIMER_HEAP_NEVER: no limit). */
void ring_flush(struct reactor *r);
void ring_wait(struct reactor *r, uint64_t timeout_ns);
/* ring_ready: how many completions can be reaped. ring_has_events: completions, or kernel work that
 * ring_flush turns into completions; no system call. */
uint32_t ring_ready(const struct reactor *r);
bool ring_has_events(const struct reactor *r);
/* ring_reap: runs the `done` of each completion that is there now; returns how many. */
uint32_t ring_reap(struct reactor *r);

/* reactor_inbox.c */
void inbox_init(struct reactor *r);
/* inbox_start, inbox_end: arm and cancel the poll of wake_fd. */
void inbox_start(struct reactor *r);
void inbox_end(struct reactor *r);
bool inbox_empty(const struct reactor *r);
/* inbox_sleep: from now on posters send a wake; false if there are messages already. inbox_awake:
 * no longer. */
bool inbox_sleep(struct reactor *r);
void inbox_awake(struct reactor *r);
void inbox_drain(struct reactor *r);

/* reactor_jobs.c */
void jobs_init(struct reactor *r);
void jobs_finish(struct reactor *r); /* joins the threads; no job is out */

/* reactor_poll.c */
/* poll_wait: one step 1 of a turn: submits, then polls or sleeps until there is something to do. */
void poll_wait(struct reactor *r, bool work_queued);

/* reactor.c */
uint64_t reactor_clock_ns(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The reactor: one thread, one io_uring, no locks; all events of its guests arrive here.
 *
 * One turn: submit and wait (or poll, while something is hot) → copy the CQE batch and run each
 * `done` → messages from other threads → timers that are due → deferred tasks, round-robin, each
 * within its budget → hooks at the end of the turn → next.
 *
 * All functions are for the reactor's own thread unless they say otherwise; each checks it. */
#ifndef CORE_REACTOR_H
#define CORE_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/io_op.h"
#include "core/list.h"

struct reactor;

/* How other threads wake a reactor that sleeps. The first is for everybody, chosen by what was
 * measured (docs/PERFORMANCE.md); the others are for measuring. A kernel (< 6.13) that cannot send
 * a message without a ring has the eventfd in place of that call. */
enum reactor_wake {
	REACTOR_WAKE_BEST = 0, /* as REACTOR_WAKE_MSG_RING */
	REACTOR_WAKE_MSG_RING, /* reactors: an SQE within their turn; other threads: the eventfd */
	REACTOR_WAKE_MSG_CALL, /* everybody: the system call that sends a message without a ring */
	REACTOR_WAKE_EVENTFD,  /* everybody: a write to an eventfd that the reactor polls */
};

struct reactor_params {
	unsigned int index;      /* which of the daemon's reactors this is */
	int core;                /* pinned to this CPU when it runs; -1: not pinned */
	unsigned int sq_entries; /* power of two; 0: 256 */
	unsigned int cq_entries; /* power of two; 0: 8 × sq_entries */
	unsigned int file_slots; /* size of the registered file table; 0: 1024 */
	unsigned int poll_us;    /* upper bound of the adaptive busy poll; 0: never poll */
	enum reactor_wake wake;  /* how others wake this one; 0: the best there is */
};

/* reactor_create: makes the ring, disabled until reactor_run. Any thread.
 * Errors, each with the remedy in `d`: -ENOSYS/-EINVAL (kernel older than 6.1, a missing
 * operation), -EPERM/-EACCES (kernel.io_uring_disabled, a seccomp filter), -ENOMEM
 * (RLIMIT_MEMLOCK). */
struct reactor *reactor_create(const struct reactor_params *p, struct diag *d);

/* reactor_run: makes the calling thread the reactor's thread and turns until reactor_stop has been
 * called and nothing is in flight, queued or armed any more. */
void reactor_run(struct reactor *r);

/* reactor_stop: asks reactor_run to return. Any thread. Owners cancel their own operations first;
 * timers that are still armed are dropped. */
void reactor_stop(struct reactor *r);

/* reactor_destroy: frees a reactor that does not run. NULL is fine. Any thread. */
void reactor_destroy(struct reactor *r);

/* reactor_is_current: true on the thread that is in reactor_run(r). reactor_current: that reactor,
 * or NULL. Any thread. */
bool reactor_is_current(const struct reactor *r);
struct reactor *reactor_current(void);
unsigned int reactor_index(const struct reactor *r);

/* CLOCK_MONOTONIC, read once a turn. */
uint64_t reactor_now_ns(const struct reactor *r);

/* --- messages: how anything crosses threads
 * -------------------------------------------------------- */

/* Embedded in what it carries; owned by the receiver from reactor_post until `run`. */
struct reactor_msg {
	void (*run)(struct reactor_msg *msg); /* on the target's thread; may free the message */
	struct reactor_msg *next;
};

/* reactor_post: queues `msg` at `target`, first in first out for one sender; wakes the target only
 * if its inbox was empty. Any thread (a reactor, a vCPU, a helper); never blocks, never fails; is a
 * release of all that the sender wrote before. */
void reactor_post(struct reactor *target, struct reactor_msg *msg);

/* --- jobs: host calls that may block
 * --------------------------------------------------------------- */

struct reactor_job {
	void (*work)(struct reactor_job *job); /* on a helper thread */
	void (*done)(struct reactor_job *job); /* afterwards, on the reactor that offloaded it */
	struct reactor_msg msg;                /* private */
	struct reactor *home;                  /* private */
};

/* reactor_offload: runs job->work on a helper thread, then job->done here. Counts as in flight. */
void reactor_offload(struct reactor *r, struct reactor_job *job);

/* --- tasks: work with a budget
 * --------------------------------------------------------------------- */

struct reactor_task {
	bool (*run)(struct reactor_task
			*task); /* one budget's worth; true: there is more, queue again */
	struct list link;       /* private */
};

void reactor_task_init(struct reactor_task *t, bool (*run)(struct reactor_task *));
/* reactor_defer: queues the task for this turn (or the next, from inside a task); no-op if queued.
 */
void reactor_defer(struct reactor *r, struct reactor_task *t);
/* reactor_task_cancel: takes it out of the queue; safe if it is not queued. */
void reactor_task_cancel(struct reactor_task *t);

/* --- hooks at the end of a turn: publish what the turn gathered
 * --------------------------------------- */

/* reactor_at_turn_end: runs the task once, after the turn's completions, messages, timers and
 * tasks, before the submission; for used-ring publication and interrupts. Its return value is
 * ignored. */
void reactor_at_turn_end(struct reactor *r, struct reactor_task *t);

/* --- timers
 * ------------------------------------------------------------------------------------------ */

struct reactor_timer {
	void (*fire)(struct reactor_timer *timer);
	uint64_t deadline_ns; /* private */
	int32_t heap_index;   /* private; -1: not armed */
};

void reactor_timer_init(struct reactor_timer *t, void (*fire)(struct reactor_timer *));
/* reactor_timer_start: fires once, `delay_ns` from now; starting an armed timer moves it. O(log n).
 */
void reactor_timer_start(struct reactor *r, struct reactor_timer *t, uint64_t delay_ns);
void reactor_timer_stop(struct reactor *r, struct reactor_timer *t);
static inline bool reactor_timer_armed(const struct reactor_timer *t)
{
	return t->heap_index >= 0;
}

/* --- busy poll
 * --------------------------------------------------------------------------------------- */

/* A source that can be looked at without a system call (a virtqueue's avail index). While any
 * poller found something within the adaptive window (≤ poll_us), the reactor polls instead of
 * sleeping. The three functions neither add nor remove pollers; `arm` may come twice in a row. */
struct reactor_poller {
	bool (*poll)(struct reactor_poller *p); /* true: found work (and deferred a task for it) */
	void (*arm)(struct reactor_poller *p);  /* the reactor is about to sleep: notifications on;
						 * the source is polled once more after it */
	void (*disarm)(struct reactor_poller *p); /* the reactor polls: notifications off */
	struct list link;                         /* private */
};

void reactor_poller_add(struct reactor *r, struct reactor_poller *p);
void reactor_poller_remove(struct reactor *r, struct reactor_poller *p);

/* --- figures
 * ------------------------------------------------------------------------------------------ */

/* Written by the reactor's thread with relaxed stores, readable by any. */
struct reactor_stats {
	uint64_t turns, enters, sqes, cqes, messages, wakes, timers, tasks, polls, poll_hits,
		poll_pauses, overflows;
	uint32_t in_flight, batch_max;
};
void reactor_stats_read(const struct reactor *r, struct reactor_stats *to); /* any thread */

/* --- a set of reactors, one a core
 * ---------------------------------------------------------------------- */

/* reactors_start: creates `count` reactors and runs [1, count) on threads of their own, pinned to
 * their cores; the caller runs reactor 0 itself. reactors_stop: stops, joins and destroys all but
 * reactor 0, which has returned from reactor_run; then destroys it as well. */
int reactors_start(struct reactor **set, const struct reactor_params *params, unsigned int count,
	struct diag *d);
void reactors_stop(struct reactor **set, unsigned int count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* kick: a thread in place of a vCPU signals an eventfd, as KVM does for an ioeventfd; a thread on
 * another core sees it and says so in shared memory, where the first one spins. One time is one
 * kick, seen: which way of watching an eventfd is the cheapest.
 *
 * kick-idle leaves the watcher the time to fall asleep before each kick. kick-busy kicks again at
 * once: a watcher that still does something for the last kick then finds the next one without
 * having slept, so that the slower way may well look faster; its figures are for the rate. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"
#include "core/io_op.h"
#include "core/reactor.h"
#include "perf/bench.h"
#include "perf/bench_kick.h"
#include "perf/rings.h"
#include "perf/usage.h"

#define TOKEN 1
#define IDLE_NS                                                                                    \
	60000 /* three times what a sleeping thread's wake took on a slow virtual machine          \
	       */

struct kick {
	int efd;
	int cpu;               /* of the watcher */
	_Atomic uint64_t seen; /* kicks that the watcher has seen: at most one at a time is out */
	uint64_t idle_ns;      /* before each kick */
	uint64_t sent;         /* the kicker's */
	atomic_bool over;
	pthread_t thread;
	pthread_barrier_t started;
	struct io_uring ring; /* of the bare watchers */
	uint64_t counter;
	struct reactor *reactor; /* of the reactor's watcher, and what it needs */
	struct io_file file;
	struct io_op poll;
	struct reactor_msg begin, end;
};

/* A kick was seen; the last one, from teardown, ends the watcher. */
static bool kick_seen(struct kick *k)
{
	atomic_fetch_add_explicit(&k->seen, 1, memory_order_release);
	return !atomic_load(&k->over);
}

static void *read_main(void *arg)
{
	struct kick *k = arg;

	CHECK(bench_pin(k->cpu) == 0);
	pthread_barrier_wait(&k->started);
	do
		CHECK(read(k->efd, &k->counter, sizeof(k->counter)) == sizeof(k->counter));
	while (kick_seen(k));
	return NULL;
}

static void read_arm(struct kick *k)
{
	struct io_uring_sqe *sqe = rings_sqe(&k->ring);

	io_uring_prep_read(sqe, 0, &k->counter, sizeof(k->counter), 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = TOKEN;
}

static void poll_arm(struct kick *k)
{
	struct io_uring_sqe *sqe = rings_sqe(&k->ring);

	io_uring_prep_poll_multishot(sqe, 0, POLLIN);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = TOKEN;
}

static void ring_watch(struct kick *k, void (*arm)(struct kick *))
{
	bool ended;

	CHECK(bench_pin(k->cpu) == 0);
	rings_enable(&k->ring);
	CHECK(io_uring_register_files(&k->ring, &k->efd, 1) == 0);
	arm(k);
	CHECK(io_uring_submit(&k->ring) >= 0);
	pthread_barrier_wait(&k->started);
	for (;;) {
		while (!rings_wait(&k->ring, TOKEN, &ended))
			;
		if (!kick_seen(k))
			return;
		if (ended)
			arm(k); /* goes out with the next wait */
	}
}

static void *ring_read_main(void *arg)
{
	ring_watch(arg, read_arm);
	return NULL;
}

static void *ring_poll_main(void *arg)
{
	ring_watch(arg, poll_arm);
	return NULL;
}

/* --- the reactor --- */

static void reactor_poll_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct kick *k = container_of(op, struct kick, poll);

	if (res >= 0)
		kick_seen(k);
	if (cqe_flags & IO_MORE)
		return;
	if (!atomic_load(&k->over)) {
		io_poll(k->reactor, &k->poll, &k->file, POLLIN);
		return;
	}
	io_file_close(k->reactor, &k->file);
	reactor_stop(k->reactor);
}

static void reactor_begin(struct reactor_msg *msg)
{
	struct kick *k = container_of(msg, struct kick, begin);

	io_file_open(k->reactor, &k->file, k->efd);
	io_poll(k->reactor, &k->poll, &k->file, POLLIN);
	pthread_barrier_wait(&k->started);
}

static void reactor_end(struct reactor_msg *msg)
{
	struct kick *k = container_of(msg, struct kick, end);

	io_cancel(k->reactor, &k->poll);
}

static void *reactor_main(void *arg)
{
	struct kick *k = arg;

	k->poll.done = reactor_poll_done;
	k->begin.run = reactor_begin;
	k->end.run = reactor_end;
	reactor_post(k->reactor, &k->begin);
	reactor_run(k->reactor);
	return NULL;
}

/* --- one variant --- */

static int watcher_open(struct kick *k, void *(*watch)(void *), struct diag *d)
{
	struct reactor_params params = {.index = 0, .core = k->cpu};

	if (watch == read_main)
		return 0;
	if (watch != reactor_main)
		return rings_open(&k->ring, d);
	k->reactor = reactor_create(&params, d);
	return k->reactor ? 0 : -ENOTSUP;
}

static void kick_free(struct kick *k)
{
	reactor_destroy(k->reactor);
	if (k->ring.ring_fd > 0)
		io_uring_queue_exit(&k->ring);
	if (k->efd >= 0)
		close(k->efd);
	free(k);
}

/* The address of a function is no object's: the table's arg points to this. */
struct watcher {
	void *(*main)(void *);
	uint64_t idle_ns;
};

const struct watcher kick_read_idle = {read_main, IDLE_NS};

int kick_setup(
	const struct bench_variant *v, const struct bench_options *o, void **state, struct diag *d)
{
	const struct watcher *watcher = v->arg;
	struct kick *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	k->cpu = bench_cpu(o, 1);
	k->idle_ns = watcher->idle_ns;
	k->efd = eventfd(0, EFD_CLOEXEC);
	err = k->efd < 0 ? diag_errno(d, -errno, "eventfd") : watcher_open(k, watcher->main, d);
	if (!err) {
		pthread_barrier_init(&k->started, NULL, 2);
		err = -pthread_create(&k->thread, NULL, watcher->main, k);
	}
	if (err) {
		kick_free(k);
		return err;
	}
	pthread_barrier_wait(&k->started);
	*state = k;
	return 0;
}

static void kick_send(struct kick *k)
{
	const uint64_t one = 1;

	k->sent++;
	CHECK(write(k->efd, &one, sizeof(one)) == sizeof(one));
}

int kick_slice(void *state, struct bench_slice *s, struct diag *d)
{
	struct kick *k = state;
	uint64_t start, written, write_ns = 0, watched_ns = usage_thread_ns(k->thread);

	(void)d;
	do {
		start = bench_now(s);
		while (k->idle_ns && bench_now(s) - start < k->idle_ns)
			__builtin_ia32_pause();
		start = bench_now(s);
		kick_send(k);
		written = bench_now(s);
		write_ns += written - start;
		while (atomic_load_explicit(&k->seen, memory_order_acquire) != k->sent)
			__builtin_ia32_pause();
	} while (bench_record(s, start, bench_now(s)));
	watched_ns = usage_thread_ns(k->thread) - watched_ns;
	bench_set(s, "watcher's processor time", "us each",
		(double)watched_ns / 1e3 / (double)s->ops);
	bench_set(s, "kicker's write", "us each", (double)write_ns / 1e3 / (double)s->ops);
	return 0;
}

void kick_teardown(void *state)
{
	struct kick *k = state;

	atomic_store(&k->over, true);
	if (k->reactor)
		reactor_post(k->reactor, &k->end);
	else
		kick_send(k);
	pthread_join(k->thread, NULL);
	pthread_barrier_destroy(&k->started);
	if (k->reactor)
		k->efd = -1; /* the reactor's file owned and closed it */
	kick_free(k);
}

#define WATCH(watch_main, idle)                                                                    \
	.arg = &(const struct watcher){watch_main, idle}, .setup = kick_setup,                     \
	.slice = kick_slice, .teardown = kick_teardown

static const struct bench_variant idle_variants[] = {
	{.name = "blocking read", .role = BENCH_LIMIT, WATCH(read_main, IDLE_NS)},
	{.name = "re-armed read", WATCH(ring_read_main, IDLE_NS)},
	{.name = "multishot poll", WATCH(ring_poll_main, IDLE_NS)},
	{.name = "reactor's poll", WATCH(reactor_main, IDLE_NS)},
};

static const struct bench_variant busy_variants[] = {
	{.name = "blocking read", .role = BENCH_LIMIT, WATCH(read_main, 0)},
	{.name = "re-armed read", WATCH(ring_read_main, 0)},
	{.name = "multishot poll", WATCH(ring_poll_main, 0)},
	{.name = "reactor's poll", WATCH(reactor_main, 0)},
};

const struct bench bench_kick_idle = {
	.name = "kick-idle",
	.summary = "one write to an eventfd, until a sleeping thread on another core has seen it",
	.variant = idle_variants,
	.variants = ARRAY_SIZE(idle_variants),
};

const struct bench bench_kick_busy = {
	.name = "kick-busy",
	.summary = "writes to an eventfd, each as soon as the other core has seen the last",
	.variant = busy_variants,
	.variants = ARRAY_SIZE(busy_variants),
};

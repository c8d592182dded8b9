/* SPDX-License-Identifier: Apache-2.0 */
/* More at once than the queues hold, and the end with ops in flight. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"
#include "core/reactor.h"
#include "support/run_reactor.h"

#define OPS 5000u

struct burst {
	struct reactor *r;
	struct io_file f;
	struct item {
		struct io_op op;
		struct burst *all;
		uint64_t value;
	} items[OPS];
	unsigned int done, cancelled, again;
	bool cancels;
};

static void burst_over(struct burst *b)
{
	io_file_close(b->r, &b->f);
	reactor_stop(b->r);
}

static void write_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct item *item = container_of(op, struct item, op);
	struct burst *b = item->all;

	(void)cqe_flags;
	cr_assert_eq(res, sizeof(item->value));
	/* Completions that start ops as fast as they come. */
	if (b->again > 0) {
		b->again--;
		io_write(b->r, op, &b->f, &item->value, sizeof(item->value), -1ull);
	} else if (++b->done == OPS) {
		burst_over(b);
	}
}

static void start_writes(struct reactor *r, void *ctx)
{
	struct burst *b = ctx;

	b->r = r;
	io_file_open(r, &b->f, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	for (unsigned int i = 0; i < OPS; i++) {
		struct item *item = &b->items[i];

		*item = (struct item){.op.done = write_done, .all = b, .value = 1};
		io_write(r, &item->op, &b->f, &item->value, sizeof(item->value), -1ull);
	}
}

static void writes_test(unsigned int sq_entries, unsigned int cq_entries)
{
	struct reactor_params p = {.core = -1, .sq_entries = sq_entries, .cq_entries = cq_entries};
	struct burst *b = calloc(1, sizeof(*b));
	struct reactor_stats stats;

	b->again = 3 * OPS;
	run_reactor(&p, start_writes, b, &stats);
	cr_assert_eq(b->done, OPS);
	cr_assert_geq(stats.cqes, 4 * OPS);
	cr_assert_geq(stats.sqes, 4 * OPS);
	cr_assert_eq(stats.overflows, 0, "%u: %lu", sq_entries, (unsigned long)stats.overflows);
	cr_assert_eq(stats.in_flight, 0);
	free(b);
}

Test(reactor_load, a_burst_far_beyond_the_queues_loses_nothing)
{
	writes_test(0, 0);
	writes_test(8, 16);
	writes_test(1, 2);
}

static void read_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct burst *b = container_of(op, struct item, op)->all;

	cr_assert_eq(cqe_flags & IO_MORE, 0);
	if (res == -ECANCELED)
		b->cancelled++;
	else
		cr_assert_eq(res, sizeof(uint64_t));
	if (++b->done == OPS)
		io_file_close(b->r, &b->f);
}

static void start_reads(struct reactor *r, void *ctx)
{
	struct burst *b = ctx;
	struct reactor_stats stats;

	b->r = r;
	io_file_open(r, &b->f, eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE));
	for (unsigned int i = 0; i < OPS; i++) {
		struct item *item = &b->items[i];

		*item = (struct item){.op.done = read_done, .all = b};
		io_read(r, &item->op, &b->f, &item->value, sizeof(item->value), -1ull);
	}
	reactor_stop(r);
	if (!b->cancels) {
		cr_assert_eq(eventfd_write(b->f.fd, OPS), 0);
		return;
	}
	for (unsigned int i = 0; i < OPS; i++)
		io_cancel(r, &b->items[i].op);
	reactor_stats_read(r, &stats);
	cr_assert_geq(stats.sqes, OPS); /* the rest goes with the turn */
}

static void reads_test(bool cancels)
{
	struct reactor_params p = {.core = -1, .sq_entries = 64, .cq_entries = 128};
	struct burst *b = calloc(1, sizeof(*b));

	b->cancels = cancels;
	run_reactor(&p, start_reads, b, NULL);
	cr_assert_eq(b->done, OPS);
	cr_assert_eq(b->cancelled, cancels ? OPS : 0);
	free(b);
}

Test(reactor_load, stopping_waits_for_all_that_was_cancelled)
{
	reads_test(true);
}

/* All complete at one blow: more than the completion queue holds. */
Test(reactor_load, completions_beyond_the_queue_are_not_lost)
{
	reads_test(false);
}

Test(reactor_load, a_process_of_many_lives_leaks_no_descriptor)
{
	int before = dup(0), after;
	struct burst *b = calloc(1, sizeof(*b));

	close(before);
	for (unsigned int i = 0; i < 20; i++) {
		b->done = b->again = 0;
		run_reactor(NULL, start_writes, b, NULL);
	}
	after = dup(0);
	cr_assert_eq(before, after);
	free(b);
}

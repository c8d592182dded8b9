/* SPDX-License-Identifier: Apache-2.0 */
/* The exit mailbox between a thread that plays the vCPU and a real reactor. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "core/mailbox.h"
#include "support/run_reactor.h"

#define POSTS 20000

static struct {
	struct mailbox box;
	struct reactor *r;
	pthread_t vcpu;
	struct reactor_msg ended;
	void (*script)(void);

	/* The device: a counter that writes add to and reads show. */
	uint64_t sum, handled;
	bool out_of_order, nested;
	bool hold; /* leave the mailbox alone */

	/* Of the vCPU. */
	bool ok;
	uint64_t reply;
} t;

static void handle(void *ctx, struct mailbox_exit *e)
{
	(void)ctx;
	t.handled++;
	if (e->is_write) {
		if (e->data != t.sum + 1)
			t.out_of_order = true;
		t.sum = e->data;
		if (t.nested)
			mailbox_drain(&t.box); /* what a device that drains would do */
	} else {
		e->data = t.sum;
	}
}

static void vcpu_ended(struct reactor_msg *msg)
{
	(void)msg;
	pthread_join(t.vcpu, NULL);
	mailbox_drain(&t.box);
	reactor_stop(t.r);
}

static void *vcpu_thread(void *arg)
{
	(void)arg;
	t.script();
	t.ended.run = vcpu_ended;
	reactor_post(t.r, &t.ended);
	return NULL;
}

static void start(struct reactor *r, void *ctx)
{
	t.r = r;
	t.script = ctx;
	mailbox_init(&t.box, r, handle, NULL);
	cr_assert_eq(pthread_create(&t.vcpu, NULL, vcpu_thread, NULL), 0);
}

static bool post(uint64_t value)
{
	return mailbox_post(
		&t.box, &(struct mailbox_exit){.is_write = true, .size_bytes = 8, .data = value});
}

static bool ask(void)
{
	return mailbox_ask(&t.box, &(struct mailbox_exit){.size_bytes = 8}, &t.reply);
}

static void post_many(void)
{
	t.ok = true;
	for (uint64_t i = 1; i <= POSTS; i++)
		t.ok &= post(i);
}

Test(mailbox, posted_writes_arrive_in_order_though_the_ring_is_small)
{
	run_reactor(NULL, start, post_many, NULL);
	cr_assert(t.ok);
	cr_assert_eq(t.handled, POSTS);
	cr_assert_not(t.out_of_order);
}

static void read_after_writes(void)
{
	t.ok = true;
	for (uint64_t i = 1; i <= 2000; i++) {
		for (unsigned int k = 0; k < i % 5; k++)
			t.ok &= post(t.reply + 1 + k);
		t.ok &= ask();
	}
}

Test(mailbox, a_read_sees_each_earlier_write)
{
	run_reactor(NULL, start, read_after_writes, NULL);
	cr_assert(t.ok);
	cr_assert_not(t.out_of_order);
	cr_assert_eq(t.reply, t.sum);
	cr_assert_eq(t.sum, 4000, "0 + 1 + 2 + 3 + 4 writes a round");
}

static void write_that_waits(void)
{
	struct mailbox_exit e = {.is_write = true, .size_bytes = 8, .data = 1};

	t.ok = mailbox_ask(&t.box, &e, &t.reply);
	/* Ordered by the answer: no other synchronisation. */
	t.ok &= t.sum == 1;
}

Test(mailbox, a_write_can_wait)
{
	run_reactor(NULL, start, write_that_waits, NULL);
	cr_assert(t.ok);
}

Test(mailbox, a_drain_inside_a_handler_does_nothing)
{
	t.nested = true;
	run_reactor(NULL, start, post_many, NULL);
	cr_assert_eq(t.handled, POSTS);
	cr_assert_not(t.out_of_order);
}

static void abort_first(struct reactor *r, void *ctx)
{
	start(r, ctx);
	mailbox_abort(&t.box);
}

static void post_until_aborted(void)
{
	while (post(1))
		;
	t.ok = !ask() && !post(1);
}

Test(mailbox, abort_lets_the_vcpu_go)
{
	run_reactor(NULL, abort_first, post_until_aborted, NULL);
	cr_assert(t.ok);
}

/* The reactor's own thread waits here until the vCPU sleeps on a full ring, and then aborts. */
static void abort_sleeper(struct reactor *r, void *ctx)
{
	start(r, ctx);
	while (!__atomic_load_n(&t.box.sleeping, __ATOMIC_SEQ_CST))
		;
	cr_assert_eq(t.handled, 0);
	mailbox_abort(&t.box);
}

Test(mailbox, abort_wakes_a_vcpu_that_sleeps_on_a_full_ring)
{
	run_reactor(NULL, abort_sleeper, post_until_aborted, NULL);
	cr_assert(t.ok);
	cr_assert_eq(t.box.full, 1);
	/* One more if the reactor has made room before the vCPU saw the abort. */
	cr_assert_geq(t.handled, MAILBOX_ENTRIES, "what was posted before is not lost");
	cr_assert_leq(t.handled, MAILBOX_ENTRIES + 1);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A single-producer ring with a futex for the sleeper and one reusable message for the wake-up. */
#include "core/mailbox.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "trace/probe.h"

/* Sleeping and being woken costs a few microseconds more than the answer itself. A wait that took
 * less than the maximum would have been caught by looking longer, so the window grows; another
 * makes it shrink. */
#define WINDOW_FIRST_NS 4000
#define WINDOW_MAX_NS   32000

static void mailbox_wake(struct reactor_msg *msg)
{
	struct mailbox *b = container_of(msg, struct mailbox, wake);

	/* Cleared before the look: an exit posted after it posts the message anew. */
	__atomic_store_n(&b->posted, 0, __ATOMIC_SEQ_CST);
	mailbox_drain(b);
}

void mailbox_init(struct mailbox *b, struct reactor *home,
	void (*handle)(void *, struct mailbox_exit *), void *ctx)
{
	memset(b, 0, sizeof(*b));
	b->home = home;
	b->handle = handle;
	b->ctx = ctx;
	b->wake.run = mailbox_wake;
	b->window_ns = WINDOW_FIRST_NS;
	b->home_cpu = -1;
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static void futex_wait(uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A count of the reactor's has reached what this thread waits for. */
static bool count_reached(const uint32_t *word, uint32_t target)
{
	return (int32_t)(__atomic_load_n(word, __ATOMIC_SEQ_CST) - target) >= 0;
}

static bool mailbox_look(
	struct mailbox *b, const uint32_t *word, uint32_t target, uint64_t start_ns)
{
	/* On the reactor's own CPU looking would only keep it from answering. */
	if (!b->window_ns || sched_getcpu() == __atomic_load_n(&b->home_cpu, __ATOMIC_RELAXED))
		return false;
	do {
		for (unsigned int i = 0; i < 32; i++) {
			if (count_reached(word, target))
				return true;
			cpu_relax();
		}
	} while (clock_ns() - start_ns < b->window_ns);
	return false;
}

static bool mailbox_sleep(struct mailbox *b, const uint32_t *word, uint32_t target)
{
	bool reached;

	for (;;) {
		uint32_t bell = __atomic_load_n(&b->bell, __ATOMIC_SEQ_CST);

		/* Store-load against the reactor's count-then-look: one of the two sees the other.
		 */
		__atomic_store_n(&b->sleeping, 1, __ATOMIC_SEQ_CST);
		reached = count_reached(word, target);
		if (reached || __atomic_load_n(&b->aborted, __ATOMIC_SEQ_CST))
			break;
		futex_wait(&b->bell, bell);
	}
	__atomic_store_n(&b->sleeping, 0, __ATOMIC_RELAXED);
	return reached;
}

/* Waits until *word has reached `target`, a count of the reactor's. False if aborted. */
static bool mailbox_wait(struct mailbox *b, const uint32_t *word, uint32_t target)
{
	uint64_t start_ns = clock_ns();
	bool reached;

	if (mailbox_look(b, word, target, start_ns))
		return true;
	reached = mailbox_sleep(b, word, target);
	if (clock_ns() - start_ns > WINDOW_MAX_NS)
		b->window_ns /= 2;
	else if (b->window_ns < WINDOW_MAX_NS / 2)
		b->window_ns = b->window_ns ? b->window_ns * 2 : WINDOW_FIRST_NS;
	return reached;
}

static void mailbox_ring_bell(struct mailbox *b)
{
	__atomic_fetch_add(&b->bell, 1, __ATOMIC_SEQ_CST);
	futex_wake(&b->bell);
}

static bool mailbox_put(struct mailbox *b, const struct mailbox_exit *e)
{
	uint32_t head = b->head;

	if (__atomic_load_n(&b->aborted, __ATOMIC_RELAXED))
		return false;
	if (head - __atomic_load_n(&b->tail, __ATOMIC_ACQUIRE) == MAILBOX_ENTRIES) {
		b->full++;
		/* Half empty is worth waking for; one free slot would mean a sleep an exit. */
		if (!mailbox_wait(b, &b->tail, head - MAILBOX_ENTRIES / 2))
			return false;
	}
	b->ring[head % MAILBOX_ENTRIES] = *e;
	/* The exit before the count that shows it. Sequentially consistent, with the exchange
	 * below, against the reactor's clear-then-look in mailbox_wake. */
	__atomic_store_n(&b->head, head + 1, __ATOMIC_SEQ_CST);
	if (!__atomic_exchange_n(&b->posted, 1, __ATOMIC_SEQ_CST))
		reactor_post(b->home, &b->wake);
	PROBE(mailbox_post, probe_string(b->guest), b->vcpu, e->addr, e->size_bytes, e->is_write,
		e->waits, head + 1 - __atomic_load_n(&b->tail, __ATOMIC_RELAXED));
	return true;
}

bool mailbox_post(struct mailbox *b, const struct mailbox_exit *e)
{
	return mailbox_put(b, e);
}

bool mailbox_ask(struct mailbox *b, const struct mailbox_exit *e, uint64_t *reply)
{
	struct mailbox_exit waiting = *e;

	waiting.waits = true;
	if (!mailbox_put(b, &waiting))
		return false;
	b->asked++;
	if (!mailbox_wait(b, &b->answered, b->asked))
		return false;
	*reply = b->reply;
	return true;
}

void mailbox_drain(struct mailbox *b)
{
	uint32_t first = b->tail, tail = first, head;

	CHECK(reactor_is_current(b->home));
	if (b->draining)
		return;
	b->draining = true;
	__atomic_store_n(&b->home_cpu, sched_getcpu(), __ATOMIC_RELAXED);
	/* Bounded to what is here now: a vCPU that posts without end cannot hold the reactor, since
	 * its next exit brings a message of its own. */
	for (head = __atomic_load_n(&b->head, __ATOMIC_SEQ_CST); tail != head;) {
		struct mailbox_exit e = b->ring[tail % MAILBOX_ENTRIES];

		__atomic_store_n(&b->tail, ++tail, __ATOMIC_SEQ_CST);
		b->handle(b->ctx, &e);
		if (e.waits) {
			b->reply = e.data;
			__atomic_store_n(&b->answered, b->answered + 1, __ATOMIC_SEQ_CST);
		}
		if (__atomic_load_n(&b->sleeping, __ATOMIC_SEQ_CST) &&
			(e.waits || __atomic_load_n(&b->head, __ATOMIC_RELAXED) - tail ==
					    MAILBOX_ENTRIES / 2))
			mailbox_ring_bell(b);
	}
	b->draining = false;
	PROBE(mailbox_drain, probe_string(b->guest), b->vcpu, tail - first);
}

void mailbox_abort(struct mailbox *b)
{
	__atomic_store_n(&b->aborted, 1, __ATOMIC_SEQ_CST);
	mailbox_ring_bell(b);
}

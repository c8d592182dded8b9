/* SPDX-License-Identifier: Apache-2.0 */
/* A single-producer ring with a futex for the sleeper and one reusable message for the wake-up. */
#include "core/mailbox.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"

/* The vCPU looks this often for an answer before it sleeps; it adapts between the two. Where vCPU
 * and reactor share a core no look succeeds, and the bound decays to the minimum. */
#define SPINS_MIN 16
#define SPINS_MAX 4096

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
	b->spins = SPINS_MIN;
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

/* Waits until *word has reached `target`, a count of the reactor's. False if aborted. */
static bool mailbox_wait(struct mailbox *b, const uint32_t *word, uint32_t target)
{
	for (uint32_t i = 0; i < b->spins; i++) {
		if ((int32_t)(__atomic_load_n(word, __ATOMIC_ACQUIRE) - target) >= 0) {
			if (b->spins < SPINS_MAX)
				b->spins *= 2;
			return true;
		}
		cpu_relax();
	}
	if (b->spins > SPINS_MIN)
		b->spins /= 2;
	for (;;) {
		uint32_t bell = __atomic_load_n(&b->bell, __ATOMIC_SEQ_CST);

		/* Store-load against the reactor's count-then-look: one of the two sees the other.
		 */
		__atomic_store_n(&b->sleeping, 1, __ATOMIC_SEQ_CST);
		if ((int32_t)(__atomic_load_n(word, __ATOMIC_SEQ_CST) - target) >= 0)
			break;
		if (__atomic_load_n(&b->aborted, __ATOMIC_SEQ_CST)) {
			__atomic_store_n(&b->sleeping, 0, __ATOMIC_RELAXED);
			return false;
		}
		futex_wait(&b->bell, bell);
	}
	__atomic_store_n(&b->sleeping, 0, __ATOMIC_RELAXED);
	return true;
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
	uint32_t tail = b->tail, head;

	CHECK(reactor_is_current(b->home));
	if (b->draining)
		return;
	b->draining = true;
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
}

void mailbox_abort(struct mailbox *b)
{
	__atomic_store_n(&b->aborted, 1, __ATOMIC_SEQ_CST);
	mailbox_ring_bell(b);
}

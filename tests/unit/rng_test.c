/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: whole chains, at no more than its rate, whatever the guest does. */
#include "virtio/rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "support/device_rig.h"
#include "support/fake_io.h"

#define B(i) (DEVICE_RIG_BUFFERS + (uint64_t)(i)*0x10000)

static struct reactor *reactor;
static struct device_rig rig;
static struct rng rng;

static void setup(void)
{
	struct diag d;

	reactor = fake_io_create(1);
	device_rig_init(&rig, reactor);
	cr_assert_eq(rng_init(&rng, &rig.env, &d), 0);
	device_rig_attach(&rig, &rng.dev);
}

static void teardown(void)
{
	virtio_device_reset(&rng.dev);
	fake_io_run(reactor);
	cr_assert_not(reactor_timer_armed(&rng.timer));
	rng_finish(&rng);
	fake_io_destroy(reactor);
	device_rig_finish(&rig);
}

TestSuite(rng, .init = setup, .fini = teardown, .timeout = 60);

/* Some bytes in a page are 0 by chance; that 64 in a row are is not. */
static bool is_filled(uint64_t gpa, uint64_t len_bytes)
{
	static const uint8_t zero[64];
	const uint8_t *mem = device_rig_mem(&rig, gpa, len_bytes);

	for (uint64_t i = 0; i + 64 <= len_bytes; i += 64)
		if (!memcmp(mem + i, zero, 64))
			return false;
	return true;
}

Test(rng, fills_whole_chains)
{
	const struct fake_buf bufs[] = {
		{B(0), 16, false}, {B(1), 64, true}, {B(2), 40000, true}, {B(3), 128, true}};
	struct fake_used used;

	cr_assert(device_rig_start(&rig, VIRTIO_F_INDIRECT_DESC, 16));
	cr_assert_geq(fake_offer(&rig.queues[0], bufs, 4, true), 0);
	device_rig_show(&rig, 0);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 64 + 40000 + 128);
	cr_assert(is_filled(B(1), 64));
	cr_assert(is_filled(B(2), 40000));
	cr_assert(is_filled(B(3), 128));
	cr_assert_eq(*device_rig_mem(&rig, B(1) + 64, 1), 0, "and not a byte more");
}

Test(rng, gives_back_chains_that_have_nothing_to_fill)
{
	struct fake_used used;

	cr_assert(device_rig_start(&rig, 0, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), 16, false));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 0);
}

/* Keeps the queue full of requests of `len_bytes` for so many seconds; returns the bytes given. */
static uint64_t greedy(uint32_t len_bytes, unsigned int seconds)
{
	uint64_t before = rng.bytes;

	for (unsigned int ms = 0; ms < seconds * 1000; ms++) {
		struct fake_used used;

		while (fake_take(&rig.queues[0], &used))
			;
		while (device_rig_offer(&rig, 0, B(0), len_bytes, true))
			;
		fake_io_advance_ns(reactor, 1000000);
	}
	return rng.bytes - before;
}

Test(rng, sustained_rate_is_limited_after_a_burst)
{
	uint64_t bytes;

	cr_assert(device_rig_start(&rig, 0, 16));
	bytes = greedy(4096, 3);
	cr_assert_leq(bytes, 3 * RNG_BYTES_PER_S + RNG_BURST_BYTES);
	cr_assert_geq(bytes, 3 * RNG_BYTES_PER_S * 9 / 10);
}

Test(rng, small_requests_cost_more_than_their_bytes)
{
	uint64_t bytes;

	cr_assert(device_rig_start(&rig, 0, 16));
	bytes = greedy(1, 2);
	cr_assert_leq(bytes, (2 * RNG_BYTES_PER_S + RNG_BURST_BYTES) / RNG_CHAIN_COST + 16);
	cr_assert_gt(bytes, 0);
}

Test(rng, a_huge_chain_is_filled_bit_by_bit)
{
	const uint32_t len = 8u << 20;
	struct fake_used used;
	unsigned int ms = 0;

	cr_assert(device_rig_start(&rig, 0, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), len, true));
	for (; !fake_take(&rig.queues[0], &used) && ms < 20000; ms += 10)
		fake_io_advance_ns(reactor, 10000000);
	cr_assert_eq(used.len_bytes, len);
	cr_assert_geq(ms, 7000);
	cr_assert_leq(ms, 9000);
	cr_assert(is_filled(B(0), len));
}

Test(rng, reset_with_a_half_filled_chain_starts_afresh_but_not_the_bucket)
{
	struct fake_used used;

	cr_assert(device_rig_start(&rig, VIRTIO_F_RING_RESET, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), 1u << 20, true));
	fake_io_run(reactor);
	cr_assert(rng.filling && reactor_timer_armed(&rng.timer));
	virtio_queue_reset(&rng.dev.queues[0]);
	device_rig_queue_on(&rig, 0, 16);
	virtio_device_reset(&rng.dev);
	cr_assert(device_rig_start(&rig, VIRTIO_F_RING_PACKED, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), 32768, true));
	fake_io_run(reactor);
	cr_assert_not(fake_take(&rig.queues[0], &used), "the bucket is still empty");
	fake_io_advance_ns(reactor, 100000000);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 32768);
}

static unsigned int failures;

static ssize_t random_unseeded(void *buf, size_t len_bytes, unsigned int flags)
{
	cr_assert(flags & GRND_NONBLOCK, "it must never block");
	if (failures) {
		failures--;
		errno = EAGAIN;
		return -1;
	}
	return getrandom(buf, len_bytes > 7 ? 7 : len_bytes, flags);
}

Test(rng, waits_for_a_generator_that_is_not_ready_and_takes_what_it_gives)
{
	struct fake_used used;

	failures = 3;
	rng.random = random_unseeded;
	cr_assert(device_rig_start(&rig, 0, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), 1000, true));
	fake_io_run(reactor);
	cr_assert_not(fake_take(&rig.queues[0], &used));
	fake_io_advance_ns(reactor, 100000000);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 1000);
	cr_assert(is_filled(B(0), 960));
}

Test(rng, a_broken_queue_is_served_again_after_a_reset)
{
	struct fake_used used;

	cr_assert(device_rig_start(&rig, 0, 16));
	fake_avail_put(&rig.queues[0], 500);
	virtio_queue_kick(&rng.dev.queues[0]);
	fake_io_run(reactor);
	cr_assert_eq(rng.dev.fault, VQ_FAULT_AVAIL_INDEX);
	virtio_device_reset(&rng.dev);
	cr_assert(device_rig_start(&rig, 0, 16));
	cr_assert(device_rig_offer(&rig, 0, B(0), 64, true));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 64);
}

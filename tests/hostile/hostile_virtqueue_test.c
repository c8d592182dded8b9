/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that attacks the queue: each broken rule breaks the queue by its name, once, touches
 * nothing else, and after a reset the queue works again. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/check.h"
#include "support/queue_rig.h"
#include "virtio/virtqueue.h"

#define BUF   RIG_BUFFERS
#define TABLE (RIG_BUFFERS + 0x8000)
#define NEXT  FAKE_F_NEXT
#define WR    FAKE_F_WRITE
#define IND   FAKE_F_INDIRECT

static struct queue_rig rig;

static const struct fake_params split = {.size = 16};
static const struct fake_params split_indirect = {.size = 16, .indirect = true};
static const struct fake_params packed = {.packed = true, .size = 16};
static const struct fake_params packed_indirect = {.packed = true, .size = 16, .indirect = true};

static void desc(unsigned int i, uint64_t addr, uint32_t len_bytes, uint16_t flags, uint16_t next)
{
	fake_desc_put(&rig.driver, rig.driver.desc, i, addr, len_bytes, flags, next);
}

static void table(unsigned int i, uint64_t addr, uint32_t len_bytes, uint16_t flags, uint16_t next)
{
	fake_desc_put(
		&rig.driver, queue_rig_mem(&rig, TABLE, 4096), i, addr, len_bytes, flags, next);
}

static void expect_fault(enum vq_fault fault)
{
	struct vq_chain chain = rig.chain;

	cr_assert(!vq_pop(&rig.vq, &chain));
	cr_assert_eq(rig.vq.fault, fault, "%s, not %s", vq_fault_name(rig.vq.fault),
		vq_fault_name(fault));
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(!vq_has_work(&rig.vq));
		cr_assert(!vq_pop(&rig.vq, &chain));
		cr_assert(!vq_publish(&rig.vq));
		cr_assert(!vq_notify_on(&rig.vq));
		vq_notify_off(&rig.vq);
	}
	cr_assert_eq(rig.faults, 1, "told once");
	queue_rig_restart(&rig);
	cr_assert(queue_rig_exchange(&rig), "the queue works again");
	queue_rig_restart(&rig);
}

/* The chain at slot 0 is offered and must be refused for `fault`. */
static void expect_head_fault(enum vq_fault fault)
{
	fake_head_put(&rig.driver, 0);
	expect_fault(fault);
}

static void with(const struct fake_params *p, void (*body)(void))
{
	queue_rig_init(&rig, p);
	body();
	queue_rig_finish(&rig);
}

/* --- indices --- */

static void index_jumps(void)
{
	static const uint16_t jumps[] = {17, 18, 0x7fff, 0x8000, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(jumps); i++) {
		fake_avail_put(&rig.driver, jumps[i]);
		expect_fault(VQ_FAULT_AVAIL_INDEX);
	}
	/* Backwards is a jump too. */
	cr_assert(queue_rig_exchange(&rig));
	fake_avail_put(&rig.driver, 0);
	expect_fault(VQ_FAULT_AVAIL_INDEX);
	/* All of the ring at once is not; here it offers head 0 sixteen times. */
	desc(0, BUF, 1, 0, 0);
	fake_avail_put(&rig.driver, 16);
	cr_assert(vq_pop(&rig.vq, &rig.chain));
	expect_fault(VQ_FAULT_HEAD_IN_FLIGHT);
}

static void index_jumps_at_the_wrap(void)
{
	for (unsigned int i = 0; i < 65530; i++)
		cr_assert(queue_rig_exchange(&rig));
	fake_avail_put(&rig.driver, (uint16_t)(65530 + 17));
	expect_fault(VQ_FAULT_AVAIL_INDEX);
}

Test(hostile_virtqueue, avail_index_jumps)
{
	with(&split, index_jumps);
	with(&split, index_jumps_at_the_wrap);
}

static void heads_out_of_range(void)
{
	static const uint16_t heads[] = {16, 17, 0x8000, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(heads); i++) {
		if (rig.driver.p.packed) {
			desc(0, BUF, 1, 0, heads[i]);
			fake_head_put(&rig.driver, 0);
		} else {
			fake_head_put(&rig.driver, heads[i]);
		}
		expect_fault(VQ_FAULT_HEAD_RANGE);
	}
}

static void next_out_of_range(void)
{
	static const uint16_t nexts[] = {16, 0x7fff, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(nexts); i++) {
		desc(0, BUF, 1, NEXT, nexts[i]);
		expect_head_fault(VQ_FAULT_NEXT_RANGE);
	}
}

Test(hostile_virtqueue, head_or_next_out_of_range)
{
	with(&split, heads_out_of_range);
	with(&packed, heads_out_of_range);
	with(&split, next_out_of_range);
}

static void head_in_flight(void)
{
	struct iovec iov[2][1];
	struct vq_chain first = {.iov = iov[0], .iov_max = 1};

	desc(0, BUF, 1, WR, 0);
	fake_head_put(&rig.driver, 0);
	cr_assert(vq_pop(&rig.vq, &first));
	if (rig.driver.p.packed) {
		desc(1, BUF, 1, WR, 0); /* another slot, the same buffer id */
		fake_head_put(&rig.driver, 1);
	} else {
		fake_head_put(&rig.driver, 0);
	}
	cr_assert(!vq_pop(&rig.vq, &rig.chain));
	cr_assert_eq(rig.vq.fault, VQ_FAULT_HEAD_IN_FLIGHT);
	/* Its end comes after the queue broke, and goes nowhere. */
	vq_push(&rig.vq, &first, 1);
	cr_assert(!vq_publish(&rig.vq));
	cr_assert_eq(rig.vq.in_flight, 0);
	queue_rig_restart(&rig);
	cr_assert(queue_rig_exchange(&rig));
}

Test(hostile_virtqueue, head_offered_again_while_in_flight)
{
	with(&split, head_in_flight);
	with(&packed, head_in_flight);
}

/* --- chains --- */

static void split_loops(void)
{
	desc(0, BUF, 1, NEXT, 0);
	expect_head_fault(VQ_FAULT_CHAIN_LENGTH);
	for (unsigned int i = 0; i < 16; i++)
		desc(i, BUF, 1, NEXT, (uint16_t)((i + 1) % 16));
	expect_head_fault(VQ_FAULT_CHAIN_LENGTH);
	desc(0, BUF, 1, NEXT, 5);
	desc(5, BUF, 1, NEXT, 9);
	desc(9, BUF, 1, NEXT, 5);
	expect_head_fault(VQ_FAULT_CHAIN_LENGTH);
}

static void packed_without_end(void)
{
	for (unsigned int i = 0; i < 16; i++)
		desc(i, BUF, 1, NEXT, 0);
	expect_head_fault(VQ_FAULT_CHAIN_LENGTH);
}

static void packed_over_what_is_in_flight(void)
{
	static struct iovec iov[10];
	struct vq_chain first = {.iov = iov, .iov_max = 10};

	for (unsigned int i = 0; i < 16; i++)
		desc(i, BUF, 1, i == 9 ? 0 : NEXT, i > 9);
	fake_head_put(&rig.driver, 0);
	cr_assert(vq_pop(&rig.vq, &first));
	cr_assert_eq(first.descs, 10);
	/* Six slots are left: a chain of six is good, one of seven reaches into the first one's. */
	desc(15, BUF, 1, 0, 2);
	fake_head_put(&rig.driver, 10);
	cr_assert(vq_pop(&rig.vq, &rig.chain));
	vq_unpop(&rig.vq, &rig.chain);
	desc(15, BUF, 1, NEXT, 0);
	desc(0, BUF, 1, 0, 2);
	expect_fault(VQ_FAULT_CHAIN_LENGTH);
}

static void indirect_loop(void)
{
	desc(0, TABLE, 32, IND, 0);
	table(0, BUF, 1, NEXT, 1);
	table(1, BUF, 1, NEXT, 0);
	expect_head_fault(VQ_FAULT_CHAIN_LENGTH);
	desc(0, TABLE, 32, IND, 0);
	table(1, BUF, 1, NEXT, 2);
	expect_head_fault(VQ_FAULT_NEXT_RANGE);
}

Test(hostile_virtqueue, chain_loops_and_chains_longer_than_the_queue)
{
	with(&split, split_loops);
	with(&packed, packed_without_end);
	with(&packed, packed_over_what_is_in_flight);
	with(&split_indirect, indirect_loop);
}

static void more_buffers_than_the_device_takes(void)
{
	desc(0, TABLE, 16 * 65, IND, 0);
	for (unsigned int i = 0; i < 65; i++)
		table(i, BUF, 1, rig.driver.p.packed || i == 64 ? 0 : NEXT, (uint16_t)(i + 1));
	expect_head_fault(VQ_FAULT_CHAIN_SEGMENTS);
	desc(0, 0, (uint32_t)(RIG_RAM - 16), IND, 0);
	memset(queue_rig_mem(&rig, 0, 4096), 0xff, 4096);
	fake_head_put(&rig.driver, 0);
	cr_assert(!vq_pop(&rig.vq, &rig.chain));
	cr_assert(rig.vq.fault);
}

Test(hostile_virtqueue, more_buffers_than_the_device_takes)
{
	with(&split_indirect, more_buffers_than_the_device_takes);
	with(&packed_indirect, more_buffers_than_the_device_takes);
}

static void directions(void)
{
	desc(0, BUF, 1, WR | NEXT, 1);
	desc(1, BUF, 1, 0, 0);
	expect_head_fault(VQ_FAULT_DIRECTION);
}

static void directions_in_a_table(void)
{
	desc(0, TABLE, 32, IND, 0);
	table(0, BUF, 1, rig.driver.p.packed ? WR : WR | NEXT, 1);
	table(1, BUF, 1, 0, 0);
	expect_head_fault(VQ_FAULT_DIRECTION);
}

Test(hostile_virtqueue, readable_after_writable)
{
	with(&split, directions);
	with(&packed, directions);
	with(&split_indirect, directions_in_a_table);
	with(&packed_indirect, directions_in_a_table);
}

/* --- addresses --- */

static void addresses(void)
{
	static const struct {
		uint64_t addr;
		uint32_t len_bytes;
	} bad[] = {
		{RIG_RAM, 1},
		{RIG_RAM - 1, 2},
		{RIG_RAM - 4096, 0xffffffff},
		{UINT64_MAX, 1},
		{UINT64_MAX, 2},
		{UINT64_MAX - 4095, 4096},
		{UINT64_MAX - 0xfffff, 0xffffffff},
		{0xc0000000, 4},  /* a BAR */
		{0xe0000000, 4},  /* ECAM */
		{0xfee00000, 4},  /* the local APIC */
		{0x100000000, 4}, /* above 4 GiB, where this guest has nothing */
		{1ULL << 63, 1},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		desc(0, bad[i].addr, bad[i].len_bytes, i % 2 ? WR : 0, 0);
		expect_head_fault(VQ_FAULT_ADDRESS);
		desc(0, BUF, 1, NEXT, 1);
		desc(1, bad[i].addr, bad[i].len_bytes, WR, 0);
		expect_head_fault(VQ_FAULT_ADDRESS);
	}
}

static void empty_buffers(void)
{
	desc(0, BUF, 0, 0, 0);
	expect_head_fault(VQ_FAULT_ZERO_LENGTH);
	desc(0, BUF, 1, NEXT, 1);
	desc(1, BUF, 0, WR, 0);
	expect_head_fault(VQ_FAULT_ZERO_LENGTH);
}

Test(hostile_virtqueue, buffers_outside_memory_or_empty)
{
	with(&split, addresses);
	with(&packed, addresses);
	with(&split, empty_buffers);
	with(&packed, empty_buffers);
}

/* Memory on both sides of the hole: 3 GiB below and 1 GiB + above 4 GiB; nothing of it is touched.
 */
static void big_init(const struct fake_params *p)
{
	const struct gmem_params mem = {.ram_bytes = 5ULL << 30, .name = "test"};
	struct vq_setup setup;

	memset(&rig, 0, sizeof(rig));
	cr_assert_eq(gmem_init(&rig.mem, &mem, NULL), 0);
	fake_init(&rig.driver, &rig.mem, RIG_RINGS, p);
	cr_assert_eq(vq_init(&rig.vq, &rig.mem, p->size, NULL), 0);
	setup = queue_rig_setup(&rig);
	cr_assert_eq(vq_enable(&rig.vq, &setup), VQ_OK);
	rig.chain = (struct vq_chain){.iov = rig.iov, .iov_max = RIG_IOV_MAX};
}

Test(hostile_virtqueue, buffers_across_a_region)
{
	for (unsigned int i = 0; i < 2; i++) {
		big_init(i ? &packed : &split);
		desc(0, GMEM_HOLE_START - 4, 4, 0, 0);
		fake_head_put(&rig.driver, 0);
		cr_assert(vq_pop(&rig.vq, &rig.chain));
		queue_rig_finish(&rig);

		big_init(i ? &packed : &split);
		desc(0, GMEM_HOLE_START - 4, 5, 0, 0);
		fake_head_put(&rig.driver, 0);
		cr_assert(!vq_pop(&rig.vq, &rig.chain));
		cr_assert_eq(rig.vq.fault, VQ_FAULT_ADDRESS);
		queue_rig_finish(&rig);

		big_init(i ? &packed : &split);
		desc(0, GMEM_HOLE_END - 1, 2, 0, 0);
		fake_head_put(&rig.driver, 0);
		cr_assert(!vq_pop(&rig.vq, &rig.chain));
		cr_assert_eq(rig.vq.fault, VQ_FAULT_ADDRESS);
		queue_rig_finish(&rig);
	}
}

Test(hostile_virtqueue, chains_over_4_gib)
{
	for (unsigned int i = 0; i < 4; i++) {
		/* 4 GiB exactly is the limit; one byte more is over it. */
		bool over = i % 2;

		big_init(i / 2 ? &packed : &split);
		desc(0, 0, 2U << 30, NEXT, 1);
		desc(1, 0, 2U << 30, WR | (over ? NEXT : 0), 2);
		desc(2, 0, 1, WR, 0);
		fake_head_put(&rig.driver, 0);
		/* The rings lie in these buffers; nothing is written to them. */
		cr_assert_eq(vq_pop(&rig.vq, &rig.chain), !over);
		cr_assert_eq(rig.vq.fault, over ? VQ_FAULT_CHAIN_BYTES : VQ_OK);
		queue_rig_finish(&rig);
	}
}

/* --- indirect --- */

static void indirect_not_negotiated(void)
{
	desc(0, TABLE, 16, IND, 0);
	table(0, BUF, 1, 0, 0);
	expect_head_fault(VQ_FAULT_INDIRECT);
}

static void indirect_lengths(void)
{
	static const uint32_t lengths[] = {0, 1, 15, 17, 0xffffffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		desc(0, TABLE, lengths[i], IND, 0);
		expect_head_fault(VQ_FAULT_INDIRECT_LENGTH);
	}
	desc(0, RIG_RAM - 16, 32, IND, 0);
	expect_head_fault(VQ_FAULT_ADDRESS);
	desc(0, UINT64_MAX - 15, 0xfffffff0, IND, 0);
	expect_head_fault(VQ_FAULT_ADDRESS);
}

static void indirect_nested(void)
{
	desc(0, TABLE, 16, IND, 0);
	table(0, BUF, 16, IND, 0);
	expect_head_fault(VQ_FAULT_INDIRECT_NESTED);
	desc(0, TABLE, 32, IND, 0);
	table(0, BUF, 1, rig.driver.p.packed ? 0 : NEXT, 1);
	table(1, BUF, 16, IND, 0);
	expect_head_fault(VQ_FAULT_INDIRECT_NESTED);
}

static void indirect_with_next(void)
{
	desc(0, TABLE, 16, IND | NEXT, 1);
	desc(1, BUF, 1, 0, 0);
	table(0, BUF, 1, 0, 0);
	expect_head_fault(VQ_FAULT_INDIRECT_CHAIN);
}

static void packed_indirect_in_a_chain(void)
{
	desc(0, BUF, 1, NEXT, 0);
	desc(1, TABLE, 16, IND, 0);
	table(0, BUF, 1, 0, 0);
	expect_head_fault(VQ_FAULT_INDIRECT_CHAIN);
}

Test(hostile_virtqueue, indirect_tables)
{
	with(&split, indirect_not_negotiated);
	with(&packed, indirect_not_negotiated);
	with(&split_indirect, indirect_lengths);
	with(&packed_indirect, indirect_lengths);
	with(&split_indirect, indirect_nested);
	with(&packed_indirect, indirect_nested);
	with(&split_indirect, indirect_with_next);
	with(&packed_indirect, indirect_with_next);
	with(&packed_indirect, packed_indirect_in_a_chain);
}

/* --- rings --- */

static void refuses(struct vq_setup setup, enum vq_fault fault)
{
	enum vq_fault got;

	vq_reset(&rig.vq);
	got = vq_enable(&rig.vq, &setup);
	cr_assert_eq(got, fault, "%s, not %s", vq_fault_name(got), vq_fault_name(fault));
	cr_assert(!rig.vq.enabled);
	cr_assert(!vq_has_work(&rig.vq));
	queue_rig_restart(&rig);
	cr_assert(queue_rig_exchange(&rig));
}

static void ring_sizes(void)
{
	static const uint16_t sizes[] = {0, 17, 32, 0x8000, 0xffff};
	struct vq_setup setup = queue_rig_setup(&rig);

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		setup.size = sizes[i];
		refuses(setup, VQ_FAULT_RING_SIZE);
	}
	setup.size = 12;
	if (!setup.packed)
		refuses(setup, VQ_FAULT_RING_SIZE);
}

/* Puts each bad address into each of the three areas. */
static void ring_places(void)
{
	static const uint64_t outside[] = {RIG_RAM, 0xc0000000, 0xfee00000, 0x100000000,
		UINT64_MAX - 63, UINT64_MAX & ~0xfffULL};
	const struct vq_setup good = queue_rig_setup(&rig);

	for (unsigned int i = 0; i < ARRAY_SIZE(outside) + 1; i++) {
		bool odd = i == ARRAY_SIZE(outside);
		enum vq_fault fault = odd ? VQ_FAULT_RING_ALIGNMENT : VQ_FAULT_RING_ADDRESS;
		gpa_t at = GPA(odd ? RIG_RINGS + 1 : outside[i] & ~0xfULL);
		struct vq_setup setup = good;

		setup.desc = at;
		refuses(setup, fault);
		setup = good;
		setup.driver = at;
		refuses(setup, fault);
		setup = good;
		setup.device = at;
		refuses(setup, fault);
	}
}

static void rings_that_end_too_late(void)
{
	struct vq_setup setup = queue_rig_setup(&rig);

	setup.desc = GPA(RIG_RAM - 16 * 16 + 16);
	refuses(setup, VQ_FAULT_RING_ADDRESS);
	setup = queue_rig_setup(&rig);
	setup.device = GPA(RIG_RAM);
	refuses(setup, VQ_FAULT_RING_ADDRESS);
}

Test(hostile_virtqueue, rings_of_bad_size_or_place)
{
	with(&split, ring_sizes);
	with(&packed, ring_sizes);
	with(&split, ring_places);
	with(&packed, ring_places);
	with(&split, rings_that_end_too_late);
	with(&packed, rings_that_end_too_late);
}

/* All areas and the buffers in one place: the device overwrites what it reads. It may break or not,
 * but it ends and stays in guest memory (the address sanitizer looks on). */
static void overlapping_rings(void)
{
	struct vq_setup setup = queue_rig_setup(&rig);
	uint64_t seed = 5;

	for (unsigned int n = 0; n < 2000; n++) {
		uint8_t *mem = queue_rig_mem(&rig, RIG_RINGS, 4096);

		vq_reset(&rig.vq);
		setup.driver = GPA(RIG_RINGS + (queue_rig_random(&seed) & 0xfc));
		setup.device = GPA(RIG_RINGS + (queue_rig_random(&seed) & 0xfc));
		for (unsigned int i = 0; i < 512; i++)
			mem[i] = (uint8_t)(queue_rig_random(&seed) & 0x93);
		cr_assert_eq(vq_enable(&rig.vq, &setup), VQ_OK);
		for (unsigned int i = 0; i < 100 && vq_pop(&rig.vq, &rig.chain); i++) {
			vq_push(&rig.vq, &rig.chain, 0);
			vq_publish(&rig.vq);
		}
	}
}

Test(hostile_virtqueue, overlapping_rings)
{
	with(&split, overlapping_rings);
	with(&packed, overlapping_rings);
	with(&packed_indirect, overlapping_rings);
}

/* Ring memory given to the balloon reads as zeroes from one moment to the next. */
static void ring_memory_vanishes(void)
{
	struct fake_driver *d = &rig.driver;

	cr_assert(queue_rig_exchange(&rig));
	memset(d->desc, 0, 16 * 16);
	memset(d->driver, 0, d->p.packed ? 4 : 6 + 2 * 16);
	if (d->p.packed) {
		cr_assert(!vq_pop(&rig.vq, &rig.chain));
		cr_assert_eq(rig.vq.fault, VQ_OK);
	} else {
		expect_fault(VQ_FAULT_AVAIL_INDEX);
	}
}

Test(hostile_virtqueue, ring_memory_vanishes)
{
	with(&split, ring_memory_vanishes);
	with(&packed, ring_memory_vanishes);
}

/* --- event suppression --- */

static void event_extremes(void)
{
	static const uint16_t extremes[] = {0, 1, 15, 16, 0x7fff, 0x8000, 0x8010, 0xfffe, 0xffff};
	struct fake_driver *d = &rig.driver;

	for (unsigned int i = 0; i < ARRAY_SIZE(extremes); i++) {
		for (uint16_t flags = 0; flags < 5; flags++) {
			memcpy(d->driver + (d->p.packed ? 0 : 4 + 2 * 16), &extremes[i], 2);
			memcpy(d->driver + (d->p.packed ? 2 : 0), &flags, 2);
			cr_assert(queue_rig_exchange(&rig));
			vq_notify_on(&rig.vq);
		}
	}
}

Test(hostile_virtqueue, event_suppression_extremes)
{
	for (unsigned int i = 0; i < RIG_MODES; i++)
		with(&queue_rig_modes[i].params, event_extremes);
}

/* --- everything at once --- */

/* Random bytes in the rings, weighted towards small values so that chains are found at all. */
static void garbage(void)
{
	struct fake_driver *d = &rig.driver;
	uint64_t seed = 0xfeed;
	unsigned int popped = 0;

	for (unsigned int n = 0; n < 5000; n++) {
		for (unsigned int i = 0; i < 16; i++) {
			uint64_t r = queue_rig_random(&seed);

			desc(i, r % 16 ? BUF + (r >> 8 & 0xffff) : r, (uint32_t)(r >> 32 & 0xff),
				(uint16_t)(r >> 40 & (r & 32 ? 0xff87 : 3)),
				(uint16_t)(r >> 56 & 0x1f));
		}
		for (unsigned int i = 0; !d->p.packed && i < 16; i++)
			d->driver[4 + 2 * i] = (uint8_t)(queue_rig_random(&seed) % 17);
		if (d->p.packed)
			fake_head_put(d, rig.vq.next_avail);
		else
			fake_avail_put(
				d, (uint16_t)(rig.vq.next_avail + queue_rig_random(&seed) % 17));
		while (vq_pop(&rig.vq, &rig.chain)) {
			cr_assert_leq(rig.chain.out_count + rig.chain.in_count, RIG_IOV_MAX);
			popped++;
			if (queue_rig_random(&seed) % 4)
				vq_push(&rig.vq, &rig.chain, (uint32_t)rig.chain.in_bytes);
		}
		vq_publish(&rig.vq);
		if (rig.vq.fault)
			queue_rig_restart(&rig);
	}
	cr_assert_gt(popped, 100, "the garbage was too bad to test anything");
	queue_rig_restart(&rig);
	cr_assert(queue_rig_exchange(&rig));
}

Test(hostile_virtqueue, garbage_in_the_rings)
{
	for (unsigned int i = 0; i < RIG_MODES; i++)
		with(&queue_rig_modes[i].params, garbage);
}

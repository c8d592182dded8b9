/* SPDX-License-Identifier: Apache-2.0 */
/* The virtqueue against a well-behaved driver, split and packed, with every set of features. */
#include "virtio/virtqueue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "core/check.h"
#include "support/queue_rig.h"

static struct queue_rig rig;

/* Runs `body` once for every mode, with `mode` to name it. */
#define FOR_EACH_MODE(mode)                                                                        \
	for (const struct queue_rig_mode *mode = queue_rig_modes;                                  \
		mode < queue_rig_modes + RIG_MODES; mode++)

Test(virtqueue, passes_a_chain_there_and_back)
{
	FOR_EACH_MODE(mode)
	{
		queue_rig_init(&rig, &mode->params);
		for (unsigned int i = 0; i < 100; i++)
			cr_assert(queue_rig_exchange(&rig), "%s, round %u", mode->name, i);
		queue_rig_finish(&rig);
	}
}

Test(virtqueue, chain_is_readable_then_writable_iovecs_on_guest_memory)
{
	const struct fake_buf bufs[] = {{RIG_BUFFERS, 10, false}, {RIG_BUFFERS + 100, 20, false},
		{RIG_BUFFERS + 200, 30, true}, {RIG_BUFFERS + 300, 40, true}};

	FOR_EACH_MODE(mode)
	{
		const struct iovec *iov = rig.iov;

		queue_rig_init(&rig, &mode->params);
		fake_offer(&rig.driver, bufs, 4, mode->params.indirect);
		fake_show(&rig.driver);
		cr_assert(vq_pop(&rig.vq, &rig.chain), "%s", mode->name);
		cr_assert_eq(rig.chain.out_count, 2);
		cr_assert_eq(rig.chain.in_count, 2);
		cr_assert_eq(rig.chain.out_bytes, 30);
		cr_assert_eq(rig.chain.in_bytes, 70);
		for (unsigned int i = 0; i < 4; i++) {
			cr_assert_eq(iov[i].iov_base, queue_rig_mem(&rig, bufs[i].addr, 1));
			cr_assert_eq(iov[i].iov_len, bufs[i].len_bytes);
		}
		cr_assert_eq(chain_in(&rig.chain), &iov[2]);
		queue_rig_finish(&rig);
	}
}

/* --- a long random run against a model --- */

struct model {
	uint64_t seed;
	struct iovec iov[16][RIG_IOV_MAX];
	struct vq_chain popped[16];
	unsigned int popped_count, outstanding, done;
	uint32_t expect[FAKE_SIZE_MAX]; /* by id: the length that must come back; ~0: not offered */
	unsigned int order[FAKE_SIZE_MAX];
};

static void model_offer(struct model *m)
{
	struct fake_buf bufs[5];
	unsigned int count = 1 + queue_rig_random(&m->seed) % 5,
		     out = queue_rig_random(&m->seed) % (count + 1);
	bool indirect = rig.driver.p.indirect && queue_rig_random(&m->seed) % 2;

	for (unsigned int i = 0; i < count; i++)
		bufs[i] = (struct fake_buf){RIG_BUFFERS + queue_rig_random(&m->seed) % 0x100000,
			1 + (uint32_t)(queue_rig_random(&m->seed) % 5000), i >= out};
	if (fake_offer(&rig.driver, bufs, count, indirect) >= 0)
		m->outstanding++;
}

static void model_pop(struct model *m)
{
	struct vq_chain *chain = &m->popped[m->popped_count];

	if (m->popped_count == ARRAY_SIZE(m->popped))
		return;
	*chain = (struct vq_chain){.iov = m->iov[m->popped_count], .iov_max = RIG_IOV_MAX};
	if (!vq_pop(&rig.vq, chain))
		return;
	cr_assert_eq(rig.driver.chains[chain->id].in_bytes, chain->in_bytes);
	if (queue_rig_random(&m->seed) % 8)
		m->popped_count++;
	else
		vq_unpop(&rig.vq, chain);
}

static void model_push(struct model *m)
{
	unsigned int i = m->popped_count ? queue_rig_random(&m->seed) % m->popped_count : 0;
	struct vq_chain *chain = &m->popped[i];
	uint32_t written;

	if (!m->popped_count)
		return;
	written =
		(uint32_t)(queue_rig_random(&m->seed) % 2 ? chain->in_bytes : chain->in_bytes / 2);
	m->expect[chain->id] = written;
	vq_push(&rig.vq, chain, written);
	*chain = m->popped[--m->popped_count];
}

static void model_take(struct model *m)
{
	struct fake_used used;

	while (fake_take(&rig.driver, &used)) {
		cr_assert_eq(m->expect[used.id], used.len_bytes);
		m->expect[used.id] = ~0u;
		m->outstanding--;
		m->done++;
	}
}

static void model_run(struct model *m, unsigned int chains)
{
	memset(m->expect, 0xff, sizeof(m->expect));
	while (m->done < chains) {
		switch (queue_rig_random(&m->seed) % 6) {
		case 0:
			model_offer(m);
			break;
		case 1:
			fake_show(&rig.driver);
			break;
		case 2:
			model_pop(m);
			break;
		case 3:
			model_push(m);
			break;
		case 4:
			vq_publish(&rig.vq);
			break;
		default:
			model_take(m);
		}
		cr_assert_eq(rig.vq.fault, VQ_OK, "%s", vq_fault_name(rig.vq.fault));
		cr_assert_eq(rig.vq.in_flight, m->popped_count);
	}
}

/* 70,000 chains take the 16-bit indices round once, and a packed ring's wrap counters many times.
 */
Test(virtqueue, any_order_of_steps_keeps_every_chain, .timeout = 100)
{
	static const uint16_t sizes[] = {16, 7, 64, 5};
	unsigned int n = 0;

	FOR_EACH_MODE(mode)
	{
		static struct model m;
		struct fake_params p = mode->params;

		if (p.packed)
			p.size = sizes[n++ % ARRAY_SIZE(sizes)];
		m = (struct model){.seed = 0x1234567 + n};
		queue_rig_init(&rig, &p);
		model_run(&m, p.event_idx && !p.indirect ? 70000 : 5000);
		queue_rig_finish(&rig);
	}
}

/* --- events --- */

static const struct fake_buf one_byte = {RIG_BUFFERS, 1, true};

static void exchange_many(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		cr_assert_geq(fake_offer(&rig.driver, &one_byte, 1, false), 0);
		fake_show(&rig.driver);
		cr_assert(vq_pop(&rig.vq, &rig.chain));
		vq_push(&rig.vq, &rig.chain, 1);
	}
}

static void take_all(void)
{
	struct fake_used used;

	while (fake_take(&rig.driver, &used))
		;
}

/* §2.7.7.2: interrupt when the used entry with index used_event has been written. Said as a loop
 * over the entries, where the device has a subtraction. */
Test(virtqueue, split_interrupts_by_used_event_as_the_specification_says)
{
	const struct fake_params p = {.size = 256, .event_idx = true};
	uint64_t seed = 99;
	uint16_t used = 0;

	queue_rig_init(&rig, &p);
	for (unsigned int n = 0; n < 3000; n++) {
		unsigned int batch = 1 + queue_rig_random(&seed) % 200;
		uint16_t event = (uint16_t)(used + queue_rig_random(&seed) % 400 - 100);
		bool want = false;

		if (n % 16 == 0)
			event = (uint16_t)queue_rig_random(&seed);
		memcpy(rig.driver.driver + 4 + 2 * 256, &event, 2);
		exchange_many(batch);
		for (unsigned int i = 0; i < batch; i++)
			want |= (uint16_t)(used + i) == event;
		cr_assert_eq(
			vq_publish(&rig.vq), want, "used %u + %u, event %u", used, batch, event);
		used = (uint16_t)(used + batch);
		take_all();
	}
	queue_rig_finish(&rig);
}

/* §2.8.10, the same for a descriptor's ring offset and wrap counter. */
Test(virtqueue, packed_interrupts_by_descriptor_as_the_specification_says)
{
	const struct fake_params p = {.packed = true, .size = 37, .event_idx = true};
	uint64_t seed = 7;
	uint16_t slot = 0;
	bool wrap = true;

	queue_rig_init(&rig, &p);
	for (unsigned int n = 0; n < 5000; n++) {
		unsigned int batch = 1 + queue_rig_random(&seed) % 37;
		uint16_t event = (uint16_t)(queue_rig_random(&seed) % 37);
		bool event_wrap = queue_rig_random(&seed) % 2, want = false;
		uint16_t raw = event | (event_wrap ? 0x8000 : 0), desc_mode = 2;

		memcpy(rig.driver.driver, &raw, 2);
		memcpy(rig.driver.driver + 2, &desc_mode, 2);
		exchange_many(batch);
		for (unsigned int i = 0; i < batch; i++) {
			want |= slot == event && wrap == event_wrap;
			if (++slot == 37) {
				slot = 0;
				wrap = !wrap;
			}
		}
		cr_assert_eq(vq_publish(&rig.vq), want);
		take_all();
	}
	queue_rig_finish(&rig);
}

Test(virtqueue, interrupts_only_a_driver_that_wants_one)
{
	FOR_EACH_MODE(mode)
	{
		queue_rig_init(&rig, &mode->params);
		cr_assert(!vq_publish(&rig.vq), "%s: nothing was pushed", mode->name);
		fake_interrupts(&rig.driver, true);
		exchange_many(3);
		cr_assert(vq_publish(&rig.vq), "%s", mode->name);
		take_all();
		fake_interrupts(&rig.driver, false);
		exchange_many(2);
		cr_assert(!vq_publish(&rig.vq), "%s", mode->name);
		take_all();
		cr_assert(!fake_interrupts(&rig.driver, true));
		exchange_many(1);
		cr_assert(vq_publish(&rig.vq), "%s", mode->name);
		cr_assert(fake_interrupts(&rig.driver, true), "%s", mode->name);
		queue_rig_finish(&rig);
	}
}

Test(virtqueue, asks_for_kicks_only_when_told_to)
{
	FOR_EACH_MODE(mode)
	{
		queue_rig_init(&rig, &mode->params);
		fake_offer(&rig.driver, &one_byte, 1, false);
		cr_assert(fake_show(&rig.driver), "%s: kicks are on at first", mode->name);
		cr_assert(vq_notify_on(&rig.vq), "%s: work is there", mode->name);
		cr_assert(vq_pop(&rig.vq, &rig.chain));
		vq_notify_off(&rig.vq);
		for (unsigned int i = 0; i < 3; i++) {
			fake_offer(&rig.driver, &one_byte, 1, false);
			cr_assert(!fake_show(&rig.driver), "%s", mode->name);
			cr_assert(vq_pop(&rig.vq, &rig.chain));
		}
		cr_assert(!vq_notify_on(&rig.vq));
		fake_offer(&rig.driver, &one_byte, 1, false);
		cr_assert(fake_show(&rig.driver), "%s", mode->name);
		cr_assert(vq_has_work(&rig.vq));
		queue_rig_finish(&rig);
	}
}

/* --- order --- */

static void pop_many(struct vq_chain *chains, struct iovec (*iov)[4], unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		chains[i] = (struct vq_chain){.iov = iov[i], .iov_max = 4};
		cr_assert(vq_pop(&rig.vq, &chains[i]));
	}
}

Test(virtqueue, in_order_holds_back_what_is_complete_too_early)
{
	FOR_EACH_MODE(mode)
	{
		struct iovec iov[3][4];
		struct vq_chain chains[3];
		struct fake_used used;
		int ids[3];

		if (!mode->params.in_order)
			continue;
		queue_rig_init(&rig, &mode->params);
		for (unsigned int i = 0; i < 3; i++)
			ids[i] = fake_offer(&rig.driver, &one_byte, 1, false);
		fake_show(&rig.driver);
		pop_many(chains, iov, 3);
		vq_push(&rig.vq, &chains[2], 1);
		vq_push(&rig.vq, &chains[1], 0);
		cr_assert(!vq_publish(&rig.vq));
		cr_assert(!fake_take(&rig.driver, &used));
		vq_push(&rig.vq, &chains[0], 1);
		cr_assert(vq_publish(&rig.vq));
		for (unsigned int i = 0; i < 3; i++) {
			cr_assert(fake_take(&rig.driver, &used), "%s", mode->name);
			cr_assert_eq(used.id, ids[i]);
			cr_assert_eq(used.len_bytes, i == 1 ? 0 : 1);
		}
		queue_rig_finish(&rig);
	}
}

Test(virtqueue, in_order_uses_a_run_of_full_chains_by_one_entry)
{
	const struct fake_params p = {.size = 16, .in_order = true};
	struct iovec iov[5][4];
	struct vq_chain chains[5];
	uint32_t entry[2];

	queue_rig_init(&rig, &p);
	memset(rig.driver.device, 0xee, 4 + 8 * 16);
	memset(rig.driver.device, 0, 4);
	for (unsigned int i = 0; i < 5; i++)
		fake_offer(&rig.driver, &one_byte, 1, false);
	fake_show(&rig.driver);
	pop_many(chains, iov, 5);
	for (unsigned int i = 0; i < 5; i++)
		vq_push(&rig.vq, &chains[i], 1);
	vq_publish(&rig.vq);
	memcpy(entry, rig.driver.device + 4, 8);
	cr_assert_eq(entry[0], 4);
	cr_assert_eq(entry[1], 1);
	memcpy(entry, rig.driver.device + 4 + 8, 8);
	cr_assert_eq(entry[0], 0xeeeeeeee, "the entries in between are skipped, not written");
	take_all();
	cr_assert_eq(rig.driver.free_count, 16);
	queue_rig_finish(&rig);
}

Test(virtqueue, packed_shows_a_batch_by_its_first_descriptor)
{
	const struct fake_params p = {.packed = true, .size = 8};
	struct fake_used used;

	queue_rig_init(&rig, &p);
	exchange_many(4);
	cr_assert(!fake_take(&rig.driver, &used));
	vq_publish(&rig.vq);
	for (unsigned int i = 0; i < 4; i++)
		cr_assert(fake_take(&rig.driver, &used));
	cr_assert(!fake_take(&rig.driver, &used));
	queue_rig_finish(&rig);
}

/* --- set-up and reset --- */

Test(virtqueue, split_takes_buffers_followed_by_an_indirect_table)
{
	const struct fake_params p = {.size = 16, .indirect = true};
	struct fake_driver *d = &rig.driver;
	uint8_t *table;

	queue_rig_init(&rig, &p);
	/* At an odd address: nothing asks for an alignment of indirect tables. */
	table = queue_rig_mem(&rig, RIG_BUFFERS + 1, 32);
	fake_desc_put(d, d->desc, 3, RIG_BUFFERS, 1, FAKE_F_NEXT, 9);
	fake_desc_put(d, d->desc, 9, RIG_BUFFERS + 1, 32, FAKE_F_INDIRECT, 0);
	fake_desc_put(d, table, 0, RIG_BUFFERS + 0x100, 2, FAKE_F_NEXT, 1);
	fake_desc_put(d, table, 1, RIG_BUFFERS + 0x200, 3, FAKE_F_WRITE, 0);
	fake_head_put(d, 3);
	cr_assert(vq_pop(&rig.vq, &rig.chain));
	cr_assert_eq(rig.chain.out_bytes, 3);
	cr_assert_eq(rig.chain.in_bytes, 3);
	queue_rig_finish(&rig);
}

Test(virtqueue, reset_forgets_chains_in_flight)
{
	FOR_EACH_MODE(mode)
	{
		struct vq_chain old;
		struct fake_used used;

		queue_rig_init(&rig, &mode->params);
		fake_offer(&rig.driver, &one_byte, 1, false);
		fake_show(&rig.driver);
		cr_assert(vq_pop(&rig.vq, &rig.chain));
		old = rig.chain;
		vq_reset(&rig.vq);
		cr_assert(!vq_has_work(&rig.vq));
		cr_assert(!vq_pop(&rig.vq, &rig.chain));
		vq_push(&rig.vq, &old, 1);
		cr_assert(!vq_publish(&rig.vq));
		queue_rig_restart(&rig);
		vq_push(&rig.vq, &old, 1);
		cr_assert(!vq_publish(&rig.vq), "%s", mode->name);
		cr_assert(!fake_take(&rig.driver, &used), "%s", mode->name);
		cr_assert(queue_rig_exchange(&rig), "%s", mode->name);
		queue_rig_finish(&rig);
	}
}

Test(virtqueue, breaks_when_the_memory_of_its_rings_is_unplugged)
{
	const struct gmem_params mem = {.ram_bytes = RIG_RAM,
		.hotplug_bytes = 4 << 20,
		.hotplug_block = 2 << 20,
		.hotplug_align = 2 << 20,
		.name = "test"};
	const struct fake_params p = {.size = 16};
	struct vq_setup setup;
	gpa_t region;

	memset(&rig, 0, sizeof(rig));
	cr_assert_eq(gmem_init(&rig.mem, &mem, NULL), 0);
	region = rig.mem.regions[rig.mem.count - 1].start;
	cr_assert_eq(gmem_plug(&rig.mem, region, 4 << 20, true), 0);
	fake_init(&rig.driver, &rig.mem, region.v, &p);
	cr_assert_eq(vq_init(&rig.vq, &rig.mem, 16, NULL), 0);
	rig.chain = (struct vq_chain){.iov = rig.iov, .iov_max = RIG_IOV_MAX};
	setup = queue_rig_setup(&rig);
	cr_assert_eq(vq_enable(&rig.vq, &setup), VQ_OK);
	gmem_plug(&rig.mem, GPA(region.v + (2 << 20)), 2 << 20, false);
	vq_memory_changed(&rig.vq);
	cr_assert(queue_rig_exchange(&rig));
	gmem_plug(&rig.mem, region, 2 << 20, false);
	vq_memory_changed(&rig.vq);
	cr_assert_eq(rig.vq.fault, VQ_FAULT_RING_ADDRESS);
	cr_assert(!vq_has_work(&rig.vq));
	cr_assert(vq_enable(&(struct virtqueue){.mem = &rig.mem, .max_size = 16}, &setup) ==
		  VQ_FAULT_RING_ADDRESS);
	queue_rig_finish(&rig);
}

Test(virtqueue, every_fault_has_a_name_of_its_own)
{
	for (unsigned int i = 0; i < VQ_FAULTS; i++) {
		cr_assert(vq_fault_name(i));
		for (unsigned int j = 0; j < i; j++)
			cr_assert_str_neq(vq_fault_name(i), vq_fault_name(j));
	}
	cr_assert_str_eq(vq_fault_name(VQ_FAULTS), "unknown");
}

/* --- two threads, as a vCPU and a reactor: no step may depend on a lock --- */

#define THREAD_CHAINS 20000

static void *driver_thread(void *arg)
{
	unsigned int offered = 0, taken = 0;

	(void)arg;
	while (taken < THREAD_CHAINS) {
		struct fake_used used;

		for (unsigned int i = 0; i < 4 && offered < THREAD_CHAINS; i++) {
			if (fake_offer(&rig.driver, &one_byte, 1, rig.driver.p.indirect) < 0)
				break;
			offered++;
		}
		fake_show(&rig.driver);
		if (!fake_take(&rig.driver, &used)) {
			sched_yield();
			continue;
		}
		do {
			CHECK(used.len_bytes == 1);
			taken++;
		} while (fake_take(&rig.driver, &used));
	}
	return NULL;
}

Test(virtqueue, driver_and_device_run_at_the_same_time, .timeout = 100)
{
	for (unsigned int i = 3; i < RIG_MODES; i += 4) {
		unsigned int done = 0;
		pthread_t thread;

		queue_rig_init(&rig, &queue_rig_modes[i].params);
		cr_assert_eq(pthread_create(&thread, NULL, driver_thread, NULL), 0);
		while (done < THREAD_CHAINS && !rig.vq.fault) {
			bool worked = false;

			for (; vq_pop(&rig.vq, &rig.chain); done++, worked = true)
				vq_push(&rig.vq, &rig.chain, 1);
			vq_publish(&rig.vq);
			if (!worked && !vq_notify_on(&rig.vq))
				sched_yield();
		}
		cr_assert_eq(rig.vq.fault, VQ_OK);
		pthread_join(thread, NULL);
		queue_rig_finish(&rig);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio-mem: blocks come and go as the guest asks and the host allows, and nothing else happens.
 */
#include "virtio/mem.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/device_rig.h"
#include "support/fake_io.h"
#include "virtio/discard.h"

#define BLOCK  (2ULL << 20)
#define BLOCKS 80u
#define B(i)   (DEVICE_RIG_BUFFERS + (uint64_t)(i)*0x1000)

static struct reactor *reactor;
static struct device_rig rig;
static struct mem mem;
static bool slots[BLOCKS];
static unsigned int slot_sets, slot_fails_at, told;
static uint64_t base;

/* As KVM: a slot is made once and deleted once. */
static int slot_set(
	void *ctx, unsigned int index, gpa_t gpa, uint64_t size_bytes, void *host, struct diag *d)
{
	(void)ctx;
	cr_assert(index < BLOCKS);
	cr_assert_eq(gpa.v, base + index * BLOCK);
	cr_assert_eq(host, (void *)(mem.region->host + index * BLOCK));
	if (++slot_sets == slot_fails_at)
		return diag_fail(d, -ENOMEM, "no slot");
	cr_assert_eq(slots[index], !size_bytes, "slot %u", index);
	slots[index] = size_bytes;
	return 0;
}

static unsigned int holes;
static off_t hole_most;

/* In the C library's place. No vCPU may reach a block while it is given back. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
	uint64_t block = ((uint64_t)offset - mem.region->file_offset) / BLOCK;

	cr_assert(block < BLOCKS && !slots[block], "block %u", (unsigned int)block);
	holes++;
	hole_most = len > hole_most ? len : hole_most;
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static void unplugged(struct mem *m)
{
	virtio_memory_changed(&m->dev);
	told++;
}

static void setup(void)
{
	static const struct virtio_host_ops ops = {.slot_set = slot_set};
	const struct gmem_params p = {.ram_bytes = DEVICE_RIG_RAM,
		.hotplug_bytes = BLOCKS * BLOCK,
		.hotplug_block = BLOCK,
		.hotplug_align = 128ULL << 20,
		.name = "test"};
	struct diag d;

	reactor = fake_io_create(3);
	device_rig_init(&rig, reactor);
	gmem_finish(&rig.mem);
	cr_assert_eq(gmem_init(&rig.mem, &p, &d), 0, "%s", d.text);
	rig.env.ops = &ops;
	cr_assert_eq(mem_init(&mem, &rig.env, &rig.mem, unplugged, &d), 0);
	base = mem.region->start.v;
	device_rig_attach(&rig, &mem.dev);
}

static void teardown(void)
{
	virtio_device_reset(&mem.dev);
	fake_io_run(reactor);
	for (unsigned int i = 0; i < BLOCKS; i++)
		cr_assert_eq(slots[i], gmem_plugged(&rig.mem, GPA(base + i * BLOCK), BLOCK) == 1,
			"block %u has a slot if and only if it is plugged", i);
	mem_finish(&mem);
	fake_io_destroy(reactor);
	device_rig_finish(&rig);
}

TestSuite(mem, .init = setup, .fini = teardown, .timeout = 60);

static uint64_t config(unsigned int offset)
{
	return virtio_config_read(&mem.dev, offset, 8);
}

static void request_write(uint64_t gpa, uint16_t type, uint64_t addr, uint16_t blocks)
{
	uint8_t *at = device_rig_mem(&rig, gpa, MEM_REQUEST_BYTES);

	memset(at, 0, MEM_REQUEST_BYTES);
	memcpy(at, &type, 2);
	memcpy(at + 8, &addr, 8);
	memcpy(at + 16, &blocks, 2);
}

/* A request of so many bytes, with room for an answer of so many; not run yet. */
static void request_offer(uint32_t out_bytes, uint32_t in_bytes)
{
	const struct fake_buf bufs[] = {{B(0), out_bytes, false}, {B(1), in_bytes, true}};

	memset(device_rig_mem(&rig, B(1), 64), 0xee, 64);
	cr_assert_geq(fake_offer(&rig.queues[0], bufs, 2, false), 0);
	device_rig_show(&rig, 0);
}

static int answer(void)
{
	struct fake_used used;
	uint16_t type;

	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, MEM_RESPONSE_BYTES);
	memcpy(&type, device_rig_mem(&rig, B(1), 2), 2);
	return type;
}

static int ask(uint16_t type, uint64_t addr, uint16_t blocks)
{
	request_write(B(0), type, addr, blocks);
	request_offer(MEM_REQUEST_BYTES, 16);
	return answer();
}

static int plug(unsigned int block, uint16_t blocks)
{
	return ask(MEM_REQ_PLUG, base + block * BLOCK, blocks);
}

static int unplug(unsigned int block, uint16_t blocks)
{
	return ask(MEM_REQ_UNPLUG, base + block * BLOCK, blocks);
}

static int state(unsigned int block, uint16_t blocks)
{
	uint16_t value;

	cr_assert_eq(ask(MEM_REQ_STATE, base + block * BLOCK, blocks), MEM_RESP_ACK);
	memcpy(&value, device_rig_mem(&rig, B(1) + 8, 2), 2);
	return value;
}

static void start(unsigned int requested_blocks)
{
	cr_assert(device_rig_start(&rig, MEM_F_UNPLUGGED_INACCESSIBLE, 16));
	cr_assert_eq(mem_request(&mem, requested_blocks * BLOCK, NULL), 0);
}

Test(mem, config_space)
{
	start(3);
	cr_assert_eq(config(0), BLOCK);
	cr_assert_eq(config(8), 0);
	cr_assert_eq(config(16), base);
	cr_assert_eq(base % (128ULL << 20), 0);
	cr_assert_eq(config(24), BLOCKS * BLOCK);
	cr_assert_eq(config(32), BLOCKS * BLOCK, "all of it is usable");
	cr_assert_eq(config(40), 0);
	cr_assert_eq(config(48), 3 * BLOCK);
	cr_assert_eq(rig.config_irqs, 1);
	virtio_config_write(&mem.dev, 48, 8, BLOCK);
	cr_assert_eq(config(48), 3 * BLOCK, "the guest cannot write it");
}

/* A driver that has read one half of it reads both again. */
Test(mem, the_generation_tells_that_the_plugged_size_has_changed)
{
	uint8_t before;

	start(3);
	before = mem.dev.generation;
	cr_assert_eq(plug(0, 2), MEM_RESP_ACK);
	cr_assert_neq(mem.dev.generation, before);
	before = mem.dev.generation;
	cr_assert_eq(plug(2, 2), MEM_RESP_NACK);
	cr_assert_eq(state(0, 2), MEM_STATE_PLUGGED);
	cr_assert_eq(mem.dev.generation, before);
	cr_assert_eq(unplug(0, 1), MEM_RESP_ACK);
	cr_assert_neq(mem.dev.generation, before);
	cr_assert_eq(rig.config_irqs, 1, "it has asked for that itself");
}

Test(mem, requests_that_cannot_be_are_refused)
{
	struct diag d;

	start(1);
	cr_assert_eq(mem_request(&mem, BLOCK + 1, &d), -EINVAL);
	cr_assert_eq(mem_request(&mem, (BLOCKS + 1) * BLOCK, &d), -EINVAL);
	cr_assert_eq(mem_request(&mem, UINT64_MAX, &d), -EINVAL);
	cr_assert_eq(config(48), BLOCK);
	cr_assert_eq(mem_request(&mem, BLOCKS * BLOCK, &d), 0);
}

Test(mem, plugged_blocks_are_memory_and_unplugged_ones_are_not)
{
	start(BLOCKS);
	cr_assert_null(gmem_map(&rig.mem, GPA(base), 1));
	cr_assert_eq(plug(4, 3), MEM_RESP_ACK);
	cr_assert_eq(config(40), 3 * BLOCK);
	cr_assert_eq(slot_sets, 3);
	memset(device_rig_mem(&rig, base + 4 * BLOCK, 3 * BLOCK), 0x77, 3 * BLOCK);
	cr_assert_geq(gmem_resident_bytes(&rig.mem), 3 * BLOCK);
	cr_assert_eq(unplug(5, 1), MEM_RESP_ACK);
	cr_assert_eq(told, 1);
	cr_assert_null(gmem_map(&rig.mem, GPA(base + 5 * BLOCK), 1));
	cr_assert_eq(*device_rig_mem(&rig, base + 4 * BLOCK, 1), 0x77, "its neighbours stay");
	cr_assert_eq(*device_rig_mem(&rig, base + 7 * BLOCK - 1, 1), 0x77);
	cr_assert_lt(gmem_resident_bytes(&rig.mem), 2 * BLOCK + (1 << 20), "the host has it back");
	cr_assert_eq(config(40), 2 * BLOCK);
	cr_assert_eq(plug(5, 1), MEM_RESP_ACK);
	cr_assert_eq(*device_rig_mem(&rig, base + 5 * BLOCK, 1), 0, "new and zero");
}

/* The request's whole range is nobody's to wait for. */
Test(mem, memory_goes_back_in_parts)
{
	start(BLOCKS);
	cr_assert_eq(plug(3, 9), MEM_RESP_ACK);
	memset(device_rig_mem(&rig, base + 3 * BLOCK, 9 * BLOCK), 0x77, 9 * BLOCK);
	cr_assert_eq(unplug(3, 9), MEM_RESP_ACK);
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_ACK);
	cr_assert_lt(gmem_resident_bytes(&rig.mem), BLOCK, "all of it");
	cr_assert_gt(holes, BLOCKS);
	cr_assert_leq((uint64_t)hole_most, DISCARD_PART_BYTES);
}

Test(mem, what_a_transfer_left_in_an_unplugged_block_is_not_seen)
{
	start(BLOCKS);
	mem.region->host[7 * BLOCK] = 1;
	cr_assert_eq(plug(7, 1), MEM_RESP_ACK);
	cr_assert_eq(*device_rig_mem(&rig, base + 7 * BLOCK, 1), 0);
}

Test(mem, a_region_beyond_the_hosts_addresses_is_refused)
{
	const struct gmem_region at_1_tib = {
		.start = GPA(1ULL << 40), .size_bytes = BLOCK, .kind = GMEM_HOTPLUG};
	struct diag d;

	cr_assert(mem_region_check(mem.region, 39, &d));
	cr_assert_not(mem_region_check(mem.region, 32, &d));
	cr_assert_not(mem_region_check(&at_1_tib, 40, &d));
	cr_assert(strstr(d.text, "40 bits") && strstr(d.text, "0x10000200000"), "%s", d.text);
	cr_assert(mem_region_check(&at_1_tib, 41, &d));
	cr_assert(mem_region_check(&at_1_tib, 64, &d));
}

Test(mem, figures)
{
	struct mem_figures f;

	start(BLOCKS);
	cr_assert_eq(plug(0, 4), MEM_RESP_ACK);
	cr_assert_eq(unplug(1, 2), MEM_RESP_ACK);
	cr_assert_eq(unplug(1, 2), MEM_RESP_ERROR);
	mem_figures(&mem, &f);
	cr_assert(f.requests == 3 && f.refusals == 1 && f.failures == 0);
	cr_assert_eq(f.discards, 2, "before blocks come as well as after they went");
	cr_assert_eq(f.discarded_bytes, 6 * BLOCK);
}

Test(mem, double_plug_and_unplug)
{
	start(BLOCKS);
	cr_assert_eq(plug(10, 2), MEM_RESP_ACK);
	cr_assert_eq(plug(10, 2), MEM_RESP_ERROR);
	cr_assert_eq(plug(9, 2), MEM_RESP_ERROR, "one of them is plugged");
	cr_assert_eq(unplug(11, 2), MEM_RESP_ERROR, "one of them is not");
	cr_assert_eq(unplug(20, 1), MEM_RESP_ERROR);
	cr_assert_eq(config(40), 2 * BLOCK);
	cr_assert_eq(slot_sets, 2, "no change");
}

Test(mem, ranges_that_cannot_be)
{
	static const uint16_t types[] = {MEM_REQ_PLUG, MEM_REQ_UNPLUG, MEM_REQ_STATE};

	start(BLOCKS);
	for (unsigned int i = 0; i < 3; i++) {
		uint16_t t = types[i];

		cr_assert_eq(ask(t, base, 0), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base + 1, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base + BLOCK / 2, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base - BLOCK, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base + BLOCKS * BLOCK, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base + (BLOCKS - 1) * BLOCK, 2), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, base, 0xffff), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, 0, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, UINT64_MAX - BLOCK + 1, 1), MEM_RESP_ERROR);
		cr_assert_eq(ask(t, UINT64_MAX - BLOCK + 1, 2), MEM_RESP_ERROR);
	}
	cr_assert_eq(ask(4, base, 1), MEM_RESP_ERROR, "no such type");
	cr_assert_eq(ask(0xffff, base, 1), MEM_RESP_ERROR);
	cr_assert_eq(slot_sets, 0);
	cr_assert_eq(plug(BLOCKS - 1, 1), MEM_RESP_ACK, "the last one can be had");
}

Test(mem, no_more_than_was_requested)
{
	start(3);
	cr_assert_eq(plug(0, 4), MEM_RESP_NACK);
	cr_assert_eq(plug(0, 2), MEM_RESP_ACK);
	cr_assert_eq(plug(2, 2), MEM_RESP_NACK);
	cr_assert_eq(plug(2, 1), MEM_RESP_ACK);
	cr_assert_eq(mem_request(&mem, BLOCK, NULL), 0);
	cr_assert_eq(plug(3, 1), MEM_RESP_NACK);
	cr_assert_eq(unplug(0, 3), MEM_RESP_ACK);
}

Test(mem, state)
{
	start(BLOCKS);
	cr_assert_eq(plug(63, 3), MEM_RESP_ACK);
	cr_assert_eq(state(63, 3), MEM_STATE_PLUGGED);
	cr_assert_eq(state(62, 2), MEM_STATE_MIXED);
	cr_assert_eq(state(0, 63), MEM_STATE_UNPLUGGED);
	cr_assert_eq(state(0, BLOCKS), MEM_STATE_MIXED);
}

Test(mem, unplug_all_always_works)
{
	start(BLOCKS);
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_ACK);
	cr_assert_eq(plug(1, 2), MEM_RESP_ACK);
	cr_assert_eq(plug(70, 5), MEM_RESP_ACK);
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, UINT64_MAX, 7), MEM_RESP_ACK, "the rest is ignored");
	cr_assert_eq(config(40), 0);
	cr_assert_eq(slot_sets, 14);
	cr_assert_eq(state(0, BLOCKS), MEM_STATE_UNPLUGGED);
}

Test(mem, short_requests_and_answers)
{
	struct fake_used used;

	start(BLOCKS);
	for (uint32_t bytes = 1; bytes < MEM_REQUEST_BYTES; bytes++) {
		request_write(B(0), MEM_REQ_PLUG, base, 1);
		request_offer(bytes, 16);
		cr_assert_eq(answer(), MEM_RESP_ERROR, "%u bytes", bytes);
	}
	request_write(B(0), MEM_REQ_UNPLUG_ALL, 0, 0);
	request_offer(MEM_HEADER_BYTES, 16);
	cr_assert_eq(answer(), MEM_RESP_ACK);
	request_write(B(0), MEM_REQ_PLUG, base, 1);
	request_offer(MEM_REQUEST_BYTES, 1);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used));
	cr_assert_eq(used.len_bytes, 1, "no more than there is room for");
	cr_assert_eq(*device_rig_mem(&rig, B(1) + 1, 1), 0xee);
	cr_assert(device_rig_offer(&rig, 0, B(0), 24, false), "no room at all");
	cr_assert(device_rig_offer(&rig, 0, B(1), 24, true), "no request at all");
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[0], &used) && used.len_bytes == 0);
	cr_assert(fake_take(&rig.queues[0], &used) && used.len_bytes == MEM_RESPONSE_BYTES);
	cr_assert_not(mem.dev.status & VIRTIO_S_NEEDS_RESET);
}

Test(mem, no_slot_for_a_block)
{
	start(BLOCKS);
	slot_fails_at = 3;
	cr_assert_eq(plug(0, 4), MEM_RESP_BUSY);
	cr_assert_eq(config(40), 0);
	cr_assert_eq(plug(0, 4), MEM_RESP_ACK, "another time");
	memset(device_rig_mem(&rig, base, 4 * BLOCK), 0x33, 4 * BLOCK);
	slot_fails_at = slot_sets + 3;
	cr_assert_eq(unplug(0, 4), MEM_RESP_BUSY);
	cr_assert_eq(config(40), 4 * BLOCK);
	cr_assert_eq(*device_rig_mem(&rig, base + 4 * BLOCK - 1, 1), 0x33, "nothing is lost");
	slot_fails_at = slot_sets + 2;
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_BUSY);
	cr_assert_eq(state(0, 4), MEM_STATE_PLUGGED);
}

/* The memory of the first blocks goes while the slots of the last ones are still there. */
Test(mem, unplug_goes_on_in_steps)
{
	unsigned int together = 0;

	start(BLOCKS);
	cr_assert_eq(plug(0, BLOCKS), MEM_RESP_ACK);
	memset(device_rig_mem(&rig, base, BLOCKS * BLOCK), 0x33, BLOCKS * BLOCK);
	request_write(B(0), MEM_REQ_UNPLUG, base, BLOCKS);
	request_offer(MEM_REQUEST_BYTES, 16);
	while (fake_io_turn(reactor))
		together += slots[BLOCKS - 1] && mem.job.discard.in_flight;
	cr_assert_gt(together, 0);
	cr_assert_eq(answer(), MEM_RESP_ACK);
	cr_assert_lt(gmem_resident_bytes(&rig.mem), BLOCK);
}

/* Blocks here and there, and something in one that is unplugged. */
Test(mem, unplug_all_of_scattered_blocks)
{
	start(BLOCKS);
	for (unsigned int i = 0; i < BLOCKS; i += 3)
		cr_assert_eq(plug(i, 1 + i % 2), MEM_RESP_ACK);
	for (unsigned int i = 0; i < BLOCKS; i++)
		if (slots[i])
			memset(device_rig_mem(&rig, base + i * BLOCK, BLOCK), 0x33, BLOCK);
	mem.region->host[BLOCK * 5 + 1] = 1;
	cr_assert_not(slots[5]);
	slot_fails_at = slot_sets + 20;
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_BUSY);
	cr_assert_eq(state(0, 1), MEM_STATE_PLUGGED);
	cr_assert_eq(state(5, 1), MEM_STATE_UNPLUGGED);
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_ACK);
	cr_assert_eq(config(40), 0);
	cr_assert_eq(mem.region->host[BLOCK * 5 + 1], 0, "also what a transfer had left");
	cr_assert_lt(gmem_resident_bytes(&rig.mem), BLOCK);
	cr_assert_eq(ask(MEM_REQ_UNPLUG_ALL, 0, 0), MEM_RESP_ACK);
}

/* Steps that were done are undone; what their blocks held may be gone. */
Test(mem, no_slot_for_a_block_of_a_later_step)
{
	start(BLOCKS);
	cr_assert_eq(plug(0, BLOCKS), MEM_RESP_ACK);
	memset(device_rig_mem(&rig, base, BLOCKS * BLOCK), 0x33, BLOCKS * BLOCK);
	slot_fails_at = slot_sets + BLOCKS - 1;
	cr_assert_eq(unplug(0, BLOCKS), MEM_RESP_BUSY);
	cr_assert_eq(config(40), BLOCKS * BLOCK);
	cr_assert_eq(state(0, BLOCKS), MEM_STATE_PLUGGED);
	cr_assert_eq(*device_rig_mem(&rig, base + BLOCKS * BLOCK - 1, 1), 0x33);
	cr_assert_eq(mem.discards, 1, "that of the plug only");
	cr_assert_eq(unplug(0, BLOCKS), MEM_RESP_ACK, "another time");
}

Test(mem, memory_that_cannot_be_given_back)
{
	start(BLOCKS);
	fake_io_fail_next(reactor, rig.mem.memfd, -ENOSPC);
	cr_assert_eq(plug(0, 4), MEM_RESP_BUSY, "it might not be new");
	cr_assert_eq(config(40), 0);
	cr_assert(strstr(mem.job.diag.text, "cannot give hot-plugged memory back"));
	cr_assert_eq(plug(0, 4), MEM_RESP_ACK);
	fake_io_fail_next(reactor, rig.mem.memfd, -ENOSPC);
	cr_assert_eq(unplug(0, 4), MEM_RESP_ACK, "the guest cannot reach it");
	cr_assert_eq(mem.failures, 1);
	cr_assert_eq(mem.discards, 1);
	cr_assert_eq(mem.job.discard.failures, 2);
}

Test(mem, reset_waits_for_the_request_and_blocks_stay)
{
	start(BLOCKS);
	request_write(B(0), MEM_REQ_PLUG, base, 4);
	request_offer(MEM_REQUEST_BYTES, 16);
	while (!mem.busy)
		fake_io_turn(reactor);
	virtio_device_reset(&mem.dev);
	cr_assert(mem.dev.resetting);
	fake_io_run(reactor);
	cr_assert_not(mem.dev.resetting);
	cr_assert_eq(config(40), 4 * BLOCK);
	cr_assert_eq(config(48), BLOCKS * BLOCK);
	start(BLOCKS);
	cr_assert_eq(state(0, 4), MEM_STATE_PLUGGED);
}

Test(mem, rings_in_unplugged_memory_break_the_queue)
{
	struct virtio_queue *q = &mem.dev.queues[0];
	const struct fake_params p = {.size = 16};
	const struct fake_buf bufs[] = {{B(0), MEM_REQUEST_BYTES, false}, {B(1), 16, true}};

	cr_assert(device_rig_start(&rig, VIRTIO_F_RING_RESET, 16));
	cr_assert_eq(mem_request(&mem, BLOCKS * BLOCK, NULL), 0);
	cr_assert_eq(plug(0, 1), MEM_RESP_ACK);
	virtio_queue_reset(q);
	fake_init(&rig.queues[0], &rig.mem, base, &p);
	q->size = 16;
	q->desc = rig.queues[0].desc_gpa;
	q->driver = rig.queues[0].driver_gpa;
	q->device = rig.queues[0].device_gpa;
	virtio_queue_enable(q);
	cr_assert(q->vq.enabled);
	request_write(B(0), MEM_REQ_UNPLUG, base, 1);
	cr_assert_geq(fake_offer(&rig.queues[0], bufs, 2, false), 0);
	fake_show(&rig.queues[0]);
	virtio_queue_kick(q);
	fake_io_run(reactor);
	cr_assert_eq(config(40), 0, "it got what it asked for");
	cr_assert(mem.dev.status & VIRTIO_S_NEEDS_RESET);
	virtio_device_reset(&mem.dev);
	start(BLOCKS);
	cr_assert_eq(plug(0, 1), MEM_RESP_ACK);
}

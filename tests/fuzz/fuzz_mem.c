/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes virtio-mem: the input is a script of a hostile driver and of a fickle host. Slots and the
 * bitmap of plugged blocks have to agree whenever the device is at rest. */
#include <errno.h>
#include <string.h>

#include "core/check.h"
#include "support/device_script.h"
#include "support/fake_io.h"
#include "virtio/mem.h"

#define BLOCK  (1ULL << 20)
#define BLOCKS 70u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static struct device_rig rig;
static struct mem mem;
static bool slots[BLOCKS];
static unsigned int fail_after; /* slot changes; 0: never */

static int slot_set(
	void *ctx, unsigned int index, gpa_t gpa, uint64_t size_bytes, void *host, struct diag *d)
{
	(void)ctx;
	(void)gpa;
	(void)host;
	CHECK(index < BLOCKS && slots[index] == !size_bytes);
	/* On the way back it does not fail again: then a block would be without its slot (mem.h).
	 */
	if (!mem.job.err && fail_after && --fail_after == 0)
		return diag_fail(d, -ENOMEM, "no slot");
	slots[index] = size_bytes;
	return 0;
}

static void unplugged(struct mem *m)
{
	virtio_memory_changed(&m->dev);
}

/* A request that is nearly right, at the start of the buffers; or a wish of the host. */
static void special(struct device_script *s, uint8_t choice)
{
	struct {
		uint16_t type, pad[3];
		uint64_t addr;
		uint16_t blocks, pad2[3];
	} request = {.type = choice % 4};

	if (choice % 8 == 7) {
		mem_request(&mem, device_script_next(s, 1) * BLOCK, NULL);
		return;
	}
	if (choice % 8 == 6) {
		fail_after = (unsigned int)device_script_next(s, 1) % 16;
		return;
	}
	request.addr = mem.region->start.v + device_script_next(s, 1) * BLOCK;
	request.blocks = (uint16_t)(device_script_next(s, 1) % (BLOCKS + 2));
	gmem_write(&rig.mem, GPA(DEVICE_RIG_BUFFERS), &request, sizeof(request));
	if (mem.dev.status & VIRTIO_S_DRIVER_OK && mem.dev.queues[0].vq.enabled) {
		const struct fake_buf bufs[] = {{DEVICE_RIG_BUFFERS, sizeof(request), false},
			{DEVICE_RIG_BUFFERS + 4096, 16, true}};

		if (fake_offer(&rig.queues[0], bufs, 2, false) >= 0)
			device_rig_show(&rig, 0);
	}
}

static void init(struct reactor *r)
{
	static const struct virtio_host_ops ops = {.slot_set = slot_set};
	const struct gmem_params p = {.ram_bytes = DEVICE_RIG_RAM,
		.hotplug_bytes = BLOCKS * BLOCK,
		.hotplug_block = BLOCK,
		.hotplug_align = BLOCK,
		.name = "fuzz"};

	memset(slots, 0, sizeof(slots));
	fail_after = 0;
	device_rig_init(&rig, r);
	gmem_finish(&rig.mem);
	CHECK(!gmem_init(&rig.mem, &p, NULL));
	rig.env.ops = &ops;
	CHECK(!mem_init(&mem, &rig.env, &rig.mem, unplugged, NULL));
	device_rig_attach(&rig, &mem.dev);
}

static void check(void)
{
	uint64_t plugged = 0;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		bool is = gmem_plugged(&rig.mem, GPA(mem.region->start.v + i * BLOCK), BLOCK) == 1;

		CHECK(is == slots[i]);
		plugged += is;
	}
	CHECK(mem.size.plugged_size == plugged * BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reactor *r = fake_io_create(1);
	struct device_script s = {.rig = &rig,
		.reactor = r,
		.at = data,
		.end = data + len_bytes,
		.features = MEM_F_UNPLUGGED_INACCESSIBLE,
		.special = special};

	init(r);
	s.base = mem.region->start.v;
	device_script_run(&s);
	check();
	mem_finish(&mem);
	fake_io_destroy(r);
	device_rig_finish(&rig);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtqueue and its fake driver on real guest memory. */
#include "support/queue_rig.h"

#include <string.h>

#include "core/check.h"

#define MODE(text, pack, ind, event, order)                                                        \
	{                                                                                          \
		.name = text, .params = {                                                          \
			.size = 16,                                                                \
			.packed = pack,                                                            \
			.indirect = ind,                                                           \
			.event_idx = event,                                                        \
			.in_order = order                                                          \
		}                                                                                  \
	}

const struct queue_rig_mode queue_rig_modes[RIG_MODES] = {
	MODE("split", false, false, false, false),
	MODE("split+indirect", false, true, false, false),
	MODE("split+event_idx", false, false, true, false),
	MODE("split+indirect+event_idx", false, true, true, false),
	MODE("split+in_order", false, false, false, true),
	MODE("split+indirect+in_order", false, true, false, true),
	MODE("split+event_idx+in_order", false, false, true, true),
	MODE("split+indirect+event_idx+in_order", false, true, true, true),
	MODE("packed", true, false, false, false),
	MODE("packed+indirect", true, true, false, false),
	MODE("packed+event_idx", true, false, true, false),
	MODE("packed+indirect+event_idx", true, true, true, false),
	MODE("packed+in_order", true, false, false, true),
	MODE("packed+indirect+in_order", true, true, false, true),
	MODE("packed+event_idx+in_order", true, false, true, true),
	MODE("packed+indirect+event_idx+in_order", true, true, true, true),
};

static void count_fault(struct virtqueue *vq)
{
	container_of(vq, struct queue_rig, vq)->faults++;
}

struct vq_setup queue_rig_setup(const struct queue_rig *rig)
{
	const struct fake_driver *d = &rig->driver;

	return (struct vq_setup){
		.size = d->p.size,
		.desc = GPA(d->desc_gpa),
		.driver = GPA(d->driver_gpa),
		.device = GPA(d->device_gpa),
		.packed = d->p.packed,
		.indirect = d->p.indirect,
		.event_idx = d->p.event_idx,
		.in_order = d->p.in_order,
	};
}

void queue_rig_init(struct queue_rig *rig, const struct fake_params *p)
{
	const struct gmem_params mem = {.ram_bytes = RIG_RAM, .name = "test"};
	struct vq_setup setup;

	memset(rig, 0, sizeof(*rig));
	CHECK(!gmem_init(&rig->mem, &mem, NULL));
	fake_init(&rig->driver, &rig->mem, RIG_RINGS, p);
	CHECK(rig->driver.end_gpa <= RIG_BUFFERS);
	CHECK(!vq_init(&rig->vq, &rig->mem, p->size, NULL));
	rig->vq.on_fault = count_fault;
	setup = queue_rig_setup(rig);
	CHECK(vq_enable(&rig->vq, &setup) == VQ_OK);
	rig->chain = (struct vq_chain){.iov = rig->iov, .iov_max = RIG_IOV_MAX};
}

void queue_rig_finish(struct queue_rig *rig)
{
	vq_finish(&rig->vq);
	gmem_finish(&rig->mem);
}

void queue_rig_restart(struct queue_rig *rig)
{
	const struct fake_params p = rig->driver.p;
	struct vq_setup setup;

	vq_reset(&rig->vq);
	rig->faults = 0;
	fake_init(&rig->driver, &rig->mem, RIG_RINGS, &p);
	setup = queue_rig_setup(rig);
	CHECK(vq_enable(&rig->vq, &setup) == VQ_OK);
}

uint8_t *queue_rig_mem(struct queue_rig *rig, uint64_t gpa, uint64_t len_bytes)
{
	uint8_t *host = gmem_map(&rig->mem, GPA(gpa), len_bytes);

	CHECK(host);
	return host;
}

bool queue_rig_exchange(struct queue_rig *rig)
{
	const struct fake_buf bufs[2] = {
		{RIG_BUFFERS, 5, false},
		{RIG_BUFFERS + 0x1000, 8, true},
	};
	struct fake_used used;
	char text[6] = "";
	int id;

	memcpy(queue_rig_mem(rig, RIG_BUFFERS, 5), "hello", 5);
	id = fake_offer(&rig->driver, bufs, rig->driver.p.size > 1 ? 2 : 1, false);
	if (id < 0)
		return false;
	fake_show(&rig->driver);
	if (!vq_pop(&rig->vq, &rig->chain) || chain_read(&rig->chain, 0, text, sizeof(text)) != 5 ||
		strcmp(text, "hello"))
		return false;
	vq_push(&rig->vq, &rig->chain, (uint32_t)chain_write(&rig->chain, 0, "answer", 6));
	vq_publish(&rig->vq);
	return fake_take(&rig->driver, &used) && used.id == id && !vq_has_work(&rig->vq) &&
	       !rig->vq.in_flight;
}

uint64_t queue_rig_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a script of what a hostile guest and a device do with one queue. */
#include "support/queue_script.h"

#include <string.h>

#include "core/check.h"
#include "support/queue_rig.h"

#define SLOTS 4 /* chains that the device holds at the same time */

struct script {
	const uint8_t *at, *end;
	struct queue_rig rig;
	struct iovec iov[SLOTS][RIG_IOV_MAX];
	struct vq_chain held[SLOTS];
	bool holds[SLOTS];
};

/* The next `size_bytes` bytes as a number; zeroes after the end. */
static uint64_t script_next(struct script *s, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes && s->at < s->end; i++)
		value |= (uint64_t)*s->at++ << 8 * i;
	return value;
}

/* Addresses: mostly in RAM and near its start, sometimes any. */
static uint64_t script_addr(struct script *s)
{
	uint8_t kind = (uint8_t)script_next(s, 1);

	if (kind < 0xc0)
		return RIG_BUFFERS + script_next(s, 2);
	if (kind < 0xe0)
		return RIG_RAM - script_next(s, 1);
	return script_next(s, 8);
}

static void write_desc(struct script *s, uint64_t table_gpa)
{
	struct fake_driver *d = &s->rig.driver;
	unsigned int i = (unsigned int)script_next(s, 1) % d->p.size;
	uint64_t addr = script_addr(s);
	uint32_t len = (uint32_t)script_next(s, 2);
	uint16_t flags = (uint16_t)script_next(s, 1);

	flags = (uint16_t)((flags & 7) | (flags & 0x18) << 11 | (flags & 0x60) << 2);
	if (len > 0xfff0)
		len = len << 16 | 0xffff;
	fake_desc_put(d, queue_rig_mem(&s->rig, table_gpa, 16ULL * d->p.size), i, addr, len, flags,
		(uint16_t)script_next(s, 1));
}

static void write_indirect(struct script *s)
{
	struct fake_driver *d = &s->rig.driver;
	unsigned int i = (unsigned int)script_next(s, 1) % d->p.size;
	uint8_t count = (uint8_t)script_next(s, 1);

	fake_desc_put(d, d->desc, i, RIG_BUFFERS + (count & 0x80 ? 1 : 0), 16u * (count & 0x7f),
		FAKE_F_INDIRECT, (uint16_t)i);
}

/* Any byte of the three areas. */
static void write_raw(struct script *s)
{
	struct fake_driver *d = &s->rig.driver;
	uint64_t span = d->indirect_gpa - d->desc_gpa;
	uint64_t at = d->desc_gpa + script_next(s, 2) % span;

	*queue_rig_mem(&s->rig, at, 1) = (uint8_t)script_next(s, 1);
}

/* What the driver wants to be told: used_event, or the packed ring's event suppression. */
static void write_event(struct script *s)
{
	struct fake_driver *d = &s->rig.driver;
	uint16_t event = (uint16_t)script_next(s, 2), flags = (uint16_t)script_next(s, 1);

	if (s->rig.vq.enabled && event & 0x100) /* often: where the ring is now */
		event = (uint16_t)(s->rig.vq.next_used | (event & 0x8000));
	memcpy(d->driver + (d->p.packed ? 0 : 4 + 2 * (size_t)d->p.size), &event, 2);
	memcpy(d->driver + (d->p.packed ? 2 : 0), &flags, 2);
}

/* Every descriptor leads to the next one. */
static void write_endless(struct script *s)
{
	struct fake_driver *d = &s->rig.driver;

	for (uint16_t i = 0; i < d->p.size; i++)
		fake_desc_put(d, d->desc, i, RIG_BUFFERS, 1, FAKE_F_NEXT,
			(uint16_t)((i + 1) % d->p.size));
}

/* Enables the queue with areas anywhere; if that works out, the rest of the script meets it so. */
static void enable_anywhere(struct script *s)
{
	struct vq_setup setup = queue_rig_setup(&s->rig);
	enum vq_fault fault;

	setup.size = (uint16_t)script_next(s, 1);
	setup.desc = GPA(script_addr(s));
	setup.driver = GPA(script_addr(s));
	setup.device = GPA(script_addr(s));
	vq_reset(&s->rig.vq);
	s->rig.faults = 0;
	fault = vq_enable(&s->rig.vq, &setup);
	CHECK(s->rig.vq.enabled == (fault == VQ_OK));
	vq_memory_changed(&s->rig.vq);
}

static void make_available(struct script *s)
{
	struct fake_driver *d = &s->rig.driver;
	uint16_t i = (uint16_t)script_next(s, 1);

	if (!d->p.packed)
		fake_head_put(d, i & 0x1f);
	else if (!s->rig.vq.fault)
		fake_head_put(d, i & 1 ? s->rig.vq.next_avail : i % d->p.size);
	if (d->p.packed && i & 2)
		d->avail_wrap = s->rig.vq.avail_wrap;
}

static void check_chain(const struct script *s, const struct vq_chain *chain)
{
	const uint8_t *ram = s->rig.mem.regions[0].host;
	uint64_t sum = 0;

	CHECK(chain->out_count + chain->in_count >= 1);
	CHECK(chain->out_count + chain->in_count <= RIG_IOV_MAX);
	CHECK(chain->id < s->rig.vq.setup.size);
	for (unsigned int i = 0; i < chain->out_count + chain->in_count; i++) {
		const uint8_t *base = chain->iov[i].iov_base;

		CHECK(base >= ram && base < ram + RIG_RAM);
		CHECK(chain->iov[i].iov_len <= (size_t)(ram + RIG_RAM - base));
		sum += chain->iov[i].iov_len;
	}
	CHECK(sum == chain->out_bytes + chain->in_bytes && sum <= VQ_CHAIN_BYTES_MAX);
}

static void device_pop(struct script *s, unsigned int i)
{
	bool broken = s->rig.vq.fault;

	if (s->holds[i])
		return;
	s->held[i] = (struct vq_chain){.iov = s->iov[i], .iov_max = RIG_IOV_MAX};
	s->holds[i] = vq_pop(&s->rig.vq, &s->held[i]);
	CHECK(!s->holds[i] || !broken);
	if (s->holds[i])
		check_chain(s, &s->held[i]);
}

static void device_push(struct script *s, unsigned int i)
{
	struct vq_chain *chain = &s->held[i];
	uint8_t bytes[64];
	uint32_t n;

	if (!s->holds[i])
		return;
	s->holds[i] = false;
	n = (uint32_t)chain_read(chain, 0, bytes, sizeof(bytes));
	memset(bytes + n, 0x5a, sizeof(bytes) - n);
	n = (uint32_t)chain_write(chain, script_next(s, 1), bytes, sizeof(bytes));
	vq_push(&s->rig.vq, chain, n);
}

static void device_unpop(struct script *s, unsigned int i)
{
	/* Only a chain that was popped last may go back: pop it here. */
	device_push(s, i);
	device_pop(s, i);
	if (s->holds[i])
		vq_unpop(&s->rig.vq, &s->held[i]);
	s->holds[i] = false;
}

static void script_step(struct script *s)
{
	uint8_t op = (uint8_t)script_next(s, 1);
	unsigned int i = op >> 4 & (SLOTS - 1);

	switch (op & 0xf) {
	case 0:
	case 1:
		write_desc(s, s->rig.driver.desc_gpa);
		break;
	case 2:
		write_desc(s, RIG_BUFFERS + (i & 1));
		break;
	case 3:
		if (i == 3)
			write_endless(s);
		else
			write_indirect(s);
		break;
	case 4:
		write_raw(s);
		break;
	case 5:
	case 6:
		make_available(s);
		break;
	case 7:
		if (!s->rig.driver.p.packed)
			fake_avail_put(&s->rig.driver, (uint16_t)script_next(s, 2));
		break;
	case 8:
	case 9:
		device_pop(s, i);
		break;
	case 10:
	case 11:
		device_push(s, i);
		break;
	case 12:
		vq_publish(&s->rig.vq);
		break;
	case 13:
		if (i > 1)
			write_event(s);
		else if (i)
			vq_notify_on(&s->rig.vq);
		else
			vq_notify_off(&s->rig.vq);
		break;
	case 14:
		device_unpop(s, i);
		break;
	default:
		/* Chains that are held are of an older generation from here on. */
		if (i == 3)
			enable_anywhere(s);
		else
			queue_rig_restart(&s->rig);
	}
}

/* One rig for all runs of the process: mapping memory anew costs more than most scripts. */
static void script_start(struct script *s, const struct fake_params *p)
{
	if (!s->rig.vq.max_size)
		queue_rig_init(&s->rig, p);
	s->rig.driver.p = *p;
	memset(queue_rig_mem(&s->rig, RIG_BUFFERS, 0x11000), 0, 0x11000);
	memset(s->holds, 0, sizeof(s->holds));
	queue_rig_restart(&s->rig);
}

void queue_script_run(const uint8_t *script, size_t len_bytes, bool packed)
{
	static struct script s;
	uint8_t features;

	s.at = script;
	s.end = script + len_bytes;
	features = (uint8_t)script_next(&s, 1);
	script_start(&s, &(struct fake_params){.size = packed ? 13 : 16,
				 .packed = packed,
				 .indirect = features & 1,
				 .event_idx = features & 2,
				 .in_order = features & 4});
	while (s.at < s.end)
		script_step(&s);
	CHECK(s.rig.faults <= 1 && (s.rig.faults == 1) == (s.rig.vq.fault != VQ_OK));
}

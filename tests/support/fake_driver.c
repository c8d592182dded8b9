/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of a virtqueue. Written from the specification (virtio 1.2 §2.7, §2.8) without
 * a look at the device's side, so that the two check each other. */
#include "support/fake_driver.h"

#include <string.h>

#include "core/check.h"

#define ALIGN_UP(x, a) (((x) + (a)-1) & ~((uint64_t)(a)-1))

static uint16_t load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_SEQ_CST);
}

static void store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, value, __ATOMIC_SEQ_CST);
}

static uint32_t load32(const uint8_t *at)
{
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_SEQ_CST);
}

void fake_init(
	struct fake_driver *d, const struct gmem *mem, uint64_t base, const struct fake_params *p)
{
	uint64_t desc_bytes = 16ULL * p->size;
	uint64_t driver_bytes = p->packed ? 4 : 6 + 2ULL * p->size;
	uint64_t device_bytes = p->packed ? 4 : 6 + 8ULL * p->size;

	CHECK(p->size && p->size <= FAKE_SIZE_MAX);
	memset(d, 0, sizeof(*d));
	d->mem = mem;
	d->p = *p;
	d->desc_gpa = base;
	d->driver_gpa = ALIGN_UP(d->desc_gpa + desc_bytes, 64);
	d->device_gpa = ALIGN_UP(d->driver_gpa + driver_bytes, 64);
	d->indirect_gpa = ALIGN_UP(d->device_gpa + device_bytes, 4096);
	d->end_gpa = ALIGN_UP(d->indirect_gpa + 16ULL * FAKE_INDIRECT_MAX * p->size, 4096);
	d->desc = gmem_map(mem, GPA(d->desc_gpa), desc_bytes);
	d->driver = gmem_map(mem, GPA(d->driver_gpa), driver_bytes);
	d->device = gmem_map(mem, GPA(d->device_gpa), device_bytes);
	CHECK(d->desc && d->driver && d->device);
	CHECK(gmem_map(mem, GPA(base), d->end_gpa - base));
	memset(d->desc, 0, desc_bytes);
	memset(d->driver, 0, driver_bytes);
	memset(d->device, 0, device_bytes);
	d->avail_wrap = d->used_wrap = true;
	d->free_count = p->size;
	for (uint16_t i = 0; i < p->size; i++)
		d->free_next[i] = (uint16_t)((i + 1) % p->size);
	/* Packed without IN_ORDER: the FIFO holds the free ids. */
	for (uint16_t i = 0; p->packed && !p->in_order && i < p->size; i++)
		d->fifo[i] = i;
	d->fifo_count = p->packed && !p->in_order ? p->size : 0;
}

static void fifo_add(struct fake_driver *d, uint16_t id)
{
	d->fifo[(d->fifo_first + d->fifo_count++) % d->p.size] = id;
}

static uint16_t fifo_take(struct fake_driver *d)
{
	uint16_t id = d->fifo[d->fifo_first];

	CHECK(d->fifo_count);
	d->fifo_first = (uint16_t)((d->fifo_first + 1) % d->p.size);
	d->fifo_count--;
	return id;
}

void fake_desc_put(struct fake_driver *d, uint8_t *table, unsigned int i, uint64_t addr,
	uint32_t len_bytes, uint16_t flags, uint16_t next_or_id)
{
	uint8_t *at = table + 16ULL * i;
	uint16_t mid = d->p.packed ? next_or_id : flags;
	uint16_t tail = d->p.packed ? flags : next_or_id;

	memcpy(at, &addr, 8);
	memcpy(at + 8, &len_bytes, 4);
	memcpy(at + 12, &mid, 2);
	/* The device may be looking at a packed descriptor's flags; an indirect table, which may
	 * lie at any address, it does not look at before it is offered. */
	if ((uintptr_t)at % 2)
		memcpy(at + 14, &tail, 2);
	else
		store16(at + 14, tail);
}

static uint16_t buf_flags(const struct fake_buf *bufs, unsigned int i, unsigned int count)
{
	return (bufs[i].write ? FAKE_F_WRITE : 0) | (i + 1 < count ? FAKE_F_NEXT : 0);
}

/* Fills id's own indirect table; returns the one buffer that stands for it. */
static struct fake_buf indirect_fill(
	struct fake_driver *d, uint16_t id, const struct fake_buf *bufs, unsigned int count)
{
	uint64_t gpa = d->indirect_gpa + 16ULL * FAKE_INDIRECT_MAX * id;
	uint8_t *table = gmem_map(d->mem, GPA(gpa), 16ULL * FAKE_INDIRECT_MAX);

	CHECK(count <= FAKE_INDIRECT_MAX);
	for (unsigned int i = 0; i < count; i++) {
		uint16_t flags = buf_flags(bufs, i, count);

		if (d->p.packed)
			flags &= (uint16_t)~FAKE_F_NEXT;
		fake_desc_put(d, table, i, bufs[i].addr, bufs[i].len_bytes, flags,
			d->p.packed ? 0 : (uint16_t)(i + 1));
	}
	return (struct fake_buf){.addr = gpa, .len_bytes = 16 * count};
}

static void chain_note(struct fake_driver *d, uint16_t id, uint16_t descs,
	const struct fake_buf *bufs, unsigned int count)
{
	d->chains[id] = (struct fake_chain){.descs = descs};
	for (unsigned int i = 0; i < count; i++)
		d->chains[id].in_bytes += bufs[i].write ? bufs[i].len_bytes : 0;
	if (d->p.in_order)
		fifo_add(d, id);
}

static int split_offer(
	struct fake_driver *d, const struct fake_buf *bufs, unsigned int count, bool indirect)
{
	uint16_t head = d->free_head, at = head;
	unsigned int descs = indirect ? 1 : count;

	if (descs > d->free_count)
		return -1;
	if (indirect) {
		struct fake_buf one = indirect_fill(d, head, bufs, count);

		fake_desc_put(d, d->desc, head, one.addr, one.len_bytes, FAKE_F_INDIRECT, 0);
		at = d->free_next[at];
	}
	for (unsigned int i = 0; !indirect && i < count; i++) {
		fake_desc_put(d, d->desc, at, bufs[i].addr, bufs[i].len_bytes,
			buf_flags(bufs, i, count), d->free_next[at]);
		at = d->free_next[at];
	}
	d->free_head = at;
	d->free_count = (uint16_t)(d->free_count - descs);
	chain_note(d, head, (uint16_t)descs, bufs, count);
	store16(d->driver + 4 + 2 * (size_t)(d->next_avail % d->p.size), head);
	d->next_avail++;
	return head;
}

static void packed_step(struct fake_driver *d, uint16_t *at, bool *wrap)
{
	if (++*at == d->p.size) {
		*at = 0;
		*wrap = !*wrap;
	}
}

static uint16_t packed_avail_bits(bool wrap)
{
	return wrap ? FAKE_F_AVAIL : FAKE_F_USED;
}

/* One slot; the flags of the first one since the last show are held back. */
static void packed_put(
	struct fake_driver *d, const struct fake_buf *buf, uint16_t flags, uint16_t id)
{
	uint8_t *at = d->desc + 16ULL * d->next_avail;

	flags |= packed_avail_bits(d->avail_wrap);
	memcpy(at, &buf->addr, 8);
	memcpy(at + 8, &buf->len_bytes, 4);
	memcpy(at + 12, &id, 2);
	if (d->unshown) {
		store16(at + 14, flags);
	} else {
		d->first_slot = d->next_avail;
		d->first_flags = flags;
	}
	d->unshown++;
	packed_step(d, &d->next_avail, &d->avail_wrap);
}

static int packed_offer(
	struct fake_driver *d, const struct fake_buf *bufs, unsigned int count, bool indirect)
{
	unsigned int descs = indirect ? 1 : count;
	uint16_t id;

	if (descs > d->free_count)
		return -1;
	id = d->p.in_order ? d->next_avail : fifo_take(d);
	if (indirect) {
		struct fake_buf one = indirect_fill(d, id, bufs, count);

		packed_put(d, &one, FAKE_F_INDIRECT, id);
	}
	for (unsigned int i = 0; !indirect && i < count; i++)
		packed_put(d, &bufs[i], buf_flags(bufs, i, count), id);
	d->free_count = (uint16_t)(d->free_count - descs);
	chain_note(d, id, (uint16_t)descs, bufs, count);
	return id;
}

int fake_offer(
	struct fake_driver *d, const struct fake_buf *bufs, unsigned int count, bool indirect)
{
	CHECK(!indirect || d->p.indirect);
	return d->p.packed ? packed_offer(d, bufs, count, indirect)
			   : split_offer(d, bufs, count, indirect);
}

static bool event_needed(uint16_t event, uint16_t to, uint16_t from)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

static bool split_show(struct fake_driver *d)
{
	uint16_t from = d->shown;

	if (from == d->next_avail)
		return false;
	store16(d->driver + 2, d->next_avail);
	d->shown = d->next_avail;
	if (d->p.event_idx)
		return event_needed(load16(d->device + 4 + 8 * (size_t)d->p.size), d->shown, from);
	return !(load16(d->device) & 1);
}

static bool packed_show(struct fake_driver *d)
{
	uint16_t slots = d->unshown, flags, event;

	if (!slots)
		return false;
	store16(d->desc + 16ULL * d->first_slot + 14, d->first_flags);
	d->unshown = 0;
	flags = load16(d->device + 2);
	if (flags != 2)
		return flags == 0;
	event = load16(d->device);
	if ((event >> 15) != d->avail_wrap)
		event = (uint16_t)((event & 0x7fff) - d->p.size);
	else
		event &= 0x7fff;
	return event_needed(event, d->next_avail, (uint16_t)(d->next_avail - slots));
}

bool fake_show(struct fake_driver *d)
{
	return d->p.packed ? packed_show(d) : split_show(d);
}

static bool packed_is_used(const struct fake_driver *d)
{
	uint16_t flags = load16(d->desc + 16ULL * d->next_used + 14);

	return !!(flags & FAKE_F_AVAIL) == d->used_wrap && !!(flags & FAKE_F_USED) == d->used_wrap;
}

static bool used_ready(const struct fake_driver *d)
{
	if (d->batch_open)
		return true;
	return d->p.packed ? packed_is_used(d) : load16(d->device + 2) != d->next_used;
}

static struct fake_used used_read(const struct fake_driver *d)
{
	const uint8_t *at;

	if (d->p.packed) {
		at = d->desc + 16ULL * d->next_used;
		return (struct fake_used){load16(at + 12), load32(at + 8)};
	}
	at = d->device + 4 + 8 * (size_t)(d->next_used % d->p.size);
	return (struct fake_used){(uint16_t)load32(at), load32(at + 4)};
}

/* IN_ORDER: the next chain in the order of offering; its length is the entry's if it is the last
 * that the entry stands for, else all of it. */
static void batch_take(struct fake_driver *d, struct fake_used *used)
{
	if (!d->batch_open)
		d->batch = used_read(d);
	d->batch_open = true;
	used->id = fifo_take(d);
	used->len_bytes = d->chains[used->id].in_bytes;
	if (used->id == d->batch.id) {
		used->len_bytes = d->batch.len_bytes;
		d->batch_open = false;
	}
}

static void chain_free(struct fake_driver *d, uint16_t id)
{
	uint16_t descs = d->chains[id].descs, last = id;

	CHECK(descs);
	d->chains[id].descs = 0;
	d->free_count = (uint16_t)(d->free_count + descs);
	if (d->p.packed) {
		for (uint16_t i = 0; i < descs; i++)
			packed_step(d, &d->next_used, &d->used_wrap);
		if (!d->p.in_order)
			fifo_add(d, id);
		return;
	}
	d->next_used++;
	/* IN_ORDER keeps the table in ring order: freed as taken, nothing to relink. */
	if (d->p.in_order)
		return;
	for (uint16_t i = 1; i < descs; i++)
		last = d->free_next[last];
	if (d->free_count > descs)
		d->free_next[last] = d->free_head;
	d->free_head = id;
}

bool fake_take(struct fake_driver *d, struct fake_used *used)
{
	if (!used_ready(d))
		return false;
	if (d->p.in_order)
		batch_take(d, used);
	else
		*used = used_read(d);
	CHECK(used->id < d->p.size);
	chain_free(d, used->id);
	return true;
}

bool fake_interrupts(struct fake_driver *d, bool on)
{
	if (d->p.packed) {
		store16(d->driver, (uint16_t)(d->next_used | (d->used_wrap ? 0x8000 : 0)));
		store16(d->driver + 2, !on ? 1 : d->p.event_idx ? 2 : 0);
	} else if (d->p.event_idx) {
		store16(d->driver + 4 + 2 * (size_t)d->p.size,
			on ? d->next_used : (uint16_t)(d->next_used - 1));
	} else {
		store16(d->driver, !on);
	}
	return used_ready(d);
}

void fake_head_put(struct fake_driver *d, uint16_t i)
{
	uint8_t *flags = d->desc + 16ULL * i + 14;

	if (d->p.packed) {
		store16(flags, (uint16_t)((load16(flags) & ~(FAKE_F_AVAIL | FAKE_F_USED)) |
					  packed_avail_bits(d->avail_wrap)));
		return;
	}
	store16(d->driver + 4 + 2 * (size_t)(d->next_avail % d->p.size), i);
	fake_avail_put(d, (uint16_t)(d->next_avail + 1));
}

void fake_avail_put(struct fake_driver *d, uint16_t idx)
{
	d->next_avail = d->shown = idx;
	store16(d->driver + 2, idx);
}

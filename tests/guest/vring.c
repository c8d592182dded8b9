/* SPDX-License-Identifier: Apache-2.0 */
/* Rings: memory, slots, and which format does what. */
#include "vring.h"

#include "lib.h"
#include "page.h"
#include "vring_format.h"

#define AREA_ALIGN 64UL

static uint64_t round_up(uint64_t value)
{
	return (value + AREA_ALIGN - 1) & ~(AREA_ALIGN - 1);
}

bool vring_init(struct vring *r, const struct vring_params *params)
{
	uint64_t size = params->size;
	uint64_t driver = round_up(sizeof(struct vring_desc) * size);
	uint64_t device = driver + round_up(params->packed ? 4 : 6 + 2 * size);
	uint64_t slots = device + round_up(params->packed ? 4 : 6 + 8 * size);
	uint64_t tables = slots + round_up(sizeof(struct vring_slot) * size);
	uint64_t end = tables;
	if (params->indirect)
		end += sizeof(struct vring_desc) * VRING_SEGMENTS_MAX * size;

	memset(r, 0, sizeof(*r));
	r->params = *params;
	r->page_count = (end + PAGE_SIZE - 1) / PAGE_SIZE;
	r->pages = page_alloc(r->page_count);
	if (!r->pages)
		return false;
	uint64_t base = (uint64_t)r->pages;
	r->desc = (volatile struct vring_desc *)base;
	r->driver = (volatile uint16_t *)(base + driver);
	r->device = (volatile uint16_t *)(base + device);
	r->slots = (struct vring_slot *)(base + slots);
	r->tables = (struct vring_desc *)(base + tables);
	r->avail_wrap = r->used_wrap = true;
	r->free_descs = params->size;
	for (uint16_t i = 0; i < params->size; i++)
		r->slots[i].next = (uint16_t)(i + 1);
	vring_irq_off(r);
	return true;
}

void vring_finish(struct vring *r)
{
	if (r->pages)
		page_free(r->pages, r->page_count);
	r->pages = NULL;
}

uint64_t vring_desc_address(const struct vring *r)
{
	return (uint64_t)r->desc;
}

uint64_t vring_driver_address(const struct vring *r)
{
	return (uint64_t)r->driver;
}

uint64_t vring_device_address(const struct vring *r)
{
	return (uint64_t)r->device;
}

/* Fills the table of slot `id`; `descs` then has the one descriptor that refers to it. */
static void table_fill(struct vring *r, uint16_t id, const struct vring_chain *chain)
{
	struct vring_desc *table = &r->tables[id * VRING_SEGMENTS_MAX];
	unsigned count = chain->out + chain->in;
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = i < chain->out ? 0 : VRING_DESC_WRITE;
		uint16_t next = 0;
		if (!r->params.packed && i + 1 < count) {
			flags |= VRING_DESC_NEXT;
			next = (uint16_t)(i + 1);
		}
		table[i].address = chain->segments[i].address;
		table[i].len_bytes = chain->segments[i].len_bytes;
		table[i].mid = r->params.packed ? 0 : flags;
		table[i].tail = r->params.packed ? flags : next;
	}
}

bool vring_add(struct vring *r, const struct vring_segment *segments, unsigned out, unsigned in,
	uint64_t token)
{
	struct vring_chain chain = {.segments = segments, .out = out, .in = in};
	struct vring_segment whole;
	uint16_t id = r->free_head;
	bool by_table = r->params.indirect && out + in > 1;
	if (!vring_room(r, out + in))
		return false;
	if (by_table) {
		table_fill(r, id, &chain);
		whole.address = (uint64_t)&r->tables[id * VRING_SEGMENTS_MAX];
		whole.len_bytes = (uint32_t)(sizeof(struct vring_desc) * (out + in));
		chain = (struct vring_chain){.segments = &whole, .out = 1, .is_table = true};
	}
	r->slots[id].token = token;
	r->slots[id].descs = (uint16_t)(chain.out + chain.in);
	r->free_descs -= r->slots[id].descs;
	if (r->params.packed)
		packed_add(r, id, &chain);
	else
		split_add(r, id, &chain);
	return true;
}

bool vring_show(struct vring *r)
{
	if (!r->unshown)
		return false;
	bool kick = r->params.packed ? packed_show(r) : split_show(r);
	r->unshown = 0;
	return kick;
}

bool vring_peek(const struct vring *r, uint32_t *id, uint32_t *written_bytes)
{
	return r->params.packed ? packed_peek(r, id, written_bytes)
				: split_peek(r, id, written_bytes);
}

bool vring_take(struct vring *r, uint64_t *token, uint32_t *written_bytes)
{
	uint32_t id, written;
	if (!vring_peek(r, &id, &written))
		return false;
	struct vring_slot *slot = id < r->params.size ? &r->slots[id] : NULL;
	if (!slot || !slot->descs) {
		print("vring: the device used %u, which is not in flight\n", id);
		return false;
	}
	*token = slot->token;
	if (written_bytes)
		*written_bytes = written;
	r->free_descs += slot->descs;
	if (r->params.packed)
		packed_release(r, (uint16_t)id);
	else
		split_release(r, (uint16_t)id);
	slot->descs = 0;
	return true;
}

void vring_irq_off(struct vring *r)
{
	if (r->params.packed)
		packed_irq(r, false);
	else
		split_irq(r, false);
}

/* Our wish must be visible before we look; the device does the reverse. */
static bool look_after_wish(const struct vring *r)
{
	uint32_t id, written;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vring_peek(r, &id, &written);
}

bool vring_irq_on(struct vring *r)
{
	if (r->params.packed)
		packed_irq(r, true);
	else
		split_irq(r, true);
	return look_after_wish(r);
}

bool vring_irq_on_later(struct vring *r)
{
	if (!r->params.event_idx)
		return vring_irq_on(r);
	if (r->params.packed)
		packed_irq_later(r);
	else
		split_irq_later(r);
	return look_after_wish(r);
}

unsigned vring_room(const struct vring *r, unsigned segments)
{
	return r->free_descs / (r->params.indirect ? 1 : segments);
}

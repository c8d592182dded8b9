/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio-mem: requests of the guest, requests of the host. */
#include "virtio/mem.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "trace/probe.h"

/* Offsets in the configuration space, §5.15.4. */
enum {
	CONFIG_BLOCK_SIZE = 0,
	CONFIG_ADDR = 16,
	CONFIG_REGION_SIZE = 24,
	CONFIG_USABLE_SIZE = 32,
	CONFIG_PLUGGED_SIZE = 40,
	CONFIG_REQUESTED_SIZE = 48,
};

/* A request, copied out of the guest's memory. */
struct request {
	uint16_t type;
	uint64_t addr, len_bytes; /* the range, in whole blocks; len 0: none was given */
	bool whole;               /* all of its bytes were there */
};

static struct mem *mem_of(struct virtio_device *dev)
{
	return container_of(dev, struct mem, dev);
}

/* --- config space --- */

static void config_put(struct mem *m, unsigned int offset, uint64_t value)
{
	value = htole64(value);
	memcpy(m->config + offset, &value, sizeof(value));
}

static void probe_change(const struct mem *m)
{
	PROBE(mem_change, probe_string(m->dev.env->guest), m->size.requested_size,
		m->size.plugged_size);
}

/* The driver has asked for it, and is not told by an interrupt; but what it has read of the
 * configuration may be half of the old value (§4.1.4.3.1). */
static void plugged_set(struct mem *m, uint64_t plugged_size)
{
	if (plugged_size == m->size.plugged_size)
		return;
	m->size.plugged_size = plugged_size;
	probe_change(m);
	config_put(m, CONFIG_PLUGGED_SIZE, plugged_size);
	m->dev.generation++;
}

int mem_request(struct mem *m, uint64_t requested_size, struct diag *d)
{
	if (requested_size > m->size.region_size || requested_size % m->size.block_size)
		return diag_fail(d, -EINVAL,
			"requested_size is %" PRIu64
			"; it must be a multiple of the block size (%" PRIu64
			") up to the region's size (%" PRIu64 ")",
			requested_size, m->size.block_size, m->size.region_size);
	m->size.requested_size = requested_size;
	config_put(m, CONFIG_REQUESTED_SIZE, requested_size);
	probe_change(m);
	virtio_config_changed(&m->dev);
	return 0;
}

void mem_figures(const struct mem *m, struct mem_figures *to)
{
	*to = (struct mem_figures){
		.requests = m->requests,
		.refusals = m->refusals,
		.failures = m->failures,
		.discards = m->discards,
		.discarded_bytes = m->discarded_bytes,
	};
}

/* --- requests --- */

static struct request request_read(const struct mem *m, const struct vq_chain *chain)
{
	uint8_t raw[MEM_REQUEST_BYTES] = {0};
	size_t n = chain_read(chain, 0, raw, sizeof(raw));
	struct request r;
	uint16_t blocks;

	memcpy(&r.type, raw, sizeof(r.type));
	memcpy(&r.addr, raw + MEM_HEADER_BYTES, sizeof(r.addr));
	memcpy(&blocks, raw + MEM_HEADER_BYTES + sizeof(r.addr), sizeof(blocks));
	r.type = le16toh(r.type);
	r.addr = le64toh(r.addr);
	/* No overflow: a block is at most as large as the region, of 2^40 bytes. */
	r.len_bytes = le16toh(blocks) * m->size.block_size;
	r.whole = n >= (r.type == MEM_REQ_UNPLUG_ALL ? MEM_HEADER_BYTES : MEM_REQUEST_BYTES);
	return r;
}

static void respond(struct mem *m, enum mem_response type, enum mem_state state)
{
	struct virtio_queue *q = &m->dev.queues[0];
	uint8_t raw[MEM_RESPONSE_BYTES] = {(uint8_t)type};
	size_t n;

	raw[MEM_HEADER_BYTES] = (uint8_t)state;
	n = chain_write(&m->chain, 0, raw, sizeof(raw));
	m->refusals += type != MEM_RESP_ACK;
	if (!virtio_queue_live(q))
		return; /* its rings went with the memory that was unplugged */
	vq_push(&q->vq, &m->chain, (uint32_t)n);
	virtio_queue_flush(q);
}

static uint64_t block_of(const struct mem *m, uint64_t addr)
{
	return (addr - m->region->start.v) / m->size.block_size;
}

static void do_plug(struct mem *m, const struct request *r)
{
	if (gmem_plugged(m->mem, GPA(r->addr), r->len_bytes) != 0)
		respond(m, MEM_RESP_ERROR, 0);
	else if (m->size.plugged_size > m->size.requested_size ||
		 r->len_bytes > m->size.requested_size - m->size.plugged_size)
		respond(m, MEM_RESP_NACK, 0);
	else
		mem_job_start(
			m, true, block_of(m, r->addr), block_of(m, r->addr + r->len_bytes), NULL);
}

static void do_unplug(struct mem *m, const struct request *r)
{
	int64_t plugged = gmem_plugged(m->mem, GPA(r->addr), r->len_bytes);

	if (plugged < 0 || (uint64_t)plugged * m->size.block_size != r->len_bytes) {
		respond(m, MEM_RESP_ERROR, 0);
		return;
	}
	gmem_plug(m->mem, GPA(r->addr), r->len_bytes, false);
	m->unplugged(m);
	mem_job_start(m, false, block_of(m, r->addr), block_of(m, r->addr + r->len_bytes), NULL);
}

static void do_unplug_all(struct mem *m)
{
	const struct gmem_region *r = m->region;
	uint64_t blocks = r->size_bytes / r->block_bytes;

	memcpy(m->plugged_before, r->plugged, (blocks + 63) / 64 * sizeof(uint64_t));
	gmem_plug(m->mem, r->start, r->size_bytes, false);
	m->unplugged(m);
	mem_job_start(m, false, 0, blocks, m->plugged_before);
}

static void do_state(struct mem *m, const struct request *r)
{
	int64_t plugged = gmem_plugged(m->mem, GPA(r->addr), r->len_bytes);

	if (plugged < 0)
		respond(m, MEM_RESP_ERROR, 0);
	else if ((uint64_t)plugged * m->size.block_size == r->len_bytes)
		respond(m, MEM_RESP_ACK, MEM_STATE_PLUGGED);
	else
		respond(m, MEM_RESP_ACK, plugged ? MEM_STATE_MIXED : MEM_STATE_UNPLUGGED);
}

static void request_do(struct mem *m, const struct request *r)
{
	m->requests++;
	if (!r->whole)
		respond(m, MEM_RESP_ERROR, 0);
	else if (r->type == MEM_REQ_PLUG)
		do_plug(m, r);
	else if (r->type == MEM_REQ_UNPLUG)
		do_unplug(m, r);
	else if (r->type == MEM_REQ_UNPLUG_ALL)
		do_unplug_all(m);
	else if (r->type == MEM_REQ_STATE)
		do_state(m, r);
	else
		respond(m, MEM_RESP_ERROR, 0);
}

static enum virtio_serve mem_serve(struct virtio_queue *q)
{
	struct mem *m = mem_of(q->dev);

	for (unsigned int i = 0; i < VIRTIO_BUDGET_CHAINS; i++) {
		struct request r;

		if (m->busy)
			return VIRTIO_SERVE_BLOCKED;
		m->chain = (struct vq_chain){.iov = m->iov, .iov_max = MEM_QUEUE_SIZE};
		if (!vq_pop(&q->vq, &m->chain))
			return VIRTIO_SERVE_IDLE;
		r = request_read(m, &m->chain);
		request_do(m, &r);
	}
	return VIRTIO_SERVE_MORE;
}

/* --- the job's end --- */

/* The bitmap, where the job has changed the slots, or could not after all. */
static void bitmap_set(struct mem *m, bool plugged)
{
	const struct mem_job *j = &m->job;
	const struct gmem_region *r = m->region;

	for (uint64_t block = j->first; block < j->end; block++)
		if (!j->mask || j->mask[block / 64] >> block % 64 & 1)
			gmem_plug(m->mem, GPA(r->start.v + block * r->block_bytes), r->block_bytes,
				plugged);
}

static void job_apply(struct mem *m)
{
	struct mem_job *j = &m->job;
	int64_t plugged;

	if (j->err)
		m->failures++;
	else if (j->discard.failures == j->failures) {
		m->discards++;
		m->discarded_bytes += (j->end - j->first) * m->size.block_size;
	}
	if (j->plug != !!j->err)
		bitmap_set(m, true);
	plugged = gmem_plugged(m->mem, m->region->start, m->region->size_bytes);
	plugged_set(m, (uint64_t)plugged * m->size.block_size);
}

void mem_job_ended(struct mem *m)
{
	struct virtio_queue *q = &m->dev.queues[0];

	m->busy = false;
	job_apply(m);
	if (m->dev.resetting) {
		virtio_reset_done(&m->dev);
	} else if (q->resetting) {
		virtio_queue_reset_done(q);
	} else {
		respond(m, m->job.err ? MEM_RESP_BUSY : MEM_RESP_ACK, 0);
		virtio_queue_wake(q);
	}
}

/* --- reset: blocks stay as they are, §5.15.5.2 --- */

static void mem_queue_reset(struct virtio_queue *q)
{
	if (!mem_of(q->dev)->busy)
		virtio_queue_reset_done(q);
}

static void mem_reset(struct virtio_device *dev)
{
	if (!mem_of(dev)->busy)
		virtio_reset_done(dev);
}

static const struct virtio_device_ops mem_ops = {
	.serve = mem_serve,
	.queue_reset = mem_queue_reset,
	.reset = mem_reset,
};

static void config_space_init(struct mem *m)
{
	m->size = (struct mem_size){
		.block_size = m->region->block_bytes,
		.region_size = m->region->size_bytes,
		.usable_region_size = m->region->size_bytes,
	};
	config_put(m, CONFIG_BLOCK_SIZE, m->size.block_size);
	config_put(m, CONFIG_ADDR, m->region->start.v);
	config_put(m, CONFIG_REGION_SIZE, m->size.region_size);
	config_put(m, CONFIG_USABLE_SIZE, m->size.usable_region_size);
	m->dev.config = m->config;
	m->dev.config_bytes = MEM_CONFIG_BYTES;
}

int mem_init(struct mem *m, struct virtio_env *env, struct gmem *mem,
	void (*unplugged)(struct mem *m), struct diag *d)
{
	static const uint16_t sizes[1] = {MEM_QUEUE_SIZE};
	uint64_t blocks;
	int err;

	memset(m, 0, sizeof(*m));
	m->mem = mem;
	m->region = &mem->regions[mem->count - 1];
	CHECK(m->region->kind == GMEM_HOTPLUG);
	m->unplugged = unplugged;
	blocks = m->region->size_bytes / m->region->block_bytes;
	m->plugged_before = calloc((blocks + 63) / 64, sizeof(uint64_t));
	if (!m->plugged_before)
		return diag_fail(d, -ENOMEM, "no memory for a bitmap of hot-pluggable blocks");
	err = virtio_device_init(
		&m->dev, &mem_ops, env, "virtio-mem", MEM_F_UNPLUGGED_INACCESSIBLE, 1, sizes, d);
	if (!err) {
		config_space_init(m);
		mem_job_init(m);
	}
	return err;
}

void mem_finish(struct mem *m)
{
	CHECK(!m->busy);
	virtio_device_finish(&m->dev);
	free(m->plugged_before);
	m->plugged_before = NULL;
}

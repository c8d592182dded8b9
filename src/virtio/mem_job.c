/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-mem asks of the kernel for a request: memory slots and holes, which may wait for the
 * guest's vCPUs. Helper thread: of the device only what is constant is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "core/check.h"
#include "virtio/discard.h"
#include "virtio/mem.h"

static bool block_is_meant(const struct mem_job *j, uint64_t block)
{
	return !j->mask || j->mask[block / 64] >> block % 64 & 1;
}

static int slot_set(struct mem *m, uint64_t block, bool plug, struct diag *d)
{
	const struct virtio_env *env = m->dev.env;
	const struct gmem_region *r = m->region;

	return env->ops->slot_set(env->ctx, (unsigned int)block,
		GPA(r->start.v + block * r->block_bytes), plug ? r->block_bytes : 0,
		r->host + block * r->block_bytes, d);
}

/* Makes the slots what they were, up to `end`; if the kernel has no memory for that either, the
 * guest finds no memory there. */
static void slots_restore(struct mem *m, uint64_t end)
{
	struct mem_job *j = &m->job;

	for (uint64_t block = j->first; block < end; block++)
		if (block_is_meant(j, block))
			slot_set(m, block, !j->plug, NULL);
}

static int slots_set(struct mem *m)
{
	struct mem_job *j = &m->job;

	for (uint64_t block = j->first; block < j->end; block++) {
		int err = block_is_meant(j, block) ? slot_set(m, block, j->plug, &j->diag) : 0;

		if (err) {
			slots_restore(m, block);
			return err;
		}
	}
	return 0;
}

/* Whatever is resident goes, also in blocks that are not meant: those are unplugged. In parts, as a
 * device's transfer may still be in flight there. */
static int memory_discard(struct mem *m)
{
	const struct gmem_region *r = m->region;
	struct mem_job *j = &m->job;
	uint64_t at = r->file_offset + j->first * r->block_bytes;
	uint64_t end = r->file_offset + j->end * r->block_bytes, part_end;

	for (; at < end; at = part_end) {
		part_end = discard_part_end(at, end);
		if (fallocate(m->mem->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			    (off_t)(part_end - at)))
			return diag_errno(&j->diag, -errno, "cannot give hot-plugged memory back");
	}
	j->discarded = true;
	return 0;
}

void mem_job_work(struct reactor_job *job)
{
	struct mem *m = container_of(job, struct mem, job.job);
	struct mem_job *j = &m->job;

	/* Before a block is plugged as well: a device's transfer that was in flight when the block
	 * was unplugged may have left something there. */
	if (j->plug) {
		j->err = memory_discard(m);
		if (!j->err)
			j->err = slots_set(m);
	} else {
		j->err = slots_set(m);
		if (!j->err)
			memory_discard(m); /* resident or not, the guest cannot reach it */
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-mem asks of the kernel for a request: memory slots, which may wait for the guest's
 * vCPUs and are therefore a helper thread's, and holes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "core/check.h"
#include "virtio/mem.h"

/* A helper thread's step: long enough to be worth one, short against the holes that follow it. */
#define STEP_BYTES (16ULL << 20)

/* --- helper thread: of the device only what is constant is looked at, and the job --- */

static bool block_is_meant(const struct mem_job *j, uint64_t block)
{
	return !j->mask || j->mask[block / 64] >> block % 64 & 1;
}

static uint64_t file_offset(const struct mem *m, uint64_t block)
{
	return m->region->file_offset + block * m->region->block_bytes;
}

static int slot_set(struct mem *m, uint64_t block, bool plug, struct diag *d)
{
	const struct virtio_env *env = m->dev.env;
	const struct gmem_region *r = m->region;

	return env->ops->slot_set(env->ctx, (unsigned int)block,
		GPA(r->start.v + block * r->block_bytes), plug ? r->block_bytes : 0,
		r->host + block * r->block_bytes, d);
}

/* Makes the slots what they were; if the kernel has no memory for that either, the guest finds no
 * memory there. */
static void slots_restore(struct mem *m)
{
	struct mem_job *j = &m->job;

	for (uint64_t block = j->first; block < j->step_end; block++)
		if (block_is_meant(j, block))
			slot_set(m, block, !j->plug, NULL);
	j->step_end = j->first;
}

/* What a device's transfer may have left in a block that is unplugged already. In parts, as another
 * may still be in flight there; if it stays, it is gone before the block is plugged. */
static void block_clean(const struct mem *m, uint64_t block)
{
	uint64_t at = file_offset(m, block), end = file_offset(m, block + 1), part_end;

	for (; at < end; at = part_end) {
		part_end = discard_part_end(at, end);
		fallocate(m->mem->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			(off_t)(part_end - at));
	}
}

/* A plug's slots, all of them; an unplug's, as many as make a step. */
static void slots_set(struct mem *m)
{
	struct mem_job *j = &m->job;
	uint64_t done_bytes = 0;

	j->step_err = 0;
	for (j->step_end = j->slots_at; j->step_end < j->end; j->step_end++) {
		if (!j->plug && done_bytes >= STEP_BYTES)
			return;
		if (!block_is_meant(j, j->step_end)) {
			block_clean(m, j->step_end);
			continue;
		}
		j->step_err = slot_set(m, j->step_end, j->plug, &j->diag);
		if (j->step_err)
			return;
		done_bytes += m->region->block_bytes;
	}
}

static void step_work(struct reactor_job *step)
{
	struct mem *m = container_of(step, struct mem, job.step);

	if (m->job.err)
		slots_restore(m);
	else
		slots_set(m);
}

/* --- home reactor --- */

/* The end of the hole that begins at hole_at: of its part, or of the blocks there that are meant.
 */
static uint64_t hole_end(const struct mem *m, uint64_t block, uint64_t end)
{
	uint64_t part_end = discard_part_end(m->job.hole_at, end);

	while (file_offset(m, block) < part_end && block_is_meant(&m->job, block))
		block++;
	return file_offset(m, block) < part_end ? file_offset(m, block) : part_end;
}

static void holes_go_on(struct mem *m, uint64_t end_block)
{
	struct mem_job *j = &m->job;
	uint64_t start = file_offset(m, 0), end = file_offset(m, end_block);

	while (j->hole_at < end) {
		uint64_t block = (j->hole_at - start) / m->region->block_bytes;
		uint64_t stop = hole_end(m, block, end);

		if (stop <= j->hole_at) {
			j->hole_at = file_offset(m, block + 1);
			continue;
		}
		if (!discard_has_room(&j->discard, stop - j->hole_at))
			return;
		discard_run(&j->discard, j->hole_at, stop - j->hole_at);
		j->hole_at = stop;
	}
}

static bool holes_are_done(const struct mem *m)
{
	return m->job.hole_at == file_offset(m, m->job.end) && !m->job.discard.in_flight;
}

static void step_start(struct mem *m)
{
	m->job.step_out = true;
	reactor_offload(m->dev.env->reactor, &m->job.step);
}

/* A block is plugged when all of it is new: a device's transfer that was in flight when it was
 * unplugged may have left something there. It is unplugged when no vCPU can reach it any more. */
static void job_go_on(struct mem *m)
{
	struct mem_job *j = &m->job;

	if (!j->err) {
		holes_go_on(m, j->plug ? j->end : j->slots_at);
		if (!j->step_out && j->slots_at < j->end && (!j->plug || holes_are_done(m)))
			step_start(m);
	}
	if (j->step_out || j->discard.in_flight)
		return;
	if (j->err && j->step_end > j->first) {
		step_start(m); /* back */
		return;
	}
	mem_job_ended(m);
}

static void step_done(struct reactor_job *step)
{
	struct mem *m = container_of(step, struct mem, job.step);
	struct mem_job *j = &m->job;

	j->step_out = false;
	if (!j->err)
		j->err = j->step_err;
	if (!j->err)
		j->slots_at = j->step_end;
	job_go_on(m);
}

/* Resident or not, the guest cannot reach what is unplugged; but what it plugs has to be new. */
static void hole_ended(struct discard *d)
{
	struct mem *m = container_of(d, struct mem, job.discard);
	struct mem_job *j = &m->job;

	if (j->plug && d->failures > j->failures)
		j->err = diag_errno(&j->diag, d->error, "cannot give hot-plugged memory back");
	job_go_on(m);
}

void mem_job_init(struct mem *m)
{
	m->job.step = (struct reactor_job){.work = step_work, .done = step_done};
	discard_init(&m->job.discard, m->mem, &m->dev.env->reactor, hole_ended);
}

void mem_job_start(struct mem *m, bool plug, uint64_t first, uint64_t end, const uint64_t *mask)
{
	struct mem_job *j = &m->job;

	m->busy = true;
	j->plug = plug;
	j->first = j->slots_at = j->step_end = first;
	j->end = end;
	j->mask = mask;
	j->hole_at = file_offset(m, first);
	j->failures = j->discard.failures;
	j->err = 0;
	job_go_on(m);
}

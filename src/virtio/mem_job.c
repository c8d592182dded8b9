/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-mem asks of the kernel for a request: memory slots, which may wait for the guest's
 * vCPUs and are therefore a helper thread's, and holes. */
#include <errno.h>

#include "core/check.h"
#include "virtio/mem.h"

/* A helper thread's step: long enough to be worth one, short against the holes that follow it. */
#define STEP_BYTES (16ULL << 20)

/* --- helper thread: of the device only what is constant is looked at, and the job --- */

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

static void slots_set(struct mem *m)
{
	struct mem_job *j = &m->job;

	for (uint64_t block = j->slots_at; block < j->step_end; block++) {
		j->step_err = block_is_meant(j, block) ? slot_set(m, block, j->plug, &j->diag) : 0;
		if (j->step_err) {
			j->step_end = block;
			return;
		}
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

static uint64_t file_offset(const struct mem *m, uint64_t block)
{
	return m->region->file_offset + block * m->region->block_bytes;
}

/* Whatever is resident goes, also in blocks that are not meant: those are unplugged. */
static void holes_go_on(struct mem *m, uint64_t end_block)
{
	struct mem_job *j = &m->job;
	uint64_t end = file_offset(m, end_block);

	while (j->hole_at < end) {
		uint64_t part_end = discard_part_end(j->hole_at, end);

		if (!discard_has_room(&j->discard, part_end - j->hole_at))
			return;
		discard_run(&j->discard, j->hole_at, part_end - j->hole_at);
		j->hole_at = part_end;
	}
}

static bool holes_are_done(const struct mem *m)
{
	return m->job.hole_at == file_offset(m, m->job.end) && !m->job.discard.in_flight;
}

static void step_start(struct mem *m, uint64_t end)
{
	m->job.step_end = end;
	m->job.step_out = true;
	reactor_offload(m->dev.env->reactor, &m->job.step);
}

/* The slots that a job goes on with: all of a plug, the next ones of an unplug. */
static uint64_t next_end(const struct mem *m)
{
	const struct mem_job *j = &m->job;
	uint64_t blocks = STEP_BYTES / m->region->block_bytes;

	blocks = blocks ? blocks : 1;
	return j->plug || j->end - j->slots_at < blocks ? j->end : j->slots_at + blocks;
}

/* A block is plugged when all of it is new: a device's transfer that was in flight when it was
 * unplugged may have left something there. It is unplugged when no vCPU can reach it any more. */
static void job_go_on(struct mem *m)
{
	struct mem_job *j = &m->job;

	if (!j->err) {
		holes_go_on(m, j->plug ? j->end : j->slots_at);
		if (!j->step_out && j->slots_at < j->end && (!j->plug || holes_are_done(m)))
			step_start(m, next_end(m));
	}
	if (j->step_out || j->discard.in_flight)
		return;
	if (j->err && j->step_end > j->first) {
		step_start(m, j->step_end); /* back */
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of guest memory given back to the host. */
#include "virtio/discard.h"

#include <linux/falloc.h>

#include "core/check.h"

static void run_done(struct io_op *io, int res, uint32_t cqe_flags)
{
	struct discard_op *op = container_of(io, struct discard_op, io);
	struct discard *d = op->owner;

	(void)cqe_flags;
	d->in_flight--;
	d->in_flight_bytes -= op->len_bytes;
	/* A page that stays resident costs the host memory, and the guest nothing. */
	if (res < 0) {
		d->failures++;
		d->error = res;
	} else {
		d->bytes += op->len_bytes;
	}
	d->ended(d);
}

void discard_init(struct discard *d, const struct gmem *mem, struct reactor **reactor,
	void (*ended)(struct discard *d))
{
	*d = (struct discard){.mem = mem, .reactor = reactor, .ended = ended};
	for (unsigned int i = 0; i < DISCARD_OPS; i++)
		d->ops[i] = (struct discard_op){.io.done = run_done, .owner = d};
}

static struct discard_op *op_free(struct discard *d)
{
	for (unsigned int i = 0; i < DISCARD_OPS; i++)
		if (!d->ops[i].io.in_flight)
			return &d->ops[i];
	return NULL;
}

void discard_run(struct discard *d, uint64_t offset, uint64_t len_bytes)
{
	const struct io_file file = {.fd = d->mem->memfd, .slot = -1};
	struct discard_op *op = op_free(d);

	CHECK(op && discard_has_room(d, len_bytes));
	CHECK(len_bytes && offset % GMEM_PAGE == 0 && len_bytes % GMEM_PAGE == 0);
	CHECK(discard_part_end(offset, offset + len_bytes) == offset + len_bytes);
	op->len_bytes = len_bytes;
	d->in_flight++;
	d->in_flight_bytes += len_bytes;
	d->runs++;
	io_fallocate(*d->reactor, &op->io, &file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		offset, len_bytes);
}

void discard_cancel(struct discard *d)
{
	for (unsigned int i = 0; i < DISCARD_OPS; i++)
		if (d->ops[i].io.in_flight)
			io_cancel(*d->reactor, &d->ops[i].io);
}

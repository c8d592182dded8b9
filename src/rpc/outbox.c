/* SPDX-License-Identifier: Apache-2.0 */
/* The output queue's chunks. */
#include "rpc/outbox.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/check.h"

#define CHUNK_ROOM 4000u /* with its head a little less than a page */

static struct outbox_chunk *chunk_first(const struct outbox *o)
{
	return list_first(&o->chunks, struct outbox_chunk, link);
}

static struct outbox_chunk *chunk_last(const struct outbox *o)
{
	return list_entry(o->chunks.prev, struct outbox_chunk, link);
}

static void chunk_close_fds(struct outbox *o, struct outbox_chunk *chunk)
{
	o->queued_fds -= chunk->nfds;
	for (unsigned int i = 0; i < chunk->nfds; i++)
		close(chunk->fds[i]);
	chunk->nfds = 0;
}

static struct outbox_chunk *chunk_new(struct outbox *o, uint32_t len_bytes)
{
	uint32_t room = len_bytes > CHUNK_ROOM ? len_bytes : CHUNK_ROOM;
	struct outbox_chunk *chunk = room == CHUNK_ROOM ? o->spare : NULL;

	if (chunk) {
		o->spare = NULL;
	} else {
		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk)
			return NULL;
	}
	chunk->room = room;
	chunk->len_bytes = 0;
	chunk->nfds = 0;
	list_init(&chunk->link);
	return chunk;
}

static void chunk_free(struct outbox *o, struct outbox_chunk *chunk)
{
	list_del(&chunk->link);
	chunk_close_fds(o, chunk);
	if (!o->spare && chunk->room == CHUNK_ROOM)
		o->spare = chunk;
	else
		free(chunk);
}

void outbox_init(struct outbox *o)
{
	*o = (struct outbox){0};
	list_init(&o->chunks);
}

void outbox_finish(struct outbox *o)
{
	while (!list_empty(&o->chunks))
		chunk_free(o, chunk_first(o));
	free(o->spare);
	outbox_init(o);
}

uint8_t *outbox_reserve(
	struct outbox *o, uint32_t len_bytes, unsigned int nfds, uint32_t *room_bytes)
{
	struct outbox_chunk *chunk = list_empty(&o->chunks) ? NULL : chunk_last(o);

	if (chunk && !chunk->len_bytes && chunk->room < len_bytes) {
		chunk_free(o, chunk); /* reserved in vain: nothing empty may stand before others */
		chunk = NULL;
	}
	if (!chunk || (nfds && chunk->len_bytes) || chunk->room - chunk->len_bytes < len_bytes) {
		chunk = chunk_new(o, len_bytes);
		if (!chunk)
			return NULL;
		list_add_tail(&o->chunks, &chunk->link);
	}
	*room_bytes = chunk->room - chunk->len_bytes;
	return chunk->data + chunk->len_bytes;
}

void outbox_commit(struct outbox *o, uint32_t len_bytes, const int *fds, unsigned int nfds)
{
	struct outbox_chunk *chunk = chunk_last(o);

	CHECK(len_bytes <= chunk->room - chunk->len_bytes);
	CHECK(nfds == 0 || chunk->len_bytes == 0);
	for (unsigned int i = 0; i < nfds; i++)
		chunk->fds[i] = fds[i];
	chunk->nfds += nfds;
	chunk->len_bytes += len_bytes;
	o->queued_bytes += len_bytes;
	o->queued_fds += nfds;
}

unsigned int outbox_front(const struct outbox *o, struct iovec iov[OUTBOX_IOV_MAX], const int **fds,
	unsigned int *nfds)
{
	uint32_t skip = o->sent;
	unsigned int count = 0;

	*fds = NULL;
	*nfds = 0;
	list_for_each (l, &o->chunks) {
		struct outbox_chunk *chunk = list_entry(l, struct outbox_chunk, link);

		if (count == OUTBOX_IOV_MAX || (count > 0 && chunk->nfds > 0))
			break;
		if (chunk->len_bytes == skip) /* reserved, but not committed */
			break;
		if (count == 0) {
			*fds = chunk->fds;
			*nfds = chunk->nfds;
		}
		iov[count++] = (struct iovec){chunk->data + skip, chunk->len_bytes - skip};
		skip = 0;
	}
	return count;
}

void outbox_sent(struct outbox *o, uint32_t len_bytes)
{
	CHECK(len_bytes > 0 && len_bytes <= o->queued_bytes);
	o->queued_bytes -= len_bytes;
	while (len_bytes > 0) {
		struct outbox_chunk *chunk = chunk_first(o);
		uint32_t left = chunk->len_bytes - o->sent;

		chunk_close_fds(o, chunk); /* the peer has its own now */
		if (len_bytes < left) {
			o->sent += len_bytes;
			return;
		}
		len_bytes -= left;
		o->sent = 0;
		chunk_free(o, chunk);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait to be sent, in chunks that never move, so that many go with one sendmsg.
 *
 *   [chunk: msg msg msg] → [chunk + fds: msg msg] → [chunk: msg]
 *
 * Descriptors ride on the first byte of the message that announces them: such a message begins a
 * chunk, and a chunk that has descriptors begins a sendmsg. No sockets here; one owner. */
#ifndef RPC_OUTBOX_H
#define RPC_OUTBOX_H

#include <stdint.h>
#include <sys/uio.h>

#include "core/list.h"
#include "rpc/frame.h"

#define OUTBOX_IOV_MAX 16

struct outbox_chunk {
	struct list link;
	uint32_t room, len_bytes;
	unsigned int nfds;
	int fds[FRAME_FDS_MAX]; /* owned until they are sent */
	uint8_t data[];
};

struct outbox {
	struct list chunks;
	struct outbox_chunk *spare; /* an empty one of the usual size */
	uint32_t sent;              /* bytes of the first chunk */
	uint64_t queued_bytes;      /* not sent yet */
	unsigned int queued_fds;    /* the same */
};

void outbox_init(struct outbox *o);
/* outbox_finish: frees all, closes descriptors that were not sent. Nothing is being sent. */
void outbox_finish(struct outbox *o);

/* outbox_reserve: room for one message of at least len_bytes that carries `nfds` descriptors, and
 * how much it is; NULL if out of memory.
 * outbox_commit: the message is there, so long; the descriptors pass to the outbox. */
uint8_t *outbox_reserve(
	struct outbox *o, uint32_t len_bytes, unsigned int nfds, uint32_t *room_bytes);
void outbox_commit(struct outbox *o, uint32_t len_bytes, const int *fds, unsigned int nfds);

/* outbox_front: what the next sendmsg takes: fills `iov` and returns how many of it; *fds and *nfds
 * are what rides on the first byte. 0: nothing is queued.
 * outbox_sent: so many bytes of it (≥ 1) are gone, and with them the descriptors. */
unsigned int outbox_front(const struct outbox *o, struct iovec iov[OUTBOX_IOV_MAX], const int **fds,
	unsigned int *nfds);
void outbox_sent(struct outbox *o, uint32_t len_bytes);

#endif

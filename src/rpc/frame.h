/* SPDX-License-Identifier: Apache-2.0 */
/* Whole messages out of a byte stream that carries descriptors (wire.md, "Transport", "Message").
 *
 *   recvmsg ─▶ frame_reader_space / _commit ─▶ frame_reader_next ─▶ struct frame (views + fds)
 *
 * Which message do descriptors belong to? They ride on the first byte of the message that announces
 * them. The kernel ends a recvmsg behind the bytes that descriptors were sent with, and hands the
 * descriptors over with the first of those bytes that is read; but the same recvmsg may begin with
 * bytes of earlier sends. So the descriptors of one recvmsg belong to the one message that *starts*
 * within the bytes of that recvmsg and announces any. Descriptors that no such message claims, and
 * announced ones that did not come, are violations.
 *
 * No sockets here: the owner receives and sends. One owner, one thread at a time. */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/diag.h"

#define FRAME_HEADER_BYTES 16
#define FRAME_SIZE_MAX     65536
#define FRAME_FDS_MAX      4

#define FRAME_REPLY (1u << 0)
#define FRAME_ERROR (1u << 1)
#define FRAME_EVENT (1u << 2)

struct frame_header {
	uint32_t size; /* bytes, this header included */
	uint32_t txid;
	uint32_t object;
	uint16_t method;
	uint8_t flags; /* FRAME_* */
	uint8_t nfds;
};

/* frame_header_get/put: the 16 bytes at `bytes` (any alignment).
 * frame_header_check: the rules that hold for every message in either direction: size, flags and
 * their combinations, nfds, txid 0 exactly where it has to be as far as the header alone says.
 * 0, or -EPROTO with the text. */
void frame_header_get(struct frame_header *h, const uint8_t *bytes);
void frame_header_put(const struct frame_header *h, uint8_t *bytes);
int frame_header_check(const struct frame_header *h, struct diag *d);

/* One message. `payload` points into the reader's buffer and is valid until the reader is fed
 * again. The descriptors are the frame's: take them with frame_take_fd, then frame_finish closes
 * the others. */
struct frame {
	struct frame_header header;
	const uint8_t *payload;
	uint32_t payload_bytes;
	int fds[FRAME_FDS_MAX]; /* header.nfds of them; -1 where taken */
};

/* frame_take_fd: the caller owns it from now on; -1 if it is taken or out of range.
 * frame_finish: closes those not taken; safe twice and on a zeroed frame. */
int frame_take_fd(struct frame *f, unsigned int index);
void frame_finish(struct frame *f);

/* Descriptors that came with the bytes [start, end) of the stream and are not claimed yet. */
struct frame_batch {
	uint64_t start, end;
	unsigned int count;
	int fds[FRAME_FDS_MAX];
};

struct frame_reader {
	uint8_t *buf;        /* allocated at the first use; 4 KiB, grown to a message's size */
	uint32_t room;       /* of buf, in bytes */
	uint32_t head, tail; /* unread bytes are buf[head, tail); head is a multiple of 8 */
	uint64_t position;   /* of buf[head] in the stream */
	bool claimed;        /* the header at `head` is checked and has its descriptors */
	struct frame next;   /* its header and descriptors, while its payload is awaited */
	struct frame_batch batches[2];
	unsigned int batch_count;
	const char *failure; /* why nothing more is read; NULL while all is well */
};

/* frame_reader_finish: frees the buffer, closes descriptors nobody claimed; safe twice. */
void frame_reader_init(struct frame_reader *r);
void frame_reader_finish(struct frame_reader *r);

/* frame_reader_space: where to receive: at least one byte, at most *room. Moves what is unread, so
 * views of earlier frames are no longer valid. 0 or -ENOMEM.
 * frame_reader_commit: `len_bytes` bytes were received there, with `count` descriptors, whose
 * ownership passes to the reader. A negative count (frame_control_get's) is a violation that the
 * next frame_reader_next reports. Drain with frame_reader_next after each commit. */
int frame_reader_space(struct frame_reader *r, uint8_t **at, uint32_t *room);
void frame_reader_commit(struct frame_reader *r, uint32_t len_bytes, const int *fds, int count);
/* frame_reader_push: the same for bytes that are elsewhere (provided buffers): copies as many as
 * fit and returns their number (≥ 1 after a drain), or -ENOMEM. Descriptors pass with the first
 * piece of a receive; drain, then push the rest of it with count 0. */
int frame_reader_push(struct frame_reader *r, const uint8_t *bytes, uint32_t len_bytes,
	const int *fds, int count);

/* frame_reader_next: 1: *f is a message whose header is checked (frame_header_check) and whose
 * descriptors are there; 0: more bytes are needed; -EPROTO: a violation, text in `d`, f->header as
 * far as it is known (txid 0 if not); final for this reader. */
int frame_reader_next(struct frame_reader *r, struct frame *f, struct diag *d);

/* frame_control_get: the descriptors of a received msghdr, into `fds` (the caller owns them);
 * returns their number, or -EPROTO with all of them closed when there were more than
 * FRAME_FDS_MAX, or the control data was cut (which also happens when this process is out of
 * descriptors).
 * frame_control_put: sets msg_control of `msg` to carry `count` descriptors, which stay the
 * caller's; count 0 clears it. */
#define FRAME_CONTROL_BYTES CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)
union frame_control {
	/* Not a member of that type: it ends in a flexible array, and this lies within structs. */
	_Alignas(struct cmsghdr) uint8_t bytes[FRAME_CONTROL_BYTES];
};
int frame_control_get(struct msghdr *msg, int fds[FRAME_FDS_MAX]);
void frame_control_put(
	struct msghdr *msg, union frame_control *control, const int *fds, unsigned int count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Stream framing: headers, and which descriptors belong to which message. */
#include "rpc/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"

#define ROOM_MIN 4096

_Static_assert(sizeof(struct frame_header) == FRAME_HEADER_BYTES, "the header has no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire's byte order is the host's");

void frame_header_get(struct frame_header *h, const uint8_t *bytes)
{
	memcpy(h, bytes, FRAME_HEADER_BYTES);
}

void frame_header_put(const struct frame_header *h, uint8_t *bytes)
{
	memcpy(bytes, h, FRAME_HEADER_BYTES);
}

int frame_header_check(const struct frame_header *h, struct diag *d)
{
	if (h->size % 8)
		return diag_fail(d, -EPROTO, "size %u is not a multiple of 8", h->size);
	if (h->size < FRAME_HEADER_BYTES || h->size > FRAME_SIZE_MAX)
		return diag_fail(d, -EPROTO, "size %u is not within %d..%d", h->size,
			FRAME_HEADER_BYTES, FRAME_SIZE_MAX);
	if (h->flags & ~(FRAME_REPLY | FRAME_ERROR | FRAME_EVENT))
		return diag_fail(d, -EPROTO, "flags 0x%02x have reserved bits", h->flags);
	if ((h->flags & FRAME_ERROR) && !(h->flags & FRAME_REPLY))
		return diag_fail(d, -EPROTO, "flags 0x%02x: ERROR without REPLY", h->flags);
	if ((h->flags & FRAME_EVENT) && h->flags != FRAME_EVENT)
		return diag_fail(d, -EPROTO, "flags 0x%02x: EVENT with others", h->flags);
	if (h->nfds > FRAME_FDS_MAX)
		return diag_fail(d, -EPROTO, "nfds %u is over %d", h->nfds, FRAME_FDS_MAX);
	if ((h->flags & FRAME_REPLY) && !h->txid)
		return diag_fail(d, -EPROTO, "txid of a reply is 0");
	if ((h->flags & FRAME_EVENT) && h->txid)
		return diag_fail(d, -EPROTO, "txid of an event is %u, not 0", h->txid);
	return 0;
}

static void close_fds(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int frame_take_fd(struct frame *f, unsigned int index)
{
	int fd;

	if (index >= f->header.nfds)
		return -1;
	fd = f->fds[index];
	f->fds[index] = -1;
	return fd;
}

void frame_finish(struct frame *f)
{
	close_fds(f->fds, f->header.nfds);
	f->header.nfds = 0;
}

void frame_reader_init(struct frame_reader *r)
{
	memset(r, 0, sizeof(*r));
}

/* Closes what nobody can claim any more. */
static void drop_fds(struct frame_reader *r)
{
	for (unsigned int i = 0; i < r->batch_count; i++)
		close_fds(r->batches[i].fds, r->batches[i].count);
	r->batch_count = 0;
	if (r->claimed)
		frame_finish(&r->next);
	r->claimed = false;
}

void frame_reader_finish(struct frame_reader *r)
{
	drop_fds(r);
	free(r->buf);
	frame_reader_init(r);
	r->failure = "the reader is finished";
}

static int set_room(struct frame_reader *r, uint32_t room)
{
	uint8_t *buf;

	if (room <= r->room)
		return 0;
	buf = realloc(r->buf, room);
	if (!buf)
		return -ENOMEM;
	r->buf = buf;
	r->room = room;
	return 0;
}

int frame_reader_space(struct frame_reader *r, uint8_t **at, uint32_t *room)
{
	uint32_t want = ROOM_MIN;
	int err;

	/* A message whose payload is awaited has to fit as a whole. */
	if (r->claimed && r->next.header.size > want)
		want = r->next.header.size;
	err = set_room(r, want);
	if (err)
		return err;
	if (r->head) {
		memmove(r->buf, r->buf + r->head, r->tail - r->head);
		r->tail -= r->head;
		r->head = 0;
	}
	*at = r->buf + r->tail;
	*room = r->room - r->tail;
	return 0;
}

/* `len_bytes`: of the whole receive, of which the first bytes are about to be at `tail`. */
static void add_batch(struct frame_reader *r, uint32_t len_bytes, const int *fds, int count)
{
	struct frame_batch *b = &r->batches[r->batch_count];

	if (count < 0 || count > FRAME_FDS_MAX || r->batch_count == ARRAY_SIZE(r->batches) ||
		r->failure || !len_bytes) {
		if (count > 0)
			close_fds(fds, (unsigned int)count);
		if (!r->failure)
			r->failure = "more than 4 descriptors came at once, or they were cut off";
		return;
	}
	b->start = r->position + (r->tail - r->head);
	b->end = b->start + len_bytes;
	b->count = (unsigned int)count;
	memcpy(b->fds, fds, sizeof(int) * b->count);
	r->batch_count++;
}

void frame_reader_commit(struct frame_reader *r, uint32_t len_bytes, const int *fds, int count)
{
	CHECK(len_bytes <= r->room - r->tail);
	if (count)
		add_batch(r, len_bytes, fds, count);
	r->tail += len_bytes;
}

int frame_reader_push(
	struct frame_reader *r, const uint8_t *bytes, uint32_t len_bytes, const int *fds, int count)
{
	uint32_t room, n;
	uint8_t *at;
	int err = frame_reader_space(r, &at, &room);

	if (err) {
		if (count > 0)
			close_fds(fds, (unsigned int)count);
		return err;
	}
	n = len_bytes < room ? len_bytes : room;
	memcpy(at, bytes, n);
	if (count)
		add_batch(r, len_bytes, fds, count);
	r->tail += n;
	return (int)n;
}

static void remove_batch(struct frame_reader *r, unsigned int i)
{
	r->batch_count--;
	for (; i < r->batch_count; i++)
		r->batches[i] = r->batches[i + 1];
}

/* Gives the message whose header is in `next` the descriptors that came with its first byte. */
static int claim_fds(struct frame_reader *r, struct diag *d)
{
	unsigned int want = r->next.header.nfds, got = 0;
	struct frame_batch *b;

	for (unsigned int i = 0; i < r->batch_count && want; i++) {
		b = &r->batches[i];
		if (r->position < b->start || r->position >= b->end)
			continue;
		got = b->count;
		if (got != want)
			break;
		memcpy(r->next.fds, b->fds, sizeof(int) * want);
		remove_batch(r, i);
		return 0;
	}
	if (!want)
		return 0;
	return diag_fail(d, -EPROTO,
		"nfds is %u, but %u descriptors came with the first byte of the message", want,
		got);
}

/* No message will start before `start` but, perhaps, the one at `position` if its header is not
 * whole yet. A batch without a start in it has no owner. */
static int check_stale(struct frame_reader *r, uint64_t start, struct diag *d)
{
	for (unsigned int i = 0; i < r->batch_count; i++) {
		struct frame_batch *b = &r->batches[i];

		if (b->end <= start && (r->claimed || b->start > r->position))
			return diag_fail(d, -EPROTO,
				"%u descriptors came that no message announces", b->count);
	}
	return 0;
}

static int read_header(struct frame_reader *r, struct diag *d)
{
	memset(&r->next, 0, sizeof(r->next));
	frame_header_get(&r->next.header, r->buf + r->head);
	if (frame_header_check(&r->next.header, d) || claim_fds(r, d))
		return -EPROTO;
	r->claimed = true;
	return 0;
}

/* Nothing more will come of this stream; tells which message was at fault. */
static int fail(struct frame_reader *r, struct frame *f)
{
	struct frame_header h = r->next.header;

	drop_fds(r);
	if (!r->failure)
		r->failure = "the stream ended with a violation";
	memset(f, 0, sizeof(*f));
	f->header = h;
	f->header.nfds = 0;
	return -EPROTO;
}

int frame_reader_next(struct frame_reader *r, struct frame *f, struct diag *d)
{
	uint32_t have = r->tail - r->head;

	if (r->failure) {
		diag_fail(d, -EPROTO, "%s", r->failure);
		return fail(r, f);
	}
	if (!r->claimed && have < FRAME_HEADER_BYTES) {
		memset(&r->next, 0, sizeof(r->next));
		return check_stale(r, r->position + FRAME_HEADER_BYTES, d) ? fail(r, f) : 0;
	}
	if (!r->claimed && read_header(r, d))
		return fail(r, f);
	if (check_stale(r, r->position + r->next.header.size, d))
		return fail(r, f);
	if (have < r->next.header.size)
		return 0;

	*f = r->next;
	f->payload = r->buf + r->head + FRAME_HEADER_BYTES;
	f->payload_bytes = f->header.size - FRAME_HEADER_BYTES;
	r->claimed = false;
	r->head += f->header.size;
	r->position += f->header.size;
	return 1;
}

int frame_control_get(struct msghdr *msg, int fds[FRAME_FDS_MAX])
{
	bool bad = msg->msg_flags & MSG_CTRUNC;
	unsigned int count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const uint8_t *data = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len;
			at += sizeof(int), data += sizeof(int)) {
			int fd;

			memcpy(&fd, data, sizeof(fd));
			if (count < FRAME_FDS_MAX) {
				fds[count++] = fd;
			} else {
				close(fd);
				bad = true;
			}
		}
	}
	if (!bad)
		return (int)count;
	close_fds(fds, count);
	return -EPROTO;
}

void frame_control_put(
	struct msghdr *msg, union frame_control *control, const int *fds, unsigned int count)
{
	struct cmsghdr *c = (struct cmsghdr *)control->bytes;

	CHECK(count <= FRAME_FDS_MAX);
	msg->msg_control = count ? control : NULL;
	msg->msg_controllen = count ? CMSG_SPACE(sizeof(int) * count) : 0;
	if (!count)
		return;
	memset(control, 0, sizeof(*control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
}

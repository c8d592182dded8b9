/* SPDX-License-Identifier: Apache-2.0 */
/* As connection.c does it with one receive and one send in flight, below the reactor. */
#include "perf/receiver.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/check.h"
#include "perf/harness.h"
#include "perf/rings.h"

#define BUFFERS      64u   /* power of two */
#define BUFFER_BYTES 4608u /* the reader's 4096, and what recvmsg puts in front of them */
#define BUFFER_GROUP 1
#define MEMORY_BYTES (BUFFERS * BUFFER_BYTES)
#define RING_BYTES   (BUFFERS * sizeof(struct io_uring_buf))

enum token { TOKEN_RECEIVE = 1, TOKEN_SEND };

/* --- provided buffers --- */

static void buffer_give(struct receiver *r, unsigned int id)
{
	io_uring_buf_ring_add(r->buffers, r->memory + (size_t)id * BUFFER_BYTES, BUFFER_BYTES,
		(unsigned short)id, io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(r->buffers, 1);
}

static void *pages(size_t len_bytes)
{
	return mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int buffers_open(struct receiver *r, struct diag *d)
{
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
	void *ring = pages(RING_BYTES), *memory = pages(MEMORY_BYTES);
	int err = ring == MAP_FAILED || memory == MAP_FAILED ? -ENOMEM : 0;

	reg.ring_addr = (uintptr_t)ring;
	if (!err)
		err = io_uring_register_buf_ring(&r->ring, &reg, 0);
	if (err) {
		if (ring != MAP_FAILED)
			munmap(ring, RING_BYTES);
		if (memory != MAP_FAILED)
			munmap(memory, MEMORY_BYTES);
		return diag_fail(d, -ENOTSUP, "no ring of provided buffers: %s", strerror(-err));
	}
	r->buffers = ring;
	r->memory = memory;
	io_uring_buf_ring_init(r->buffers);
	for (unsigned int i = 0; i < BUFFERS; i++)
		buffer_give(r, i);
	return 0;
}

static void buffers_close(struct receiver *r)
{
	if (!r->buffers)
		return;
	munmap(r->buffers, RING_BYTES);
	munmap(r->memory, MEMORY_BYTES);
}

/* --- receiving --- */

static void receive_arm(struct receiver *r)
{
	struct io_uring_sqe *sqe = rings_sqe(&r->ring);
	uint32_t room;
	uint8_t *at;

	r->receiving = true;
	r->msg = (struct msghdr){.msg_control = &r->control, .msg_controllen = sizeof(r->control)};
	if (r->way == RECEIVER_MULTISHOT) {
		io_uring_prep_recvmsg_multishot(sqe, r->fd, &r->msg, MSG_CMSG_CLOEXEC);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = BUFFER_GROUP;
	} else {
		CHECK(frame_reader_space(&r->reader, &at, &room) == 0);
		r->iov = (struct iovec){at, room};
		r->msg.msg_iov = &r->iov;
		r->msg.msg_iovlen = 1;
		io_uring_prep_recvmsg(sqe, r->fd, &r->msg, MSG_CMSG_CLOEXEC);
	}
	sqe->user_data = TOKEN_RECEIVE;
}

static void reply(struct receiver *r)
{
	uint32_t *len = &r->out_bytes[r->filling];

	CHECK(*len + RECEIVER_REPLY_BYTES <= RECEIVER_OUT_BYTES);
	memset(r->out[r->filling] + *len, 0, RECEIVER_REPLY_BYTES);
	*len += RECEIVER_REPLY_BYTES;
}

static void answer_frames(struct receiver *r)
{
	struct frame frame;
	struct diag d;
	int got;

	while ((got = frame_reader_next(&r->reader, &frame, &d)) > 0) {
		frame_finish(&frame);
		reply(r);
	}
	CHECK(got == 0);
}

/* What the kernel put into a provided buffer goes to the reader, as a message may not end with it.
 */
static void take_buffer(struct receiver *r, const struct io_uring_cqe *cqe)
{
	unsigned int id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	struct io_uring_recvmsg_out *o =
		io_uring_recvmsg_validate(r->memory + (size_t)id * BUFFER_BYTES, cqe->res, &r->msg);
	unsigned int left;
	const uint8_t *from;

	CHECK(o);
	from = io_uring_recvmsg_payload(o, &r->msg);
	left = io_uring_recvmsg_payload_length(o, cqe->res, &r->msg);
	r->over |= !left;
	while (left) {
		int n = frame_reader_push(&r->reader, from, left, NULL, 0);

		CHECK(n > 0);
		answer_frames(r);
		from += n;
		left -= (unsigned int)n;
	}
	buffer_give(r, id);
}

static void received(struct receiver *r, const struct io_uring_cqe *cqe)
{
	int fds[FRAME_FDS_MAX];

	r->receiving = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res > 0)
		r->receives++;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		take_buffer(r, cqe);
	} else if (cqe->res > 0) {
		int count = frame_control_get(&r->msg, fds);

		CHECK(count == 0);
		frame_reader_commit(&r->reader, (uint32_t)cqe->res, fds, count);
		answer_frames(r);
	} else {
		r->over |= cqe->res != -ENOBUFS && cqe->res != -EINTR;
	}
}

/* --- sending, the same for both --- */

static void send_arm(struct receiver *r)
{
	unsigned int which = r->sending ? !r->filling : r->filling;
	struct io_uring_sqe *sqe = rings_sqe(&r->ring);

	if (!r->sending)
		r->filling = !r->filling;
	r->sending = true;
	io_uring_prep_send(
		sqe, r->fd, r->out[which] + r->sent, r->out_bytes[which] - r->sent, MSG_NOSIGNAL);
	sqe->user_data = TOKEN_SEND;
}

static void sent(struct receiver *r, int res)
{
	unsigned int which = !r->filling;

	if (res < 0) {
		r->over = true;
		return;
	}
	r->sent += (uint32_t)res;
	if (r->sent < r->out_bytes[which]) {
		send_arm(r);
		return;
	}
	r->sent = r->out_bytes[which] = 0;
	r->sending = false;
}

/* --- the thread --- */

static void turn(struct receiver *r)
{
	struct io_uring_cqe *cqe;
	unsigned int head, taken = 0;
	int err;

	do
		err = io_uring_submit_and_wait(&r->ring, 1);
	while (err == -EINTR);
	CHECK(err >= 0);
	r->enters++;
	io_uring_for_each_cqe(&r->ring, head, cqe)
	{
		if (cqe->user_data == TOKEN_RECEIVE)
			received(r, cqe);
		else
			sent(r, cqe->res);
		taken++;
	}
	io_uring_cq_advance(&r->ring, taken);
	if (r->over)
		return;
	if (!r->receiving)
		receive_arm(r);
	if (!r->sending && r->out_bytes[r->filling])
		send_arm(r);
}

static void *receiver_main(void *arg)
{
	struct receiver *r = arg;

	CHECK(bench_pin(r->cpu) == 0);
	rings_enable(&r->ring);
	receive_arm(r);
	while (!r->over)
		turn(r);
	return NULL;
}

int receiver_start(struct receiver *r, enum receiver_way way, int fd, int cpu, struct diag *d)
{
	int err;

	memset(r, 0, sizeof(*r));
	r->way = way;
	r->fd = fd;
	r->cpu = cpu;
	err = rings_open(&r->ring, d);
	if (err)
		return err;
	if (way == RECEIVER_MULTISHOT)
		err = buffers_open(r, d);
	frame_reader_init(&r->reader);
	if (!err) {
		err = -pthread_create(&r->thread, NULL, receiver_main, r);
		if (err)
			diag_errno(d, err, "a thread");
	}
	if (err) {
		io_uring_queue_exit(&r->ring);
		buffers_close(r);
	}
	return err;
}

void receiver_finish(struct receiver *r)
{
	pthread_join(r->thread, NULL);
	io_uring_queue_exit(&r->ring);
	buffers_close(r);
	frame_reader_finish(&r->reader);
}

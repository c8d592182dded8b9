/* SPDX-License-Identifier: Apache-2.0 */
/* Bare rings: opening, messages between them, waiting. */
#include "perf/rings.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"

#define REGISTER_SEND_MSG_RING 31u /* newer than Debian 12's headers */
#define MSG_DATA               0u

int rings_open(struct io_uring *ring, struct diag *d)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_R_DISABLED,
	};
	int err = io_uring_queue_init_params(64, ring, &p);

	if (err)
		return diag_fail(d, -ENOTSUP, "no ring: %s", strerror(-err));
	return 0;
}

/* By its number: Debian 12's liburing declares a function for it but does not export it. */
void rings_enable(struct io_uring *ring)
{
	CHECK(syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
		      0) == 0);
}

static void send_fill(struct io_uring_sqe *sqe, struct io_uring *to, uint64_t token)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_MSG_RING;
	sqe->fd = to->ring_fd;
	sqe->addr = MSG_DATA;
	sqe->off = token;
}

int rings_send_by_call(struct io_uring *to, uint64_t token)
{
	struct io_uring_sqe sqe;

	send_fill(&sqe, to, token);
	if (syscall(SYS_io_uring_register, -1, REGISTER_SEND_MSG_RING, &sqe, 1) < 0)
		return -errno;
	return 0;
}

void rings_prep_send(struct io_uring *from, struct io_uring *to, uint64_t token)
{
	struct io_uring_sqe *sqe = rings_sqe(from);

	send_fill(sqe, to, token);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

unsigned int rings_wait(struct io_uring *ring, uint64_t token, bool *ended)
{
	struct io_uring_cqe *cqe;
	unsigned int head, taken = 0, found = 0;
	int err;

	do
		err = io_uring_submit_and_wait(ring, 1);
	while (err == -EINTR);
	CHECK(err >= 0);
	*ended = false;
	io_uring_for_each_cqe(ring, head, cqe)
	{
		CHECK(cqe->res >= 0);
		taken++;
		if (cqe->user_data != token)
			continue;
		found++;
		*ended |= !(cqe->flags & IORING_CQE_F_MORE);
	}
	io_uring_cq_advance(ring, taken);
	return found;
}

struct io_uring_sqe *rings_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	CHECK(sqe);
	return sqe;
}

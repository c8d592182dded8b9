/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the fake reactor, for fake_io.c and fake_io_ops.c. */
#ifndef SUPPORT_FAKE_IO_PRIVATE_H
#define SUPPORT_FAKE_IO_PRIVATE_H

#include <pthread.h>
#include <sys/socket.h>

#include "core/check.h"
#include "core/list.h"
#include "core/timer_heap.h"
#include "support/fake_io.h"

#define FAKE_SPECIALS 16

enum fake_kind {
	FAKE_READ,
	FAKE_WRITE,
	FAKE_RECV,
	FAKE_SEND,
	FAKE_ACCEPT,
	FAKE_CONNECT,
	FAKE_POLL,
	FAKE_FALLOCATE,
	FAKE_MADVISE,
	FAKE_FSYNC,
	FAKE_NOP,
};

/* One op in flight. */
struct fake_op {
	struct list link;
	enum fake_kind kind;
	struct io_op *op;
	int fd;
	bool submitted, cancelled, connecting;
	struct iovec one;        /* of verbs with a single buffer */
	const struct iovec *iov; /* the owner's array, or &one; until submitted */
	struct iovec *iov_copy;  /* since submitted */
	unsigned int iov_count;
	uint64_t off, len_bytes;
	int flags; /* MSG_*, mode, advice, data_only */
	uint32_t events;
	void *addr;
	struct msghdr *msg; /* the owner's; NULL: iov is all there is */
	struct msghdr msg_copy;
	struct sockaddr_storage name;
	socklen_t name_len;
	int epoll_fd; /* FAKE_POLL: edge-triggered, as a multishot poll is */
};

enum fake_outcome { FAKE_PENDING, FAKE_DONE, FAKE_GOES_ON };

struct reactor {
	uint64_t seed, now_ns;
	unsigned int index;
	struct list ops; /* struct fake_op */
	unsigned int jobs_out;
	struct reactor_msg *jobs_head, *jobs_tail;
	pthread_mutex_t lock; /* of the inbox; any thread may post */
	struct reactor_msg *inbox_head, *inbox_tail;
	struct list tasks, hooks, pollers;
	bool pollers_armed, stop;
	struct timer_heap timers;
	struct fake_io_faults faults;
	struct {
		int fd, err; /* err 0: free */
	} fails[FAKE_SPECIALS];
	int held[FAKE_SPECIALS]; /* -1: free */
	struct reactor_stats stats;
};

/* fake_io.c: uniform in [0, below); true in percent of the cases. */
uint64_t fake_random(struct reactor *r, uint64_t below);
bool fake_chance(struct reactor *r, unsigned int percent);

/* fake_io_ops.c. fake_ops_submit: the end of a turn: what the owners' arrays say now counts.
 * fake_op_try: completes the op if it can be; FAKE_DONE and FAKE_GOES_ON set *res. */
void fake_ops_submit(struct reactor *r);
enum fake_outcome fake_op_try(struct reactor *r, struct fake_op *f, int *res);
void fake_op_free(struct fake_op *f);

#endif

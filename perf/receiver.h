/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of one connection and nothing else of it: a thread with a ring that receives
 * frames and answers each with the same bytes, receiving in one way or the other. */
#ifndef PERF_RECEIVER_H
#define PERF_RECEIVER_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "core/diag.h"
#include "rpc/frame.h"

#define RECEIVER_REPLY_BYTES 120          /* about Host.Info's */
#define RECEIVER_OUT_BYTES   (32u * 1024) /* replies to all calls that may be pending, and more */

struct receiver;

enum receiver_way {
	RECEIVER_REARMED,   /* a recvmsg each, straight into the frame reader's buffer */
	RECEIVER_MULTISHOT, /* one recvmsg for ever into provided buffers, copied from there */
};

struct receiver {
	enum receiver_way way;
	int fd, cpu;
	pthread_t thread;
	struct io_uring ring;
	struct frame_reader reader;

	struct msghdr msg;
	struct iovec iov;
	union frame_control control;
	struct io_uring_buf_ring *buffers; /* RECEIVER_MULTISHOT */
	uint8_t *memory;

	uint8_t out[2][RECEIVER_OUT_BYTES]; /* one is filled, the other sent */
	uint32_t out_bytes[2], sent;
	unsigned int filling;
	bool sending, receiving, over;

	_Atomic uint64_t enters, receives; /* system calls, completions with bytes */
};

/* receiver_start: the thread on CPU `cpu` (-1: any), for the socket `fd`, which stays the caller's.
 * -ENOTSUP with the reason where the kernel has not what the way needs. receiver_finish: the other
 * end has been shut down; joins the thread and frees what there is. */
int receiver_start(struct receiver *r, enum receiver_way way, int fd, int cpu, struct diag *d);
void receiver_finish(struct receiver *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device that measures: the embedded guest's `stamps` hands it one chain again and again,
 * with the guest's time stamps in it. */
#ifndef PERF_STAMPS_DEVICE_H
#define PERF_STAMPS_DEVICE_H

#include "core/machine.h"
#include "virtio/function.h"

#define STAMPS_MAX 65536u /* what comes behind them in one slice is not kept */

/* Home reactor, but for create and destroy; between close and open, anybody. */
struct stamps_device {
	struct virtio_function function;
	struct virtio_device dev;
	struct vq_chain chain;
	struct iovec iov[4];
	bool open;     /* chains are given back at once and measured */
	bool held;     /* `chain` waits for that */
	bool bare;     /* raises the interrupt by write(2), without the turn's end */
	bool has_last; /* the chain that comes next was given back while open */
	uint64_t last_pushed;
	int64_t kvm_offset;        /* what KVM says of the next */
	int64_t guest_offset;      /* the guest's counter, minus ours */
	uint32_t count;            /* of the figures; anybody may look whether there are any */
	uint64_t kick[STAMPS_MAX]; /* doorbell to vq_pop; ticks of the time stamp counter */
	uint64_t push[STAMPS_MAX]; /* vq_push until the guest has seen it */
};

extern const struct device_class stamps_class; /* asked for by config->rng */

/* stamps_of: the device of that class in a machine. */
struct stamps_device *stamps_of(struct machine *m);

/* stamps_open: starts anew with no figures. stamps_close: the next chain is kept. */
void stamps_open(struct stamps_device *s);
void stamps_close(struct stamps_device *s);

/* stamps_clock: the time stamp counter, not before what the program did before. Any thread. */
static inline uint64_t stamps_clock(void)
{
	unsigned int aux;

	return __builtin_ia32_rdtscp(&aux);
}

#endif

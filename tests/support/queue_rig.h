/* SPDX-License-Identifier: Apache-2.0 */
/* A virtqueue and its fake driver on real guest memory, for tests of the queue and of devices. */
#ifndef SUPPORT_QUEUE_RIG_H
#define SUPPORT_QUEUE_RIG_H

#include "support/fake_driver.h"
#include "virtio/virtqueue.h"

#define RIG_RINGS   0x10000ULL
#define RIG_BUFFERS 0x400000ULL /* free for buffers, up to RIG_RAM */
#define RIG_RAM     0x800000ULL
#define RIG_IOV_MAX 64

struct queue_rig {
	struct gmem mem;
	struct fake_driver driver;
	struct virtqueue vq;
	unsigned int faults; /* calls of on_fault */
	struct iovec iov[RIG_IOV_MAX];
	struct vq_chain chain; /* uses iov */
};

/* Every combination of the ring formats and features, and a name for messages. */
struct queue_rig_mode {
	const char *name;
	struct fake_params params; /* size 16 */
};
#define RIG_MODES 16
extern const struct queue_rig_mode queue_rig_modes[RIG_MODES];

/* queue_rig_init: memory, rings at RIG_RINGS, and the queue enabled. queue_rig_finish: frees all.
 * queue_rig_restart: resets the queue and the driver and enables the queue again, as a guest does
 * after a fault. */
void queue_rig_init(struct queue_rig *rig, const struct fake_params *p);
void queue_rig_finish(struct queue_rig *rig);
void queue_rig_restart(struct queue_rig *rig);
struct vq_setup queue_rig_setup(const struct queue_rig *rig);

/* Host address of guest memory that a test may look at. */
uint8_t *queue_rig_mem(struct queue_rig *rig, uint64_t gpa, uint64_t len_bytes);

/* queue_rig_exchange: one good chain goes to the device and comes back; false if anything is wrong.
 */
bool queue_rig_exchange(struct queue_rig *rig);

/* A seeded generator (xorshift). *seed is never 0. */
uint64_t queue_rig_random(uint64_t *seed);

#endif

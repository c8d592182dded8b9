/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device without its transport: status, features, queues, reset (virtio 1.2 §2, §3).
 *
 * The device's own file gives ops and a config space, and serves queues; the transport
 * (pci_transport.h) turns register accesses into the verbs at the end of this file.
 *
 *   kick, virtio_queue_wake ──▶ serve(q) ──┬─ MORE: again next turn
 *                                          ├─ IDLE: kicks (or the busy poll) bring it back
 *                                          └─ BLOCKED: virtio_queue_wake brings it back
 *   vq_push … virtio_queue_flush ──▶ end of the turn: vq_publish, at most one interrupt a queue
 *
 * Home reactor only, but for init and finish. */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/reactor.h"
#include "virtio/env.h"
#include "virtio/virtqueue.h"

/* Device status, §2.1. */
#define VIRTIO_S_ACKNOWLEDGE 0x01u
#define VIRTIO_S_DRIVER      0x02u
#define VIRTIO_S_DRIVER_OK   0x04u
#define VIRTIO_S_FEATURES_OK 0x08u
#define VIRTIO_S_NEEDS_RESET 0x40u
#define VIRTIO_S_FAILED      0x80u

/* Features of ring and transport, §6. */
#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX     (1ULL << 29)
#define VIRTIO_F_VERSION_1     (1ULL << 32)
#define VIRTIO_F_RING_PACKED   (1ULL << 34)
#define VIRTIO_F_IN_ORDER      (1ULL << 35)
#define VIRTIO_F_RING_RESET    (1ULL << 40)

/* What every device offers; one whose chains end in any order takes IN_ORDER out. */
#define VIRTIO_F_COMMON                                                                            \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | \
		VIRTIO_F_IN_ORDER | VIRTIO_F_RING_RESET)

#define VIRTIO_QUEUES_MAX 256

/* A fair share of one turn for one queue; serve() counts. */
#define VIRTIO_BUDGET_CHAINS 64
#define VIRTIO_BUDGET_BYTES  (1u << 20)

enum virtio_serve {
	VIRTIO_SERVE_IDLE,    /* the queue is empty */
	VIRTIO_SERVE_MORE,    /* the budget is used up */
	VIRTIO_SERVE_BLOCKED, /* waits for something else; no kick is needed until
				 virtio_queue_wake */
};

struct virtio_device;

struct virtio_queue {
	struct virtqueue vq;
	struct virtio_device *dev;
	uint16_t index;
	/* Registers; frozen while vq.enabled. */
	uint16_t size;
	uint64_t desc, driver, device;
	bool resetting; /* by VIRTIO_F_RING_RESET */
	/* Private. */
	struct reactor_task task;
	bool idle;  /* empty when last served; only a kick or the poller brings it back */
	bool dirty; /* something was pushed since the last publication */
};

struct virtio_device_ops {
	/* May the driver have exactly these? NULL: whatever was offered. */
	bool (*features_ok)(struct virtio_device *dev, uint64_t features);
	/* The driver is ready: queues that are enabled are served from now on. NULL: nothing. */
	void (*driver_ok)(struct virtio_device *dev);
	/* Work on the queue's chains, within the budget. */
	enum virtio_serve (*serve)(struct virtio_queue *q);
	/* One queue is being reset (it is disabled already): end the I/O on its chains, then
	 * virtio_queue_reset_done, now or later. NULL: nothing is ever in flight. */
	void (*queue_reset)(struct virtio_queue *q);
	/* The device is being reset (its queues are disabled already), or torn down: end all I/O on
	 * guest memory, go back to the initial state and config space, then virtio_reset_done, now
	 * or later. NULL: nothing to do. */
	void (*reset)(struct virtio_device *dev);
	/* The driver wrote `size_bytes` (1, 2, 4 or 8) at `offset` of the config space, all within
	 * it. NULL: read-only. */
	void (*config_write)(struct virtio_device *dev, uint32_t offset, unsigned int size_bytes,
		uint64_t value);
};

struct virtio_transport_ops {
	void (*queue_interrupt)(struct virtio_queue *q);
	void (*config_interrupt)(struct virtio_device *dev);
	void (*queue_enabled)(struct virtio_queue *q);
	/* The device is back in its initial state: so are its vectors. */
	void (*reset_done)(struct virtio_device *dev);
};

/* Embedded in its device. */
struct virtio_device {
	const struct virtio_device_ops *ops;
	const struct virtio_transport_ops *transport;
	void *transport_ctx;
	struct virtio_env *env;
	const char *name;           /* static */
	uint64_t offered, features; /* features: as the driver wrote; valid once FEATURES_OK is set
				     */
	bool features_unknown;      /* it wrote bits above 63 */
	uint8_t *config; /* the config space's image, little-endian, kept by the device */
	uint32_t config_bytes;
	uint8_t generation; /* of the config space */
	uint8_t status;
	bool resetting;
	enum vq_fault fault; /* the first one since the last reset, for reports */
	uint64_t faults;     /* since the start */
	struct virtio_queue *queues;
	unsigned int queue_count;
	/* Private. */
	bool armed, polled; /* the reactor may sleep: kicks are on; its poller is linked */
	struct reactor_task publish;
	struct reactor_poller poller;
};

/* virtio_device_init: `queue_sizes` are the maxima, of queue_count ≤ VIRTIO_QUEUES_MAX queues.
 * `features` are the device's own; VIRTIO_F_COMMON comes on top (dev->offered may be changed until
 * the guest runs). -ENOMEM. virtio_device_finish: frees; reset and idle. Any thread. */
int virtio_device_init(struct virtio_device *dev, const struct virtio_device_ops *ops,
	struct virtio_env *env, const char *name, uint64_t features, unsigned int queue_count,
	const uint16_t *queue_sizes, struct diag *d);
void virtio_device_finish(struct virtio_device *dev);

/* --- for devices --- */

/* virtio_queue_flush: publishes what was pushed, at the end of this turn. */
void virtio_queue_flush(struct virtio_queue *q);
/* virtio_queue_wake: serve() is worth calling again. Harmless at any time. */
void virtio_queue_wake(struct virtio_queue *q);
/* virtio_queue_live: enabled, not broken, and the driver is ready. */
bool virtio_queue_live(const struct virtio_queue *q);
/* virtio_config_changed: the device changed its config space: new generation, interrupt. */
void virtio_config_changed(struct virtio_device *dev);
void virtio_queue_reset_done(struct virtio_queue *q);
void virtio_reset_done(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, uint64_t feature)
{
	return dev->features & feature;
}

/* --- for transports --- */

void virtio_status_write(struct virtio_device *dev, uint8_t value);
/* virtio_features_write: 32 bits of the driver's features; ignored once FEATURES_OK is set. */
void virtio_features_write(struct virtio_device *dev, uint32_t select, uint32_t value);
void virtio_queue_enable(struct virtio_queue *q);
/* virtio_queue_reset: ignored unless RING_RESET was negotiated and the queue is enabled. */
void virtio_queue_reset(struct virtio_queue *q);
/* virtio_queue_kick: the driver says that there is something in the queue. */
void virtio_queue_kick(struct virtio_queue *q);
/* virtio_device_reset: as a status write of 0. */
void virtio_device_reset(struct virtio_device *dev);
/* virtio_memory_changed: guest memory was unplugged; queues whose rings are gone break. */
void virtio_memory_changed(struct virtio_device *dev);
/* Config space: reads give 0 outside it; writes outside it are dropped. */
uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned int size_bytes);
void virtio_config_write(
	struct virtio_device *dev, uint64_t offset, unsigned int size_bytes, uint64_t value);

#endif

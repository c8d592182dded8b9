/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio-mem (virtio 1.2 §5.15): a region above RAM whose blocks the guest plugs and unplugs as the
 * host asks. An unplugged block has no memory slot, is no guest memory for devices and has nothing
 * resident. Conformance.md, "Mem". Home reactor, but for init and finish.
 *
 *   plug     holes ──▶ helper thread: a slot a block ──▶ home: gmem_plug ──▶ ACK
 *   unplug   home: gmem_plug, rings there break ──▶ helper thread: slots gone ──▶ holes ──▶ ACK
 *
 * Holes are operations of the home reactor's ring (discard.h); of an unplug they follow the slots
 * in steps, so that the kernel frees memory while the helper thread waits for vCPUs.
 *
 * Each block has a slot of its own: KVM cannot shrink a slot, and replacing one would pull the
 * memory around the block from under the vCPUs. */
#ifndef VIRTIO_MEM_H
#define VIRTIO_MEM_H

#include "core/controllers.h"
#include "core/device.h"
#include "virtio/device.h"
#include "virtio/discard.h"

#define MEM_F_UNPLUGGED_INACCESSIBLE (1ULL << 1)

#define MEM_CONFIG_BYTES 56u
#define MEM_QUEUE_SIZE   64

enum mem_request { MEM_REQ_PLUG, MEM_REQ_UNPLUG, MEM_REQ_UNPLUG_ALL, MEM_REQ_STATE };
enum mem_response { MEM_RESP_ACK, MEM_RESP_NACK, MEM_RESP_BUSY, MEM_RESP_ERROR };
enum mem_state { MEM_STATE_PLUGGED, MEM_STATE_UNPLUGGED, MEM_STATE_MIXED };

#define MEM_REQUEST_BYTES  24u
#define MEM_HEADER_BYTES   8u /* of it, without the range */
#define MEM_RESPONSE_BYTES 10u

struct mem;

/* What is done for one request. */
struct mem_job {
	struct reactor_job step; /* slots, from slots_at to step_end: the helper thread's part */
	struct discard discard;  /* the holes: the kernel's part */
	bool plug;
	uint64_t first, end;         /* blocks */
	const uint64_t *mask;        /* UNPLUG_ALL: only these, a bit a block; NULL: all */
	uint64_t slots_at, step_end; /* err: slots before step_end are still changed */
	uint64_t hole_at;            /* in the memfd: up to here holes have begun */
	uint64_t failures;           /* of the discard, before this job */
	bool step_out; /* until it is back, step_end, step_err and diag are the helper thread's */
	int err, step_err;
	struct diag diag;
};

/* Embedded in its device. */
struct mem {
	struct virtio_device dev;
	uint8_t config[MEM_CONFIG_BYTES];
	struct gmem *mem;
	const struct gmem_region *region;
	/* Blocks are gone: tells the other devices. */
	void (*unplugged)(struct mem *m);
	struct mem_size size;
	struct iovec iov[MEM_QUEUE_SIZE];
	struct vq_chain chain; /* of the request that the job is for */
	struct mem_job job;
	uint64_t *plugged_before;              /* UNPLUG_ALL: a copy of the region's bitmap */
	bool busy;                             /* a job is out */
	uint64_t requests, refusals, failures; /* figures */
	uint64_t discards, discarded_bytes;
};

/* mem_init: env as virtio_device_init; `mem` is env->mem and has a hot-plug region. -ENOMEM.
 * mem_finish: reset, or never attached. Any thread. */
int mem_init(struct mem *m, struct virtio_env *env, struct gmem *mem,
	void (*unplugged)(struct mem *m), struct diag *d);
void mem_finish(struct mem *m);

/* mem_request, mem_figures: as struct mem_controller. */
int mem_request(struct mem *m, uint64_t requested_size, struct diag *d);
void mem_figures(const struct mem *m, struct mem_figures *to);

/* mem_region_check: false with text in `d` if guest-physical addresses of `bits` bits do not reach
 * the region's end: a guest could neither map it nor would KVM find it. Any thread. */
bool mem_region_check(const struct gmem_region *r, unsigned int bits, struct diag *d);

/* --- private to mem*.c --- */
/* mem_job_start: takes or gives the slots and the memory of blocks [first, end), of those in `mask`
 * if it is given; mem_job_ended follows, never from within. job.err: it could not, and the slots
 * are what they were; of blocks that were to go some may be zero. Should a slot not come back, for
 * want of memory in the kernel, the guest finds nothing there. */
void mem_job_init(struct mem *m);
void mem_job_start(struct mem *m, bool plug, uint64_t first, uint64_t end, const uint64_t *mask);
void mem_job_ended(struct mem *m);

extern const struct device_class mem_device_class;

#endif

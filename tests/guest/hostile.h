/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a driver must not do, case by case. Each case gets a device that works, does its worst, and
 * says or lets the frame find out what became of it; then the frame resets the device and shows
 * that it works again. CPU 0 only, unless a comment says otherwise.
 */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "virtio_pci.h"

/* What may become of a device or of what was offered to it; a case names those that are right. */
enum {
	OUTCOME_BROKEN = 0x01,  /* NEEDS_RESET */
	OUTCOME_EMPTY = 0x02,   /* the chain came back with nothing written */
	OUTCOME_DONE = 0x04,    /* it was served: no harm in that */
	OUTCOME_SILENT = 0x08,  /* nothing happened for a while */
	OUTCOME_REFUSED = 0x10, /* the registers show that it was not taken */
	OUTCOME_CHECKED = 0x20, /* the case itself looked, and all was well */
};

#define OUTCOME_NO_HARM (OUTCOME_BROKEN | OUTCOME_EMPTY)
#define OUTCOME_ANY     (OUTCOME_NO_HARM | OUTCOME_DONE | OUTCOME_SILENT)

enum {
	NEEDS_SPLIT = 0x01,
	NEEDS_PACKED = 0x02,
	NEEDS_INDIRECT = 0x04, /* negotiated; without it, it is not */
	NEEDS_TWO_CPUS = 0x08,
	NEEDS_RNG = 0x10,       /* no limit to what it takes */
	NEEDS_EVENT_IDX = 0x20, /* offered */
	NEEDS_MSIX = 0x40,
	NEEDS_RING_RESET = 0x80, /* negotiated; without it, it is not */
	NEEDS_INTX = 0x100,
	NEEDS_VSOCK = 0x200,
	NEEDS_BALLOON = 0x400,    /* besides the device */
	NEEDS_SEQPACKET = 0x1000, /* negotiated; without it, it is not */
	NEEDS_MEM = 0x800, /* likewise virtio-mem, with a block that the host wants plugged */
};

struct hostile {
	struct virtio_dev dev;
	struct virtio_queue *queue; /* rng's, or TX */
	unsigned queue_count;       /* that are used */
	uint64_t features;          /* but for what the options say */
	struct virtio_options options;
	bool reads;       /* the device reads what is in this queue, and otherwise writes */
	uint16_t flags;   /* of a descriptor as the device wants it: 0, or VRING_DESC_WRITE */
	uint8_t *scratch; /* HOSTILE_SCRATCH bytes for buffers, page-aligned */
};

#define HOSTILE_SCRATCH 65536UL

/* Where no machine of ours has memory or a device: in the window of PCI BARs, and far up. */
#define HOSTILE_HOLE 0xdf800000UL
#define HOSTILE_FAR  (1UL << 46)

struct hostile_case {
	const char *name;
	unsigned needs, allows;
	/* False with fail(): something is wrong that no outcome describes. *outcome is 0 at first;
	 * left so, the frame looks at the device. */
	bool (*run)(struct hostile *h, unsigned *outcome);
};

extern const struct hostile_case hostile_chain_cases[], hostile_table_cases[],
	hostile_queue_cases[], hostile_register_cases[], hostile_storm_cases[],
	hostile_interrupt_cases[], hostile_vsock_cases[], hostile_vsock_peer_cases[],
	hostile_memory_cases[];
extern const unsigned hostile_chain_count, hostile_table_count, hostile_queue_count,
	hostile_register_count, hostile_storm_count, hostile_interrupt_count, hostile_vsock_count,
	hostile_vsock_peer_count, hostile_memory_count;

/* --- of the frame --- */

/* Starts the device as the options and the case's needs have it; stops it. */
bool hostile_start(struct hostile *h);
bool hostile_stop(struct hostile *h);

/* One correct chain, there and back. */
bool hostile_round(struct hostile *h);

/* The guest_cid of a vsock device. */
uint64_t hostile_vsock_cid(const struct hostile *h);

/* The end of the RAM that lies highest below 4 GiB. */
uint64_t hostile_ram_end(void);

/* The I/O APIC's input of the function's INTA, if the loader left it in the interrupt line
 * register: then it is beyond those of ISA; else 0. */
unsigned hostile_intx_gsi(const struct hostile *h);

/* Waits for one of the outcomes that the device itself shows. */
unsigned hostile_outcome(const struct hostile *h, unsigned allows);

/* A descriptor as it is in the ring or in a table: but for AVAIL and USED of the packed format. */
struct raw {
	uint64_t address;
	uint32_t len_bytes;
	uint16_t flags;
	uint16_t next; /* split: of a table or ring; packed: the id */
};

/* Puts descriptors from 0 on into the ring, which was not used yet, and offers 0; and kicks. */
void hostile_offer(struct hostile *h, const struct raw *descs, unsigned count);

/* Puts descriptors into an indirect table. */
void hostile_table(
	const struct hostile *h, uint8_t *table, const struct raw *descs, unsigned count);

/* Split: what the avail ring says at `at`; its index. */
void hostile_avail_put(struct hostile *h, uint16_t at, uint16_t head);
void hostile_index_put(struct hostile *h, uint16_t index);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory to ask of which guest while the host is short of it. Pure: what goes in are
 * samples of pressure, the guests' figures and the time; what comes out are targets.
 *
 *            pressure ≥ 10 %                 < 1 % for 30 s
 *   IDLE ────────────────────▶ TAKING ──────────────────────▶ RETURNING ──all given back──▶ IDLE
 *                                ▲  └ 1–10 %: holds what it has     │
 *                                └──────── ≥ 10 % ──────────────────┘
 *
 * Taking, each step asks a guest for a quarter of what it can spare: for each the same share, so
 * that it gets slower as the guest gets shorter of memory, whose own figures are looked at anew
 * before each step. Returning gives back a quarter of the largest amount a step. */
#ifndef RPC_RECLAIM_POLICY_H
#define RPC_RECLAIM_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define RECLAIM_STEP_NS     2000000000ULL  /* between two steps */
#define RECLAIM_CALM_NS     30000000000ULL /* little pressure for so long: it has passed */
#define RECLAIM_OPERATOR_NS 60000000000ULL /* a guest is left alone after a client's request */
#define RECLAIM_STALE_NS    15000000000ULL /* statistics that are older say nothing */

/* Pressure, in parts of a million: for how much of the time some task has waited for memory. */
#define RECLAIM_HIGH_PPM 100000u
#define RECLAIM_LOW_PPM  10000u

#define RECLAIM_FLOOR_BYTES (64ULL << 20) /* a guest keeps at least so much, or a quarter of it */
#define RECLAIM_KEEP_BYTES  (16ULL << 20) /* of it available, or a sixteenth of its RAM */
#define RECLAIM_GRAIN_BYTES (1ULL << 20)  /* targets are multiples of it */

#define RECLAIM_UNKNOWN UINT64_MAX

enum reclaim_phase { RECLAIM_IDLE, RECLAIM_TAKING, RECLAIM_RETURNING };

struct reclaim_policy {
	enum reclaim_phase phase;
	uint64_t calm_ns;       /* TAKING: since when there has been little pressure; 0: there is */
	uint64_t largest_bytes; /* RETURNING: what the guest that had given most had given */
};

/* One guest, as it is now. */
struct reclaim_guest {
	uint64_t ram_bytes;
	uint64_t available_bytes; /* as its statistics say, or RECLAIM_UNKNOWN */
	uint64_t baseline_bytes;  /* what clients have asked of it */
	uint64_t extra_bytes;     /* what this policy has, so far */
	uint64_t actual_bytes;    /* what it has given, both together */
	uint64_t operator_ns;     /* when a client last asked; 0: never */
	uint64_t target_bytes;    /* result: what extra_bytes is to be */
};

/* reclaim_step: sets each guest's target. True: call it again after RECLAIM_STEP_NS; false: it has
 * come to rest, and the next call is for when there is pressure again. Any thread. */
bool reclaim_step(struct reclaim_policy *p, uint64_t now_ns, uint32_t pressure_ppm,
	struct reclaim_guest *guests, unsigned int count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The GuestInfo table (wire.md, "GuestInfo table"). */
#ifndef RPC_INFO_TABLE_H
#define RPC_INFO_TABLE_H

#include <stdint.h>

#include "core/diag.h"
#include "core/guest_error.h"
#include "rpc/table.h"

enum info_ordinal {
	INFO_GUEST_STATUS = 1,
	INFO_UPTIME_NS = 2,
	INFO_NUM_CPUS = 3,
	INFO_GUEST_MEMORY = 4,
	INFO_DEVICES = 5,
	INFO_STOP_ERROR = 6,
	INFO_DETECTED_PROBLEMS = 7,
	INFO_RESIDENT_BYTES = 8,
	INFO_EXITS = 9,
	INFO_KICKS = 10,
	INFO_IRQS = 11,
};

#define INFO_PROBLEMS_MAX 8

/* Vectors hold struct wire_string; layout_string is their elements'. Nothing here is owned. */
struct guest_info {
	uint64_t given;        /* TABLE_BIT of each field that is set */
	uint32_t guest_status; /* enum guest_status */
	uint64_t uptime_ns;
	uint8_t num_cpus;
	uint64_t guest_memory; /* bytes */
	struct wire_vector devices;
	uint32_t stop_error; /* enum guest_error */
	struct wire_vector detected_problems;
	uint64_t resident_bytes, exits, kicks, irqs;
};

/* info_table_decode: 0, or -EINVAL with the text; what is not given is 0.
 * info_table_encode: writes the fields to `w` and views them in *t, which goes into a
 * get_info_reply. 0, -EMSGSIZE, -EINVAL (not UTF-8). */
int info_table_decode(const struct wire_table *t, struct guest_info *info, struct diag *d);
int info_table_encode(const struct guest_info *info, struct wire_writer *w, struct wire_table *t);

#endif

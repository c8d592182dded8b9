/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of the GuestInfo table. */
#include "rpc/info_table.h"

#include <errno.h>
#include <string.h>

#include "core/check.h"

#define FIELD(ordinal, type, member)                                                               \
	{                                                                                          \
		ordinal,                                                                           \
		{                                                                                  \
#member, type, offsetof(struct guest_info, member), 0, NULL                \
		}                                                                                  \
	}
#define STRINGS(ordinal, member)                                                                   \
	{                                                                                          \
		ordinal,                                                                           \
		{                                                                                  \
#member, WIRE_VECTOR, offsetof(struct guest_info, member), 0,              \
				&layout_string                                                     \
		}                                                                                  \
	}

static const struct table_field info_fields[] = {
	FIELD(INFO_GUEST_STATUS, WIRE_U32, guest_status),
	FIELD(INFO_UPTIME_NS, WIRE_U64, uptime_ns),
	FIELD(INFO_NUM_CPUS, WIRE_U8, num_cpus),
	FIELD(INFO_GUEST_MEMORY, WIRE_U64, guest_memory),
	STRINGS(INFO_DEVICES, devices),
	FIELD(INFO_STOP_ERROR, WIRE_U32, stop_error),
	STRINGS(INFO_DETECTED_PROBLEMS, detected_problems),
	FIELD(INFO_RESIDENT_BYTES, WIRE_U64, resident_bytes),
	FIELD(INFO_EXITS, WIRE_U64, exits),
	FIELD(INFO_KICKS, WIRE_U64, kicks),
	FIELD(INFO_IRQS, WIRE_U64, irqs),
};

static const struct table_layout info_layout = {info_fields, ARRAY_SIZE(info_fields)};

int info_table_decode(const struct wire_table *t, struct guest_info *info, struct diag *d)
{
	memset(info, 0, sizeof(*info));
	if (table_decode(t, &info_layout, info, &info->given, d))
		return diag_prefix(d, -EINVAL, "GuestInfo");
	if (info->detected_problems.count > INFO_PROBLEMS_MAX)
		return diag_fail(d, -EINVAL, "GuestInfo: %u detected_problems; the limit is %d",
			info->detected_problems.count, INFO_PROBLEMS_MAX);
	return 0;
}

int info_table_encode(const struct guest_info *info, struct wire_writer *w, struct wire_table *t)
{
	return table_encode(&info_layout, info, info->given, w, t);
}

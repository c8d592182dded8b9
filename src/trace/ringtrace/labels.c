/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of histograms in words. */
#include <linux/kvm.h>
#include <stdio.h>

#include "core/check.h"
#include "core/vcpu.h"
#include "trace/ringtrace/ringtrace.h"

static const struct {
	const char *title;
	bool is_time;
} kinds[TRACE_HIST_KINDS] = {
	[TRACE_EXITS] = {"exit to re-entry", true},
	[TRACE_KVM_EXITS] = {"exit within the kernel", true},
	[TRACE_KICK] = {"kick to completion", true},
	[TRACE_IRQ] = {"completion to interrupt", true},
	[TRACE_RPC] = {"call to answer", true},
	[TRACE_TURN] = {"turn of a reactor", true},
	[TRACE_OFF_CPU] = {"turn: off the CPU", true},
	[TRACE_BATCH] = {"turn: completions", false},
	[TRACE_QUEUE_DEPTH] = {"queue depth", false},
	[TRACE_RING_DEPTH] = {"ring depth", false},
};

const char *kind_title(unsigned int kind)
{
	CHECK(kind < TRACE_HIST_KINDS);
	return kinds[kind].title;
}

bool kind_is_time(unsigned int kind)
{
	CHECK(kind < TRACE_HIST_KINDS);
	return kinds[kind].is_time;
}

static void label_exit(char *to, size_t room, const struct trace_key *key)
{
	const char *name = vcpu_exit_name(key->index);

	if (key->index == KVM_EXIT_IO || key->index == KVM_EXIT_MMIO)
		snprintf(to, room, "%s %s 0x%llx", name, key->is_write ? "write" : "read",
			(unsigned long long)key->address);
	else
		snprintf(to, room, "%s", name);
}

void label_row(char *to, size_t room, const struct trace_key *key)
{
	switch (key->kind) {
	case TRACE_EXITS:
		label_exit(to, room, key);
		break;
	case TRACE_KVM_EXITS:
		snprintf(to, room, "processor's reason %u", key->index);
		break;
	case TRACE_KICK:
	case TRACE_IRQ:
	case TRACE_QUEUE_DEPTH:
		snprintf(to, room, "%s queue %u", key->what, key->index);
		break;
	case TRACE_RPC:
		snprintf(to, room, "%s", key->what);
		break;
	default:
		snprintf(to, room, "reactor %u", key->index);
	}
}

void label_time(char *to, size_t room, uint64_t ns)
{
	static const struct {
		double ns;
		const char *unit;
	} units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if ((double)ns >= units[i].ns) {
			snprintf(to, room, "%.3g%s", (double)ns / units[i].ns, units[i].unit);
			return;
		}
	snprintf(to, room, "%lluns", (unsigned long long)ns);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's figures at one moment, taken at its home for List, GetInfo and Metrics. */
#include <string.h>

#include "core/check.h"
#include "core/controllers.h"
#include "rpc/slots.h"

static void take_exits(struct guest_snapshot *to, const struct machine *m)
{
	to->exits = machine_exits(m);
	for (unsigned int i = 0; i < m->cpus; i++) {
		const struct vcpu *v = &m->vcpus[i];

		for (unsigned int k = 0; k < VCPU_EXIT_REASONS; k++)
			to->exit_reasons[k] +=
				__atomic_load_n(&v->stats.exits[k], __ATOMIC_RELAXED);
		if (v->started)
			to->mailbox_depth +=
				__atomic_load_n(&v->box.head, __ATOMIC_RELAXED) - v->box.tail;
	}
}

static void take_memory(struct guest_snapshot *to, struct device *dev)
{
	const struct device_class *class = dev->class;

	if (class->balloon) {
		to->has_balloon = true;
		class->balloon->figures(dev, &to->balloon);
	}
	if (class->mem) {
		to->has_mem = true;
		class->mem->size(dev, &to->mem_size);
		class->mem->figures(dev, &to->mem);
	}
}

static void take_device(struct guest_snapshot *to, struct device *dev)
{
	if (to->device_count < SNAPSHOT_DEVICES_MAX)
		to->devices[to->device_count++] = dev->class->name;
	if (dev->class->queue_depth)
		to->queue_depth += dev->class->queue_depth(dev);
	if (dev->class->console)
		to->console_blocked_ns = dev->class->console->blocked_ns(dev);
	to->has_vsock |= dev->class->vsock != NULL;
	if (dev->class->vsock)
		dev->class->vsock->figures(dev, &to->vsock);
	take_memory(to, dev);
}

static void take_machine(struct guest_snapshot *to, const struct machine *m)
{
	to->cpus = (uint8_t)m->cpus;
	to->memory_bytes = m->memory_bytes;
	to->resident_bytes = gmem_resident_bytes(&m->mem);
	to->kicks = m->counts.kicks;
	to->irqs = m->counts.irqs;
	to->serial_in_bytes = m->serial.bytes_in;
	to->serial_out_bytes = m->serial.bytes_out;
	to->serial_dropped_bytes = m->serial.dropped_bytes;
	to->serial_kept_bytes = STREAM_KEPT_BYTES - stream_room(&m->serial);
	take_exits(to, m);
	list_for_each (l, &m->devices)
		take_device(to, list_entry(l, struct device, link));
}

void snapshot_take(struct guest_snapshot *to, const struct guest *g)
{
	CHECK(reactor_is_current(g->home));
	memset(to, 0, sizeof(*to));
	strcpy(to->name, g->name);
	to->status = guest_status(g);
	to->home = reactor_index(g->home);
	to->uptime_ns = guest_uptime_ns(g);
	to->taken_ns = reactor_now_ns(g->home);
	to->end = g->last_end;
	to->cpus = g->last_cpus;
	if (g->machine)
		take_machine(to, g->machine);
	else
		to->exits = g->last_exits;
	if (to->status != GUEST_STATUS_STOPPED)
		return;
	to->stop_error = g->last_error;
	strcpy(to->stop_detail, g->last_detail);
}

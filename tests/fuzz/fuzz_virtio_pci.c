/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the PCI transport and the device core: the input is a script of a guest's register, memory
 * and configuration accesses, kicks, and ends of I/O, on a real reactor with turns in between. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/layout.h"
#include "support/echo_device.h"
#include "support/virtio_guest.h"

#define DEVFN        8
#define STEPS_A_TURN 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static struct {
	struct machine_rig m;
	struct echo_device echo;
	struct fake_driver rings[ECHO_QUEUES];
	const uint8_t *at, *end;
	struct reactor_task task;
	sem_t done;
	bool started;
	uint64_t bar; /* where the guest thinks it is */
} s;

static uint64_t next(unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes && s.at < s.end; i++)
		value |= (uint64_t)*s.at++ << 8 * i;
	return value;
}

static void bar_put(uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	bus_write(&s.m.bus, BUS_MMIO, s.bar + offset, size_bytes, value);
}

static uint64_t bar_get(uint64_t offset, unsigned int size_bytes)
{
	return bus_read(&s.m.bus, BUS_MMIO, s.bar + offset, size_bytes);
}

static void config_put(unsigned int reg, unsigned int size_bytes, uint64_t value)
{
	bus_write(&s.m.bus, BUS_MMIO, LAYOUT_ECAM + (DEVFN << 12) + reg, size_bytes, value);
}

static void negotiate(uint8_t choice)
{
	static const uint64_t offers[8] = {VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
		VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_RESET, ECHO_F_ODD,
		ECHO_F_EVEN, 1ULL << 20};
	uint64_t features = VIRTIO_F_VERSION_1;

	for (unsigned int i = 0; i < 8; i++)
		features |= choice >> i & 1 ? offers[i] : 0;
	bar_put(COMMON_STATUS, 1, 3);
	for (unsigned int i = 0; i < 2; i++) {
		bar_put(COMMON_DRIVER_FEATURE_SELECT, 4, i);
		bar_put(COMMON_DRIVER_FEATURE, 4, features >> 32 * i & 0xffffffff);
	}
	bar_put(COMMON_STATUS, 1, 11);
}

static void queue_on(unsigned int q)
{
	uint64_t features = s.echo.dev.features;
	const struct fake_params p = {.size = 16,
		.packed = features & VIRTIO_F_RING_PACKED,
		.indirect = features & VIRTIO_F_INDIRECT_DESC,
		.event_idx = features & VIRTIO_F_EVENT_IDX,
		.in_order = features & VIRTIO_F_IN_ORDER};
	struct fake_driver *d = &s.rings[q];

	fake_init(d, &s.m.mem, GUEST_RINGS + q * 0x100000, &p);
	bar_put(COMMON_QUEUE_SELECT, 2, q);
	bar_put(COMMON_QUEUE_SIZE, 2, 16);
	bar_put(COMMON_QUEUE_VECTOR, 2, q);
	bar_put(COMMON_QUEUE_DESC, 8, d->desc_gpa);
	bar_put(COMMON_QUEUE_DRIVER, 8, d->driver_gpa);
	bar_put(COMMON_QUEUE_DEVICE, 8, d->device_gpa);
	bar_put(COMMON_QUEUE_ENABLE, 2, 1);
}

static void offer(unsigned int q)
{
	struct fake_driver *d = &s.rings[q];
	uint16_t i = (uint16_t)(next(1) & 15), flags = (uint16_t)(next(1) & 7);
	uint64_t addr = GUEST_BUFFERS + next(2);

	if (!d->desc)
		return;
	fake_desc_put(d, d->desc, i, addr, (uint32_t)next(1), flags, (uint16_t)(next(1) & 31));
	if (i & 1)
		return;
	fake_head_put(d, i);
	if (d->p.packed)
		d->avail_wrap = s.echo.dev.queues[q].vq.avail_wrap;
}

/* As KVM does, if there is an ioeventfd. */
static void kick(uint64_t addr)
{
	const uint64_t one = 1;

	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++) {
		if (addr && s.m.host.ioeventfds[i].gpa == addr) {
			CHECK(write(s.m.host.ioeventfds[i].fd, &one, sizeof(one)) == sizeof(one));
			return;
		}
	}
	bus_write(&s.m.bus, BUS_MMIO, addr, 2, 0);
}

static void check(void)
{
	struct virtio_device *dev = &s.echo.dev;

	for (unsigned int i = 0; i < ECHO_QUEUES; i++) {
		CHECK(!dev->queues[i].vq.enabled || (dev->status & VIRTIO_S_FEATURES_OK));
		CHECK(s.echo.pci.vectors[i] <= ECHO_QUEUES || s.echo.pci.vectors[i] == 0xffff);
	}
	CHECK(!(dev->status & VIRTIO_S_DRIVER_OK) || (dev->status & VIRTIO_S_FEATURES_OK));
	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++) {
		uint64_t at = s.m.host.ioeventfds[i].gpa;

		CHECK(!at || (at >= LAYOUT_PCI_MMIO && at < LAYOUT_PCI_MMIO_END));
	}
}

/* One step; false: give the reactor a turn. */
static bool step(void)
{
	uint8_t op = (uint8_t)next(1);
	unsigned int i = op >> 4, size = 1u << (i & 3);
	uint64_t offset;

	switch (op & 0xf) {
	case 0:
	case 1:
		offset = next(1) & 0x3f;
		bar_put(offset, size, next(size));
		break;
	case 2:
		offset = next(2) & 0x7fff;
		bar_put(offset, size, next(size));
		break;
	case 3:
		bar_get(next(2) & 0x7fff, size);
		break;
	case 4:
		offset = VIRTIO_PCI_MSIX_TABLE + (next(1) & 0x3f);
		bar_put(offset, size < 4 ? 4 : size, next(4));
		break;
	case 5:
		offset = next(1);
		config_put((unsigned int)offset, size & 3 ? size & 3 : 4, next(4));
		break;
	case 6:
		bus_read(&s.m.bus, BUS_MMIO, LAYOUT_ECAM + (DEVFN << 12) + (next(1) & 0xff), size);
		break;
	case 7:
		negotiate((uint8_t)next(1));
		break;
	case 8:
		queue_on(i & 1);
		break;
	case 9:
		bar_put(COMMON_STATUS, 1, i & 1 ? 0 : 15);
		break;
	case 10:
	case 11:
		offer(i & 1);
		break;
	case 12:
		kick(s.bar + VIRTIO_PCI_NOTIFY + 4 * (i & 3));
		break;
	case 13:
		echo_release_here(&s.echo);
		break;
	case 14:
		s.m.host.fail_route = i & 1 ? -22 : 0;
		s.m.host.fail_ioeventfd = i & 2 ? -28 : 0;
		if (i & 4)
			virtio_config_changed(&s.echo.dev);
		if (i & 8)
			virtio_memory_changed(&s.echo.dev);
		break;
	default:
		return false;
	}
	check();
	return true;
}

/* Back to the state of a fresh device, through what a guest may write. */
static void restore(void)
{
	s.bar = LAYOUT_PCI_MMIO;
	s.m.host.fail_route = s.m.host.fail_ioeventfd = 0;
	config_put(4, 2, 6);
	config_put(0x10, 4, (uint32_t)s.bar);
	config_put(s.echo.pci.msix_cap + 2, 2, 0);
	for (unsigned int i = 0; i < 4 * (ECHO_QUEUES + 1); i++)
		bar_put(VIRTIO_PCI_MSIX_TABLE + 4 * i, 4, i % 4 == 3);
	bar_put(COMMON_STATUS, 1, 0);
	echo_release_here(&s.echo);
	CHECK(!s.echo.dev.status && !s.echo.dev.resetting && !s.echo.held_count);
	memset(s.rings, 0, sizeof(s.rings));
}

static bool script_turn(struct reactor_task *t)
{
	(void)t;
	for (unsigned int i = 0; i < STEPS_A_TURN && s.at < s.end; i++) {
		if (!step())
			break;
	}
	if (s.at < s.end)
		return true;
	restore();
	sem_post(&s.done);
	return false;
}

static void script_start(void *arg)
{
	(void)arg;
	reactor_defer(s.m.reactor, &s.task);
}

static void finish(void)
{
	echo_remove(&s.echo);
	machine_rig_stop(&s.m);
}

static void start(void)
{
	s.started = true;
	CHECK(!sem_init(&s.done, 0, 0));
	machine_rig_start(&s.m, GUEST_RAM, NULL);
	echo_add(&s.echo, &s.m);
	reactor_task_init(&s.task, script_turn);
	s.bar = LAYOUT_PCI_MMIO;
	atexit(finish);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	if (!s.started)
		start();
	s.at = data;
	s.end = data + len_bytes;
	machine_rig_call(&s.m, script_start, NULL);
	while (sem_wait(&s.done) < 0)
		;
	return 0;
}

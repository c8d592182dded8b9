/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio over PCI from the driver's side: capabilities, status, queues, doorbells, interrupts. */
#include "virtio/pci_transport.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "core/layout.h"
#include "support/echo_device.h"
#include "support/virtio_guest.h"

#define ALL_RING                                                                                   \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_IN_ORDER |    \
		VIRTIO_F_RING_RESET)
#define DEVFN 8

static struct machine_rig rig;
static struct echo_device echo;
static struct virtio_guest guest;

static void setup(void)
{
	machine_rig_start(&rig, GUEST_RAM, NULL);
	echo_add(&echo, &rig);
	cr_assert(vguest_probe(&guest, &rig, DEVFN));
}

static void teardown(void)
{
	echo_remove(&echo);
	machine_rig_stop(&rig);
}

TestSuite(virtio_pci, .init = setup, .fini = teardown, .timeout = 60);

static uint8_t *mem(uint64_t gpa)
{
	return gmem_map(&rig.mem, GPA(gpa), 4096);
}

/* Offers "ping"; what comes back must be "gnip". */
static void offer_ping(unsigned int q)
{
	const struct fake_buf bufs[] = {
		{GUEST_BUFFERS, 4, false}, {GUEST_BUFFERS + 0x1000, 8, true}};

	memcpy(mem(GUEST_BUFFERS), "ping", 4);
	memset(mem(GUEST_BUFFERS + 0x1000), 0, 8);
	cr_assert_geq(fake_offer(&guest.queues[q], bufs, 2, false), 0);
}

static void take_ping(void)
{
	struct fake_used used;

	cr_assert(fake_take(&guest.queues[0], &used));
	cr_assert_eq(used.len_bytes, 4);
	cr_assert_eq(memcmp(mem(GUEST_BUFFERS + 0x1000), "gnip", 5), 0);
}

static void ping(void)
{
	fake_interrupts(&guest.queues[0], true);
	offer_ping(0);
	if (fake_show(&guest.queues[0]))
		vguest_kick(&guest, 0);
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(0)));
	take_ping();
}

static void select_queue(unsigned int q)
{
	vguest_common_write(&guest, COMMON_QUEUE_SELECT, 2, q);
}

/* --- finding it --- */

Test(virtio_pci, shows_its_ids_and_capabilities)
{
	cr_assert_eq(machine_rig_config_read(&rig, DEVFN, 0, 4), 0x1af4 | (0x1040 + 42) << 16);
	cr_assert_eq(machine_rig_config_read(&rig, DEVFN, 8, 4), 0x00ff0001);
	cr_assert_eq(guest.vectors, ECHO_QUEUES + 1);
	cr_assert(guest.device);
	cr_assert_eq(vguest_common(&guest, COMMON_NUM_QUEUES, 2), ECHO_QUEUES);
	cr_assert_eq(vguest_offered(&guest), VIRTIO_F_COMMON | ECHO_F_ODD | ECHO_F_EVEN);
	vguest_common_write(&guest, COMMON_DEVICE_FEATURE_SELECT, 4, 2);
	cr_assert_eq(vguest_common(&guest, COMMON_DEVICE_FEATURE, 4), 0);
	for (unsigned int q = 0; q < 4; q++) {
		select_queue(q);
		cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_SIZE, 2),
			q < ECHO_QUEUES ? ECHO_QUEUE_SIZE : 0);
	}
}

Test(virtio_pci, carries_chains_with_every_ring_feature)
{
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t features = VIRTIO_F_VERSION_1;

		features |= i & 1 ? VIRTIO_F_RING_PACKED : 0;
		features |= i & 2 ? VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC : 0;
		features |= i & 4 ? VIRTIO_F_IN_ORDER : 0;
		cr_assert(vguest_start(&guest, features, 16));
		for (unsigned int n = 0; n < 50; n++)
			ping();
	}
	cr_assert_eq(machine_rig_load(&rig, &echo.served, 4), 400);
	cr_assert_gt(rig.host.drains, 0, "posted writes are handled before a kick");
}

Test(virtio_pci, serves_what_was_offered_before_driver_ok)
{
	cr_assert(vguest_negotiate(&guest, ALL_RING));
	vguest_msix_on(&guest);
	vguest_queue_on(&guest, 0, 16);
	offer_ping(0);
	fake_show(&guest.queues[0]);
	vguest_kick(&guest, 0); /* too early: ignored */
	vguest_set_status(&guest, VIRTIO_S_DRIVER_OK);
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(0)));
	take_ping();
}

Test(virtio_pci, interrupts_once_a_batch)
{
	uint64_t interrupts = 0;
	struct fake_used used;
	unsigned int taken = 0;

	cr_assert(vguest_start(&guest, VIRTIO_F_VERSION_1, 64));
	for (unsigned int i = 0; i < 30; i++)
		offer_ping(0);
	fake_show(&guest.queues[0]);
	vguest_kick(&guest, 0);
	while (taken < 30) {
		interrupts += machine_rig_wait_msi(&rig, GUEST_MSI_DATA(0));
		while (fake_take(&guest.queues[0], &used))
			taken++;
	}
	cr_assert_eq(interrupts, 1);
}

/* --- status and features --- */

Test(virtio_pci, refuses_features_that_were_not_offered)
{
	static const uint64_t bad[] = {0, ECHO_F_ODD, VIRTIO_F_VERSION_1 | 1ULL << 7,
		VIRTIO_F_VERSION_1 | 1ULL << 63, VIRTIO_F_VERSION_1 | ECHO_F_ODD | ECHO_F_EVEN};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		vguest_reset(&guest);
		cr_assert(!vguest_negotiate(&guest, bad[i]), "%#lx", bad[i]);
		vguest_set_status(&guest, VIRTIO_S_DRIVER_OK);
		cr_assert(!(vguest_status(&guest) & VIRTIO_S_DRIVER_OK));
		cr_assert(vguest_negotiate(&guest, VIRTIO_F_VERSION_1), "it may try again");
	}
	vguest_reset(&guest);
	vguest_common_write(&guest, COMMON_DRIVER_FEATURE_SELECT, 4, 2);
	vguest_common_write(&guest, COMMON_DRIVER_FEATURE, 4, 1);
	cr_assert(!vguest_negotiate(&guest, VIRTIO_F_VERSION_1));
}

Test(virtio_pci, freezes_features_once_they_are_accepted)
{
	cr_assert(vguest_negotiate(&guest, VIRTIO_F_VERSION_1));
	vguest_common_write(&guest, COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	vguest_common_write(&guest, COMMON_DRIVER_FEATURE, 4, ECHO_F_ODD);
	cr_assert_eq(vguest_common(&guest, COMMON_DRIVER_FEATURE, 4), 0);
	cr_assert_eq(echo.dev.features, VIRTIO_F_VERSION_1);
}

Test(virtio_pci, status_bits_do_not_go_back)
{
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	for (unsigned int value = 1; value < 256; value++) {
		if (value != VIRTIO_S_DRIVER)
			vguest_common_write(&guest, COMMON_STATUS, 1, value & ~VIRTIO_S_DRIVER);
		cr_assert_eq(vguest_status(&guest), 0x0f, "%#x", value);
	}
	cr_assert_eq(echo.driver_oks, 1);
	ping();
	vguest_set_status(&guest, VIRTIO_S_NEEDS_RESET);
	cr_assert(!(vguest_status(&guest) & VIRTIO_S_NEEDS_RESET), "is the device's to set");
}

Test(virtio_pci, freezes_an_enabled_queue)
{
	static const unsigned int regs[] = {COMMON_QUEUE_SIZE, COMMON_QUEUE_DESC,
		COMMON_QUEUE_DRIVER, COMMON_QUEUE_DRIVER + 4, COMMON_QUEUE_DEVICE};

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	select_queue(0);
	for (unsigned int i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		unsigned int size = regs[i] == COMMON_QUEUE_SIZE ? 2 : 4;
		uint64_t before = vguest_common(&guest, regs[i], size);

		vguest_common_write(&guest, regs[i], size, 8);
		cr_assert_eq(vguest_common(&guest, regs[i], size), before);
	}
	vguest_common_write(&guest, COMMON_QUEUE_ENABLE, 2, 0);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 1);
	ping();
}

Test(virtio_pci, enables_queues_only_between_features_ok_and_driver_ok)
{
	vguest_queue_on(&guest, 0, 16);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
	cr_assert(vguest_negotiate(&guest, VIRTIO_F_VERSION_1));
	vguest_set_status(&guest, VIRTIO_S_DRIVER_OK);
	vguest_queue_on(&guest, 0, 16);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
	cr_assert(vguest_start(&guest, VIRTIO_F_VERSION_1, 16));
	ping();
}

/* --- reset --- */

Test(virtio_pci, reset_brings_everything_back)
{
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
	vguest_reset(&guest);
	cr_assert_eq(vguest_common(&guest, COMMON_DRIVER_FEATURE, 4), 0);
	cr_assert_eq(vguest_common(&guest, COMMON_CONFIG_VECTOR, 2), 0xffff);
	select_queue(0);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_SIZE, 2), ECHO_QUEUE_SIZE);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_DESC, 8), 0);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_VECTOR, 2), 0xffff);
	cr_assert(vguest_start(&guest, ALL_RING | VIRTIO_F_RING_PACKED, 16));
	ping();
}

/* Waits until the device holds `count` chains of queue 1. */
static void hold(unsigned int count)
{
	offer_ping(1);
	for (unsigned int i = 1; i < count; i++)
		offer_ping(1);
	fake_show(&guest.queues[1]);
	vguest_kick(&guest, 1);
	while (machine_rig_load(&rig, &echo.held_count, 4) < count)
		;
}

Test(virtio_pci, reset_waits_for_operations_in_flight)
{
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	hold(3);
	vguest_common_write(&guest, COMMON_STATUS, 1, 0);
	cr_assert_eq(vguest_status(&guest), 0x0f, "not yet");
	vguest_common_write(&guest, COMMON_STATUS, 1, VIRTIO_S_ACKNOWLEDGE);
	vguest_common_write(&guest, COMMON_STATUS, 1, 0);
	select_queue(0);
	vguest_common_write(&guest, COMMON_QUEUE_ENABLE, 2, 1);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
	echo_release(&echo);
	cr_assert_eq(vguest_status(&guest), 0);
	cr_assert_eq(echo.resets, 2, "the one at the start, and this one");
	cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(1)), "what was in flight is forgotten");
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
}

Test(virtio_pci, resets_one_queue)
{
	struct fake_used used;

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	hold(2);
	select_queue(1);
	vguest_common_write(&guest, COMMON_QUEUE_RESET, 2, 1);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_RESET, 2), 1);
	ping(); /* the other one goes on */
	select_queue(1);
	echo_release(&echo);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_RESET, 2), 0);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
	vguest_queue_on(&guest, 1, 32);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 1);
	hold(2);
	echo_release(&echo);
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(1)));
	cr_assert(fake_take(&guest.queues[1], &used));
}

Test(virtio_pci, resets_a_queue_only_if_that_was_negotiated)
{
	cr_assert(vguest_start(&guest, VIRTIO_F_VERSION_1, 16));
	select_queue(0);
	vguest_common_write(&guest, COMMON_QUEUE_RESET, 2, 1);
	cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 1);
	ping();
}

Test(virtio_pci, a_device_reset_overtakes_a_queue_reset)
{
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	hold(1);
	select_queue(1);
	vguest_common_write(&guest, COMMON_QUEUE_RESET, 2, 1);
	vguest_common_write(&guest, COMMON_STATUS, 1, 0);
	cr_assert(vguest_status(&guest));
	echo_release(&echo);
	cr_assert_eq(vguest_status(&guest), 0);
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
}

/* --- faults --- */

Test(virtio_pci, a_broken_queue_needs_a_reset_and_says_so)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct fake_driver *d = &guest.queues[0];

		cr_assert(vguest_start(&guest, i ? ALL_RING | VIRTIO_F_RING_PACKED : ALL_RING, 16));
		fake_desc_put(d, d->desc, 0, 0xc0000000, 4, 0, 0);
		fake_head_put(d, 0);
		vguest_kick(&guest, 0);
		cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES)));
		cr_assert(vguest_status(&guest) & VIRTIO_S_NEEDS_RESET);
		cr_assert_eq(echo.dev.fault, VQ_FAULT_ADDRESS);
		for (unsigned int n = 0; n < 10; n++)
			vguest_kick(&guest, 0);
		cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES)), "once");
		hold(1); /* its other queue still works */
		echo_release(&echo);
		machine_rig_wait_msi(&rig, GUEST_MSI_DATA(1));
		d = &guest.queues[1];
		fake_desc_put(d, d->desc, d->p.packed ? d->next_avail : 0, 0xc0000000, 4, 0, 0);
		fake_head_put(d, d->p.packed ? d->next_avail : 0);
		vguest_kick(&guest, 1);
		while (machine_rig_load(&rig, &echo.dev.faults, 8) < 2 * (i + 1))
			;
		cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES)), "told already");
	}
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
}

Test(virtio_pci, rings_that_cannot_be_enabled_need_a_reset)
{
	static const uint16_t sizes[] = {0, 12, 128, 0xffff};

	for (unsigned int i = 0; i < 4; i++) {
		vguest_reset(&guest);
		cr_assert(vguest_negotiate(&guest, ALL_RING));
		select_queue(0);
		vguest_common_write(&guest, COMMON_QUEUE_SIZE, 2, sizes[i]);
		vguest_common_write(&guest, COMMON_QUEUE_ENABLE, 2, 1);
		cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_ENABLE, 2), 0);
		cr_assert(vguest_status(&guest) & VIRTIO_S_NEEDS_RESET);
		cr_assert_eq(echo.dev.fault, VQ_FAULT_RING_SIZE);
	}
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
}

/* --- interrupts --- */

static void send_one(void)
{
	fake_interrupts(&guest.queues[0], true);
	offer_ping(0);
	fake_show(&guest.queues[0]);
	vguest_kick(&guest, 0);
}

static void wait_served(unsigned int count)
{
	while (machine_rig_load(&rig, &echo.served, 4) < count)
		;
	machine_rig_has_msi(&rig, 0); /* the end of that turn has passed */
}

static unsigned int late_after; /* chains served */

static void offer_late(struct echo_device *e)
{
	if (e->served != late_after)
		return;
	offer_ping(0);
	/* Kicks are off: the driver need not tell. */
	cr_assert(!fake_show(&guest.queues[0]));
}

static void set_offer_late(void *arg)
{
	(void)arg;
	late_after = echo.served + 1;
	echo.before_idle = offer_late;
}

Test(virtio_pci, serves_what_comes_while_it_goes_idle)
{
	for (unsigned int i = 0; i < 2; i++) {
		cr_assert(vguest_start(&guest, i ? ALL_RING | VIRTIO_F_RING_PACKED : ALL_RING, 16));
		ping();
		machine_rig_has_msi(&rig, 0); /* no kick of this one is still to come */
		machine_rig_call(&rig, set_offer_late, NULL);
		send_one();
		wait_served(3 * (i + 1));
		cr_assert(machine_rig_has_msi(&rig, GUEST_MSI_DATA(0)));
		take_ping();
		take_ping();
	}
}

Test(virtio_pci, masked_vectors_wait_in_the_pending_bits)
{
	uint64_t pending = guest.bar + VIRTIO_PCI_MSIX_PENDING;

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	for (unsigned int i = 0; i < 2; i++) {
		if (i)
			vguest_msix_control(&guest, true, true);
		else
			vguest_vector_write(&guest, 0, 3, 1);
		send_one();
		wait_served(i + 1);
		cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(0)));
		cr_assert_eq(machine_rig_read(&rig, pending, 8), 1);
		if (i)
			vguest_msix_control(&guest, true, false);
		else
			vguest_vector_write(&guest, 0, 3, 0);
		cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(0)));
		cr_assert_eq(machine_rig_read(&rig, pending, 4), 0);
		take_ping();
	}
}

Test(virtio_pci, vectors_may_change_at_any_time)
{
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
	vguest_vector_write(&guest, 0, 3, 1);
	vguest_vector_write(&guest, 0, 2, 0x77);
	vguest_vector_write(&guest, 0, 3, 0);
	send_one();
	cr_assert(machine_rig_wait_msi(&rig, 0x77));
	take_ping();
	/* The queue moves to another vector. */
	select_queue(0);
	vguest_common_write(&guest, COMMON_QUEUE_VECTOR, 2, 1);
	send_one();
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(1)));
	take_ping();
	/* And to none. */
	vguest_common_write(&guest, COMMON_QUEUE_VECTOR, 2, 0xffff);
	send_one();
	wait_served(4);
	cr_assert(!machine_rig_has_msi(&rig, 0x77));
	cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(1)));
}

Test(virtio_pci, vectors_out_of_range_read_back_as_none)
{
	static const uint16_t bad[] = {ECHO_QUEUES + 1, 0x100, 0x7ff, 0xfffe, 0xffff};

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	select_queue(0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		vguest_common_write(&guest, COMMON_QUEUE_VECTOR, 2, 0);
		vguest_common_write(&guest, COMMON_QUEUE_VECTOR, 2, bad[i]);
		cr_assert_eq(vguest_common(&guest, COMMON_QUEUE_VECTOR, 2), 0xffff);
		vguest_common_write(&guest, COMMON_CONFIG_VECTOR, 2, bad[i]);
		cr_assert_eq(vguest_common(&guest, COMMON_CONFIG_VECTOR, 2), 0xffff);
	}
}

Test(virtio_pci, msix_table_takes_dwords_and_qwords)
{
	uint64_t entry = guest.msix_table + 16;

	machine_rig_write(&rig, entry, 8, 0x1234567800000000 | GUEST_MSI_ADDR);
	cr_assert_eq(machine_rig_read(&rig, entry, 8), 0x1234567800000000 | GUEST_MSI_ADDR);
	machine_rig_write(&rig, entry + 8, 8, 0xffffffff00000055);
	cr_assert_eq(machine_rig_read(&rig, entry + 8, 4), 0x55);
	cr_assert_eq(machine_rig_read(&rig, entry + 12, 4), 1, "only the mask bit");
	machine_rig_write(&rig, entry + 8, 2, 0x66);
	machine_rig_write(&rig, entry + 9, 1, 0x66);
	machine_rig_write(&rig, entry + 10, 4, 0x66666666);
	machine_rig_write(&rig, entry + 4, 8, 0);
	cr_assert_eq(machine_rig_read(&rig, entry + 8, 4), 0x55);
	cr_assert_eq(machine_rig_read(&rig, entry + 7, 2), 0x5512);
	/* Behind the table there is nothing. */
	machine_rig_write(&rig, guest.msix_table + 16 * 3, 4, 0xffffffff);
	cr_assert_eq(machine_rig_read(&rig, guest.msix_table + 16 * 3, 8), 0);
	cr_assert_eq(machine_rig_read(&rig, guest.bar + VIRTIO_PCI_MSIX_PENDING + 0xff8, 8), 0);
}

Test(virtio_pci, a_route_that_kvm_refuses_interrupts_nobody)
{
	rig.host.fail_route = -EINVAL;
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	send_one();
	wait_served(1);
	cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(0)));
	rig.host.fail_route = 0;
	vguest_vector_write(&guest, 0, 3, 0);
	take_ping();
	send_one();
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(0)));
}

Test(virtio_pci, falls_back_to_intx)
{
	unsigned int line = 16 + 1;

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	vguest_msix_control(&guest, false, false);
	send_one();
	while (!machine_rig_load(&rig, &rig.host.lines[line], 1))
		;
	cr_assert_eq(machine_rig_config_read(&rig, DEVFN, 6, 2) & 8, 8);
	echo_config_set(&echo, 9);
	cr_assert_eq(machine_rig_read(&rig, guest.isr, 1), 3);
	cr_assert(!rig.host.lines[line], "reading the ISR releases the line");
	cr_assert_eq(machine_rig_read(&rig, guest.isr, 1), 0);
	cr_assert_eq(machine_rig_read(&rig, guest.isr + 1, 1), 0);
	take_ping();
	send_one();
	while (!machine_rig_load(&rig, &rig.host.lines[line], 1))
		;
	vguest_msix_control(&guest, true, false);
	cr_assert(!rig.host.lines[line]);
	vguest_msix_control(&guest, false, false);
	cr_assert(rig.host.lines[line]);
	vguest_reset(&guest);
	cr_assert(!rig.host.lines[line]);
}

/* --- config space --- */

Test(virtio_pci, config_space_is_bytes_of_any_size)
{
	static const char want[] = "abcdefghijkl";

	memcpy(echo.config, want, 12);
	for (unsigned int offset = 0; offset < 16; offset++) {
		for (unsigned int size = 1; size <= 8; size *= 2) {
			uint64_t value = machine_rig_read(&rig, guest.device + offset, size);

			for (unsigned int i = 0; i < size; i++)
				cr_assert_eq((char)(value >> 8 * i),
					offset + i < 12 ? want[offset + i] : 0);
		}
	}
	machine_rig_write(&rig, guest.device + 4, 4, 0x34333231);
	machine_rig_write(&rig, guest.device + 10, 4, 0x34333231); /* over the end: dropped */
	machine_rig_write(&rig, guest.device + 12, 1, 0x31);
	cr_assert_eq(memcmp(echo.config, "abcd1234ijkl", 12), 0);
}

Test(virtio_pci, config_changes_give_a_generation_and_an_interrupt)
{
	uint64_t before = vguest_common(&guest, COMMON_GENERATION, 1);

	echo_config_set(&echo, 1);
	cr_assert_eq(vguest_common(&guest, COMMON_GENERATION, 1), before + 1);
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	cr_assert(!machine_rig_has_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES)));
	echo_config_set(&echo, 2);
	cr_assert(machine_rig_wait_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES)));
	cr_assert_eq(machine_rig_read(&rig, guest.device, 1), 2);
}

static void change_twice(void *arg)
{
	virtio_config_changed(arg);
	virtio_config_changed(arg);
}

Test(virtio_pci, an_interrupt_while_the_last_one_is_under_way_is_not_lost)
{
	uint64_t count = 0;

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	machine_rig_call(&rig, change_twice, &echo.dev);
	while (count < 2) {
		uint64_t more = machine_rig_wait_msi(&rig, GUEST_MSI_DATA(ECHO_QUEUES));

		cr_assert(more);
		count += more;
	}
}

/* --- doorbells and BARs --- */

Test(virtio_pci, doorbells_follow_the_bar)
{
	uint64_t old = guest.notify;

	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
	machine_rig_config_write(&rig, DEVFN, 0x10, 4, 0xd0000000);
	cr_assert(vguest_probe(&guest, &rig, DEVFN));
	cr_assert_eq(guest.bar, 0xd0000000);
	for (unsigned int i = 0; i < ECHO_QUEUES; i++)
		cr_assert_eq(rig.host.ioeventfds[i].gpa, guest.notify + i * 4);
	cr_assert_eq(machine_rig_read(&rig, old, 4), 0xffffffff);
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	ping();
	machine_rig_config_write(&rig, DEVFN, 4, 2, 0); /* decoding off */
	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++)
		cr_assert_eq(rig.host.ioeventfds[i].gpa, 0);
	machine_rig_config_write(&rig, DEVFN, 4, 2, 6);
	ping();
}

Test(virtio_pci, kicks_arrive_as_exits_where_ioeventfds_are_refused)
{
	rig.host.fail_ioeventfd = -ENOSPC;
	machine_rig_config_write(&rig, DEVFN, 0x10, 4, 0xd0000000);
	cr_assert(vguest_probe(&guest, &rig, DEVFN));
	cr_assert(vguest_start(&guest, ALL_RING, 16));
	for (unsigned int i = 0; i < 10; i++)
		ping();
	/* Out of range, or beside a doorbell: nobody's. */
	machine_rig_write(&rig, guest.notify + 2, 2, 0);
	machine_rig_write(&rig, guest.notify + 4 * ECHO_QUEUES, 2, 0);
	machine_rig_write(&rig, guest.notify + 0xffc, 4, 0);
	ping();
}

Test(virtio_pci, window_in_configuration_space_reaches_the_bar)
{
	unsigned int w = guest.window_cap;

	machine_rig_config_write(&rig, DEVFN, w + 4, 1, 0);
	machine_rig_config_write(&rig, DEVFN, w + 8, 4, COMMON_NUM_QUEUES);
	machine_rig_config_write(&rig, DEVFN, w + 12, 4, 2);
	cr_assert_eq(machine_rig_config_read(&rig, DEVFN, w + 16, 4), ECHO_QUEUES);
	machine_rig_config_write(&rig, DEVFN, w + 8, 4, COMMON_STATUS);
	machine_rig_config_write(&rig, DEVFN, w + 12, 4, 1);
	machine_rig_config_write(&rig, DEVFN, w + 16, 4, 0xffffff03);
	cr_assert_eq(vguest_status(&guest), 3);
	/* Outside the BAR, misaligned, another BAR, sizes that are none: nothing happens. */
	for (unsigned int i = 0; i < 5; i++) {
		static const uint32_t bad[][3] = {{0, 0x8000, 4}, {0, 0x7ffe, 4}, {1, 0x14, 1},
			{0, 0x14, 3}, {0, 0xfffffffc, 8}};

		machine_rig_config_write(&rig, DEVFN, w + 4, 1, bad[i][0]);
		machine_rig_config_write(&rig, DEVFN, w + 8, 4, bad[i][1]);
		machine_rig_config_write(&rig, DEVFN, w + 12, 4, bad[i][2]);
		machine_rig_config_write(&rig, DEVFN, w + 16, 4, 0);
		machine_rig_config_read(&rig, DEVFN, w + 16, 4);
		cr_assert_eq(vguest_status(&guest), 3);
	}
}

/* --- busy poll --- */

Test(virtio_pci, a_polling_reactor_needs_no_kicks)
{
	const struct reactor_params p = {.core = -1, .poll_us = 200};
	unsigned int kicked = 0;

	echo_remove(&echo);
	machine_rig_stop(&rig);
	machine_rig_start(&rig, GUEST_RAM, &p);
	echo_add(&echo, &rig);
	cr_assert(vguest_probe(&guest, &rig, DEVFN));
	for (unsigned int i = 0; i < 2; i++) {
		cr_assert(vguest_start(&guest, i ? ALL_RING | VIRTIO_F_RING_PACKED : ALL_RING, 16));
		for (unsigned int n = 0; n < 2000; n++) {
			struct fake_used used;

			offer_ping(0);
			if (fake_show(&guest.queues[0])) {
				kicked++;
				vguest_kick(&guest, 0);
			}
			/* No step may be lost between polling and sleeping: each answer comes. */
			while (!fake_take(&guest.queues[0], &used))
				;
		}
	}
	cr_assert_lt(kicked, 4000, "never polled");
}

Test(virtio_pci, a_failed_init_leaves_nothing)
{
	static const uint16_t sizes[] = {8};
	static const struct virtio_device_ops ops;
	const struct virtio_pci_params params = {.type = 42, .class_code = 0};
	struct virtio_env env = rig.env;
	struct virtio_device dev;
	struct virtio_pci pci;
	struct diag d;

	rig.host.fail_gsi = -ENOSPC;
	cr_assert_eq(virtio_device_init(&dev, &ops, &env, "test", 0, 1, sizes, &d), 0);
	cr_assert_eq(virtio_pci_init(&pci, &dev, &params, &d), -ENOSPC);
	cr_assert(strstr(d.text, "MSI-X"));
	virtio_device_finish(&dev);
	cr_assert_eq(machine_rig_config_read(&rig, DEVFN + 1, 0, 4), 0xffffffff);
}

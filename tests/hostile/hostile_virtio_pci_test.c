/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that attacks the transport, while another device on the same reactor must stay
 * responsive. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/layout.h"
#include "support/echo_device.h"
#include "support/virtio_guest.h"

#define FEATURES                                                                                   \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_RESET)

/* Two devices on one reactor: the attacker's, and one whose driver only wants to go on. */
static struct machine_rig rig;
static struct echo_device bad_echo, good_echo;
static struct virtio_guest attacker, victim;

static void setup(void)
{
	machine_rig_start(&rig, GUEST_RAM, NULL);
	echo_add(&bad_echo, &rig);
	echo_add(&good_echo, &rig);
	cr_assert(vguest_probe(&attacker, &rig, 8));
	cr_assert(vguest_probe(&victim, &rig, 9));
	/* The victim's rings and vectors' data lie elsewhere. */
	victim.next_ring = GUEST_RINGS + 0x1000000;
	cr_assert(vguest_negotiate(&victim, FEATURES));
	vguest_msix_on(&victim);
	vguest_vector_write(&victim, 0, 2, 0x99);
	vguest_queue_on(&victim, 0, 16);
	vguest_set_status(&victim, VIRTIO_S_DRIVER_OK);
}

static void teardown(void)
{
	echo_remove(&bad_echo);
	echo_remove(&good_echo);
	machine_rig_stop(&rig);
}

TestSuite(hostile_virtio_pci, .init = setup, .fini = teardown, .timeout = 100);

static bool ping(struct virtio_guest *g, uint32_t data)
{
	const struct fake_buf bufs[] = {
		{GUEST_BUFFERS, 4, false}, {GUEST_BUFFERS + 0x1000, 8, true}};
	struct fake_used used;

	fake_interrupts(&g->queues[0], true);
	if (fake_offer(&g->queues[0], bufs, 2, false) < 0)
		return false;
	if (fake_show(&g->queues[0]))
		vguest_kick(g, 0);
	return machine_rig_wait_msi(&rig, data) && fake_take(&g->queues[0], &used) &&
	       used.len_bytes == 4;
}

static void expect_all_well(void)
{
	cr_assert(ping(&victim, 0x99));
	echo_release(&bad_echo);
	cr_assert(vguest_start(&attacker, FEATURES, 16));
	cr_assert(ping(&attacker, GUEST_MSI_DATA(0)), "the attacker may go on after a reset");
}

/* Every offset of the BAR, every size, with values that mean something somewhere. */
Test(hostile_virtio_pci, accesses_of_every_size_everywhere)
{
	static const uint64_t values[] = {0, 1, 0xffffffffffffffff};

	for (unsigned int v = 0; v < 3; v++) {
		for (unsigned int size = 1; size <= 8; size *= 2) {
			for (uint64_t at = 0; at < VIRTIO_PCI_BAR_BYTES; at++) {
				uint64_t region = at % VIRTIO_PCI_REGION_BYTES;

				/* The structures' first bytes, and around every boundary. */
				if (region > 0x60 && region < VIRTIO_PCI_REGION_BYTES - 9)
					continue;
				machine_rig_read(&rig, attacker.bar + at, size);
				machine_rig_write(&rig, attacker.bar + at, size, values[v]);
			}
		}
		cr_assert(ping(&victim, 0x99));
	}
	expect_all_well();
}

Test(hostile_virtio_pci, configuration_space_accesses_of_every_size)
{
	for (unsigned int size = 1; size <= 8; size *= 2) {
		for (unsigned int reg = 0; reg < 0x120; reg++) {
			machine_rig_config_read(&rig, 8, reg, size);
			machine_rig_config_write(&rig, 8, reg, size, 0xffffffffffffffff);
			machine_rig_config_write(&rig, 8, reg, size, 0);
		}
	}
	machine_rig_config_write(&rig, 8, 0x10, 4, LAYOUT_PCI_MMIO);
	machine_rig_config_write(&rig, 8, 4, 2, 6);
	expect_all_well();
}

Test(hostile_virtio_pci, doorbells_of_queues_that_are_off_or_do_not_exist)
{
	for (unsigned int i = 0; i < 1024; i++)
		machine_rig_write(&rig, attacker.notify + 4 * i, 2, i);
	cr_assert_eq(machine_rig_load(&rig, &bad_echo.served, 4), 0);
	cr_assert(vguest_negotiate(&attacker, FEATURES));
	vguest_queue_on(&attacker, 0, 16);
	machine_rig_write(&rig, attacker.notify, 2, 0);
	cr_assert_eq(machine_rig_load(&rig, &bad_echo.served, 4), 0, "not before DRIVER_OK");
	expect_all_well();
}

Test(hostile_virtio_pci, registers_of_queues_that_do_not_exist)
{
	static const uint16_t queues[] = {ECHO_QUEUES, 0x100, 0x7fff, 0xffff};

	cr_assert(vguest_negotiate(&attacker, FEATURES));
	for (unsigned int i = 0; i < 4; i++) {
		vguest_common_write(&attacker, COMMON_QUEUE_SELECT, 2, queues[i]);
		for (unsigned int reg = COMMON_QUEUE_SIZE; reg < 0x3c; reg += 2) {
			vguest_common_write(&attacker, reg, 2, 1);
			vguest_common_write(&attacker, reg, 4, 1);
		}
		cr_assert_eq(vguest_common(&attacker, COMMON_QUEUE_SIZE, 2), 0);
		cr_assert_eq(vguest_common(&attacker, COMMON_QUEUE_ENABLE, 2), 0);
		cr_assert_eq(vguest_common(&attacker, COMMON_QUEUE_DESC, 8), 0);
	}
	expect_all_well();
}

Test(hostile_virtio_pci, bars_moved_back_and_forth)
{
	cr_assert(vguest_start(&attacker, FEATURES, 16));
	for (unsigned int i = 0; i < 500; i++) {
		/* Over the victim's, outside, nowhere, elsewhere. */
		static const uint32_t places[] = {0xfffffff0, 0, LAYOUT_LAPIC, 0xd0000000};
		uint32_t at = i % 5 == 4 ? (uint32_t)victim.bar : places[i % 5];

		machine_rig_config_write(&rig, 8, 0x10, 4, at);
		machine_rig_config_write(&rig, 8, 4, 2, i & 1 ? 6 : 0);
		if (i % 50 == 0)
			cr_assert(ping(&victim, 0x99));
	}
	machine_rig_config_write(&rig, 8, 4, 2, 6);
	machine_rig_config_write(&rig, 8, 0x10, 4, 0xd0000000);
	cr_assert(vguest_probe(&attacker, &rig, 8));
	expect_all_well();
}

Test(hostile_virtio_pci, resets_without_end)
{
	for (unsigned int i = 0; i < 300; i++) {
		cr_assert(vguest_start(&attacker, FEATURES, 16));
		vguest_kick(&attacker, i & 1);
		vguest_common_write(&attacker, COMMON_STATUS, 1, 0);
	}
	expect_all_well();
}

/* --- storms, from another thread, as a second vCPU's --- */

static bool storm_over;

static void *kick_storm(void *arg)
{
	uint64_t one = 1;
	int fd = *(int *)arg;

	while (!__atomic_load_n(&storm_over, __ATOMIC_RELAXED))
		cr_assert(write(fd, &one, sizeof(one)) == sizeof(one));
	return NULL;
}

/* Garbage into the rings, with a kick now and then, while the other vCPU uses the same queue. */
static void *ring_storm(void *arg)
{
	struct fake_driver *d = &attacker.queues[0];
	uint64_t seed = 77, one = 1;
	int fd = *(int *)arg;

	while (!__atomic_load_n(&storm_over, __ATOMIC_RELAXED)) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		__atomic_store_n((uint16_t *)(d->desc + (seed >> 40 & 0xfe)),
			(uint16_t)(seed >> 20 & 0x8087), __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(d->driver + (seed >> 50 & 0x1e)),
			(uint16_t)(seed >> 30 & 0x1f), __ATOMIC_RELAXED);
		if (!(seed >> 58))
			cr_assert(write(fd, &one, sizeof(one)) == sizeof(one));
	}
	return NULL;
}

/* Runs the storm while the victim makes 200 round trips; the longest of them, in ms. */
static uint64_t storm(void *(*run)(void *))
{
	int fd = bad_echo.pci.kicks[0].event.fd;
	uint64_t longest_ms = 0;
	pthread_t threads[2];

	storm_over = false;
	for (unsigned int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, run, &fd), 0);
	for (unsigned int i = 0; i < 200; i++) {
		struct timespec from, to;
		uint64_t ms;

		clock_gettime(CLOCK_MONOTONIC, &from);
		cr_assert(ping(&victim, 0x99));
		clock_gettime(CLOCK_MONOTONIC, &to);
		ms = (uint64_t)(to.tv_sec - from.tv_sec) * 1000 +
		     (uint64_t)((to.tv_nsec - from.tv_nsec) / 1000000);
		longest_ms = ms > longest_ms ? ms : longest_ms;
	}
	__atomic_store_n(&storm_over, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return longest_ms;
}

/* A second is far above what it takes, and far below being held up by the storm. */
Test(hostile_virtio_pci, kick_storms_delay_nobody)
{
	cr_assert(vguest_start(&attacker, FEATURES, 16));
	cr_assert_lt(storm(kick_storm), 1000);
	expect_all_well();
}

Test(hostile_virtio_pci, two_vcpus_fight_over_a_queue)
{
	for (unsigned int i = 0; i < 4; i++) {
		cr_assert(vguest_start(
			&attacker, i & 1 ? FEATURES | VIRTIO_F_RING_PACKED : FEATURES, 16));
		cr_assert_lt(storm(ring_storm), 1000);
	}
	expect_all_well();
}

Test(hostile_virtio_pci, features_and_status_in_any_order)
{
	for (unsigned int value = 0; value < 256; value++) {
		vguest_common_write(&attacker, COMMON_STATUS, 1, value);
		vguest_common_write(&attacker, COMMON_DRIVER_FEATURE_SELECT, 4, value % 5);
		vguest_common_write(&attacker, COMMON_DRIVER_FEATURE, 4, value * 0x01010101u);
		vguest_common_write(&attacker, COMMON_QUEUE_SELECT, 2, value & 1);
		vguest_common_write(&attacker, COMMON_QUEUE_ENABLE, 2, 1);
		vguest_common_write(&attacker, COMMON_QUEUE_RESET, 2, 1);
		vguest_kick(&attacker, value & 1);
		if (value % 16 == 0)
			cr_assert(ping(&victim, 0x99));
	}
	expect_all_well();
}

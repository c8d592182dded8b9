/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: what the guest names goes back to the host, in runs; statistics; whatever it does.
 */
#include "virtio/balloon.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "support/device_rig.h"
#include "support/fake_io.h"

#define B(i)      (DEVICE_RIG_BUFFERS + (uint64_t)(i)*0x10000)
#define PAGES_GPA (DEVICE_RIG_BUFFERS + 0x800000ULL) /* whose pages are given away */
#define PFN       ((uint32_t)(PAGES_GPA / BALLOON_PAGE))
#define RAM_PFNS  ((uint32_t)(DEVICE_RIG_RAM / BALLOON_PAGE))
#define FILLED    64u /* pages there that are resident at first */
#define FEATURES                                                                                   \
	(BALLOON_F_STATS_VQ | BALLOON_F_PAGE_REPORTING | VIRTIO_F_INDIRECT_DESC |                  \
		VIRTIO_F_RING_RESET)

static struct reactor *reactor;
static struct device_rig rig;
static struct balloon balloon;

static void setup(void)
{
	struct diag d;

	reactor = fake_io_create(7);
	device_rig_init(&rig, reactor);
	cr_assert_eq(balloon_init(&balloon, &rig.env, &d), 0);
	device_rig_attach(&rig, &balloon.dev);
	memset(device_rig_mem(&rig, PAGES_GPA, FILLED * BALLOON_PAGE), 0x5a, FILLED * BALLOON_PAGE);
}

static void teardown(void)
{
	virtio_device_reset(&balloon.dev);
	fake_io_run(reactor);
	cr_assert_not(balloon.dev.resetting);
	cr_assert_not(reactor_timer_armed(&balloon.stats.timer));
	balloon_finish(&balloon);
	fake_io_destroy(reactor);
	device_rig_finish(&rig);
}

TestSuite(balloon, .init = setup, .fini = teardown, .timeout = 60);

static uint8_t first_byte(unsigned int page)
{
	return *device_rig_mem(&rig, PAGES_GPA + (uint64_t)page * BALLOON_PAGE, 1);
}

static uint64_t resident_pages(void)
{
	return gmem_resident_bytes(&rig.mem) / BALLOON_PAGE;
}

static void put_pfns(uint64_t gpa, const uint32_t *pfns, unsigned int count)
{
	memcpy(device_rig_mem(&rig, gpa, count * sizeof(*pfns)), pfns, count * sizeof(*pfns));
}

/* One chain of PFNs, carried out; how many runs it made. */
static uint64_t inflate(const uint32_t *pfns, unsigned int count)
{
	uint64_t before = balloon.lanes[BALLOON_INFLATE].discard.runs;
	struct fake_used used;

	put_pfns(B(0), pfns, count);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), count * 4, false));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_eq(used.len_bytes, 0);
	return balloon.lanes[BALLOON_INFLATE].discard.runs - before;
}

Test(balloon, inflate_ascending_is_one_run)
{
	const uint32_t pfns[] = {PFN, PFN + 1, PFN + 2, PFN + 3};
	uint64_t before;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	*device_rig_mem(&rig, B(0), 1) = 0; /* the list's own page */
	before = resident_pages();
	cr_assert_eq(inflate(pfns, 4), 1);
	cr_assert_eq(before - resident_pages(), 4, "the host has the pages back");
	cr_assert_eq(first_byte(0), 0, "what is touched again is new");
	cr_assert_eq(first_byte(4), 0x5a);
}

Test(balloon, inflate_descending_is_one_run)
{
	const uint32_t pfns[] = {PFN + 5, PFN + 4, PFN + 3};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_eq(inflate(pfns, 3), 1);
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.bytes, 3 * BALLOON_PAGE);
	cr_assert(first_byte(2) == 0x5a && first_byte(3) == 0 && first_byte(5) == 0 &&
		  first_byte(6) == 0x5a);
}

Test(balloon, inflate_mixed)
{
	const uint32_t pfns[] = {PFN + 8, PFN + 9, PFN + 7, PFN + 20, PFN + 19, PFN + 2, PFN + 40};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_eq(inflate(pfns, 7), 4);
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.bytes, 7 * BALLOON_PAGE);
	for (unsigned int i = 0; i < 7; i++)
		cr_assert_eq(first_byte(pfns[i] - PFN), 0);
	cr_assert_eq(first_byte(10), 0x5a);
}

Test(balloon, duplicates_are_harmless)
{
	const uint32_t pfns[] = {PFN, PFN, PFN + 1, PFN, PFN + 9, PFN, PFN + 9};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_eq(inflate(pfns, 7), 4);
	cr_assert(first_byte(0) == 0 && first_byte(1) == 0 && first_byte(9) == 0);
	cr_assert_eq(first_byte(2), 0x5a);
}

Test(balloon, out_of_bounds_ends_the_chain_and_earlier_runs_stand)
{
	const uint32_t outside[] = {RAM_PFNS, UINT32_MAX, (uint32_t)(GMEM_HOLE_START >> 12)};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	for (unsigned int i = 0; i < 3; i++) {
		const uint32_t pfns[] = {PFN + 4 * i, PFN + 4 * i + 1, outside[i], PFN + 4 * i + 2};

		cr_assert_eq(inflate(pfns, 4), 1);
		cr_assert(first_byte(4 * i) == 0 && first_byte(4 * i + 1) == 0);
		cr_assert_eq(first_byte(4 * i + 2), 0x5a);
	}
	cr_assert_eq(balloon.out_of_range, 3);
	cr_assert_not(balloon.dev.status & VIRTIO_S_NEEDS_RESET);
}

Test(balloon, last_page_of_ram)
{
	const uint32_t pfns[] = {RAM_PFNS - 1};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_eq(inflate(pfns, 1), 1);
	cr_assert_eq(balloon.out_of_range, 0);
}

Test(balloon, odd_lengths)
{
	const uint32_t pfns[] = {PFN, PFN + 1};
	struct fake_buf bufs[] = {{B(0), 1, false}, {B(0) + 1, 6, false}};
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 2);
	cr_assert_geq(fake_offer(&rig.queues[BALLOON_INFLATE], bufs, 2, false), 0);
	cr_assert_geq(fake_offer(&rig.queues[BALLOON_INFLATE], bufs, 1, true), 0);
	bufs[0].write = true;
	cr_assert_geq(fake_offer(&rig.queues[BALLOON_INFLATE], bufs, 1, false), 0);
	device_rig_show(&rig, BALLOON_INFLATE);
	fake_io_run(reactor);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_eq(balloon.inflated, 1, "seven bytes are one PFN, across two buffers");
	cr_assert(first_byte(0) == 0 && first_byte(1) == 0x5a);
}

Test(balloon, more_runs_than_can_be_in_flight)
{
	uint32_t pfns[3000];
	struct fake_used used;

	for (unsigned int i = 0; i < 3000; i++)
		pfns[i] = PFN + 2 * (i % 500);
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 3000);
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), sizeof(pfns), false));
	fake_io_run(reactor);
	cr_assert_eq(fake_io_in_flight(reactor, rig.mem.memfd), DISCARD_OPS);
	cr_assert_not(fake_take(&rig.queues[BALLOON_INFLATE], &used), "not before it is done");
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.runs, 3000);
	cr_assert_eq(balloon.inflated, 3000);
}

static void expect_small_parts(const struct discard *d)
{
	uint64_t sum_bytes = 0;

	for (unsigned int i = 0; i < DISCARD_OPS; i++)
		if (d->ops[i].io.in_flight)
			sum_bytes += d->ops[i].len_bytes;
	cr_assert_eq(d->in_flight_bytes, sum_bytes);
	cr_assert_leq(sum_bytes, DISCARD_PART_BYTES, "never more than that at once");
}

/* A run of four parts behind single pages, where there is room for the first of its parts only, and
 * a page behind it. */
Test(balloon, a_long_run_goes_in_parts)
{
	const uint32_t first = (uint32_t)(DEVICE_RIG_BUFFERS / BALLOON_PAGE) + 600;
	const uint32_t long_pages = 1500, count = DISCARD_OPS - 1 + long_pages + 1;
	struct balloon_lane *l = &balloon.lanes[BALLOON_INFLATE];
	uint32_t pfns[DISCARD_OPS + 1500];
	struct fake_used used;
	unsigned int n = 0;

	while (n < DISCARD_OPS - 1) {
		pfns[n] = 10 + 2 * n;
		n++;
	}
	for (uint32_t i = 0; i < long_pages; i++)
		pfns[n++] = first + i;
	pfns[n++] = 1;
	cr_assert_eq(n, count);
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, count);
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), 4 * count, false));
	fake_io_run(reactor);
	cr_assert_eq(l->discard.in_flight, DISCARD_OPS);
	expect_small_parts(&l->discard);
	fake_io_hold(reactor, rig.mem.memfd, false);
	while (fake_io_turn(reactor))
		expect_small_parts(&l->discard);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_eq(l->discard.bytes, (uint64_t)count * BALLOON_PAGE, "each page once");
	cr_assert_eq(balloon.inflated, count);
}

Test(balloon, a_run_that_fails_is_counted_and_the_chain_comes_back)
{
	const uint32_t pfns[] = {PFN};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	fake_io_fail_next(reactor, rig.mem.memfd, -ENOSPC);
	cr_assert_eq(inflate(pfns, 1), 1);
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.failures, 1);
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.bytes, 0);
}

Test(balloon, ring_memory_inflated_away_does_not_hurt)
{
	const uint32_t first = (uint32_t)(DEVICE_RIG_RINGS / BALLOON_PAGE);
	uint32_t pfns[256 * BALLOON_QUEUES];

	for (unsigned int i = 0; i < 256 * BALLOON_QUEUES; i++)
		pfns[i] = first + i;
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 256 * BALLOON_QUEUES);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), sizeof(pfns), false));
	fake_io_run(reactor);
	for (unsigned int q = 0; q < BALLOON_QUEUES; q++)
		virtio_queue_wake(&balloon.dev.queues[q]);
	fake_io_run(reactor);
	cr_assert_eq(
		balloon.lanes[BALLOON_INFLATE].discard.runs, 3, "parts of 5 MiB from 1 MiB on");
	virtio_device_reset(&balloon.dev);
	cr_assert(device_rig_start(&rig, FEATURES, 16), "it can be used again");
	pfns[0] = PFN;
	cr_assert_eq(inflate(pfns, 1), 1);
}

Test(balloon, deflate_only_counts)
{
	const uint32_t pfns[] = {PFN, PFN + 1, RAM_PFNS};
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 3);
	cr_assert(device_rig_offer(&rig, BALLOON_DEFLATE, B(0), 12, false));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_DEFLATE], &used));
	cr_assert_eq(balloon.deflated, 3);
	cr_assert(first_byte(0) == 0x5a && first_byte(1) == 0x5a);
}

/* --- a guest that asks before it takes pages back --- */

static bool offer_pfns(unsigned int queue, uint64_t gpa, uint32_t first, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		uint32_t pfn = first + i;

		put_pfns(gpa + 4 * i, &pfn, 1);
	}
	return device_rig_offer(&rig, queue, gpa, 4 * count, false);
}

Test(balloon, must_tell_host_answers_while_the_last_part_is_on_its_way)
{
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES | BALLOON_F_MUST_TELL_HOST, 16));
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(offer_pfns(BALLOON_INFLATE, B(0), PFN, 4));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used), "answered");
	cr_assert_eq(fake_io_in_flight(reactor, rig.mem.memfd), 1, "not gone yet");
	cr_assert(offer_pfns(BALLOON_DEFLATE, B(1), PFN, 4));
	fake_io_run(reactor);
	cr_assert_not(fake_take(&rig.queues[BALLOON_DEFLATE], &used), "not before it is gone");
	cr_assert_eq(balloon.deflated, 0);
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_DEFLATE], &used));
	cr_assert_eq(balloon.deflated, 4);
	cr_assert(first_byte(0) == 0 && first_byte(3) == 0 && first_byte(4) == 0x5a);
}

/* No more than one part is on its way, however many chains there are. */
Test(balloon, must_tell_host_is_never_far_ahead)
{
	const unsigned int pages = DISCARD_PART_BYTES / BALLOON_PAGE;
	const uint32_t first = 2 * pages;
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES | BALLOON_F_MUST_TELL_HOST, 16));
	fake_io_hold(reactor, rig.mem.memfd, true);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert(offer_pfns(BALLOON_INFLATE, B(i), first + i * pages, pages));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_not(fake_take(&rig.queues[BALLOON_INFLATE], &used), "there is no room for it");
	expect_small_parts(&balloon.lanes[BALLOON_INFLATE].discard);
	fake_io_hold(reactor, rig.mem.memfd, false);
	while (fake_io_turn(reactor))
		expect_small_parts(&balloon.lanes[BALLOON_INFLATE].discard);
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert(fake_take(&rig.queues[BALLOON_INFLATE], &used));
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.bytes, 3 * DISCARD_PART_BYTES);
}

Test(balloon, must_tell_host_is_no_leave_for_reports)
{
	const struct fake_buf buf = {PAGES_GPA, 2 * BALLOON_PAGE, true};
	struct fake_driver *d = &rig.queues[BALLOON_REPORTING];
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES | BALLOON_F_MUST_TELL_HOST, 16));
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert_geq(fake_offer(d, &buf, 1, false), 0);
	device_rig_show(&rig, BALLOON_REPORTING);
	fake_io_run(reactor);
	cr_assert_not(fake_take(d, &used), "the guest may use it at once");
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert(fake_take(d, &used));
}

/* Pages are on their way, and wanted back. */
static void start_with_deflate_waiting(void)
{
	cr_assert(device_rig_start(&rig, FEATURES | BALLOON_F_MUST_TELL_HOST, 16));
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(offer_pfns(BALLOON_INFLATE, B(0), PFN, 4));
	cr_assert(offer_pfns(BALLOON_DEFLATE, B(1), PFN, 4));
	fake_io_run(reactor);
}

/* The inflate queue goes away; whoever waits for its memory is answered all the same. */
Test(balloon, deflate_waits_across_a_reset_of_the_other_queue)
{
	struct fake_used used;

	start_with_deflate_waiting();
	virtio_queue_reset(&balloon.dev.queues[BALLOON_INFLATE]);
	cr_assert_not(fake_take(&rig.queues[BALLOON_DEFLATE], &used));
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert_not(balloon.dev.queues[BALLOON_INFLATE].resetting);
	cr_assert(fake_take(&rig.queues[BALLOON_DEFLATE], &used));
}

Test(balloon, reset_while_deflate_waits)
{
	struct fake_used used;

	start_with_deflate_waiting();
	virtio_device_reset(&balloon.dev);
	cr_assert(balloon.dev.resetting);
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert_not(balloon.dev.resetting);
	cr_assert(device_rig_start(&rig, FEATURES | BALLOON_F_MUST_TELL_HOST, 16));
	cr_assert(offer_pfns(BALLOON_DEFLATE, B(1), PFN, 4));
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[BALLOON_DEFLATE], &used));
	cr_assert_eq(balloon.deflated, 4, "those of the first chain went with the reset");
}

/* --- config space --- */

Test(balloon, requests_are_clamped_and_announced)
{
	uint32_t current, requested;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	balloon_request(&balloon, 100);
	cr_assert_eq(rig.config_irqs, 1);
	cr_assert_eq(virtio_config_read(&balloon.dev, 0, 4), 100);
	balloon_request(&balloon, UINT32_MAX);
	cr_assert_eq(virtio_config_read(&balloon.dev, 0, 4), RAM_PFNS);
	virtio_config_write(&balloon.dev, 4, 4, 77);
	virtio_config_write(&balloon.dev, 0, 4, 1);
	balloon_size(&balloon, &current, &requested);
	cr_assert_eq(current, 77);
	cr_assert_eq(requested, RAM_PFNS, "only the host sets it");
}

Test(balloon, a_request_outlives_a_reset_and_actual_does_not)
{
	uint32_t current, requested;

	balloon_request(&balloon, 100);
	cr_assert_eq(rig.config_irqs, 0, "nobody is there to be told");
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	virtio_config_write(&balloon.dev, 4, 4, 100);
	virtio_device_reset(&balloon.dev);
	balloon_size(&balloon, &current, &requested);
	cr_assert(current == 0 && requested == 100);
}

/* What clients ask for is the baseline; the reclaim policy comes on top of it. */
Test(balloon, reclaim_is_besides_what_clients_ask_for)
{
	uint32_t current, requested;
	struct balloon_figures f;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	balloon_request(&balloon, 100);
	balloon_reclaim(&balloon, 50);
	balloon_size(&balloon, &current, &requested);
	cr_assert_eq(requested, 150);
	cr_assert_eq(rig.config_irqs, 2);
	balloon_reclaim(&balloon, 50);
	cr_assert_eq(rig.config_irqs, 2, "no news");
	balloon_reclaim(&balloon, UINT32_MAX);
	balloon_figures(&balloon, &f);
	cr_assert(f.target_pages == RAM_PFNS && f.baseline_pages == 100 &&
		  f.reclaim_pages == RAM_PFNS - 100);
	cr_assert_eq(f.requests, 1);
	balloon_reclaim(&balloon, 0);
	balloon_size(&balloon, &current, &requested);
	cr_assert_eq(requested, 100, "back to the baseline");
	balloon_reclaim(&balloon, 70);
	balloon_request(&balloon, 20);
	balloon_figures(&balloon, &f);
	cr_assert(f.target_pages == 20 && f.reclaim_pages == 0 && f.requests == 2,
		"a client's wish takes effect at once");
}

/* --- reset with work in flight --- */

Test(balloon, reset_waits_for_runs_in_flight)
{
	const uint32_t pfns[] = {PFN, PFN + 2, PFN + 4};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 3);
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), 12, false));
	fake_io_run(reactor);
	cr_assert_eq(balloon.lanes[BALLOON_INFLATE].discard.in_flight, 3);
	virtio_device_reset(&balloon.dev);
	cr_assert(balloon.dev.resetting);
	cr_assert_eq(rig.resets_done, 0);
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert_eq(rig.resets_done, 1);
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_eq(inflate(pfns, 3), 3);
}

Test(balloon, queue_reset_waits_for_its_runs)
{
	const uint32_t pfns[] = {PFN};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	put_pfns(B(0), pfns, 1);
	fake_io_hold(reactor, rig.mem.memfd, true);
	cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), 4, false));
	fake_io_run(reactor);
	virtio_queue_reset(&balloon.dev.queues[BALLOON_INFLATE]);
	cr_assert(balloon.dev.queues[BALLOON_INFLATE].resetting);
	fake_io_hold(reactor, rig.mem.memfd, false);
	fake_io_run(reactor);
	cr_assert_not(balloon.dev.queues[BALLOON_INFLATE].resetting);
	device_rig_queue_on(&rig, BALLOON_INFLATE, 16);
	cr_assert_eq(inflate(pfns, 1), 1);
}

/* --- free page reporting --- */

static void report(unsigned int q, const struct fake_buf *bufs, unsigned int count, bool indirect)
{
	struct fake_used used;

	cr_assert_geq(fake_offer(&rig.queues[q], bufs, count, indirect), 0);
	device_rig_show(&rig, q);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[q], &used));
}

Test(balloon, free_page_reporting_direct)
{
	const struct fake_buf bufs[] = {{PAGES_GPA, 2 * BALLOON_PAGE, true},
		{PAGES_GPA + 4 * BALLOON_PAGE, BALLOON_PAGE, true}};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	report(BALLOON_REPORTING, bufs, 2, false);
	cr_assert_eq(balloon.lanes[BALLOON_REPORTING].discard.bytes, 3 * BALLOON_PAGE);
	cr_assert(first_byte(0) == 0 && first_byte(1) == 0 && first_byte(4) == 0);
	cr_assert(first_byte(2) == 0x5a && first_byte(5) == 0x5a);
}

Test(balloon, free_page_reporting_mixed_direct_and_indirect)
{
	const struct fake_buf first[] = {{PAGES_GPA, BALLOON_PAGE, true}};
	const struct fake_buf second[] = {{PAGES_GPA + 2 * BALLOON_PAGE, BALLOON_PAGE, true},
		{PAGES_GPA + 3 * BALLOON_PAGE, BALLOON_PAGE, true}};
	struct fake_driver *d = &rig.queues[BALLOON_REPORTING];
	struct fake_used used;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert_geq(fake_offer(d, first, 1, false), 0);
	cr_assert_geq(fake_offer(d, second, 2, true), 0);
	device_rig_show(&rig, BALLOON_REPORTING);
	fake_io_run(reactor);
	cr_assert(fake_take(d, &used) && fake_take(d, &used));
	cr_assert_eq(balloon.lanes[BALLOON_REPORTING].discard.runs, 2);
	cr_assert(first_byte(0) == 0 && first_byte(2) == 0 && first_byte(3) == 0);
	cr_assert(first_byte(1) == 0x5a && first_byte(4) == 0x5a);
}

/* Drivers that number the queues without gaps. */
Test(balloon, free_page_reporting_by_the_other_numbers)
{
	const struct fake_buf bufs[] = {{PAGES_GPA, BALLOON_PAGE, true}};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	report(BALLOON_REPORTING_OLD, bufs, 1, false);
	cr_assert_eq(first_byte(0), 0);
	virtio_device_reset(&balloon.dev);
	*device_rig_mem(&rig, PAGES_GPA, 1) = 0x5a;
	cr_assert(device_rig_start(&rig, BALLOON_F_PAGE_REPORTING, 16));
	report(BALLOON_STATS, bufs, 1, false);
	cr_assert_eq(first_byte(0), 0);
}

Test(balloon, parts_of_pages_are_not_given_away)
{
	const struct fake_buf bufs[] = {{PAGES_GPA + 1, 2 * BALLOON_PAGE, true},
		{PAGES_GPA + 8 * BALLOON_PAGE + 100, 200, true},
		{PAGES_GPA + 10 * BALLOON_PAGE, BALLOON_PAGE - 1, true}};

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	report(BALLOON_REPORTING, bufs, 3, false);
	cr_assert_eq(balloon.lanes[BALLOON_REPORTING].discard.bytes, BALLOON_PAGE);
	cr_assert(first_byte(0) == 0x5a && first_byte(1) == 0 && first_byte(2) == 0x5a);
	cr_assert(first_byte(8) == 0x5a && first_byte(10) == 0x5a);
}

Test(balloon, reporting_over_a_hole_breaks_only_the_guests_own_device)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	cr_assert(device_rig_offer(
		&rig, BALLOON_REPORTING, DEVICE_RIG_RAM - BALLOON_PAGE, 2 * BALLOON_PAGE, true));
	fake_io_run(reactor);
	cr_assert_eq(balloon.dev.fault, VQ_FAULT_ADDRESS);
	cr_assert(balloon.dev.status & VIRTIO_S_NEEDS_RESET);
	cr_assert_eq(balloon.lanes[BALLOON_REPORTING].discard.runs, 0);
}

/* All rings of all queues, that of the reports too, while chains are in them. */
Test(balloon, reporting_over_the_rings_does_not_hurt)
{
	const uint32_t pfns[] = {PFN};

	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(device_rig_start(&rig, FEATURES, 16));
		put_pfns(B(0), pfns, 1);
		cr_assert(device_rig_offer(&rig, BALLOON_REPORTING, DEVICE_RIG_RINGS,
			256 * BALLOON_QUEUES * BALLOON_PAGE, true));
		if (i == 1) /* behind it, in the same ring; and in another */
			cr_assert(device_rig_offer(
				&rig, BALLOON_REPORTING, PAGES_GPA, BALLOON_PAGE, true));
		if (i == 2)
			cr_assert(device_rig_offer(&rig, BALLOON_INFLATE, B(0), 4, false));
		fake_io_run(reactor);
		for (unsigned int q = 0; q < BALLOON_QUEUES; q++)
			virtio_queue_wake(&balloon.dev.queues[q]);
		fake_io_run(reactor);
		cr_assert_gt(balloon.lanes[BALLOON_REPORTING].discard.bytes, 0);
		virtio_device_reset(&balloon.dev);
		fake_io_run(reactor);
		cr_assert_not(balloon.dev.resetting);
	}
	cr_assert(device_rig_start(&rig, FEATURES, 16), "it can be used again");
	cr_assert_eq(inflate(pfns, 1), 1);
}

Test(balloon, reporting_that_was_not_negotiated_is_ignored)
{
	struct fake_used used;

	cr_assert(device_rig_start(&rig, 0, 16));
	cr_assert(device_rig_offer(&rig, BALLOON_REPORTING, PAGES_GPA, BALLOON_PAGE, true));
	fake_io_run(reactor);
	cr_assert_not(fake_take(&rig.queues[BALLOON_REPORTING], &used));
	cr_assert_eq(first_byte(0), 0x5a);
}

/* --- statistics --- */

static struct {
	unsigned int done;
	enum status status;
	struct balloon_stats_call call;
} asked[4];

static unsigned int answers;

static void stats_done(struct balloon_stats_call *call, enum status status)
{
	for (unsigned int i = 0; i < 4; i++)
		if (call == &asked[i].call) {
			asked[i].done = ++answers;
			asked[i].status = status;
		}
}

static void ask(unsigned int i)
{
	asked[i].call.done = stats_done;
	asked[i].done = 0;
	balloon_get_stats(&balloon, &asked[i].call);
	fake_io_run(reactor);
}

/* The guest's buffer: `count` entries with tags 0, 1, … and `extra_bytes` more. */
static void give_stats(unsigned int count, uint64_t first, uint32_t extra_bytes)
{
	uint8_t *at = device_rig_mem(&rig, B(2), count * 10 + extra_bytes);

	for (uint16_t i = 0; i < count; i++) {
		uint64_t value = first + i;

		memcpy(at + i * 10, &i, 2);
		memcpy(at + i * 10 + 2, &value, 8);
	}
	cr_assert(device_rig_offer(&rig, BALLOON_STATS, B(2), count * 10 + extra_bytes, false));
	fake_io_run(reactor);
}

static bool guest_is_asked(void)
{
	struct fake_used used;

	return fake_take(&rig.queues[BALLOON_STATS], &used);
}

Test(balloon, stats_with_unknown_tag_and_odd_length)
{
	uint16_t tag = 0xbeef;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(1, 1, 0);
	cr_assert_not(guest_is_asked(), "the first buffer stays");
	ask(0);
	cr_assert(guest_is_asked() && !asked[0].done);
	memcpy(device_rig_mem(&rig, B(2) + 30, 2), &tag, 2);
	give_stats(3, 100, 7);
	cr_assert(asked[0].done);
	cr_assert_eq(asked[0].status, STATUS_OK);
	cr_assert_eq(asked[0].call.count, 3);
	cr_assert_eq(asked[0].call.values[2].tag, 2);
	cr_assert_eq(asked[0].call.values[2].value, 102);
	ask(1);
	cr_assert(guest_is_asked());
	memcpy(device_rig_mem(&rig, B(2), 2), &tag, 2);
	cr_assert(device_rig_offer(&rig, BALLOON_STATS, B(2), 10, false));
	fake_io_run(reactor);
	cr_assert_eq(asked[1].call.count, 1);
	cr_assert_eq(asked[1].call.values[0].tag, 0xbeef, "passed on as it is");
}

Test(balloon, stats_calls_queue_in_order_one_outstanding)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(1, 0, 0);
	for (unsigned int i = 0; i < 3; i++)
		ask(i);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(guest_is_asked());
		cr_assert_not(guest_is_asked(), "one question at a time");
		give_stats(1, 10 * (i + 1), 0);
		cr_assert_eq(asked[i].done, i + 1);
		cr_assert_eq(asked[i].call.values[0].value, 10 * (i + 1));
	}
	cr_assert_not(guest_is_asked());
}

Test(balloon, stats_asked_before_the_guest_has_a_buffer)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	ask(0);
	cr_assert_not(asked[0].done);
	give_stats(1, 5, 0);
	cr_assert(guest_is_asked() && !asked[0].done, "what was there before is stale");
	give_stats(1, 6, 0);
	cr_assert_eq(asked[0].call.values[0].value, 6);
}

Test(balloon, stats_not_negotiated)
{
	ask(0);
	cr_assert_eq(asked[0].status, STATUS_NOT_SUPPORTED, "no driver yet");
	cr_assert(device_rig_start(&rig, BALLOON_F_PAGE_REPORTING, 16));
	ask(1);
	cr_assert(asked[1].done);
	cr_assert_eq(asked[1].status, STATUS_NOT_SUPPORTED);
	cr_assert_eq(asked[1].call.count, 0);
}

Test(balloon, stats_never_answered)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(1, 0, 0);
	ask(0);
	fake_io_advance_ns(reactor, 3000000000u);
	ask(1);
	fake_io_advance_ns(reactor, 1999000000u);
	cr_assert_not(asked[0].done);
	fake_io_advance_ns(reactor, 2000000u);
	cr_assert_eq(asked[0].status, STATUS_TIMED_OUT);
	cr_assert(asked[0].done && !asked[1].done);
	fake_io_advance_ns(reactor, 3000000000u);
	cr_assert_eq(asked[1].status, STATUS_TIMED_OUT);
	cr_assert(guest_is_asked());
	give_stats(1, 7, 0);
	cr_assert_not(guest_is_asked(), "a late answer is for nobody");
	ask(2);
	cr_assert(guest_is_asked());
	give_stats(1, 8, 0);
	cr_assert_eq(asked[2].call.values[0].value, 8);
}

Test(balloon, stats_when_the_device_is_lost)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(1, 0, 0);
	ask(0);
	ask(1);
	virtio_device_reset(&balloon.dev);
	cr_assert_eq(asked[0].status, STATUS_INTERNAL);
	cr_assert_eq(asked[1].status, STATUS_INTERNAL);
	cr_assert_eq(asked[1].done, 2);
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(1, 0, 0);
	ask(2);
	virtio_queue_reset(&balloon.dev.queues[BALLOON_STATS]);
	cr_assert_eq(asked[2].status, STATUS_INTERNAL);
	ask(3);
	cr_assert_eq(asked[3].status, STATUS_INTERNAL, "the queue is off");
}

Test(balloon, figures_keep_the_last_statistics)
{
	struct balloon_figures f;

	cr_assert(device_rig_start(&rig, FEATURES, 16));
	balloon_figures(&balloon, &f);
	cr_assert(f.has_statistics && !f.statistics_ns && f.free_bytes == BALLOON_STAT_NONE);
	give_stats(1, 0, 0);
	ask(0);
	cr_assert(guest_is_asked());
	fake_io_advance_ns(reactor, 1000);
	give_stats(5, 1000, 0);
	balloon_figures(&balloon, &f);
	cr_assert_eq(f.free_bytes, 1004);
	cr_assert_eq(f.available_bytes, BALLOON_STAT_NONE, "not said");
	cr_assert_gt(f.statistics_ns, 0);
	virtio_device_reset(&balloon.dev);
	balloon_figures(&balloon, &f);
	cr_assert(!f.has_statistics && !f.statistics_ns);
}

Test(balloon, stats_more_than_we_take)
{
	cr_assert(device_rig_start(&rig, FEATURES, 16));
	give_stats(0, 0, 1);
	ask(0);
	give_stats(300, 0, 0);
	cr_assert_eq(asked[0].call.count, BALLOON_STATS_MAX);
}

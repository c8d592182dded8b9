/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio console against a fake driver and clients of its socket. */
#include "virtio/console.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/passrights.h"
#include "support/device_rig.h"
#include "support/fake_io.h"
#include "support/queue_rig.h"

#define B(i) (DEVICE_RIG_BUFFERS + (uint64_t)(i)*0x10000)

/* Sixteen of these are more than any socket takes. */
#define LARGE       0x80000u
#define LARGE_AT(i) B(8 * (i))

static struct reactor *reactor;
static struct device_rig rig;
static struct console console;
static uint8_t got[1 << 20];

static void setup_seed(uint64_t seed)
{
	struct diag d;

	reactor = fake_io_create(seed);
	device_rig_init(&rig, reactor);
	cr_assert_eq(console_init(&console, &rig.env, &d), 0);
	device_rig_attach(&rig, &console.dev);
}

static void setup(void)
{
	setup_seed(1);
}

static bool is_drained;

static void drained(struct console *c)
{
	(void)c;
	is_drained = true;
}

/* The end of a machine: drain, reset, close. */
static void teardown(void)
{
	is_drained = false;
	console_drain(&console, drained);
	for (int i = 0; !is_drained && i < 1000; i++)
		fake_io_advance_ns(reactor, 10000000);
	cr_assert(is_drained);
	virtio_device_reset(&console.dev);
	fake_io_run(reactor);
	cr_assert_not(console.dev.resetting);
	console_close(&console);
	fake_io_run(reactor);
	cr_assert_eq(fake_io_in_flight(reactor, -1), 0);
	console_finish(&console);
	fake_io_destroy(reactor);
	device_rig_finish(&rig);
}

TestSuite(console, .init = setup, .fini = teardown, .timeout = 60);

static int client(void)
{
	struct diag d;
	int fd = console_client(&console, &d);

	cr_assert_geq(fd, 0, "%s", d.text);
	return fd;
}

static void start(uint64_t features)
{
	cr_assert(device_rig_start(&rig, features, 16));
}

static void send_text(unsigned int i, const char *text)
{
	memcpy(device_rig_mem(&rig, B(i), strlen(text)), text, strlen(text));
	cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(i), (uint32_t)strlen(text), false));
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* All that the client can read now, as text. */
static const char *read_text(int fd)
{
	size_t n = 0;

	fake_io_run(reactor);
	while (readable(fd)) {
		ssize_t r = read(fd, got + n, sizeof(got) - 1 - n);

		cr_assert_geq(r, 0);
		if (r == 0)
			break;
		n += (size_t)r;
		fake_io_run(reactor);
	}
	got[n] = '\0';
	return (char *)got;
}

static unsigned int taken(unsigned int q)
{
	struct fake_used used;
	unsigned int n = 0;

	fake_io_run(reactor);
	while (fake_take(&rig.queues[q], &used))
		n++;
	return n;
}

/* --- transmitq --- */

Test(console, output_reaches_the_client_and_chains_come_back)
{
	int fd = client();

	start(0);
	send_text(0, "hello, ");
	send_text(1, "world\n");
	cr_assert_str_eq(read_text(fd), "hello, world\n");
	cr_assert_eq(taken(CONSOLE_TX), 2);
	cr_assert_geq(rig.queue_irqs[CONSOLE_TX], 1);
	cr_assert_eq(console.bytes_out, 13);
	close(fd);
}

Test(console, chains_of_one_turn_go_in_one_write)
{
	int fd = client();
	struct reactor_stats before, after;

	start(0);
	fake_io_run(reactor);
	reactor_stats_read(reactor, &before);
	for (unsigned int i = 0; i < 10; i++)
		send_text(i, "0123456789");
	cr_assert_eq(strlen(read_text(fd)), 100);
	reactor_stats_read(reactor, &after);
	cr_assert_eq(after.sqes - before.sqes, 1);
	cr_assert_eq(rig.queue_irqs[CONSOLE_TX], 1);
	close(fd);
}

Test(console, output_is_kept_until_the_first_client)
{
	int fd;

	start(0);
	send_text(0, "before ");
	cr_assert_eq(taken(CONSOLE_TX), 1, "the guest goes on");
	fd = client();
	send_text(1, "after");
	cr_assert_str_eq(read_text(fd), "before after");
	cr_assert_null(console.kept, "given back when it is not needed");
	close(fd);
}

Test(console, keeps_the_oldest_64_kib_and_counts_the_rest)
{
	const uint32_t each = 10000;
	int fd;

	start(0);
	for (uint32_t i = 0; i < 10; i++) {
		memset(device_rig_mem(&rig, B(i), each), 'a' + (int)i, each);
		cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(i), each, false));
		cr_assert_eq(taken(CONSOLE_TX), 1);
	}
	cr_assert_eq(console.dropped_bytes, 10 * each - CONSOLE_KEPT_BYTES);
	fd = client();
	cr_assert_eq(strlen(read_text(fd)), CONSOLE_KEPT_BYTES);
	cr_assert_eq(got[0], 'a');
	cr_assert_eq(got[CONSOLE_KEPT_BYTES - 1], 'a' + CONSOLE_KEPT_BYTES / 10000);
	close(fd);
}

Test(console, a_full_socket_blocks_the_queue_alone)
{
	const uint32_t each = LARGE;
	unsigned int offered = 0, back;
	uint64_t total = 0;
	int fd = client();

	start(0);
	for (; offered < 16; offered++)
		cr_assert(device_rig_offer(&rig, CONSOLE_TX, LARGE_AT(offered), each, false));
	back = taken(CONSOLE_TX);
	cr_assert_lt(back, 16);
	cr_assert_eq(console_blocked_ns(&console), 0);
	fake_io_advance_ns(reactor, 5000000000);
	cr_assert_eq(console_blocked_ns(&console), 5000000000);
	cr_assert_eq(taken(CONSOLE_TX), 0, "nothing is dropped");

	/* The other queue lives. */
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(100), 64, true));
	cr_assert_eq(write(fd, "key", 3), 3);
	cr_assert_eq(taken(CONSOLE_RX), 1);

	while (total < 16ULL * each) {
		ssize_t n = read(fd, got, sizeof(got));

		cr_assert_gt(n, 0);
		total += (uint64_t)n;
		back += taken(CONSOLE_TX);
	}
	cr_assert_eq(back, 16);
	cr_assert_eq(console_blocked_ns(&console), 0);
	cr_assert_eq(console.dropped_bytes, 0);
	close(fd);
}

Test(console, writable_parts_and_empty_ones_are_given_back)
{
	const struct fake_buf mixed[] = {{B(0), 3, false}, {B(1), 64, true}};
	int fd = client();

	start(0);
	memcpy(device_rig_mem(&rig, B(0), 3), "abc", 3);
	cr_assert_geq(fake_offer(&rig.queues[CONSOLE_TX], mixed, 2, false), 0);
	device_rig_show(&rig, CONSOLE_TX);
	cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(2), 64, true));
	cr_assert_str_eq(read_text(fd), "abc");
	cr_assert_eq(taken(CONSOLE_TX), 2);

	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(3), 64, false));
	cr_assert_eq(taken(CONSOLE_RX), 1, "nothing can be received in it");
	close(fd);
}

/* --- receiveq --- */

Test(console, input_fills_chains_in_order)
{
	const struct fake_buf two[] = {{B(0), 4, true}, {B(1), 4, true}};
	struct fake_used used;
	int fd = client();

	start(0);
	cr_assert_geq(fake_offer(&rig.queues[CONSOLE_RX], two, 2, false), 0);
	device_rig_show(&rig, CONSOLE_RX);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(2), 100, true));
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(3), 100, true));
	fake_io_run(reactor);
	cr_assert_eq(write(fd, "0123456789", 10), 10);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[CONSOLE_RX], &used));
	cr_assert_eq(used.len_bytes, 8);
	cr_assert(fake_take(&rig.queues[CONSOLE_RX], &used));
	cr_assert_eq(used.len_bytes, 2);
	cr_assert_not(fake_take(&rig.queues[CONSOLE_RX], &used));
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(0), 4), "0123", 4), 0);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(1), 4), "4567", 4), 0);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(2), 2), "89", 2), 0);

	/* The third chain was taken already and serves the next bytes. */
	cr_assert_eq(write(fd, "x", 1), 1);
	fake_io_run(reactor);
	cr_assert(fake_take(&rig.queues[CONSOLE_RX], &used));
	cr_assert_eq(used.len_bytes, 1);
	cr_assert_eq(*device_rig_mem(&rig, B(3), 1), 'x');
	close(fd);
}

Test(console, input_waits_in_the_socket_for_buffers)
{
	int fd = client();

	start(0);
	cr_assert_eq(write(fd, "early", 5), 5);
	fake_io_run(reactor);
	cr_assert_eq(console.bytes_in, 0);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 3, true));
	cr_assert_eq(taken(CONSOLE_RX), 1);
	cr_assert_eq(console.bytes_in, 3);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(1), 3, true));
	cr_assert_eq(taken(CONSOLE_RX), 1);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(0), 3), "ear", 3), 0);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(1), 2), "ly", 2), 0);
	close(fd);
}

/* --- clients --- */

Test(console, clients_share_one_stream)
{
	int a = client(), b = client();

	start(0);
	send_text(0, "one");
	cr_assert_str_eq(read_text(b), "one");
	cr_assert_str_eq(read_text(a), "");
	close(b);
	send_text(1, "two");
	cr_assert_str_eq(read_text(a), "two");
	close(a);
	send_text(2, "three");
	cr_assert_eq(taken(CONSOLE_TX), 3);
	a = client();
	cr_assert_str_eq(read_text(a), "three", "what nobody read waits for the next client");
	close(a);
}

Test(console, a_client_that_shuts_the_socket_down_harms_only_those_there)
{
	int a = client(), b;

	start(0);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 8, true));
	fake_io_run(reactor);
	shutdown(a, SHUT_RDWR);
	fake_io_run(reactor);
	send_text(1, "lost");
	cr_assert_eq(taken(CONSOLE_TX), 1, "the guest goes on");
	cr_assert_eq(console.dropped_bytes, 4);

	b = client();
	send_text(2, "found");
	cr_assert_str_eq(read_text(b), "found");
	cr_assert_eq(write(b, "in", 2), 2);
	cr_assert_eq(taken(CONSOLE_RX), 1);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(0), 2), "in", 2), 0);
	cr_assert_eq(read(a, got, 1), 0);
	close(a);
	close(b);
}

Test(console, a_blocked_write_moves_on_to_the_next_client_of_a_shut_socket)
{
	int a = client(), b;
	unsigned int back = 0;

	start(0);
	for (unsigned int i = 0; i < 16; i++)
		cr_assert(device_rig_offer(&rig, CONSOLE_TX, LARGE_AT(i), LARGE, false));
	back += taken(CONSOLE_TX);
	cr_assert_lt(back, 16);
	shutdown(a, SHUT_WR);
	b = client();
	while (back < 16) {
		fake_io_run(reactor);
		cr_assert_gt(read(b, got, sizeof(got)), 0);
		back += taken(CONSOLE_TX);
	}
	close(a);
	close(b);
}

/* --- size, emergency --- */

Test(console, a_resize_changes_the_config_space_and_interrupts)
{
	uint8_t generation;

	start(CONSOLE_F_SIZE);
	generation = console.dev.generation;
	console_resize(&console, 132, 43);
	cr_assert_eq(rig.config_irqs, 1);
	cr_assert_neq(console.dev.generation, generation);
	cr_assert_eq(virtio_config_read(&console.dev, 0, 2), 132);
	cr_assert_eq(virtio_config_read(&console.dev, 2, 2), 43);
	console_resize(&console, 132, 43);
	cr_assert_eq(rig.config_irqs, 1, "nothing changed");
}

Test(console, emergency_writes_work_before_the_driver_does)
{
	int fd;

	virtio_config_write(&console.dev, 8, 4, 'p');
	virtio_config_write(&console.dev, 8, 1, 'a');
	fd = client();
	virtio_config_write(&console.dev, 8, 2, 'n');
	virtio_config_write(&console.dev, 0, 2, 'x');
	cr_assert_str_eq(read_text(fd), "pan");
	cr_assert_eq(virtio_config_read(&console.dev, 0, 2), 0, "the size is read-only");
	close(fd);
}

/* --- reset, faults, the end --- */

Test(console, reset_waits_for_io_on_guest_memory)
{
	unsigned int resets = rig.resets_done;
	int fd = client();

	start(0);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 64, true));
	fake_io_hold(reactor, console.end.out.fd, true);
	cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(1), CONSOLE_SMALL_BYTES + 1, false));
	fake_io_run(reactor);
	cr_assert(console.rx.op.in_flight && console.tx.op.in_flight);
	virtio_device_reset(&console.dev);
	cr_assert(console.dev.resetting);
	cr_assert_eq(rig.resets_done, resets);
	fake_io_run(reactor);
	cr_assert_not(console.dev.resetting);
	cr_assert_eq(rig.resets_done, resets + 1);
	cr_assert_not(console.rx.op.in_flight || console.tx.op.in_flight);
	fake_io_hold(reactor, console.end.out.fd, false);

	start(VIRTIO_F_RING_PACKED);
	send_text(0, "again");
	cr_assert_str_eq(read_text(fd), "again");
	close(fd);
}

/* Short output has its copy: the guest has its chain back before the client has a byte. */
Test(console, short_output_is_done_before_it_is_written)
{
	int fd = client();

	start(0);
	fake_io_hold(reactor, console.end.out.fd, true);
	send_text(0, "sho");
	send_text(1, "rt");
	fake_io_run(reactor);
	cr_assert_eq(taken(CONSOLE_TX), 2);
	cr_assert(console.tx.op.in_flight);
	memset(device_rig_mem(&rig, B(0), 0x10000), '?', 0x10000);
	send_text(2, ", next");
	fake_io_run(reactor);
	cr_assert_eq(taken(CONSOLE_TX), 0, "one copy at a time");
	fake_io_hold(reactor, console.end.out.fd, false);
	cr_assert_str_eq(read_text(fd), "short, next");
	cr_assert_eq(taken(CONSOLE_TX), 1);
	cr_assert_eq(console.bytes_out, 11);
	close(fd);
}

Test(console, short_output_outlives_a_reset)
{
	unsigned int resets = rig.resets_done;
	int fd = client();

	start(0);
	fake_io_hold(reactor, console.end.out.fd, true);
	send_text(0, "last words");
	fake_io_run(reactor);
	virtio_device_reset(&console.dev);
	cr_assert_eq(rig.resets_done, resets + 1, "nothing of the guest's is in flight");
	fake_io_hold(reactor, console.end.out.fd, false);
	cr_assert_str_eq(read_text(fd), "last words");
	close(fd);
}

/* On both sides of the limit, over several chains: the same bytes in the same order. */
Test(console, output_around_the_limit_of_short_output_is_whole)
{
	static const uint32_t sizes[] = {CONSOLE_SMALL_BYTES - 1, CONSOLE_SMALL_BYTES,
		CONSOLE_SMALL_BYTES + 1, 1, CONSOLE_SMALL_BYTES / 2, CONSOLE_SMALL_BYTES / 2};
	uint64_t total = 0;
	int fd = client();

	start(0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(device_rig_mem(&rig, B(i), sizes[i]), 'a' + (int)i, sizes[i]);
		cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(i), sizes[i], false));
		if (i < 3)
			fake_io_run(reactor);
		total += sizes[i];
	}
	cr_assert_eq(strlen(read_text(fd)), total);
	for (uint64_t i = 0, at = 0; i < ARRAY_SIZE(sizes); at += sizes[i++])
		for (uint32_t n = 0; n < sizes[i]; n++)
			cr_assert_eq(got[at + n], 'a' + i, "byte %u of chain %lu", n, i);
	cr_assert_eq(taken(CONSOLE_TX), ARRAY_SIZE(sizes));
	close(fd);
}

Test(console, clients_cannot_send_descriptors)
{
	int fd = client(), on = 1;
	socklen_t len = sizeof(on);

	if (getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len))
		cr_skip_test("this kernel has no SO_PASSRIGHTS");
	cr_assert_eq(getsockopt(console.end.in.fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len), 0);
	cr_assert_eq(on, 0);
	close(fd);
}

#define HUGE (5u << 20)

static uint8_t huge[HUGE];

static int file_of(size_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	for (size_t i = 0; i < HUGE; i++)
		huge[i] = (uint8_t)(i * 7 + i / 251);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, huge, size_bytes, 0), (ssize_t)size_bytes);
	return fd;
}

/* A file takes as much as it is given, and so does a client that reads as fast as we write: no
 * transfer is more than a fair share of a turn. */
Test(console, huge_output_goes_in_parts)
{
	int fd = file_of(0), out = dup(fd);
	uint64_t before;

	start(0);
	memcpy(device_rig_mem(&rig, B(0), HUGE), huge, HUGE);
	console_open_files(&console, -1, out, NULL);
	cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(0), HUGE - 100, false));
	cr_assert(device_rig_offer(&rig, CONSOLE_TX, B(0) + HUGE - 100, 100, false));
	do {
		before = console.bytes_out;
		fake_io_turn(reactor);
		cr_assert_leq(console.bytes_out - before, VIRTIO_BUDGET_BYTES);
	} while (console.bytes_out < HUGE);
	cr_assert_eq(taken(CONSOLE_TX), 2);
	memset(huge, 0, HUGE);
	cr_assert_eq(pread(fd, huge, HUGE, 0), HUGE);
	cr_assert_arr_eq(huge, device_rig_mem(&rig, B(0), HUGE), HUGE);
	close(fd);
}

Test(console, huge_input_comes_in_parts)
{
	struct fake_used used;
	uint32_t at = 0;

	start(0);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), HUGE, true));
	console_open_files(&console, file_of(HUGE), -1, NULL);
	while (at < HUGE) {
		fake_io_run(reactor);
		cr_assert(fake_take(&rig.queues[CONSOLE_RX], &used));
		cr_assert_leq(used.len_bytes, VIRTIO_BUDGET_BYTES);
		cr_assert_arr_eq(device_rig_mem(&rig, B(0), HUGE), huge + at, used.len_bytes);
		at += used.len_bytes;
		cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), HUGE, true));
	}
	cr_assert_eq(at, HUGE);
}

Test(console, one_queue_is_reset_while_the_other_goes_on)
{
	int fd = client();

	start(VIRTIO_F_RING_RESET);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 64, true));
	fake_io_run(reactor);
	virtio_queue_reset(&console.dev.queues[CONSOLE_RX]);
	cr_assert(console.dev.queues[CONSOLE_RX].resetting, "a read is in flight");
	send_text(1, "meanwhile");
	cr_assert_str_eq(read_text(fd), "meanwhile");
	cr_assert_not(console.dev.queues[CONSOLE_RX].resetting);
	cr_assert_eq(write(fd, "typed", 5), 5);
	fake_io_run(reactor);
	cr_assert_eq(console.bytes_in, 0);
	device_rig_queue_on(&rig, CONSOLE_RX, 16);
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 64, true));
	cr_assert_eq(taken(CONSOLE_RX), 1);
	cr_assert_eq(memcmp(device_rig_mem(&rig, B(0), 5), "typed", 5), 0);
	close(fd);
}

Test(console, kept_output_outlives_a_reset)
{
	int fd;

	start(0);
	send_text(0, "first life ");
	fake_io_run(reactor);
	virtio_device_reset(&console.dev);
	fd = client();
	fake_io_hold(reactor, console.end.out.fd, true);
	fake_io_run(reactor);
	fake_io_hold(reactor, console.end.out.fd, false);
	start(0);
	send_text(0, "second life");
	cr_assert_str_eq(read_text(fd), "first life second life");
	close(fd);
}

Test(console, a_queue_that_breaks_mid_io_is_reset_like_any_other)
{
	int fd = client();

	start(0);
	fake_io_hold(reactor, console.end.out.fd, true);
	send_text(0, "in flight");
	fake_io_run(reactor);
	fake_avail_put(&rig.queues[CONSOLE_TX], 1000);
	fake_io_hold(reactor, console.end.out.fd, false);
	fake_io_run(reactor);
	cr_assert_eq(console.dev.fault, VQ_FAULT_AVAIL_INDEX);
	cr_assert(console.dev.status & VIRTIO_S_NEEDS_RESET);
	cr_assert_str_eq(read_text(fd), "in flight");
	virtio_device_reset(&console.dev);
	fake_io_run(reactor);
	start(0);
	send_text(0, "well again");
	cr_assert_str_eq(read_text(fd), "well again");
	close(fd);
}

Test(console, the_end_hands_over_what_the_guest_sent_last)
{
	int fd = client();

	start(0);
	/* Made available, but the kick is still on its way when the machine ends. */
	memcpy(device_rig_mem(&rig, B(0), 3), "bye", 3);
	cr_assert_geq(
		fake_offer(&rig.queues[CONSOLE_TX], &(struct fake_buf){B(0), 3, false}, 1, false),
		0);
	fake_show(&rig.queues[CONSOLE_TX]);
	console_drain(&console, drained);
	fake_io_run(reactor);
	fake_io_advance_ns(reactor, 1);
	cr_assert(is_drained, "without waiting for anybody");
	cr_assert_str_eq(read_text(fd), "bye");
	close(fd);
	/* teardown's own drain is this one */
	console.drained = NULL;
}

Test(console, the_end_does_not_wait_long_for_a_client_that_does_not_read)
{
	int fd = client();

	start(0);
	for (unsigned int i = 0; i < 16; i++)
		cr_assert(device_rig_offer(&rig, CONSOLE_TX, LARGE_AT(i), LARGE, false));
	fake_io_run(reactor);
	cr_assert(console.tx.op.in_flight);
	console_drain(&console, drained);
	fake_io_advance_ns(reactor, 50000000);
	cr_assert(is_drained);
	cr_assert_not(console.tx.op.in_flight);
	close(fd);
	console.drained = NULL;
	console.giving_up = false;
}

Test(console, files_take_the_place_of_clients)
{
	int out[2], in[2];
	struct diag d;

	cr_assert_eq(pipe(out), 0);
	cr_assert_eq(pipe(in), 0);
	start(0);
	console_open_files(&console, in[0], out[1], NULL);
	cr_assert_eq(console_client(&console, &d), -EBUSY);
	send_text(0, "to a file");
	cr_assert_str_eq(read_text(out[0]), "to a file");
	cr_assert(device_rig_offer(&rig, CONSOLE_RX, B(0), 64, true));
	cr_assert_eq(write(in[1], "from a file", 11), 11);
	cr_assert_eq(taken(CONSOLE_RX), 1);
	close(out[0]);
	close(in[1]);
	fake_io_run(reactor);
}

/* --- everything at once --- */

struct storm {
	uint64_t seed;
	uint64_t offered, back; /* transmitq chains */
	uint8_t next_out, next_in, sent_in;
};

static void storm_step(struct storm *s, int fd)
{
	uint32_t len = 1 + (uint32_t)(queue_rig_random(&s->seed) % 3000);
	uint64_t gpa = B(s->offered % 16);
	uint8_t *mem = device_rig_mem(&rig, gpa, len);
	ssize_t n;

	if (device_rig_offer(&rig, CONSOLE_TX, gpa, len, false)) {
		for (uint32_t i = 0; i < len; i++)
			mem[i] = s->next_out++;
		s->offered++;
	}
	device_rig_offer(&rig, CONSOLE_RX, B(32 + s->offered % 16), 256, true);
	n = 1 + (ssize_t)(queue_rig_random(&s->seed) % 500);
	for (ssize_t i = 0; i < n; i++)
		got[i] = (uint8_t)(s->sent_in + i);
	n = send(fd, got, (size_t)n, MSG_DONTWAIT);
	if (n > 0)
		s->sent_in = (uint8_t)(s->sent_in + n);
	for (uint64_t turns = queue_rig_random(&s->seed) % 4; turns--;)
		fake_io_turn(reactor);
}

static uint64_t storm_read(int fd, uint8_t *expected)
{
	ssize_t n = readable(fd) ? read(fd, got, sizeof(got)) : 0;

	for (ssize_t i = 0; i < n; i++)
		cr_assert_eq(got[i], (*expected)++);
	return n > 0 ? (uint64_t)n : 0;
}

Test(console, every_byte_arrives_once_in_order_whatever_the_ring_does)
{
	const struct fake_io_faults faults = {
		.short_percent = 50, .error_percent = 10, .error = -EINTR};

	teardown();
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct storm s = {.seed = seed};
		uint8_t expected = 0;
		uint64_t bytes = 0;
		int fd;

		setup_seed(seed);
		fake_io_set_faults(reactor, &faults);
		fd = client();
		start((seed & 1 ? VIRTIO_F_RING_PACKED : 0) | (seed & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			(seed & 4 ? VIRTIO_F_IN_ORDER : 0));
		for (unsigned int i = 0; i < 200; i++) {
			struct fake_used used;

			storm_step(&s, fd);
			while (fake_take(&rig.queues[CONSOLE_TX], &used))
				s.back++;
			while (fake_take(&rig.queues[CONSOLE_RX], &used))
				;
			bytes += storm_read(fd, &expected);
		}
		do
			fake_io_run(reactor);
		while (storm_read(fd, &expected));
		s.back += taken(CONSOLE_TX);
		cr_assert_eq(s.back, s.offered);
		cr_assert_eq(expected, s.next_out);
		cr_assert_gt(bytes, 10000);
		cr_assert_gt(console.bytes_in, 10000);
		close(fd);
		if (seed < 8)
			teardown();
	}
}

Test(console, resets_at_any_moment_leave_nothing_in_flight)
{
	struct storm s = {.seed = 77};
	int fd = client();

	for (unsigned int i = 0; i < 300; i++) {
		struct fake_used used;
		unsigned int chance = (unsigned int)(queue_rig_random(&s.seed) % 8);

		if (!(console.dev.status & VIRTIO_S_DRIVER_OK) && !console.dev.resetting)
			start(VIRTIO_F_RING_RESET | (i & 1 ? VIRTIO_F_RING_PACKED : 0));
		if (!console.dev.resetting && console.dev.queues[0].vq.enabled &&
			console.dev.queues[1].vq.enabled) {
			storm_step(&s, fd);
			while (fake_take(&rig.queues[CONSOLE_TX], &used) ||
				fake_take(&rig.queues[CONSOLE_RX], &used))
				;
		}
		while (readable(fd) && read(fd, got, sizeof(got)) > 0)
			;
		if (chance == 0)
			virtio_device_reset(&console.dev);
		else if (chance <= 2)
			virtio_queue_reset(&console.dev.queues[chance - 1]);
		fake_io_run(reactor);
		for (unsigned int q = 0; q < 2; q++)
			if ((console.dev.status & VIRTIO_S_DRIVER_OK) &&
				!console.dev.queues[q].vq.enabled)
				device_rig_queue_on(&rig, q, 16);
	}
	virtio_device_reset(&console.dev);
	fake_io_run(reactor);
	cr_assert_eq(fake_io_in_flight(reactor, -1), 0);
	cr_assert_eq(console.dev.faults, 0);
	close(fd);
}

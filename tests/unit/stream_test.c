/* SPDX-License-Identifier: Apache-2.0 */
/* The stream between a device and people: kept output, shared input, and its end. */
#include "core/stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "support/fake_io.h"

#define SECOND_NS 1000000000ULL

static struct reactor *reactor;
static struct stream stream;
static unsigned int closed_count;
static uint8_t got[2 * STREAM_KEPT_BYTES];

/* The device: takes as many bytes as there is room. */
static char taken[1024];
static uint32_t taken_len, room;

static uint32_t take(void *ctx, const uint8_t *data, uint32_t len_bytes)
{
	uint32_t n = len_bytes < room ? len_bytes : room;

	cr_assert_eq(ctx, &room);
	cr_assert_leq(taken_len + n, sizeof(taken) - 1);
	memcpy(taken + taken_len, data, n);
	taken_len += n;
	room -= n;
	return n;
}

static void closed(struct stream *s)
{
	cr_assert_eq(s, &stream);
	closed_count++;
}

static void setup(void)
{
	reactor = fake_io_create(1);
	room = sizeof(taken) - 1;
	stream_init(&stream, reactor, take, &room);
}

static void start_close(void)
{
	stream_close(&stream, closed);
	cr_assert_eq(closed_count, 0, "never from inside the call");
}

static void teardown(void)
{
	if (!stream.closing) {
		start_close();
		fake_io_advance_ns(reactor, 3 * SECOND_NS);
	}
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(fake_io_in_flight(reactor, -1), 0);
	fake_io_destroy(reactor);
}

TestSuite(stream, .init = setup, .fini = teardown, .timeout = 60);

static int client(void)
{
	struct diag d;
	int fd = stream_client(&stream, &d);

	cr_assert_geq(fd, 0, "%s", d.text);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

static void output(const char *text)
{
	stream_write(&stream, text, (uint32_t)strlen(text));
	fake_io_run(reactor);
}

/* How many bytes of `got` came from `fd` until there was nothing more; *end: the stream's end did.
 */
static size_t read_all(int fd, bool *end)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;

	*end = false;
	for (;;) {
		ssize_t r;

		fake_io_run(reactor);
		if (poll(&p, 1, 0) != 1)
			return n;
		r = read(fd, got + n, sizeof(got) - n);
		cr_assert_geq(r, 0);
		*end = r == 0;
		if (*end)
			return n;
		n += (size_t)r;
	}
}

static void expect(int fd, const char *text)
{
	bool end;
	size_t n = read_all(fd, &end);

	cr_assert_eq(n, strlen(text), "%zu bytes: %.*s", n, (int)n, got);
	cr_assert_arr_eq(got, text, n);
}

/* --- output --- */

Test(stream, output_is_kept_for_the_first_reader)
{
	output("before ");
	output("anybody\n");
	expect(client(), "before anybody\n");
	cr_assert_eq(stream.bytes_out, 15);
	cr_assert_eq(stream.dropped_bytes, 0);
}

Test(stream, overflow_keeps_the_oldest_and_counts_the_rest)
{
	static uint8_t data[STREAM_KEPT_BYTES + 1000];
	bool end;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	stream_write(&stream, data, STREAM_KEPT_BYTES - 10);
	cr_assert_eq(stream_room(&stream), 10);
	stream_write(&stream, data + STREAM_KEPT_BYTES - 10, 1010);
	cr_assert_eq(stream_room(&stream), 0);
	cr_assert_eq(stream.dropped_bytes, 1000);
	cr_assert_eq(read_all(client(), &end), STREAM_KEPT_BYTES);
	cr_assert_arr_eq(got, data, STREAM_KEPT_BYTES);
	cr_assert_eq(stream_room(&stream), STREAM_KEPT_BYTES);
}

Test(stream, goes_round_the_ring_whole)
{
	int fd = client();
	uint8_t next = 0, seen = 0;
	bool end;

	for (unsigned int round = 0; round < 200; round++) {
		uint8_t data[1999];

		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = next++;
		stream_write(&stream, data, sizeof(data));
		cr_assert_eq(read_all(fd, &end), sizeof(data));
		for (size_t i = 0; i < sizeof(data); i++)
			cr_assert_eq(got[i], seen++);
	}
	cr_assert_eq(stream.dropped_bytes, 0);
}

Test(stream, clients_have_handles_of_one_stream)
{
	int first = client(), second = client();

	output("once");
	expect(second, "once");
	expect(first, "");
	cr_assert_eq(write(first, "a", 1), 1);
	cr_assert_eq(write(second, "b", 1), 1);
	fake_io_run(reactor);
	cr_assert_str_eq(taken, "ab");
	close(first);
	output("still there");
	expect(second, "still there");
}

Test(stream, output_stays_while_no_client_is_there)
{
	close(client());
	output("later");
	expect(client(), "later");
}

Test(stream, a_client_that_shuts_it_down_harms_only_those_there)
{
	int fd = client();

	cr_assert_eq(shutdown(fd, SHUT_RDWR), 0);
	output("lost");
	cr_assert_eq(stream.dropped_bytes, 4);
	fd = client();
	output("found");
	expect(fd, "found");
	cr_assert_eq(write(fd, "in", 2), 2);
	fake_io_run(reactor);
	cr_assert_str_eq(taken, "in");
}

/* --- input --- */

Test(stream, input_is_offered_again_when_the_device_is_ready)
{
	int fd = client();

	room = 2;
	cr_assert_eq(write(fd, "0123456789", 10), 10);
	fake_io_run(reactor);
	cr_assert_str_eq(taken, "01");
	stream_input_ready(&stream);
	cr_assert_str_eq(taken, "01", "there was no room");
	room = 3;
	stream_input_ready(&stream);
	cr_assert_str_eq(taken, "01234");
	room = 100;
	stream_input_ready(&stream);
	cr_assert_str_eq(taken, "0123456789");
	cr_assert_eq(write(fd, "x", 1), 1);
	fake_io_run(reactor);
	cr_assert_str_eq(taken, "0123456789x", "reading goes on by itself");
	cr_assert_eq(stream.bytes_in, 11);
}

/* --- files that somebody made non-blocking --- */

static struct stream_loss loss;

/* An empty pipe as the output, nothing as the input; returns the end to read. */
static int open_pipe(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	stream_open_files(&stream, -1, fds[1], &loss);
	return fds[0];
}

static void fill_pipe(int fd)
{
	static const char zeros[4096];

	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
}

Test(stream, a_file_that_would_block_is_tried_again_after_a_while)
{
	int fd = open_pipe();

	fake_io_fail_next(reactor, stream.end.out.fd, -EAGAIN);
	output("patience");
	expect(fd, "");
	cr_assert_eq(fake_io_in_flight(reactor, -1), 0, "it does not spin");
	fake_io_advance_ns(reactor, SECOND_NS / 10);
	expect(fd, "patience");
	cr_assert_eq(stream.dropped_bytes, 0);
}

Test(stream, what_a_file_did_not_take_is_told_to_who_opened_it)
{
	int fd = open_pipe();

	output("whole");
	fake_io_fail_next(reactor, stream.end.out.fd, -ENOSPC);
	output("lost");
	output("as well");
	expect(fd, "whole");
	start_close();
	fake_io_advance_ns(reactor, SECOND_NS);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(loss.error, ENOSPC);
	cr_assert_eq(loss.bytes, strlen("lost") + strlen("as well"));
	close(fd);
}

Test(stream, a_file_that_took_all_has_no_loss)
{
	int fd = open_pipe();

	output("whole");
	expect(fd, "whole");
	start_close();
	fake_io_advance_ns(reactor, SECOND_NS);
	cr_assert_eq(loss.error, 0);
	cr_assert_eq(loss.bytes, 0);
	close(fd);
}

Test(stream, input_that_would_block_is_tried_again_after_a_while)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	fake_io_fail_next(reactor, fds[0], -EAGAIN);
	stream_open_files(&stream, fds[0], -1, NULL);
	cr_assert_eq(write(fds[1], "in", 2), 2);
	fake_io_run(reactor);
	cr_assert_eq(taken_len, 0);
	fake_io_advance_ns(reactor, SECOND_NS / 10);
	cr_assert_str_eq(taken, "in");
}

Test(stream, the_end_does_not_wait_for_ever_for_a_file_that_would_block)
{
	open_pipe();
	fake_io_set_faults(
		reactor, &(struct fake_io_faults){.error_percent = 100, .error = -EAGAIN});
	output("unheard");
	start_close();
	fake_io_advance_ns(reactor, SECOND_NS);
	cr_assert_eq(closed_count, 0);
	fake_io_advance_ns(reactor, 2 * SECOND_NS);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(stream.dropped_bytes, 7);
}

/* --- the end --- */

Test(stream, closes_with_nothing_open)
{
	output("unheard");
	start_close();
	fake_io_advance_ns(reactor, 1000);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(stream.dropped_bytes, 7);
}

Test(stream, closes_with_operations_in_flight_and_leaves_the_last_words)
{
	int fd = client();
	struct diag d;
	bool end;

	fake_io_hold(reactor, stream.end.out.fd, true);
	output("last words");
	cr_assert_eq(fake_io_in_flight(reactor, -1), 2);
	start_close();
	cr_assert_eq(stream_client(&stream, &d), -ESHUTDOWN);
	stream_write(&stream, "too late", 8);
	fake_io_advance_ns(reactor, 1000);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(stream.dropped_bytes, 8);
	cr_assert_eq(read_all(fd, &end), 10);
	cr_assert_arr_eq(got, "last words", 10);
	cr_assert(end);
}

Test(stream, a_file_is_waited_for_at_the_end)
{
	int fd = open_pipe();
	bool end;
	size_t n;

	fill_pipe(stream.end.out.fd);
	output("slow reader");
	start_close();
	fake_io_advance_ns(reactor, SECOND_NS);
	cr_assert_eq(closed_count, 0);
	n = read_all(fd, &end);
	fake_io_advance_ns(reactor, 1000);
	cr_assert_eq(read_all(fd, &end), 0);
	cr_assert(end);
	cr_assert_arr_eq(got + n - 11, "slow reader", 11);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(stream.dropped_bytes, 0);
}

Test(stream, a_file_is_not_waited_for_without_end)
{
	open_pipe();
	fill_pipe(stream.end.out.fd);
	output("nobody reads");
	start_close();
	fake_io_advance_ns(reactor, 3 * SECOND_NS);
	cr_assert_eq(closed_count, 1);
	cr_assert_eq(stream.dropped_bytes, 12);
}

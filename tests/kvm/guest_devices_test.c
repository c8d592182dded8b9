/* SPDX-License-Identifier: Apache-2.0 */
/* Console and rng under KVM, driven by the embedded guest, with a client on a thread of its own. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/controllers.h"
#include "support/guest_rig.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#define PATTERN_PERIOD 65536u /* of the guest's "count": byte i is i mod 256 */

static const struct device_class *const classes[] = {&console_class, &rng_class, NULL};

static struct rig rig;
static const char *commands;
static void *(*client)(void *fd); /* runs while the guest does; NULL: nobody */
static pthread_t client_thread;
static bool started;
static int client_fd;

static void create_and_start(struct rig *r)
{
	struct guest_config c;

	r->env.classes = classes;
	r->env.limits.built_devices = console_class.config_bit | rng_class.config_bit;
	rig_config(&c, commands);
	c.console = c.rng = true;
	c.given |= console_class.config_bit | rng_class.config_bit;
	rig_create(r, 0, &c);
	rig_start(r, 1);
}

static int console_handle(struct rig *r)
{
	struct device *dev = machine_console(r->guest->machine);
	struct diag d;
	int fd;

	cr_assert(dev);
	fd = dev->class->console->client(dev, &d);
	cr_assert_geq(fd, 0, "%s", d.text);
	return fd;
}

static void attach(struct rig *r)
{
	cr_assert_eq(r->calls[0].err, GUEST_OK, "%s", r->calls[0].detail);
	rig_read_serial(r);
	started = true;
	if (!client)
		return;
	client_fd = console_handle(r);
	cr_assert_eq(pthread_create(&client_thread, NULL, client, &client_fd), 0);
}

static void client_end(void)
{
	if (!client)
		return;
	pthread_join(client_thread, NULL);
	close(client_fd);
}

/* The guest runs its commands and powers off; each must have said that it went well. */
static void run_to_the_end(struct rig *r)
{
	if (!r->at++)
		return create_and_start(r);
	if (r->calls[0].done && !started)
		attach(r);
	cr_assert_not(strstr(r->text, " FAIL"), "%s", r->text);
	if (r->calls[1].done && strstr(r->text, "powering off")) {
		client_end();
		rig_finish(r);
	}
}

static unsigned int verdicts(void)
{
	unsigned int n = 0;

	for (const char *at = rig.text; (at = strstr(at, " ok")); at++)
		n++;
	return n;
}

TestSuite(guest_devices, .timeout = 90);

Test(guest_devices, rng_in_each_way_a_driver_can_ask)
{
	commands = "virtio;rng 20000;rng 5000 packed;rng 5000 indirect;rng 5000 packed indirect;"
		   "rng 5000 poll;rng 5000 packed poll noevent;halt";
	rig_run(&rig, run_to_the_end);
	cr_assert_geq(verdicts(), 7, "%s", rig.text);
	cr_assert(strstr(rig.text, " rng type=4 "), "%s", rig.text);
	cr_assert(strstr(rig.text, " console type=3 "), "%s", rig.text);
}

/* --- output --- */

#define SENT_BYTES 300000u

static void *read_counted(void *arg)
{
	static uint8_t buf[65536];
	int fd = *(int *)arg;

	for (unsigned int round = 0; round < 4; round++) {
		uint64_t got = 0;

		while (got < SENT_BYTES) {
			uint64_t left = SENT_BYTES - got;
			ssize_t n = read(fd, buf, left < sizeof(buf) ? left : sizeof(buf));

			cr_assert_gt(n, 0);
			for (ssize_t i = 0; i < n; i++)
				cr_assert_eq(buf[i], (uint8_t)(got++ % PATTERN_PERIOD));
		}
	}
	return NULL;
}

Test(guest_devices, console_output_arrives_whole)
{
	client = read_counted;
	commands = "console send 300000;console send 300000 packed;"
		   "console send 300000 indirect buf=10000;console send 300000 packed poll;halt";
	rig_run(&rig, run_to_the_end);
	cr_assert_geq(verdicts(), 4, "%s", rig.text);
}

Test(guest_devices, console_output_without_a_reader_does_not_hold_the_guest_up)
{
	commands = "console send 1000000;halt";
	rig_run(&rig, run_to_the_end);
	cr_assert_geq(verdicts(), 1, "%s", rig.text);
}

/* --- both directions --- */

#define ECHO_BYTES 200000u

static void *write_bytes(void *arg)
{
	static uint8_t out[ECHO_BYTES];
	int fd = *(int *)arg;
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	while (sent < sizeof(out)) {
		ssize_t n = write(fd, out + sent, sizeof(out) - sent);

		cr_assert_gt(n, 0);
		sent += (size_t)n;
	}
	return NULL;
}

/* One thread writes, this one reads: both directions at once. */
static void *echo_client(void *arg)
{
	static uint8_t buf[4096];
	int fd = *(int *)arg;

	pthread_t writer;
	size_t got = 0;

	cr_assert_eq(pthread_create(&writer, NULL, write_bytes, arg), 0);
	while (got < ECHO_BYTES) {
		ssize_t n = read(fd, buf, sizeof(buf));

		cr_assert_gt(n, 0);
		for (ssize_t i = 0; i < n; i++, got++)
			cr_assert_eq(buf[i], (uint8_t)(got * 7 + got / 256));
	}
	pthread_join(writer, NULL);
	return NULL;
}

Test(guest_devices, console_echoes_every_byte_in_order)
{
	client = echo_client;
	commands = "console echo 200000;halt";
	rig_run(&rig, run_to_the_end);
	cr_assert_geq(verdicts(), 1, "%s", rig.text);
}

Test(guest_devices, console_echoes_with_packed_rings_and_odd_buffers)
{
	client = echo_client;
	commands = "console echo 200000 packed buf=700;halt";
	rig_run(&rig, run_to_the_end);
	cr_assert_geq(verdicts(), 1, "%s", rig.text);
}

/* --- ends --- */

static struct timespec stop_start;

static int64_t since_ms(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

static struct reactor_timer blocked_timer;

/* Stops the guest as soon as its output has been blocked for a while. */
static void blocked_check(struct reactor_timer *t)
{
	struct device *dev = machine_console(rig.guest->machine);

	if (dev->class->console->blocked_ns(dev) < 20000000) {
		reactor_timer_start(rig.r, t, 5000000);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &stop_start);
	rig_stop(&rig, 2);
}

static void stop_while_blocked(struct rig *r)
{
	if (!r->at++)
		return create_and_start(r);
	if (r->calls[0].done && !started) {
		attach(r);
		client_fd = console_handle(r);
		reactor_timer_init(&blocked_timer, blocked_check);
		reactor_timer_start(r->r, &blocked_timer, 0);
	}
	if (r->calls[2].done && r->calls[1].done) {
		cr_assert_eq(r->calls[1].err, GUEST_CONTROLLER_FORCED_HALT);
		cr_assert_lt(since_ms(&stop_start), 20000);
		close(client_fd);
		rig_finish(r);
	}
}

Test(guest_devices, stop_with_a_blocked_console_does_not_wait_for_the_client)
{
	commands = "console send 1000000000";
	rig_run(&rig, stop_while_blocked);
}

static int second_fd;

/* The first client goes away in the middle; what it did not read is the second one's. */
static void *leave_midway(void *arg)
{
	static uint8_t buf[65536];
	int first = *(int *)arg;
	uint64_t got = 0;

	while (got < SENT_BYTES) {
		int fd = got < SENT_BYTES / 3 ? first : second_fd;
		ssize_t n = read(fd, buf, 5000);

		cr_assert_gt(n, 0);
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(buf[i], (uint8_t)(got++ % PATTERN_PERIOD));
		if (got >= SENT_BYTES / 3 && first >= 0) {
			close(first);
			first = *(int *)arg = -1;
		}
	}
	return NULL;
}

static void two_clients(struct rig *r)
{
	if (r->calls[0].done && !started)
		second_fd = console_handle(r);
	run_to_the_end(r);
}

Test(guest_devices, console_goes_on_when_a_client_leaves)
{
	client = leave_midway;
	commands = "console send 300000;halt";
	rig_run(&rig, two_clients);
	close(second_fd);
	cr_assert_geq(verdicts(), 1, "%s", rig.text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements of vsock. They poll: sleeping would be part of what is measured. */
#include "vsock_bench.h"

#include "clock.h"
#include "latency.h"
#include "lib.h"
#include "page.h"
#include "pattern.h"
#include "shell.h"
#include "vsock_stream.h"
#include "x86.h"

#define SILENCE_US 30000000

/* Steps until *word reaches `target`; false after SILENCE_US. The clock is read only now and then.
 */
static bool step_until(const volatile uint64_t *word, uint64_t target)
{
	uint64_t start = rdtsc(), limit = SILENCE_US * clock_tsc_khz() / 1000;
	while (*word < target) {
		if (vsock_step())
			start = 0;
		else if (!start)
			start = rdtsc();
		else if (rdtsc() - start > limit)
			return fail("nothing came for %u s", SILENCE_US / 1000000);
		else
			cpu_relax();
	}
	return true;
}

static uint64_t pages_of(uint64_t bytes)
{
	return (bytes + PAGE_SIZE - 1) / PAGE_SIZE;
}

static bool stream_open(struct vsock_stream *s, struct vsock_address to)
{
	if (!vsock_stream_connect(s, to))
		return false;
	while (!s->opened && !s->closed)
		vsock_step();
	return s->opened ? true : fail("port %u: connection refused", to.port);
}

static bool ping_rounds(struct vsock_stream *s, uint64_t size, uint64_t count, uint64_t *ticks)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = rdtsc();
		s->received = 0; /* each answer goes to the start of `text` */
		vsock_stream_push(s, vsock_pattern() + i % PATTERN_PERIOD, size);
		if (!step_until(&s->received, size))
			return false;
		ticks[i] = rdtsc() - start;
		if (s->received > size || s->closed)
			return fail("round %lu: %lu bytes came", i, s->received);
		if (memcmp(s->text, vsock_pattern() + i % PATTERN_PERIOD, size) != 0)
			return fail("round %lu came back with other data", i);
	}
	return true;
}

bool vsock_ping(struct vsock_address to, uint64_t size, uint64_t count)
{
	static struct vsock_stream s;
	uint64_t tick_pages = pages_of(count * sizeof(uint64_t));
	uint64_t *ticks = page_alloc(tick_pages);
	s = (struct vsock_stream){.text = page_alloc(pages_of(size)), .size = size};
	bool ok = ticks && s.text ? true : fail("no memory");
	ok = ok && stream_open(&s, to) && ping_rounds(&s, size, count, ticks);
	if (ok) {
		print("vsock ping port=%u n=%lu size=%lu", to.port, count, size);
		latency_print(ticks, count);
		s.ends = VSOCK_SHUTDOWN_BOTH;
		vsock_stream_push(&s, NULL, 0);
		vsock_wait(&s.closed, SILENCE_US);
	}
	vsock_stream_close(&s);
	if (ticks)
		page_free(ticks, tick_pages);
	if (s.text)
		page_free(s.text, pages_of(size));
	return ok;
}

static void result_print(const char *name, uint32_t port, uint64_t bytes, uint32_t size,
	unsigned streams, uint64_t ticks)
{
	uint64_t us = clock_ns(ticks) / 1000;
	print("vsock %s port=%u streams=%u bytes=%lu size=%u us=%lu mb_per_s=%lu\n", name, port,
		streams, bytes, size, us, us ? bytes / us : 0);
}

static bool streams_end(struct vsock_stream *s, unsigned count, volatile uint64_t *closed)
{
	if (!step_until(closed, count))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (s[i].left || s[i].reset)
			return fail("connection %u was reset with %lu bytes left", i, s[i].left);
	return true;
}

static bool send_run(struct vsock_stream *s, struct vsock_address to, uint64_t bytes, uint32_t size,
	unsigned streams)
{
	static volatile uint64_t closed;
	closed = 0;
	for (unsigned i = 0; i < streams; i++) {
		s[i].packet_bytes = size;
		s[i].also = &closed;
		if (!stream_open(&s[i], to))
			return false;
	}
	print("vsock ready\n");
	uint64_t start = rdtsc();
	for (unsigned i = 0; i < streams; i++) {
		s[i].ends = VSOCK_SHUTDOWN_SEND;
		s[i].period = PATTERN_PERIOD;
		vsock_stream_push(&s[i], vsock_pattern(), bytes);
	}
	if (!streams_end(s, streams, &closed))
		return false;
	result_print("send", to.port, bytes * streams, size, streams, rdtsc() - start);
	return true;
}

bool vsock_send_all(struct vsock_address to, uint64_t bytes, uint32_t size, unsigned streams)
{
	uint64_t pages = pages_of(streams * sizeof(struct vsock_stream));
	struct vsock_stream *s = page_alloc(pages);
	bool ok = s ? send_run(s, to, bytes, size, streams) : fail("no memory");
	for (unsigned i = 0; s && i < streams; i++)
		vsock_stream_close(&s[i]);
	if (s)
		page_free(s, pages);
	return ok;
}

/* A storm's parameters, and how many connections have been opened and are over. */
static struct storm {
	struct vsock_address to;
	uint32_t bytes;
	uint64_t count, opened;
	unsigned parallel;
	volatile uint64_t closed;
	uint8_t *texts; /* a page each */
} storm;

static bool storm_open(struct vsock_stream *s, unsigned place)
{
	*s = (struct vsock_stream){.data = vsock_pattern(),
		.left = storm.bytes,
		.text = storm.texts + place * PAGE_SIZE,
		.size = storm.bytes,
		.ends = storm.bytes ? VSOCK_SHUTDOWN_SEND : VSOCK_SHUTDOWN_BOTH,
		.also = &storm.closed};
	storm.opened++;
	return vsock_stream_connect(s, storm.to);
}

/* Was all well with one that is over? */
static bool storm_check(const struct vsock_stream *s)
{
	if (s->refused)
		return fail("connection refused after %lu", storm.closed);
	if (s->received != storm.bytes || memcmp(s->text, vsock_pattern(), storm.bytes) != 0)
		return fail("%lu bytes came back, or others than %u", s->received, storm.bytes);
	return true;
}

/* Opens the next one in each place whose last one is over. */
static bool storm_run(struct vsock_stream *s)
{
	while (storm.closed < storm.count) {
		uint64_t seen = storm.closed;
		for (unsigned i = 0; i < storm.parallel; i++) {
			if (s[i].conn)
				continue;
			if (s[i].closed && !storm_check(&s[i]))
				return false;
			s[i].closed = 0;
			if (storm.opened < storm.count && !storm_open(&s[i], i))
				return false;
		}
		if (!step_until(&storm.closed, seen + 1))
			return false;
	}
	for (unsigned i = 0; i < storm.parallel; i++)
		if (s[i].closed && !storm_check(&s[i]))
			return false;
	return true;
}

bool vsock_storm(struct vsock_address to, uint64_t count, unsigned parallel, uint32_t bytes)
{
	uint64_t pages = pages_of(parallel * sizeof(struct vsock_stream));
	struct vsock_stream *s = page_alloc(pages + parallel);
	if (!s || !vsock_pattern())
		return fail("no memory");
	storm = (struct storm){.to = to,
		.count = count,
		.parallel = parallel,
		.bytes = bytes,
		.texts = (uint8_t *)s + pages * PAGE_SIZE};
	uint64_t start = rdtsc();
	bool ok = storm_run(s);
	uint64_t us = clock_ns(rdtsc() - start) / 1000;
	if (ok)
		print("vsock storm port=%u count=%lu parallel=%u bytes=%u us=%lu per_s=%lu\n",
			to.port, count, parallel, bytes, us, us ? count * 1000000 / us : 0);
	for (unsigned i = 0; i < parallel; i++)
		vsock_stream_close(&s[i]);
	page_free(s, pages + parallel);
	return ok;
}

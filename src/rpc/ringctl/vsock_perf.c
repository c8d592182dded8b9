/* SPDX-License-Identifier: Apache-2.0 */
/* One poll loop for all the streams; it sleeps only when none of them can go on. */
#include "rpc/ringctl/vsock_perf.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/check.h"

struct stream {
	unsigned int index;
	int fd;
	uint64_t to_send, sent; /* bytes */
	uint64_t to_get, got;
	bool shuts; /* after the last byte the guest is told, and its end is waited for */
	bool told, ended;
	uint32_t at; /* where in the pattern the first byte is */
	uint64_t began_ns;
	uint32_t rounds_left;
};

struct perf {
	uint8_t pattern[2 * PERF_PERIOD], in[PERF_PERIOD];
	struct stream streams[PERF_STREAMS_MAX];
	unsigned int count;
	uint32_t round_bytes; /* 0: no round trips */
	uint64_t *times_ns, times;
	struct diag *d;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* --- the pattern: 64-bit little-endian word w is splitmix64's output for the state w --- */

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static void pattern_fill(uint8_t *pattern)
{
	for (uint32_t w = 0; w < PERF_PERIOD / 8; w++) {
		uint64_t word = splitmix64(w);

		memcpy(pattern + 8 * w, &word, 8);
	}
	memcpy(pattern + PERF_PERIOD, pattern, PERF_PERIOD);
}

/* --- one stream --- */

static bool stream_over(const struct stream *s)
{
	return s->sent == s->to_send && s->got == s->to_get && (!s->shuts || s->ended) &&
	       !s->rounds_left;
}

/* Each round has other data than the ones before and than the other streams. */
static void round_start(struct perf *p, struct stream *s)
{
	s->at = (s->rounds_left * 4093 + s->index * 8191) % PERF_PERIOD;
	s->to_send = s->to_get = p->round_bytes;
	s->sent = s->got = 0;
	s->began_ns = now_ns();
}

static const uint8_t *pattern_at(const struct perf *p, const struct stream *s, uint64_t offset)
{
	return p->pattern + (s->at + offset) % PERF_PERIOD;
}

/* 1: it went on; 0: it has to wait; -errno. */
static int stream_send(struct perf *p, struct stream *s)
{
	uint64_t left = s->to_send - s->sent;
	ssize_t n;

	if (!left)
		return 0;
	n = send(s->fd, pattern_at(p, s, s->sent), left < PERF_PERIOD ? left : PERF_PERIOD,
		MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return diag_errno(p->d, -EPIPE,
			"stream %u: the guest has closed after %llu of %llu bytes", s->index,
			(unsigned long long)s->sent, (unsigned long long)s->to_send);
	s->sent += (uint64_t)n;
	if (s->shuts && s->sent == s->to_send) {
		shutdown(s->fd, SHUT_WR);
		s->told = true;
	}
	return 1;
}

static int stream_check(struct perf *p, struct stream *s, uint64_t bytes)
{
	const uint8_t *expected = pattern_at(p, s, s->got);

	if (s->got + bytes > s->to_get)
		return diag_fail(p->d, -EBADMSG, "stream %u: more than %llu bytes came", s->index,
			(unsigned long long)s->to_get);
	if (!memcmp(p->in, expected, bytes)) {
		s->got += bytes;
		return 1;
	}
	for (uint64_t i = 0; i < bytes; i++)
		if (p->in[i] != expected[i])
			return diag_fail(p->d, -EBADMSG,
				"stream %u: byte %llu is 0x%02x, not 0x%02x", s->index,
				(unsigned long long)(s->got + i), p->in[i], expected[i]);
	CHECK(!"equal after all");
	return 0;
}

static int stream_ended(struct perf *p, struct stream *s)
{
	if (s->told && s->got == s->to_get) {
		s->ended = true;
		return 1;
	}
	return diag_fail(p->d, -EPIPE, "stream %u: the guest has ended it after %llu of %llu bytes",
		s->index, (unsigned long long)s->got, (unsigned long long)s->to_get);
}

static int stream_receive(struct perf *p, struct stream *s)
{
	uint64_t left = s->to_get - s->got;
	ssize_t n;

	if (s->ended || (!left && !s->shuts))
		return 0;
	/* A source never stops; what is behind the end of the measurement is not wanted. */
	n = recv(s->fd, p->in, left && left < PERF_PERIOD ? left : PERF_PERIOD, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return diag_errno(p->d, -EPIPE, "stream %u: the guest has reset it", s->index);
	if (!n)
		return stream_ended(p, s);
	return stream_check(p, s, (uint64_t)n);
}

static void round_end(struct perf *p, struct stream *s)
{
	if (!s->rounds_left || s->got != s->to_get)
		return;
	p->times_ns[p->times++] = now_ns() - s->began_ns;
	if (--s->rounds_left)
		round_start(p, s);
}

static int stream_step(struct perf *p, struct stream *s)
{
	int sent = stream_send(p, s), got = sent < 0 ? sent : stream_receive(p, s);

	if (got < 0)
		return got;
	round_end(p, s);
	return sent || got;
}

/* --- all of them --- */

static int wait_any(struct perf *p)
{
	struct pollfd fds[PERF_STREAMS_MAX];
	int n;

	for (unsigned int i = 0; i < p->count; i++) {
		const struct stream *s = &p->streams[i];

		fds[i] = (struct pollfd){.fd = stream_over(s) ? -1 : s->fd, .events = POLLIN};
		if (s->sent != s->to_send)
			fds[i].events |= POLLOUT;
	}
	do
		n = poll(fds, p->count, PERF_SILENCE_MS);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return diag_errno(p->d, -errno, "poll");
	if (!n)
		return diag_fail(p->d, -ETIMEDOUT, "the guest has moved nothing for %d s",
			PERF_SILENCE_MS / 1000);
	return 0;
}

static int run(struct perf *p)
{
	for (;;) {
		bool moved = false, over = true;
		int err = 0;

		for (unsigned int i = 0; i < p->count; i++) {
			struct stream *s = &p->streams[i];
			int step = stream_over(s) ? 0 : stream_step(p, s);

			if (step < 0)
				return step;
			moved |= step > 0;
			over &= stream_over(s);
		}
		if (over)
			return 0;
		if (!moved)
			err = wait_any(p);
		if (err)
			return err;
	}
}

static struct perf *perf_new(const struct perf_sockets *s, struct diag *d)
{
	struct perf *p = calloc(1, sizeof(*p));

	CHECK(s->count && s->count <= PERF_STREAMS_MAX);
	if (!p) {
		diag_fail(d, -ENOMEM, "out of memory");
		return NULL;
	}
	pattern_fill(p->pattern);
	p->d = d;
	p->count = s->count;
	for (unsigned int i = 0; i < s->count; i++)
		p->streams[i] = (struct stream){.index = i, .fd = s->fd[i]};
	return p;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int perf_round_trips(const struct perf_sockets *s, uint32_t bytes, uint32_t count,
	uint64_t *times_ns, struct diag *d)
{
	struct perf *p;
	int err;

	if (!bytes || bytes > PERF_PERIOD)
		return diag_fail(d, -EINVAL, "a round trip has 1 to %u bytes", PERF_PERIOD);
	p = perf_new(s, d);
	if (!p)
		return -ENOMEM;
	p->round_bytes = bytes;
	p->times_ns = times_ns;
	for (unsigned int i = 0; i < p->count && count; i++) {
		p->streams[i].rounds_left = count;
		round_start(p, &p->streams[i]);
	}
	err = run(p);
	qsort(times_ns, p->times, sizeof(*times_ns), compare);
	free(p);
	return err;
}

int perf_throughput(const struct perf_sockets *s, enum perf_direction direction, uint64_t bytes,
	uint64_t *time_ns, struct diag *d)
{
	struct perf *p = perf_new(s, d);
	uint64_t start_ns;
	int err;

	if (!p)
		return -ENOMEM;
	for (unsigned int i = 0; i < p->count; i++) {
		p->streams[i].to_send = direction == PERF_FROM_GUEST ? 0 : bytes;
		p->streams[i].to_get = direction == PERF_TO_GUEST ? 0 : bytes;
		p->streams[i].shuts = direction != PERF_FROM_GUEST;
	}
	start_ns = now_ns();
	err = run(p);
	*time_ns = now_ns() - start_ns;
	free(p);
	return err;
}

uint64_t perf_quantile(const uint64_t *sorted, uint64_t count, unsigned int per_mille)
{
	uint64_t rank = (count * per_mille + 999) / 1000;

	return sorted[rank ? rank - 1 : 0];
}

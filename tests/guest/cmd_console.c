/* SPDX-License-Identifier: Apache-2.0 */
/* console: sends, echoes, measures. When the device is ready it says so: "console ready". */
#include "clock.h"
#include "commands.h"
#include "console.h"
#include "latency.h"
#include "lib.h"
#include "page.h"
#include "pattern.h"
#include "x86.h"

#define BUFFER_DEFAULT 4096
#define CHUNK_BYTES    PATTERN_PERIOD
#define MESSAGE_MAX    (1U << 20)
#define ROUNDS_MAX     4000000
#define SPIN_MAX_US    1000000
#define PATTERN_PAGES  (2 * PATTERN_PERIOD / PAGE_SIZE)
#define BYTES_MAX      (1UL << 50)

/* What a subcommand needs; numbers are those behind its name. */
struct work {
	struct console console;
	struct console_options options;
	const char *name;
	uint64_t numbers[2];
	enum pattern pattern;
	uint8_t *period; /* the pattern twice over, so that each offset has a period behind it */
};

static void result_print(
	const struct work *work, const char *first, uint64_t a, const char *second, uint64_t b)
{
	print("console %s %s=%lu %s=%lu ring=%s mode=%s indirect=%u event_idx=%u buf=%u",
		work->name, first, a, second, b, work->options.virtio.packed ? "packed" : "split",
		work->options.virtio.irq ? "irq" : "poll", work->options.virtio.indirect,
		work->options.virtio.event_idx, work->options.buffer_bytes);
}

static void rate_print(const struct work *work, uint64_t bytes, uint64_t ticks)
{
	uint64_t us = clock_ns(ticks) / 1000;
	result_print(work, "bytes", bytes, "us", us);
	print(" mb_per_s=%lu\n", us ? bytes / us : 0);
}

/* --- one direction --- */

static bool source(struct work *work)
{
	uint64_t total = work->numbers[0], sent = 0;
	print("console ready\n");
	uint64_t start = rdtsc();
	while (sent < total) {
		uint64_t part = total - sent < CHUNK_BYTES ? total - sent : CHUNK_BYTES;
		if (!console_send(&work->console, work->period + sent % PATTERN_PERIOD, part))
			return false;
		console_flush(&work->console);
		sent += part;
	}
	if (!console_drain(&work->console))
		return false;
	rate_print(work, total, rdtsc() - start);
	return true;
}

static bool sink(struct work *work)
{
	uint64_t total = work->numbers[0], got = 0, start = 0;
	print("console ready\n");
	while (got < total) {
		uint8_t *data;
		uint32_t len_bytes;
		if (!console_receive(&work->console, &data, &len_bytes))
			return false;
		if (!got)
			start = rdtsc(); /* not the time in which the host made up its mind */
		if (len_bytes > total - got)
			return fail("%lu bytes too many came", len_bytes - (total - got));
		if (work->pattern != PATTERN_NONE) {
			uint64_t same = pattern_match(work->period, got, data, len_bytes);
			if (same < len_bytes)
				return fail("byte %lu is 0x%02x, not 0x%02x", got + same,
					data[same], work->period[(got + same) % PATTERN_PERIOD]);
		}
		got += len_bytes;
		console_release(&work->console, data);
	}
	rate_print(work, total, rdtsc() - start);
	return true;
}

/* --- both --- */

/* Collects `len_bytes` bytes of stream in `to`; more must not come. */
static bool collect(struct work *work, uint8_t *to, uint64_t len_bytes)
{
	uint64_t got = 0;
	while (got < len_bytes) {
		uint8_t *data;
		uint32_t part;
		if (!console_receive(&work->console, &data, &part))
			return false;
		if (part > len_bytes - got)
			return fail("%lu bytes too many came", part - (len_bytes - got));
		memcpy(to + got, data, part);
		got += part;
		console_release(&work->console, data);
	}
	return true;
}

static bool send_now(struct work *work, const uint8_t *data, uint64_t len_bytes)
{
	if (!console_send(&work->console, data, len_bytes))
		return false;
	console_flush(&work->console);
	return true;
}

/* The other end measures. */
static bool pingpong(struct work *work)
{
	uint64_t rounds = work->numbers[0], size = work->numbers[1];
	uint64_t pages = (size + PAGE_SIZE - 1) / PAGE_SIZE;
	uint8_t *message = page_alloc(pages);
	if (!message)
		return fail("no memory");
	print("console ready\n");
	uint64_t start = rdtsc();
	bool ok = true;
	for (uint64_t i = 0; i < rounds && ok; i++)
		ok = collect(work, message, size) && send_now(work, message, size);
	ok = ok && console_drain(&work->console);
	uint64_t us = clock_ns(rdtsc() - start) / 1000;
	if (ok) {
		result_print(work, "n", rounds, "size", size);
		print(" us=%lu\n", us);
	}
	/* A failed round may have left it with the device; the command ends with a reset. */
	if (ok)
		page_free(message, pages);
	return ok;
}

static bool ping_rounds(struct work *work, uint64_t *ticks, uint8_t *answer)
{
	uint64_t rounds = work->numbers[0], size = work->numbers[1];
	print("console ready\n");
	for (uint64_t i = 0; i < rounds; i++) {
		const uint8_t *question = work->period + i % PATTERN_PERIOD;
		uint64_t start = rdtsc();
		if (!send_now(work, question, size) || !collect(work, answer, size))
			return false;
		ticks[i] = rdtsc() - start;
		if (pattern_match(work->period, i, answer, size) != size)
			return fail("round %lu came back with other data", i);
		if (!console_drain(&work->console))
			return false;
	}
	result_print(work, "n", rounds, "size", size);
	latency_print(ticks, rounds);
	return true;
}

/* We measure; the other end echoes. */
static bool ping(struct work *work)
{
	uint64_t tick_pages = (work->numbers[0] * sizeof(uint64_t) + PAGE_SIZE - 1) / PAGE_SIZE;
	uint64_t pages = (work->numbers[1] + PAGE_SIZE - 1) / PAGE_SIZE;
	uint64_t *ticks = page_alloc(tick_pages);
	uint8_t *answer = page_alloc(pages);
	bool ok = ticks && answer ? true : fail("no memory");
	if (ok && work->numbers[1] > PATTERN_PERIOD)
		ok = fail("SIZE must be at most %lu", PATTERN_PERIOD);
	ok = ok && ping_rounds(work, ticks, answer);
	if (ticks)
		page_free(ticks, tick_pages);
	if (answer)
		page_free(answer, pages);
	return ok;
}

/* Whether the stream, of which `tail` keeps the last bytes, has come to a line that is "end". */
static bool echo_ended(char *tail, const uint8_t *data, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++) {
		memmove(tail, tail + 1, 4);
		tail[4] = data[i] == '\r' ? '\n' : (char)data[i];
		if (!memcmp(tail, "\nend\n", 5))
			return true;
	}
	return false;
}

/* Until the line "end", or for N bytes. */
static bool echo(struct work *work)
{
	char tail[5] = {0, 0, 0, 0, '\n'};
	uint64_t echoed = 0, limit = work->numbers[0];
	bool ended = false;
	print("console ready\n");
	while (!ended) {
		uint8_t *data;
		uint32_t len_bytes;
		if (!console_receive(&work->console, &data, &len_bytes) ||
			!console_send(&work->console, data, len_bytes) ||
			!console_drain(&work->console))
			return false;
		echoed += len_bytes;
		ended = limit ? echoed >= limit : echo_ended(tail, data, len_bytes);
		console_release(&work->console, data);
	}
	print("console echo bytes=%lu\n", echoed);
	return true;
}

/* --- the command --- */

static const struct subcommand {
	const char *name;
	unsigned numbers, optional; /* numbers behind the name, and how many may be left out */
	uint64_t limits[2];
	enum pattern pattern; /* unless a word says another one */
	bool (*run)(struct work *work);
} subcommands[] = {
	{"send", 1, 0, {BYTES_MAX}, PATTERN_COUNT, source},
	{"echo", 1, 1, {BYTES_MAX}, PATTERN_NONE, echo},
	{"ping", 2, 0, {ROUNDS_MAX, PATTERN_PERIOD}, PATTERN_MIX, ping},
	{"pingpong", 2, 0, {UINT64_MAX, MESSAGE_MAX}, PATTERN_NONE, pingpong},
	{"source", 1, 0, {BYTES_MAX}, PATTERN_MIX, source},
	{"sink", 1, 0, {BYTES_MAX}, PATTERN_NONE, sink},
};

static bool option_parse(struct work *work, const char *word)
{
	uint64_t number;
	if (virtio_option_parse(word, &work->options.virtio) || pattern_parse(word, &work->pattern))
		return true;
	if (!strncmp(word, "spin=", 5) && number_parse(word + 5, &number) &&
		number <= SPIN_MAX_US) {
		work->options.spin_us = (uint32_t)number;
		return true;
	}
	if (!strncmp(word, "port=", 5) && number_parse(word + 5, &number) &&
		number <= CONSOLE_PORT_MAX) {
		work->options.port = (unsigned)number;
		return true;
	}
	if (strncmp(word, "buf=", 4) || !number_parse(word + 4, &number) || !number ||
		number > CONSOLE_BUFFER_MAX)
		return fail("%s is no option", word);
	work->options.buffer_bytes = (uint32_t)number;
	return true;
}

static bool words_parse(struct work *work, const struct subcommand *sub, const struct args *args)
{
	unsigned at = 2, count = 0;
	while (count < sub->numbers && number_parse(args->words[at], &work->numbers[count])) {
		if (!work->numbers[count] || work->numbers[count] > sub->limits[count])
			return fail(
				"%s is not between 1 and %lu", args->words[at], sub->limits[count]);
		count++;
		at++;
	}
	if (count < sub->numbers - sub->optional)
		return fail("%s needs %u numbers", sub->name, sub->numbers);
	for (; at < args->count; at++)
		if (!option_parse(work, args->words[at]))
			return false;
	return true;
}

static bool work_run(struct work *work, const struct subcommand *sub)
{
	work->period = page_alloc(PATTERN_PAGES);
	if (!work->period)
		return fail("no memory");
	pattern_fill(work->pattern, work->period);
	memcpy(work->period + PATTERN_PERIOD, work->period, PATTERN_PERIOD);
	bool ok = console_open(&work->console, &work->options) && sub->run(work);
	if (!console_close(&work->console))
		return false;
	page_free(work->period, PATTERN_PAGES);
	return ok;
}

bool cmd_console(const struct args *args)
{
	static struct work work;
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
		const struct subcommand *sub = &subcommands[i];
		if (strcmp(args->words[1], sub->name))
			continue;
		memset(&work, 0, sizeof(work));
		work.name = sub->name;
		work.pattern = sub->pattern;
		work.options.buffer_bytes = BUFFER_DEFAULT;
		work.options.virtio = (struct virtio_options){.event_idx = true, .irq = true};
		return words_parse(&work, sub, args) && work_run(&work, sub);
	}
	return fail("%s is none of send, echo, ping, pingpong, source, sink", args->words[1]);
}

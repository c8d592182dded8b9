/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: talk to the host, be talked to, measure; and the driver's own life. */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "vsock.h"
#include "vsock_bench.h"
#include "vsock_stream.h"

#define TEXT_MAX    512
#define SHOWN_MAX   160
#define TIMEOUT_US  60000000
#define BUFFER_MAX  (1U << 20)
#define ROUNDS_MAX  1000000
#define SPIN_MAX_US 1000000

/* What a subcommand has behind its name: numbers first. */
struct work {
	struct vsock_address to; /* the port is also the first number */
	uint64_t numbers[4];
	unsigned count;
	const char *text; /* behind the first number */
};

static void text_print(const uint8_t *text, uint64_t len)
{
	char shown[SHOWN_MAX + 1];
	uint64_t count = len < SHOWN_MAX ? len : SHOWN_MAX;
	for (uint64_t i = 0; i < count; i++)
		shown[i] = text[i] >= ' ' && text[i] < 0x7f ? (char)text[i] : '.';
	shown[count] = 0;
	print("%s\n", shown);
}

/* Until the peer has sent its last byte, or all is over. */
static bool stream_finish(struct vsock_stream *s)
{
	if (!vsock_wait(&s->peer_ended, TIMEOUT_US))
		return false;
	s->ends = VSOCK_SHUTDOWN_BOTH;
	if (s->conn)
		vsock_conn_wake(s->conn);
	if (!vsock_wait(&s->closed, TIMEOUT_US))
		return false;
	return !s->reset || fail("the connection was reset");
}

static struct vsock_stream *stream_make(const char *text)
{
	static struct vsock_stream stream;
	static uint8_t received[TEXT_MAX], sent[TEXT_MAX];
	uint64_t len = text_copy((char *)sent, sizeof(sent), text);
	stream = (struct vsock_stream){.text = received,
		.size = sizeof(received),
		.data = sent,
		.left = len,
		.ends = VSOCK_SHUTDOWN_SEND};
	return &stream;
}

static bool result_print(const char *name, uint32_t port, const struct vsock_stream *s)
{
	print("vsock %s port=%u sent=%lu received=%lu text=", name, port, s->sent, s->received);
	text_print(s->text, s->received < s->size ? s->received : s->size);
	return true;
}

static bool run_connect(const struct work *work)
{
	uint32_t port = (uint32_t)work->numbers[0];
	struct vsock_stream *s = stream_make(work->text);
	bool ok = vsock_stream_connect(s, work->to) && stream_finish(s);
	vsock_stream_close(s);
	if (s->refused)
		return fail("port %u: connection refused", port);
	return ok && result_print("connect", port, s);
}

static bool run_listen(const struct work *work)
{
	uint32_t port = (uint32_t)work->numbers[0];
	struct vsock_stream *s = stream_make(work->text);
	if (vsock_listener(port, &(void *){NULL}))
		return fail("port %u is a service's", port);
	vsock_stream_listen(s, port);
	print("vsock listening port=%u\n", port);
	bool ok = vsock_wait(&s->opened, TIMEOUT_US) && stream_finish(s);
	vsock_stream_close(s);
	return ok && result_print("listen", port, s);
}

static bool run_stat(const struct work *work)
{
	const struct vsock_stats *t = &vsock_stats;
	(void)work;
	print("vsock cid=%lu connections=%u opened=%lu closed=%lu refused=%lu\n", vsock_cid(),
		vsock_conn_count(), t->opened, t->closed, t->refused);
	print("vsock rx_packets=%lu rx_bytes=%lu tx_packets=%lu tx_bytes=%lu buf=%u ring=%s\n",
		t->rx_packets, t->rx_bytes, t->tx_packets, t->tx_bytes, vsock_options.buffer_bytes,
		vsock_options.virtio.packed ? "packed" : "split");
	print("vsock rst_sent=%lu rst_received=%lu resets=%lu bad=%lu over_credit=%lu\n",
		t->rst_sent, t->rst_received, t->resets, t->bad, t->over_credit);
	return true;
}

static bool run_ping(const struct work *work)
{
	if (!work->numbers[1] || work->numbers[1] > VSOCK_PACKET_MAX || !work->numbers[2] ||
		work->numbers[2] > ROUNDS_MAX)
		return fail("SIZE is 1 to %u, COUNT 1 to %u", VSOCK_PACKET_MAX, ROUNDS_MAX);
	return vsock_ping(work->to, work->numbers[1], work->numbers[2]);
}

static bool run_send(const struct work *work)
{
	uint64_t streams = work->count > 3 ? work->numbers[3] : 1;
	if (!work->numbers[1] || !work->numbers[2] || work->numbers[2] > VSOCK_PACKET_MAX ||
		!streams || streams > VSOCK_CONNS_MAX)
		return fail("SIZE is 1 to %u, STREAMS 1 to %u", VSOCK_PACKET_MAX, VSOCK_CONNS_MAX);
	return vsock_send_all(
		work->to, work->numbers[1], (uint32_t)work->numbers[2], (unsigned)streams);
}

static bool run_storm(const struct work *work)
{
	uint64_t parallel = work->count > 2 ? work->numbers[2] : 1;
	if (!work->numbers[1] || !parallel || parallel > VSOCK_CONNS_MAX)
		return fail("COUNT is at least 1, PARALLEL 1 to %u", VSOCK_CONNS_MAX);
	if (work->numbers[3] > VSOCK_STORM_BYTES)
		return fail("BYTES is at most %u", VSOCK_STORM_BYTES);
	return vsock_storm(
		work->to, work->numbers[1], (unsigned)parallel, (uint32_t)work->numbers[3]);
}

static const struct subcommand {
	const char *name;
	unsigned least; /* numbers */
	bool (*run)(const struct work *work);
} subcommands[] = {
	{"connect", 1, run_connect},
	{"listen", 1, run_listen},
	{"stat", 0, run_stat},
	{"ping", 3, run_ping},
	{"send", 3, run_send},
	{"storm", 2, run_storm},
};

/* What follows `words` words and the spaces between them. */
static const char *rest_after(const char *text, unsigned words)
{
	for (; words; words--) {
		while (*text && *text != ' ')
			text++;
		while (*text == ' ')
			text++;
	}
	return text;
}

/* PORT, of the host, or CID:PORT. */
static bool address_parse(const char *word, struct vsock_address *to)
{
	char cid[24] = "2";
	size_t colon = 0;
	while (word[colon] && word[colon] != ':')
		colon++;
	if (word[colon]) {
		text_copy(cid, colon < sizeof(cid) ? colon + 1 : 1, word);
		word += colon + 1;
	}
	uint64_t port;
	if (!number_parse(cid, &to->cid) || !number_parse(word, &port) || port > UINT32_MAX)
		return false;
	to->port = (uint32_t)port;
	return true;
}

_Static_assert(VSOCK_CID_HOST == 2, "as address_parse has it");

static bool work_run(const struct subcommand *sub, const struct args *args)
{
	struct work work = {.text = rest_after(args->rest, 2)};
	if (sub->least && address_parse(args->words[2], &work.to))
		work.numbers[work.count++] = work.to.port;
	while (work.count && work.count < ARRAY_SIZE(work.numbers) &&
		work.count + 2 < args->count &&
		number_parse(args->words[work.count + 2], &work.numbers[work.count]))
		work.count++;
	if (work.count < sub->least)
		return fail("%s needs %u numbers, first a port", sub->name, sub->least);
	return sub->run(&work);
}

/* --- the driver --- */

static bool option_parse(const char *word, struct vsock_options *options)
{
	uint64_t number;
	if (virtio_option_parse(word, &options->virtio))
		return true;
	if (!strncmp(word, "buf=", 4) && number_parse(word + 4, &number) &&
		number >= VSOCK_HEADER_BYTES && number <= BUFFER_MAX)
		options->buffer_bytes = (uint32_t)number;
	else if (!strncmp(word, "spin=", 5) && number_parse(word + 5, &number) &&
		 number <= SPIN_MAX_US)
		options->spin_us = (uint32_t)number;
	else
		return fail("%s is no option", word);
	return true;
}

static bool driver_start(const struct args *args)
{
	struct vsock_options options = vsock_options;
	for (unsigned i = 2; i < args->count; i++)
		if (!option_parse(args->words[i], &options))
			return false;
	return vsock_stop() && vsock_start(&options);
}

bool cmd_vsock(const struct args *args)
{
	const char *name = args->words[1];
	if (!strcmp(name, "stop"))
		return vsock_stop();
	if (!strcmp(name, "start") || !strcmp(name, "reset"))
		return driver_start(args);
	if (!vsock_is_started() && !vsock_start(&vsock_options))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (!strcmp(name, subcommands[i].name))
			return work_run(&subcommands[i], args);
	return fail("%s is no subcommand", name);
}

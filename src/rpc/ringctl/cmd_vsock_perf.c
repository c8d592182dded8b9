/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl vsock-perf: how fast a guest's vsock is, and whether it keeps its bytes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/config.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"
#include "rpc/ringctl/vsock_perf.h"

#define ROUNDS_MAX 1000000

struct perf_options {
	uint32_t echo_port, discard_port, source_port;
	uint32_t count; /* round trips of each stream */
	uint64_t bytes; /* of each stream's throughput */
};

static int set_count(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	uint64_t number = 0;
	int err = option_parse_number(s, value, 1, ROUNDS_MAX, &number, d);

	if (!err)
		*(uint32_t *)to = (uint32_t)number;
	return err;
}

static int set_bytes(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	if (config_parse_size(value, to, NULL) || !*(uint64_t *)to)
		return diag_fail(d, -EINVAL, "--%s: \"%.64s\" is not a size", s->name, value);
	return 0;
}

static const struct option_spec perf_options[] = {
	{"echo-port", 0, "PORT", "the guest's echo service (7)", option_set_u32,
		offsetof(struct perf_options, echo_port)},
	{"discard-port", 0, "PORT", "the guest's discard service (9)", option_set_u32,
		offsetof(struct perf_options, discard_port)},
	{"source-port", 0, "PORT", "the guest's source service (19)", option_set_u32,
		offsetof(struct perf_options, source_port)},
	{"count", 'n', "N", "round trips of each stream (2000)", set_count,
		offsetof(struct perf_options, count)},
	{"bytes", 'b', "SIZE", "what each stream moves for its throughput (16M)", set_bytes,
		offsetof(struct perf_options, bytes)},
	{0},
};

/* --- what was measured --- */

static const unsigned int stream_counts[] = {1, PERF_STREAMS_MAX};
static const uint32_t round_bytes[] = {1, 4096};

static const struct quantile {
	const char *name, *json;
	unsigned int per_mille;
} quantiles[] = {
	{"Min", "min-ns", 0},
	{"25%", "p25-ns", 250},
	{"50%", "p50-ns", 500},
	{"75%", "p75-ns", 750},
	{"99%", "p99-ns", 990},
	{"99.9%", "p99.9-ns", 999},
	{"Max", "max-ns", 1000},
};

static const struct direction {
	const char *name;
	enum perf_direction direction;
	size_t port; /* in struct perf_options */
} directions[] = {
	{"to-guest", PERF_TO_GUEST, offsetof(struct perf_options, discard_port)},
	{"from-guest", PERF_FROM_GUEST, offsetof(struct perf_options, source_port)},
	{"echo", PERF_BOTH, offsetof(struct perf_options, echo_port)},
};

struct perf_run {
	struct ctl *ctl;
	struct rv_client *client;
	rv_object endpoint;
	const struct perf_options *o;
	struct table latency, throughput;
	json_t *json_latency, *json_throughput;
};

static void latency_report(struct perf_run *r, unsigned int streams, uint32_t bytes,
	const uint64_t *sorted, uint64_t count)
{
	json_t *json = json_pack("{sI sI sI}", "streams", (json_int_t)streams, "bytes",
		(json_int_t)bytes, "count", (json_int_t)count);

	table_cell(&r->latency, "%u", streams);
	table_cell(&r->latency, "%" PRIu32, bytes);
	table_cell(&r->latency, "%" PRIu64, count);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		uint64_t ns = perf_quantile(sorted, count, quantiles[i].per_mille);

		table_cell(&r->latency, "%.1f", (double)ns / 1000);
		json_object_set_new(json, quantiles[i].json, json_integer((json_int_t)ns));
	}
	json_array_append_new(r->json_latency, json);
}

static void throughput_report(struct perf_run *r, unsigned int streams, const char *direction,
	uint64_t bytes, uint64_t time_ns)
{
	double rate = (double)bytes * 1e9 / (double)(time_ns ? time_ns : 1);
	char size[OUTPUT_TEXT], text[OUTPUT_TEXT];

	table_cell(&r->throughput, "%u", streams);
	table_cell(&r->throughput, "%s", direction);
	table_cell(&r->throughput, "%s", output_size(bytes, size));
	table_cell(&r->throughput, "%.3f", (double)time_ns / 1e9);
	table_cell(&r->throughput, "%s/s", output_size((uint64_t)rate, text));
	json_array_append_new(r->json_throughput,
		json_pack("{sI ss sI sI sI}", "streams", (json_int_t)streams, "direction",
			direction, "bytes", (json_int_t)bytes, "time-ns", (json_int_t)time_ns,
			"bytes-per-second", (json_int_t)rate));
}

/* --- measuring --- */

static void streams_close(struct perf_sockets *s)
{
	while (s->count)
		close(s->fd[--s->count]);
}

static enum ctl_exit streams_open(
	struct perf_run *r, uint32_t port, unsigned int streams, struct perf_sockets *s)
{
	struct rv_error error;

	for (s->count = 0; s->count < streams; s->count++) {
		if (!rv_vsock_connect(r->client, r->endpoint, port, &s->fd[s->count], NULL,
			    SESSION_CALL_MS, &error))
			continue;
		streams_close(s);
		return session_fail(r->ctl, &error);
	}
	return CTL_OK;
}

static enum ctl_exit measured(
	struct perf_run *r, const char *what, uint32_t port, int err, const struct diag *d)
{
	char text[DIAG_TEXT_MAX + 64];
	const char *name = err == -ETIMEDOUT ? "TIMED_OUT"
			   : err == -EBADMSG ? "DATA"
					     : "PEER_CLOSED";

	if (!err)
		return CTL_OK;
	snprintf(text, sizeof(text), "%s, port %" PRIu32 ": %s", what, port, d->text);
	return output_error(r->ctl, name, CTL_FAILURE, text);
}

static enum ctl_exit latency_run(struct perf_run *r, unsigned int streams, uint32_t bytes)
{
	uint64_t *times = calloc((size_t)streams * r->o->count, sizeof(*times));
	struct perf_sockets s;
	enum ctl_exit status;
	struct diag d;

	if (!times)
		return output_error(r->ctl, "ENOMEM", CTL_FAILURE, "out of memory");
	status = streams_open(r, r->o->echo_port, streams, &s);
	if (!status) {
		status = measured(r, "round trips", r->o->echo_port,
			perf_round_trips(&s, bytes, r->o->count, times, &d), &d);
		streams_close(&s);
	}
	if (!status)
		latency_report(r, streams, bytes, times, (uint64_t)streams * r->o->count);
	free(times);
	return status;
}

static enum ctl_exit throughput_run(
	struct perf_run *r, unsigned int streams, const struct direction *way)
{
	uint32_t port = *(const uint32_t *)((const char *)r->o + way->port);
	struct perf_sockets s;
	enum ctl_exit status;
	uint64_t time_ns;
	struct diag d;

	status = streams_open(r, port, streams, &s);
	if (status)
		return status;
	status = measured(r, way->name, port,
		perf_throughput(&s, way->direction, r->o->bytes, &time_ns, &d), &d);
	streams_close(&s);
	if (!status)
		throughput_report(r, streams, way->name, streams * r->o->bytes, time_ns);
	return status;
}

static enum ctl_exit measure_all(struct perf_run *r)
{
	enum ctl_exit status = CTL_OK;

	for (size_t i = 0; i < ARRAY_SIZE(round_bytes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(stream_counts) && !status; k++)
			status = latency_run(r, stream_counts[k], round_bytes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++)
		for (size_t k = 0; k < ARRAY_SIZE(stream_counts) && !status; k++)
			status = throughput_run(r, stream_counts[k], &directions[i]);
	return status;
}

/* --- the command --- */

static void heads(struct perf_run *r)
{
	static const char *const latency[] = {"Streams", "Bytes", "Round trips"};
	static const char *const throughput[] = {
		"Streams", "Direction", "Moved", "Seconds", "Rate"};

	table_init(&r->latency, ARRAY_SIZE(latency) + ARRAY_SIZE(quantiles), ~0u);
	for (size_t i = 0; i < ARRAY_SIZE(latency); i++)
		table_cell(&r->latency, "%s", latency[i]);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		table_cell(&r->latency, "%s", quantiles[i].name);
	table_init(&r->throughput, ARRAY_SIZE(throughput), 0x1d);
	for (size_t i = 0; i < ARRAY_SIZE(throughput); i++)
		table_cell(&r->throughput, "%s", throughput[i]);
	r->json_latency = json_array();
	r->json_throughput = json_array();
}

static enum ctl_exit print_all(struct perf_run *r)
{
	printf("Round trips to the guest and back, in microseconds\n");
	table_print(&r->latency, stdout, r->ctl->colour_out);
	printf("\nThroughput\n");
	table_print(&r->throughput, stdout, r->ctl->colour_out);
	printf("\nEvery byte that came back was compared.\n");
	return output_flush(r->ctl);
}

static enum ctl_exit perf_connected(struct perf_run *r)
{
	struct ctl *ctl = r->ctl;
	struct rv_error error;
	enum ctl_exit status;
	rv_object guest;

	if (rv_host_connect(r->client, ctl->args[0], &guest, SESSION_CALL_MS, &error) ||
		rv_guest_vsock(r->client, guest, &r->endpoint, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	heads(r);
	status = measure_all(r);
	if (!status && ctl->json)
		status = output_json(json_pack(
			"{sO sO}", "latency", r->json_latency, "throughput", r->json_throughput));
	else if (!status)
		status = print_all(r);
	json_decref(r->json_latency);
	json_decref(r->json_throughput);
	table_clear(&r->latency);
	table_clear(&r->throughput);
	return status;
}

static enum ctl_exit vsock_perf_run(struct ctl *ctl, int argc, char **argv)
{
	struct perf_options o = {.echo_port = 7,
		.discard_port = 9,
		.source_port = 19,
		.count = 2000,
		.bytes = 16 << 20};
	struct perf_run r = {.ctl = ctl, .o = &o};
	enum ctl_exit status;

	if (!options_parse(ctl, &vsock_perf_command, argc, argv, &o, &status))
		return status;
	r.client = session_open(ctl, &status);
	if (!r.client)
		return status;
	status = perf_connected(&r);
	rv_destroy(r.client);
	return status;
}

const struct command vsock_perf_command = {
	.name = "vsock-perf",
	.arguments = "NAME",
	.summary = "Measure a guest's vsock: round trips and throughput",
	.details =
		"With one stream and with five: round trips of 1 and of 4096 bytes, and\n"
		"throughput to the guest, from it, and both ways at once. Every byte that comes\n"
		"back is compared. The guest has to have echo, discard and source services, as\n"
		"the embedded guest always has; ringctl(1) says what they do.\n",
	.options = perf_options,
	.args_min = 1,
	.args_max = 1,
	.run = vsock_perf_run,
};

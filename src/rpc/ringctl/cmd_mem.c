/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl mem: how much hot-pluggable memory a guest has, and is to have. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/config.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"

static enum ctl_exit size_json(const struct rv_mem_size *s)
{
	return output_json(json_pack("{sI sI sI sI sI}", "block-size", (json_int_t)s->block_size,
		"region-size", (json_int_t)s->region_size, "usable-region-size",
		(json_int_t)s->usable_region_size, "plugged-size", (json_int_t)s->plugged_size,
		"requested-size", (json_int_t)s->requested_size));
}

static enum ctl_exit size_print(const struct ctl *ctl, const struct rv_mem_size *s)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} rows[] = {
		{"block-size", s->block_size},
		{"region-size", s->region_size},
		{"usable-region-size", s->usable_region_size},
		{"plugged-size", s->plugged_size},
		{"requested-size", s->requested_size},
	};
	char text[OUTPUT_TEXT];
	struct table t;

	table_init(&t, 3, 0x6);
	table_cell(&t, "What");
	table_cell(&t, "Bytes");
	table_cell(&t, "Size");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		table_cell(&t, "%s", rows[i].name);
		table_cell(&t, "%" PRIu64, rows[i].bytes);
		table_cell(&t, "%s", output_size(rows[i].bytes, text));
	}
	table_print(&t, stdout, ctl->colour_out);
	return output_flush(ctl);
}

/* The daemon would close the controller without a word; this says what is wrong. */
static enum ctl_exit size_impossible(
	const struct ctl *ctl, const struct rv_mem_size *s, uint64_t bytes)
{
	char text[256];

	snprintf(text, sizeof(text),
		"%" PRIu64 " bytes cannot be requested: it has to be a multiple of the block size, "
		"%" PRIu64 ", up to the region's size, %" PRIu64,
		bytes, s->block_size, s->region_size);
	return output_error(ctl, "INVALID_ARGS", CTL_USAGE, text);
}

static enum ctl_exit request_run(
	const struct ctl *ctl, struct rv_client *client, rv_object mem, uint64_t bytes)
{
	char wanted[OUTPUT_TEXT], has[OUTPUT_TEXT];
	struct rv_mem_size s;
	struct rv_error error;

	if (rv_mem_get_size(client, mem, &s, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	if (bytes > s.region_size || !s.block_size || bytes % s.block_size)
		return size_impossible(ctl, &s, bytes);
	if (rv_mem_request(client, mem, bytes, &error) ||
		rv_mem_get_size(client, mem, &s, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	if (ctl->json)
		return size_json(&s);
	printf("%s is asked to have %s plugged, and has %s\n", ctl->args[1],
		output_size(s.requested_size, wanted), output_size(s.plugged_size, has));
	return output_flush(ctl);
}

static enum ctl_exit stats_run(const struct ctl *ctl, struct rv_client *client, rv_object mem)
{
	struct rv_mem_size s;
	struct rv_error error;

	if (rv_mem_get_size(client, mem, &s, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	return ctl->json ? size_json(&s) : size_print(ctl, &s);
}

static enum ctl_exit mem_connected(
	struct ctl *ctl, struct rv_client *client, bool request, uint64_t bytes)
{
	rv_object guest, mem;
	struct rv_error error;

	if (rv_host_connect(client, ctl->args[1], &guest, SESSION_CALL_MS, &error) ||
		rv_guest_mem(client, guest, &mem, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	return request ? request_run(ctl, client, mem, bytes) : stats_run(ctl, client, mem);
}

static enum ctl_exit mem_run(struct ctl *ctl, int argc, char **argv)
{
	struct rv_client *client;
	enum ctl_exit status;
	uint64_t bytes = 0;
	bool request;

	if (!options_parse(ctl, &mem_command, argc, argv, NULL, &status))
		return status;
	request = !strcmp(ctl->args[0], "request-plugged");
	if (!request && strcmp(ctl->args[0], "stats") != 0)
		return options_usage(
			ctl, "mem \"%.64s\": there are request-plugged and stats", ctl->args[0]);
	if (ctl->arg_count != (request ? 3 : 2))
		return options_usage(
			ctl, request ? "mem request-plugged takes a guest's name and a size"
				     : "mem stats takes a guest's name");
	if (request && config_parse_size(ctl->args[2], &bytes, NULL))
		return options_usage(
			ctl, "mem request-plugged: \"%.64s\" is no size", ctl->args[2]);
	client = session_open(ctl, &status);
	if (!client)
		return status;
	status = mem_connected(ctl, client, request, bytes);
	rv_destroy(client);
	return status;
}

const struct command mem_command = {
	.name = "mem",
	.arguments = "request-plugged NAME SIZE | stats NAME",
	.summary = "Plug memory into a guest or out of it",
	.details =
		"request-plugged asks the guest to have SIZE of its hot-pluggable memory plugged:\n"
		"bytes, or a number with k, M or G; a multiple of the block size.\n"
		"stats shows how much it has.\n",
	.args_min = 2,
	.args_max = 3,
	.run = mem_run,
};

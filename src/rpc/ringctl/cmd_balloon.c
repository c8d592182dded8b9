/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl balloon: how much of its memory a guest gives back to the host, and what it says of the
 * rest. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/guest_error.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"

#define PAGE_BYTES 4096u

/* As virtio 1.2 §5.5.6.4 has them, by tag. */
static const struct tag {
	const char *name;
	bool bytes;
} tags[] = {
	{"swap-in", true},
	{"swap-out", true},
	{"major-faults", false},
	{"minor-faults", false},
	{"free-memory", true},
	{"total-memory", true},
	{"available-memory", true},
	{"disk-caches", true},
	{"hugetlb-allocations", false},
	{"hugetlb-failures", false},
};

static const char *tag_name(uint16_t tag, char text[OUTPUT_TEXT])
{
	if (tag < ARRAY_SIZE(tags))
		return tags[tag].name;
	snprintf(text, OUTPUT_TEXT, "tag-%u", tag);
	return text;
}

static void stat_row(struct table *t, const struct rv_balloon_stat *s)
{
	char name[OUTPUT_TEXT], size[OUTPUT_TEXT];

	table_cell(t, "%s", tag_name(s->tag, name));
	table_cell(t, "%" PRIu64, s->value);
	table_cell(t, "%s",
		s->tag < ARRAY_SIZE(tags) && tags[s->tag].bytes ? output_size(s->value, size) : "");
}

static void pages_row(struct table *t, const char *name, uint32_t pages)
{
	char size[OUTPUT_TEXT];

	table_cell(t, "%s", name);
	table_cell(t, "%" PRIu32, pages);
	table_cell(t, "%s", output_size((uint64_t)pages * PAGE_BYTES, size));
}

static enum ctl_exit stats_print(const struct ctl *ctl, const struct rv_balloon_size *size,
	const struct rv_balloon_stats *stats)
{
	struct table t;

	table_init(&t, 3, 0x6);
	table_cell(&t, "What");
	table_cell(&t, "Value");
	table_cell(&t, "Size");
	pages_row(&t, "balloon-pages", size->current_pages);
	pages_row(&t, "requested-pages", size->requested_pages);
	for (size_t i = 0; i < stats->count; i++)
		stat_row(&t, &stats->stats[i]);
	table_print(&t, stdout, ctl->colour_out);
	return output_flush(ctl);
}

static enum ctl_exit stats_json(
	const struct rv_balloon_size *size, const struct rv_balloon_stats *stats)
{
	json_t *values = json_object();
	char name[OUTPUT_TEXT];

	for (size_t i = 0; i < stats->count; i++)
		json_object_set_new(values, tag_name(stats->stats[i].tag, name),
			json_integer((json_int_t)stats->stats[i].value));
	return output_json(json_pack("{sI sI so}", "balloon-pages", (json_int_t)size->current_pages,
		"requested-pages", (json_int_t)size->requested_pages, "stats", values));
}

/* The guest has not answered, or its driver keeps none. */
static enum ctl_exit stats_missing(const struct ctl *ctl, uint32_t status)
{
	const char *why =
		status == RV_STATUS_NOT_SUPPORTED ? "the guest's driver keeps no memory statistics"
		: status == RV_STATUS_TIMED_OUT   ? "the guest has not answered within 5 seconds"
						  : "the guest's balloon device was reset";

	return output_error(ctl, status_name(status), CTL_FAILURE, why);
}

static enum ctl_exit stats_run(const struct ctl *ctl, struct rv_client *client, rv_object balloon)
{
	struct rv_balloon_stats *stats = NULL;
	struct rv_balloon_size size;
	struct rv_error error;
	enum ctl_exit status;

	if (rv_balloon_get_size(client, balloon, &size, SESSION_CALL_MS, &error) ||
		rv_balloon_get_stats(client, balloon, &stats, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	if (stats->status)
		status = stats_missing(ctl, stats->status);
	else
		status = ctl->json ? stats_json(&size, stats) : stats_print(ctl, &size, stats);
	rv_free(stats);
	return status;
}

/* The request has no answer of its own; the size that follows it says what became of it. */
static enum ctl_exit set_run(
	const struct ctl *ctl, struct rv_client *client, rv_object balloon, uint32_t pages)
{
	struct rv_balloon_size size;
	struct rv_error error;

	if (rv_balloon_request(client, balloon, pages, &error) ||
		rv_balloon_get_size(client, balloon, &size, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	if (ctl->json)
		return output_json(
			json_pack("{sI sI}", "balloon-pages", (json_int_t)size.current_pages,
				"requested-pages", (json_int_t)size.requested_pages));
	printf("%s is asked for %" PRIu32 " pages, and has given %" PRIu32 "\n", ctl->args[1],
		size.requested_pages, size.current_pages);
	return output_flush(ctl);
}

static bool pages_parse(const char *text, uint32_t *pages)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	*pages = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
	return *text >= '0' && *text <= '9' && !*end;
}

static enum ctl_exit balloon_connected(
	struct ctl *ctl, struct rv_client *client, bool set, uint32_t pages)
{
	rv_object guest, balloon;
	struct rv_error error;

	if (rv_host_connect(client, ctl->args[1], &guest, SESSION_CALL_MS, &error) ||
		rv_guest_balloon(client, guest, &balloon, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	return set ? set_run(ctl, client, balloon, pages) : stats_run(ctl, client, balloon);
}

static enum ctl_exit balloon_run(struct ctl *ctl, int argc, char **argv)
{
	struct rv_client *client;
	enum ctl_exit status;
	uint32_t pages = 0;
	bool set;

	if (!options_parse(ctl, &balloon_command, argc, argv, NULL, &status))
		return status;
	set = !strcmp(ctl->args[0], "set");
	if (!set && strcmp(ctl->args[0], "stats") != 0)
		return options_usage(
			ctl, "balloon \"%.64s\": there are set and stats", ctl->args[0]);
	if (ctl->arg_count != (set ? 3 : 2))
		return options_usage(
			ctl, set ? "balloon set takes a guest's name and a number of pages"
				 : "balloon stats takes a guest's name");
	if (set && !pages_parse(ctl->args[2], &pages))
		return options_usage(
			ctl, "balloon set: \"%.64s\" is no number of pages", ctl->args[2]);
	client = session_open(ctl, &status);
	if (!client)
		return status;
	status = balloon_connected(ctl, client, set, pages);
	rv_destroy(client);
	return status;
}

const struct command balloon_command = {
	.name = "balloon",
	.arguments = "set NAME PAGES | stats NAME",
	.summary = "Ask a guest for memory, or for its memory statistics",
	.details = "set asks for PAGES pages of 4096 bytes; 0 gives the guest all of them back.\n"
		   "stats shows the balloon's size and what the guest says of its memory.\n",
	.args_min = 2,
	.args_max = 3,
	.run = balloon_run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl list and ringctl info: which guests there are, and all about one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"

struct list_options {
	bool quiet, wide;
};

static const struct option_spec list_options[] = {
	{"quiet", 'q', NULL, "names only, one a line", option_set_flag,
		offsetof(struct list_options, quiet)},
	{"wide", 'w', NULL, "CPUs and memory as well", option_set_flag,
		offsetof(struct list_options, wide)},
	{0},
};

static enum ctl_exit list_json(const struct rv_guest_list *g)
{
	json_t *list = json_array();

	for (size_t i = 0; i < g->count; i++) {
		const struct rv_guest_entry *one = &g->guests[i];

		json_array_append_new(
			list, json_pack("{ss ss sI sI sI}", "name", one->name, "status",
				      session_status(one->status), "uptime-ns",
				      (json_int_t)one->uptime_ns, "cpus", (json_int_t)one->cpus,
				      "guest-memory", (json_int_t)one->memory_bytes));
	}
	return output_json(json_pack("{so}", "guests", list));
}

static void list_table(
	const struct ctl *ctl, const struct list_options *o, const struct rv_guest_list *g)
{
	static const char *const heads[] = {"Guest", "Status", "Uptime", "CPUs", "Memory"};
	unsigned int columns = o->wide ? 5 : 3;
	char text[OUTPUT_TEXT];
	struct table t;

	table_init(&t, columns, 0x1c);
	for (unsigned int i = 0; i < columns; i++)
		table_cell(&t, "%s", heads[i]);
	for (size_t i = 0; i < g->count; i++) {
		const struct rv_guest_entry *one = &g->guests[i];

		table_cell(&t, "%s", one->name);
		table_cell(&t, "%s", session_status(one->status));
		table_cell(&t, "%s", one->uptime_ns ? output_time(one->uptime_ns, text) : "-");
		if (!o->wide)
			continue;
		table_cell(&t, "%" PRIu32, one->cpus);
		table_cell(
			&t, "%s", one->memory_bytes ? output_size(one->memory_bytes, text) : "-");
	}
	table_print(&t, stdout, ctl->colour_out);
}

static enum ctl_exit list_print(
	struct ctl *ctl, const struct list_options *o, const struct rv_guest_list *g)
{
	if (ctl->json)
		return list_json(g);
	for (size_t i = 0; o->quiet && i < g->count; i++)
		puts(g->guests[i].name);
	if (!o->quiet)
		list_table(ctl, o, g);
	return output_flush(ctl);
}

static enum ctl_exit list_run(struct ctl *ctl, int argc, char **argv)
{
	struct list_options o = {0};
	struct rv_guest_list *g = NULL;
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;

	if (!options_parse(ctl, &list_command, argc, argv, &o, &status))
		return status;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (rv_host_list(client, &g, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	else
		status = list_print(ctl, &o, g);
	rv_free(g);
	rv_destroy(client);
	return status;
}

const struct command list_command = {
	.name = "list",
	.arguments = "",
	.summary = "List the guests",
	.options = list_options,
	.run = list_run,
};

static json_t *strings_json(const char *const *strings, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(strings[i]));
	return list;
}

/* The counters and sizes of GuestInfo, in the order in which they are shown. */
static const struct figure {
	uint32_t has;
	const char *key, *label;
	size_t offset;
	const char *(*show)(uint64_t value, char text[OUTPUT_TEXT]);
} figures[] = {
	{RV_HAS_UPTIME, "uptime-ns", "Uptime", offsetof(struct rv_guest_info, uptime_ns),
		output_time},
	{RV_HAS_MEMORY, "guest-memory", "Memory", offsetof(struct rv_guest_info, memory_bytes),
		output_size},
	{RV_HAS_RESIDENT, "resident-bytes", "Resident",
		offsetof(struct rv_guest_info, resident_bytes), output_size},
	{RV_HAS_EXITS, "exits", "Exits", offsetof(struct rv_guest_info, exits), NULL},
	{RV_HAS_KICKS, "kicks", "Kicks", offsetof(struct rv_guest_info, kicks), NULL},
	{RV_HAS_IRQS, "irqs", "Interrupts", offsetof(struct rv_guest_info, irqs), NULL},
};

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

static uint64_t figure_value(const struct figure *f, const struct rv_guest_info *info)
{
	return *(const uint64_t *)((const char *)info + f->offset);
}

static enum ctl_exit info_json(const char *name, const struct rv_guest_info *info)
{
	json_t *o = json_pack("{ss ss}", "name", name, "status", session_status(info->status));

	if (info->has & RV_HAS_CPUS)
		json_object_set_new(o, "cpus", json_integer(info->cpus));
	for (size_t i = 0; i < FIGURES; i++)
		if (info->has & figures[i].has)
			json_object_set_new(
				o, figures[i].key, json_integer(figure_value(&figures[i], info)));
	json_object_set_new(o, "devices", strings_json(info->devices, info->device_count));
	if (info->has & RV_HAS_STOP_ERROR)
		json_object_set_new(
			o, "stop-error", json_string(session_guest_error(info->stop_error)));
	json_object_set_new(
		o, "detected-problems", strings_json(info->problems, info->problem_count));
	return output_json(o);
}

static void info_row(struct table *t, const char *label, const char *value)
{
	table_cell(t, "%s:", label);
	table_cell(t, "%s", value);
}

static void info_table_print(const char *name, const struct rv_guest_info *info)
{
	char text[OUTPUT_TEXT];
	struct table t;

	table_init(&t, 2, 0);
	info_row(&t, "Guest", name);
	info_row(&t, "Status", session_status(info->status));
	if (info->has & RV_HAS_STOP_ERROR)
		info_row(&t, "Stopped by", session_guest_error(info->stop_error));
	if (info->has & RV_HAS_CPUS) {
		snprintf(text, sizeof(text), "%" PRIu32, info->cpus);
		info_row(&t, "CPUs", text);
	}
	for (size_t i = 0; i < FIGURES; i++) {
		uint64_t value = figure_value(&figures[i], info);

		if (!(info->has & figures[i].has))
			continue;
		snprintf(text, sizeof(text), "%" PRIu64, value);
		info_row(&t, figures[i].label,
			figures[i].show ? figures[i].show(value, text) : text);
	}
	for (size_t i = 0; i < info->device_count; i++)
		info_row(&t, i ? " " : "Devices", info->devices[i]);
	for (size_t i = 0; i < info->problem_count; i++)
		info_row(&t, i ? " " : "Problems", info->problems[i]);
	table_print(&t, stdout, false);
}

/* The daemon calls any name that it does not know "not started"; a person has mistyped it. */
static bool guest_is_listed(struct rv_client *client, const char *name)
{
	struct rv_guest_list *g = NULL;
	bool listed = false;

	if (rv_host_list(client, &g, SESSION_CALL_MS, NULL))
		return true;
	for (size_t i = 0; i < g->count; i++)
		listed = listed || !strcmp(g->guests[i].name, name);
	rv_free(g);
	return listed;
}

static enum ctl_exit info_print(
	struct ctl *ctl, struct rv_client *client, const struct rv_guest_info *info)
{
	const char *name = ctl->args[0];
	char text[128];

	if (info->status == RV_GUEST_NOT_STARTED && !guest_is_listed(client, name)) {
		snprintf(text, sizeof(text), "there is no guest %.64s", name);
		return output_error(ctl, "NOT_FOUND", CTL_NO_GUEST, text);
	}
	if (ctl->json)
		return info_json(name, info);
	info_table_print(name, info);
	return output_flush(ctl);
}

static enum ctl_exit info_run(struct ctl *ctl, int argc, char **argv)
{
	struct rv_guest_info *info = NULL;
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;

	if (!options_parse(ctl, &info_command, argc, argv, NULL, &status))
		return status;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (rv_host_guest_info(client, ctl->args[0], &info, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	else
		status = info_print(ctl, client, info);
	rv_free(info);
	rv_destroy(client);
	return status;
}

const struct command info_command = {
	.name = "info",
	.arguments = "NAME",
	.summary = "Show all about one guest",
	.args_min = 1,
	.args_max = 1,
	.run = info_run,
};

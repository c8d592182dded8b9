/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl top: what the guests are doing, again and again. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"
#include "rpc/ringctl/tty.h"

#define NAME_MAX_BYTES 63

struct top_options {
	uint32_t interval_ms, count;
};

static int set_interval(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !(seconds >= 0.1 && seconds <= 3600))
		return diag_fail(d, -EINVAL,
			"--%s: \"%.64s\" is not a number of seconds from 0.1 to 3600", s->name,
			value);
	*(uint32_t *)to = seconds * 1000;
	return 0;
}

static const struct option_spec top_options[] = {
	{"interval", 'i', "SECONDS", "between two samples (default 1)", set_interval,
		offsetof(struct top_options, interval_ms)},
	{"count", 'n', "N", "end after N samples (default: on a terminal never, else 1)",
		option_set_u32, offsetof(struct top_options, count)},
	{0},
};

/* One guest in one sample. */
struct sample {
	char name[NAME_MAX_BYTES + 1];
	uint32_t status, cpus;
	uint64_t memory_bytes, resident_bytes, uptime_ns;
	uint64_t counts[3]; /* exits, kicks, interrupts */
	double rates[3];    /* a second */
};

struct samples {
	struct sample *guests;
	size_t count;
};

static const struct sample *sample_find(const struct samples *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->guests[i].name, name))
			return &s->guests[i];
	return NULL;
}

/* Since the sample before; over the whole uptime if there is none, or the guest is a new one of the
 * same name. */
static void sample_rates(struct sample *now, const struct sample *before)
{
	static const struct sample start;

	if (!before || before->uptime_ns >= now->uptime_ns)
		before = &start;
	for (int i = 0; i < 3; i++) {
		uint64_t ns = now->uptime_ns - before->uptime_ns;
		uint64_t events = now->counts[i] - before->counts[i];

		now->rates[i] = ns && now->counts[i] >= before->counts[i] ? events * 1e9 / ns : 0;
	}
}

/* A guest that is gone by now is no error: it keeps what the list said. */
static int sample_fill(struct rv_client *client, const struct rv_guest_entry *g, struct sample *s,
	struct rv_error *error)
{
	struct rv_guest_info *info;

	*s = (struct sample){.status = g->status,
		.cpus = g->cpus,
		.memory_bytes = g->memory_bytes,
		.uptime_ns = g->uptime_ns};
	snprintf(s->name, sizeof(s->name), "%s", g->name);
	if (rv_host_guest_info(client, g->name, &info, SESSION_CALL_MS, error))
		return error->domain == RV_DOMAIN_SYSTEM ? -1 : 0;
	s->status = info->status;
	s->resident_bytes = info->resident_bytes;
	if (info->has & RV_HAS_UPTIME)
		s->uptime_ns = info->uptime_ns;
	s->counts[0] = info->exits;
	s->counts[1] = info->kicks;
	s->counts[2] = info->irqs;
	rv_free(info);
	return 0;
}

/* *last becomes the new sample, with rates against the old one. */
static int samples_take(struct rv_client *client, struct samples *last, struct rv_error *error)
{
	struct samples now = {0};
	struct rv_guest_list *list;
	int err = rv_host_list(client, &list, SESSION_CALL_MS, error);

	if (err)
		return err;
	now.guests = calloc(list->count ? list->count : 1, sizeof(*now.guests));
	CHECK(now.guests);
	for (; !err && now.count < list->count; now.count++) {
		struct sample *s = &now.guests[now.count];

		err = sample_fill(client, &list->guests[now.count], s, error);
		sample_rates(s, sample_find(last, s->name));
	}
	rv_free(list);
	free(last->guests);
	*last = now;
	return err;
}

static void samples_table(const struct ctl *ctl, const struct samples *s)
{
	static const char *const heads[] = {"Guest", "Status", "Uptime", "CPUs", "Memory",
		"Resident", "Exits/s", "Kicks/s", "Interrupts/s"};
	char text[OUTPUT_TEXT];
	struct table t;

	table_init(&t, ARRAY_SIZE(heads), 0x1fc);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		table_cell(&t, "%s", heads[i]);
	for (size_t i = 0; i < s->count; i++) {
		const struct sample *g = &s->guests[i];

		table_cell(&t, "%s", g->name);
		table_cell(&t, "%s", session_status(g->status));
		table_cell(&t, "%s", g->uptime_ns ? output_time(g->uptime_ns, text) : "-");
		table_cell(&t, "%" PRIu32, g->cpus);
		table_cell(&t, "%s", output_size(g->memory_bytes, text));
		table_cell(&t, "%s", output_size(g->resident_bytes, text));
		for (int r = 0; r < 3; r++)
			table_cell(&t, "%.0f", g->rates[r]);
	}
	table_print(&t, stdout, ctl->colour_out);
}

static enum ctl_exit samples_json(const struct samples *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->count; i++) {
		const struct sample *g = &s->guests[i];

		json_array_append_new(list,
			json_pack("{ss ss sI sI sI sI sI sI sI sf sf sf}", "name", g->name,
				"status", session_status(g->status), "uptime-ns",
				(json_int_t)g->uptime_ns, "cpus", (json_int_t)g->cpus,
				"guest-memory", (json_int_t)g->memory_bytes, "resident-bytes",
				(json_int_t)g->resident_bytes, "exits", (json_int_t)g->counts[0],
				"kicks", (json_int_t)g->counts[1], "irqs", (json_int_t)g->counts[2],
				"exits-per-second", g->rates[0], "kicks-per-second", g->rates[1],
				"irqs-per-second", g->rates[2]));
	}
	return output_json_line(json_pack("{so}", "guests", list));
}

/* Over the last one on a terminal, below it elsewhere. */
static enum ctl_exit samples_show(const struct ctl *ctl, const struct samples *s, bool screen)
{
	if (ctl->json)
		return samples_json(s);
	if (screen)
		fputs("\033[H\033[2J", stdout);
	samples_table(ctl, s);
	if (screen)
		puts("\nq leaves");
	return output_flush(ctl);
}

/* Sleeps until the next sample; true if the person leaves (q, Ctrl-C, end of input). */
static bool pause_or_leave(struct rv_client *client, uint32_t ms, bool keys)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	char key = 'q';

	if (!keys) {
		/* The connection ends the sleep early; the next call then tells why. */
		struct pollfd daemon = {.fd = rv_fd(client), .events = POLLIN};

		if (poll(&daemon, 1, ms) > 0)
			rv_dispatch(client, NULL);
		return false;
	}
	if (poll(&p, 1, ms) <= 0)
		return false;
	return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 3;
}

static enum ctl_exit top_loop(
	const struct ctl *ctl, struct rv_client *client, const struct top_options *o, bool screen)
{
	bool keys = screen && tty_make_cbreak();
	struct samples samples = {0};
	enum ctl_exit status = CTL_OK;
	struct rv_error error;

	for (uint32_t n = 1; !status; n++) {
		if (samples_take(client, &samples, &error))
			status = session_fail(ctl, &error);
		else
			status = samples_show(ctl, &samples, screen);
		if (status || n == o->count || pause_or_leave(client, o->interval_ms, keys))
			break;
	}
	tty_restore();
	free(samples.guests);
	return status;
}

static enum ctl_exit top_run(struct ctl *ctl, int argc, char **argv)
{
	struct top_options o = {.interval_ms = 1000};
	struct rv_client *client;
	enum ctl_exit status;
	bool screen;

	if (!options_parse(ctl, &top_command, argc, argv, &o, &status))
		return status;
	screen = !ctl->json && isatty(STDOUT_FILENO);
	if (!o.count && !screen)
		o.count = 1;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	status = top_loop(ctl, client, &o, screen);
	rv_destroy(client);
	return status;
}

const struct command top_command = {
	.name = "top",
	.arguments = "",
	.summary = "Watch the guests",
	.details =
		"The first sample shows averages since each guest began. With --json each sample\n"
		"is an object on a line of its own.\n",
	.options = top_options,
	.run = top_run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl metrics and ringctl version: what the daemon says of itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/session.h"

/* The whole memfd, wherever its offset is. */
static enum ctl_exit metrics_copy(const struct ctl *ctl, int fd)
{
	char chunk[16384];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		if (fwrite(chunk, 1, n, stdout) != (size_t)n)
			break;
		at += n;
	}
	if (n < 0)
		return output_error(ctl, "metrics", CTL_FAILURE, strerror(errno));
	return output_flush(ctl);
}

/* One sample of the text, "name{labels} value", to an object; comments to nothing. */
static void sample_json(json_t *list, char *line)
{
	char *labels = strchr(line, '{'), *value = strrchr(line, labels ? '}' : ' ');
	json_t *sample;

	if (*line == '#' || !value)
		return;
	sample = json_object();
	if (labels) {
		*labels = *value = '\0';
		json_object_set_new(sample, "labels", json_string(labels + 1));
	} else {
		*value = '\0';
	}
	json_object_set_new(sample, "name", json_string(line));
	json_object_set_new(sample, "value", json_string(value + 1 + strspn(value + 1, " ")));
	json_array_append_new(list, sample);
}

static enum ctl_exit metrics_json(const struct ctl *ctl, int fd)
{
	FILE *text = fdopen(dup(fd), "r");
	json_t *list = json_array();
	char *line = NULL;
	size_t room = 0;

	if (!text) {
		json_decref(list);
		return output_error(ctl, "metrics", CTL_FAILURE, strerror(errno));
	}
	rewind(text);
	while (getline(&line, &room, text) > 0) {
		line[strcspn(line, "\n")] = '\0';
		sample_json(list, line);
	}
	free(line);
	fclose(text);
	return output_json(json_pack("{so}", "samples", list));
}

static enum ctl_exit metrics_run(struct ctl *ctl, int argc, char **argv)
{
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;
	int fd = -1;

	if (!options_parse(ctl, &metrics_command, argc, argv, NULL, &status))
		return status;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (rv_host_metrics(client, &fd, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	rv_destroy(client);
	if (status)
		return status;
	status = ctl->json ? metrics_json(ctl, fd) : metrics_copy(ctl, fd);
	close(fd);
	return status;
}

const struct command metrics_command = {
	.name = "metrics",
	.arguments = "",
	.summary = "Print the daemon's figures as OpenMetrics text",
	.run = metrics_run,
};

static enum ctl_exit version_print(const struct ctl *ctl, const struct rv_host_info *h)
{
	if (ctl->json)
		return output_json(json_pack("{ss s{ss sI sI sI ss}}", "ringctl", RINGVISOR_VERSION,
			"daemon", "build", h->build, "wire-version", (json_int_t)h->wire_version,
			"cores", (json_int_t)h->cores, "guests", (json_int_t)h->guests, "kvm",
			h->kvm));
	printf("daemon %s, wire version %" PRIu32 ", %" PRIu32 " cores, %" PRIu32 " guests\n%s\n",
		h->build, h->wire_version, h->cores, h->guests, h->kvm);
	return output_flush(ctl);
}

static enum ctl_exit version_run(struct ctl *ctl, int argc, char **argv)
{
	struct rv_host_info *h = NULL;
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;

	if (!options_parse(ctl, &version_command, argc, argv, NULL, &status))
		return status;
	if (!ctl->json) {
		printf("ringctl %s\n", RINGVISOR_VERSION);
		fflush(stdout);
	}
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (rv_host_info(client, &h, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	else
		status = version_print(ctl, h);
	rv_free(h);
	rv_destroy(client);
	return status;
}

const struct command version_command = {
	.name = "version",
	.arguments = "",
	.summary = "Show the versions of ringctl and the daemon",
	.run = version_run,
};

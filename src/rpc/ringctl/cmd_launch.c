/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl launch and ringctl stop: a guest's beginning and its end. */
#include "rpc/ringctl/attach.h"
#include "rpc/ringctl/guest_args.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/progress.h"
#include "rpc/ringctl/session.h"

static enum ctl_exit launched(const struct ctl *ctl, const char *name)
{
	if (ctl->json)
		return output_json(json_pack("{ss ss}", "name", name, "status", "running"));
	printf("%s is running\n", name);
	return output_flush(ctl);
}

/* The reply to Launch, once it is there. */
struct launch {
	bool done, failed;
	struct rv_error error;
};

static void launch_done(struct rv_client *client, void *user, struct rv_reply *reply)
{
	struct launch *l = user;

	(void)client;
	l->done = true;
	l->failed = reply->error != NULL;
	if (l->failed)
		l->error = *reply->error;
}

/* Loading a kernel may take a while: the person sees that something happens. */
static enum ctl_exit launch_call(
	struct ctl *ctl, struct rv_client *client, const struct rv_config *config, rv_object *guest)
{
	struct launch l = {0};
	struct progress p;
	char what[96];

	snprintf(what, sizeof(what), "launching %.64s", ctl->args[0]);
	if (rv_host_launch_async(client, ctl->args[0], config, guest, launch_done, &l, &l.error))
		return session_fail(ctl, &l.error);
	progress_start(&p, ctl, what);
	while (!l.done) {
		rv_wait(client, PROGRESS_TICK_MS, NULL);
		progress_tick(&p);
	}
	progress_end(&p);
	return l.failed ? session_fail(ctl, &l.error) : CTL_OK;
}

static enum ctl_exit launch_config(
	struct ctl *ctl, const struct guest_args *a, const struct rv_config *config)
{
	enum ctl_exit status;
	struct rv_client *client = session_open(ctl, &status);
	rv_object guest;

	if (!client)
		return status;
	status = launch_call(ctl, client, config, &guest);
	if (!status && (a->detach || ctl->json))
		status = launched(ctl, ctl->args[0]);
	else if (!status)
		status = attach_guest(ctl, client, ctl->args[0], guest, false);
	rv_destroy(client);
	return status;
}

static enum ctl_exit launch_run(struct ctl *ctl, int argc, char **argv)
{
	struct guest_args a = {0};
	struct rv_config *config;
	enum ctl_exit status;
	struct diag d;

	if (!options_parse(ctl, &launch_command, argc, argv, &a, &status))
		return status;
	config = guest_args_config(&a, &d);
	if (!config)
		return output_error(ctl, "BAD_CONFIG", CTL_USAGE, d.text);
	status = launch_config(ctl, &a, config);
	rv_config_destroy(config);
	return status;
}

const struct command launch_command = {
	.name = "launch",
	.arguments = "NAME",
	.summary = "Start a guest and attach to it",
	.details = "Without --config and --kernel it is the embedded guest. The guest belongs to\n"
		   "the daemon: it goes on when ringctl ends. --json does not attach.\n"
		   "\n"
		   "Examples:\n"
		   "  ringctl launch tiny\n"
		   "  ringctl launch web -d --kernel vmlinuz --initrd initrd.gz --memory 1G "
		   "--cpus 2\n"
		   "  ringctl launch web --config web.json --disk data.img,ro\n",
	.options = guest_args_options,
	.args_min = 1,
	.args_max = 1,
	.run = launch_run,
};

struct stop_options {
	bool force;
};

static const struct option_spec stop_options[] = {
	{"force", 'f', NULL, "succeed also if the guest is not running", option_set_flag,
		offsetof(struct stop_options, force)},
	{0},
};

/* ForceShutdown says nothing about a guest that does not run; a person wants to know. */
static int stop_call(struct rv_client *client, const char *name, bool force, struct rv_error *error)
{
	rv_object guest;

	if (!force && rv_host_connect(client, name, &guest, SESSION_CALL_MS, error))
		return -1;
	return rv_host_force_shutdown(client, name, SESSION_CALL_MS, error);
}

static enum ctl_exit stop_run(struct ctl *ctl, int argc, char **argv)
{
	struct stop_options o = {0};
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;

	if (!options_parse(ctl, &stop_command, argc, argv, &o, &status))
		return status;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (stop_call(client, ctl->args[0], o.force, &error))
		status = session_fail(ctl, &error);
	rv_destroy(client);
	if (status)
		return status;
	if (ctl->json)
		return output_json(json_pack("{ss ss}", "name", ctl->args[0], "status", "stopped"));
	printf("%s has stopped\n", ctl->args[0]);
	return output_flush(ctl);
}

const struct command stop_command = {
	.name = "stop",
	.arguments = "NAME",
	.summary = "Stop a guest",
	.details = "The guest is halted at once, as by pulling the plug; a guest that can shut\n"
		   "itself down is better told to, on its console.\n",
	.options = stop_options,
	.args_min = 1,
	.args_max = 1,
	.run = stop_run,
};

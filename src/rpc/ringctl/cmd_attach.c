/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl attach: the terminal is the guest's until Ctrl-A x, or until the guest ends. */
#include <stdio.h>
#include <unistd.h>

#include "rpc/ringctl/attach.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/relay.h"
#include "rpc/ringctl/tty.h"

/* How long the daemon has to say how a guest ended, and how often it is asked. */
#define END_WAIT_MS 3000
#define END_POLL_MS 20

struct attach_options {
	bool serial;
};

static const struct option_spec attach_options[] = {
	{"serial", 's', NULL, "the serial port, even if there is a console", option_set_flag,
		offsetof(struct attach_options, serial)},
	{0},
};

/* Whether the guest has no console device: no error if a serial port will do. */
static bool no_console(const struct rv_error *error)
{
	return error->domain == RV_DOMAIN_GUEST && error->code == RV_GUEST_DEVICE_NOT_PRESENT;
}

static enum ctl_exit open_stream(struct ctl *ctl, struct rv_client *client, const char *name,
	rv_object guest, bool serial_only, int *fd)
{
	struct rv_error error;

	if (!serial_only) {
		if (!rv_guest_console(client, guest, fd, SESSION_CALL_MS, &error))
			return CTL_OK;
		if (!no_console(&error))
			return session_fail(ctl, &error);
		output_note(ctl, name, "no console device, so this is the serial port");
	}
	if (rv_guest_serial(client, guest, fd, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	return CTL_OK;
}

static bool guest_goes_on(const struct rv_guest_info *info)
{
	return info->status == RV_GUEST_STARTING || info->status == RV_GUEST_RUNNING ||
	       info->status == RV_GUEST_STOPPING;
}

/* The stream ends a little before the daemon knows how the guest did: waits for that, not for ever.
 * NULL with the error, if the daemon does not tell. */
static struct rv_guest_info *guest_final_info(
	struct rv_client *client, const char *name, struct rv_error *error)
{
	struct rv_guest_info *info = NULL;

	for (int waited_ms = 0; waited_ms < END_WAIT_MS; waited_ms += END_POLL_MS) {
		rv_free(info);
		info = NULL;
		if (rv_host_guest_info(client, name, &info, SESSION_CALL_MS, error))
			return NULL;
		if (!guest_goes_on(info))
			break;
		rv_wait(client, END_POLL_MS, NULL);
	}
	return info;
}

/* The stream ended: the guest's own end, an error of it, or another's `stop`. */
static enum ctl_exit guest_ended(struct ctl *ctl, struct rv_client *client, const char *name)
{
	enum ctl_exit status = CTL_OK;
	struct rv_guest_info *info;
	struct rv_error error;
	char text[256];

	info = guest_final_info(client, name, &error);
	if (!info)
		return session_fail(ctl, &error);
	if (info->has & RV_HAS_STOP_ERROR && info->stop_error) {
		const char *why = session_guest_error(info->stop_error);

		snprintf(text, sizeof(text), "guest %s ended with %s", name, why);
		status = output_error(ctl, why, CTL_FAILURE, text);
	} else {
		output_note(ctl, name,
			guest_goes_on(info) ? "the stream was closed; the guest goes on"
					    : "the guest has ended");
	}
	rv_free(info);
	return status;
}

static enum ctl_exit stream_done(
	struct ctl *ctl, struct rv_client *client, const char *name, enum relay_end end)
{
	switch (end) {
	case RELAY_LEFT:
		output_note(ctl, name, "detached; the guest goes on");
		return CTL_OK;
	case RELAY_OUTPUT_FAILED:
		return output_error(
			ctl, "output", CTL_FAILURE, "cannot write to the standard output");
	case RELAY_DAEMON_GONE:
		return output_error(ctl, "PEER_CLOSED", CTL_UNREACHABLE,
			"the daemon has gone, and the guest with it");
	case RELAY_STREAM_ENDED:
	case RELAY_INPUT_LOST:
		break;
	}
	return guest_ended(ctl, client, name);
}

static bool daemon_alive(void *ctx)
{
	return rv_dispatch(ctx, NULL) == 0;
}

enum ctl_exit attach_guest(struct ctl *ctl, struct rv_client *client, const char *name,
	rv_object guest, bool serial_only)
{
	struct relay_daemon daemon = {rv_fd(client), daemon_alive, client};
	enum ctl_exit status;
	enum relay_end end;
	int fd = -1;
	bool raw;

	status = open_stream(ctl, client, name, guest, serial_only, &fd);
	if (status)
		return status;
	if (isatty(STDIN_FILENO))
		output_note(ctl, name, "attached; Ctrl-A x leaves");
	raw = tty_make_raw();
	end = relay_run(fd, &daemon, RELAY_CONSOLE, raw);
	tty_restore();
	close(fd);
	if (raw && isatty(STDOUT_FILENO))
		fputc('\n', stderr);
	return stream_done(ctl, client, name, end);
}

static enum ctl_exit attach_run(struct ctl *ctl, int argc, char **argv)
{
	struct attach_options o = {0};
	struct rv_client *client;
	struct rv_error error;
	enum ctl_exit status;
	rv_object guest;

	if (!options_parse(ctl, &attach_command, argc, argv, &o, &status))
		return status;
	client = session_open(ctl, &status);
	if (!client)
		return status;
	if (rv_host_connect(client, ctl->args[0], &guest, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	else
		status = attach_guest(ctl, client, ctl->args[0], guest, o.serial);
	rv_destroy(client);
	return status;
}

const struct command attach_command = {
	.name = "attach",
	.arguments = "NAME",
	.summary = "Connect this terminal to a guest's console or serial port",
	.details = "Ctrl-A x leaves, the guest goes on; Ctrl-A Ctrl-A sends a Ctrl-A. Without a\n"
		   "terminal the bytes go through as they are, until the guest ends.\n",
	.options = attach_options,
	.args_min = 1,
	.args_max = 1,
	.run = attach_run,
};

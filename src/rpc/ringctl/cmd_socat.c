/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl socat: standard input and output at one end of a vsock connection of a guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"
#include "rpc/ringctl/relay.h"
#include "rpc/ringctl/session.h"
#include "rpc/ringctl/tty.h"

/* What waits for the guest to connect. */
struct listening {
	int fd; /* our end of the first connection; -1: none yet */
	bool closed;
	rv_object acceptor;
};

/* One connection is all that this end can have: later ones are refused. */
static void on_accept(struct rv_client *client, void *user, const struct rv_accept *request)
{
	struct listening *l = user;
	int pair[2];

	if (l->fd >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		rv_accept_refuse(client, request->id, RV_STATUS_CONNECTION_REFUSED,
			"one connection is served", NULL);
		return;
	}
	l->fd = pair[0];
	rv_accept_answer(client, request->id, pair[1], NULL);
}

static void on_closed(struct rv_client *client, void *user, rv_object object, uint32_t epitaph)
{
	struct listening *l = user;

	(void)client;
	(void)epitaph;
	if (object == l->acceptor)
		l->closed = true;
}

static enum ctl_exit wait_accept(const struct ctl *ctl, struct rv_client *client,
	rv_object endpoint, uint32_t port, struct listening *l)
{
	struct rv_error error;
	char text[64];

	if (rv_vsock_listen(client, endpoint, port, &l->acceptor, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	snprintf(text, sizeof(text), "listening on port %u", port);
	output_note(ctl, ctl->args[1], text);
	while (l->fd < 0 && !l->closed)
		if (rv_wait(client, -1, &error) < 0)
			return session_fail(ctl, &error);
	if (l->fd < 0)
		return output_error(ctl, "PEER_CLOSED", CTL_FAILURE,
			"the guest has ended, and nobody connected");
	rv_close(client, l->acceptor);
	return CTL_OK;
}

static bool daemon_alive(void *ctx)
{
	return rv_dispatch(ctx, NULL) == 0;
}

/* A daemon that ends takes the stream along, perhaps a moment before its own connection. */
static bool daemon_answers(struct rv_client *client)
{
	struct rv_host_info *info;

	if (rv_host_info(client, &info, SESSION_CALL_MS, NULL))
		return false;
	rv_free(info);
	return true;
}

static enum ctl_exit ended(const struct ctl *ctl, struct rv_client *client, enum relay_end end)
{
	if ((end == RELAY_STREAM_ENDED || end == RELAY_INPUT_LOST) && !daemon_answers(client))
		end = RELAY_DAEMON_GONE;
	switch (end) {
	case RELAY_OUTPUT_FAILED:
		return output_error(
			ctl, "output", CTL_FAILURE, "cannot write to the standard output");
	case RELAY_DAEMON_GONE:
		return output_error(ctl, "PEER_CLOSED", CTL_UNREACHABLE,
			"the daemon has gone, and the connection with it");
	case RELAY_INPUT_LOST:
		return output_error(ctl, "PEER_CLOSED", CTL_FAILURE,
			"the guest has not taken all of the input");
	default:
		return CTL_OK;
	}
}

static enum ctl_exit relay(const struct ctl *ctl, struct rv_client *client, int fd)
{
	struct relay_daemon daemon = {rv_fd(client), daemon_alive, client};
	bool raw = isatty(STDIN_FILENO);
	enum relay_end end;

	if (raw)
		output_note(ctl, ctl->args[1], "connected; Ctrl-A x leaves");
	raw = tty_make_raw();
	end = relay_run(fd, &daemon, RELAY_SOCKET, raw);
	tty_restore();
	close(fd);
	if (raw && isatty(STDOUT_FILENO))
		fputc('\n', stderr);
	return ended(ctl, client, end);
}

static enum ctl_exit socat_connected(
	const struct ctl *ctl, struct rv_client *client, struct listening *l, uint32_t port)
{
	bool listens = !strcmp(ctl->args[0], "listen");
	enum ctl_exit status = CTL_OK;
	rv_object guest, endpoint;
	struct rv_error error;
	int fd = -1;

	if (rv_host_connect(client, ctl->args[1], &guest, SESSION_CALL_MS, &error) ||
		rv_guest_vsock(client, guest, &endpoint, SESSION_CALL_MS, &error))
		return session_fail(ctl, &error);
	if (listens)
		status = wait_accept(ctl, client, endpoint, port, l);
	else if (rv_vsock_connect(client, endpoint, port, &fd, NULL, SESSION_CALL_MS, &error))
		status = session_fail(ctl, &error);
	return status ? status : relay(ctl, client, listens ? l->fd : fd);
}

static bool port_parse(const char *text, uint32_t *port)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	*port = (uint32_t)value;
	return *text >= '0' && *text <= '9' && !*end && !errno && value <= UINT32_MAX;
}

static enum ctl_exit socat_run(struct ctl *ctl, int argc, char **argv)
{
	static const struct rv_events events = {.accept = on_accept, .closed = on_closed};
	struct listening l = {.fd = -1};
	struct rv_client *client;
	enum ctl_exit status;
	uint32_t port;

	if (!options_parse(ctl, &socat_command, argc, argv, NULL, &status))
		return status;
	if (strcmp(ctl->args[0], "connect") && strcmp(ctl->args[0], "listen"))
		return options_usage(
			ctl, "socat \"%.64s\": there are connect and listen", ctl->args[0]);
	if (!port_parse(ctl->args[2], &port))
		return options_usage(
			ctl, "socat: \"%.64s\" is no port: 0 to 4294967295", ctl->args[2]);
	client = session_open_events(ctl, &events, &l, &status);
	if (!client)
		return status;
	status = socat_connected(ctl, client, &l, port);
	rv_destroy(client);
	return status;
}

const struct command socat_command = {
	.name = "socat",
	.arguments = "connect|listen NAME PORT",
	.summary = "Connect standard input and output to a guest's vsock",
	.details = "connect makes a connection to PORT of the guest; listen waits for one of the\n"
		   "guest to PORT of the host, and takes one. The end of the input is passed on,\n"
		   "and what the guest still says is printed. On a terminal Ctrl-A x leaves, and\n"
		   "Ctrl-A Ctrl-A sends a Ctrl-A.\n",
	.args_min = 3,
	.args_max = 3,
	.run = socat_run,
};

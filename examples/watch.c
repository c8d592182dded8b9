/* SPDX-License-Identifier: Apache-2.0 */
/* The event-loop interface: one poll loop over the connection and a guest's serial port. Creates
 *and runs the embedded guest on a lifecycle of its own, so that it cannot outlive this program,
 *stops it once it has said something, and reports how its run ended.
 *
 *	cc watch.c $(pkg-config --cflags --libs ringvisor-client) -o watch
 *	./watch [--socket PATH] [NAME] */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ringvisor/client.h>

struct watch {
	rv_object lifecycle, guest;
	int serial;           /* -1: not open */
	unsigned int waiting; /* for the run to end, and for the reply to the stop */
	bool failed;
};

static void on_failure(struct watch *w, const char *what, const struct rv_error *error)
{
	/* What follows from the first failure is not worth a line. */
	if (!w->failed)
		fprintf(stderr, "watch: %s: %s (%s)\n", what, error->detail, rv_error_name(error));
	w->failed = true;
}

/* For calls whose only news is that they failed. */
static void on_reply(struct rv_client *client, void *user, struct rv_reply *reply)
{
	(void)client;
	if (reply->error)
		on_failure(user, "call", reply->error);
}

static void on_stop(struct rv_client *client, void *user, struct rv_reply *reply)
{
	struct watch *w = user;

	on_reply(client, user, reply);
	w->waiting--;
}

static void on_serial(struct rv_client *client, void *user, struct rv_reply *reply)
{
	struct watch *w = user;

	on_reply(client, user, reply);
	w->serial = rv_reply_take_fd(reply);
}

static void on_run_end(struct rv_client *client, void *user, struct rv_reply *reply)
{
	struct watch *w = user;

	(void)client;
	printf("run ended: %s\n", reply->error ? rv_error_name(reply->error) : "OK");
	w->waiting--;
}

static void on_closed(struct rv_client *client, void *user, rv_object object, uint32_t epitaph)
{
	struct watch *w = user;

	(void)client;
	if (object == w->guest)
		printf("guest closed: %s\n", rv_status_name(epitaph));
}

static void on_disconnected(struct rv_client *client, void *user, const struct rv_error *error)
{
	(void)client;
	on_failure(user, "disconnected", error);
}

/* Five messages at once: the daemon handles them in order, nobody waits in between. */
static int start(struct rv_client *client, struct watch *w, const char *name,
	const struct rv_config *config, struct rv_error *error)
{
	if (rv_host_open_lifecycle_async(client, name, &w->lifecycle, on_reply, w, error) ||
		rv_lifecycle_create_async(client, w->lifecycle, config, on_reply, w, error) ||
		rv_lifecycle_bind(client, w->lifecycle, &w->guest, error) ||
		rv_guest_serial_async(client, w->guest, on_serial, w, error) ||
		rv_lifecycle_run_async(client, w->lifecycle, on_run_end, w, error))
		return -1;
	w->waiting++;
	return 0;
}

/* Copies what is there; at its first word the guest has done what it was started for. */
static void read_serial(struct rv_client *client, struct watch *w)
{
	char text[512];
	ssize_t n = read(w->serial, text, sizeof(text));
	struct rv_error error;

	if (n > 0)
		fwrite(text, 1, (size_t)n, stdout);
	close(w->serial);
	w->serial = -1;
	if (rv_lifecycle_stop_async(client, w->lifecycle, on_stop, w, &error))
		on_failure(w, "stop", &error);
	else
		w->waiting++;
}

static void loop(struct rv_client *client, struct watch *w)
{
	while (w->waiting && !w->failed) {
		struct pollfd p[2] = {
			{.fd = rv_fd(client), .events = POLLIN},
			{.fd = w->serial, .events = POLLIN}, /* poll skips -1 */
		};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			read_serial(client, w);
		if (p[0].revents)
			rv_dispatch(client, NULL);
	}
}

static int watch(struct rv_client *client, struct watch *w, const char *name)
{
	struct rv_config *config = rv_config_create();
	struct rv_error error;

	if (!config)
		return 1;
	rv_config_set_kernel_type(config, RV_KERNEL_BUILTIN);
	rv_config_set_cpus(config, 1);
	rv_config_set_memory(config, 32 << 20);
	if (start(client, w, name, config, &error))
		on_failure(w, name, &error);
	rv_config_destroy(config);
	loop(client, w);
	if (w->serial >= 0)
		close(w->serial);
	return w->failed;
}

int main(int argc, char **argv)
{
	static const struct rv_events events = {
		.closed = on_closed, .disconnected = on_disconnected};
	bool named = argc > 2 && !strcmp(argv[1], "--socket");
	struct watch w = {.serial = -1};
	struct rv_error error;
	struct rv_client *client = rv_connect(named ? argv[2] : NULL, &events, &w, 1000, &error);
	int at = named ? 3 : 1, result;

	if (!client) {
		on_failure(&w, "connecting", &error);
		return 1;
	}
	result = watch(client, &w, argc > at ? argv[at] : "watch");
	rv_destroy(client);
	return result;
}

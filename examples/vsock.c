/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's vsock: launches the embedded guest, listens on a port for its connection, and talks to
 *its echo service meanwhile.
 *
 *	cc vsock.c $(pkg-config --cflags --libs ringvisor-client) -o vsock
 *	./vsock [--socket PATH] [NAME] */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringvisor/client.h>

#define TIMEOUT_MS 10000
#define ECHO_PORT  7
#define OWN_PORT   1024

static int complain(const char *what, const struct rv_error *error)
{
	fprintf(stderr, "vsock: %s: %s (%s)\n", what, error->detail, rv_error_name(error));
	return 1;
}

/* The guest has connected to OWN_PORT: one end of a pair is for the daemon, the other one is ours.
 */
static void on_accept(struct rv_client *client, void *user, const struct rv_accept *request)
{
	int *ours = user, pair[2];

	if (*ours >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		rv_accept_refuse(client, request->id, RV_STATUS_NO_RESOURCES, "one will do", NULL);
		return;
	}
	*ours = pair[0];
	rv_accept_answer(client, request->id, pair[1], NULL);
}

/* Sends the text and its end, and shows what comes back until that ends. */
static void talk(const char *who, int fd, const char *text)
{
	char got[256];
	ssize_t n;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		perror("vsock: send");
	shutdown(fd, SHUT_WR);
	while ((n = read(fd, got, sizeof(got))) > 0)
		printf("%s: %.*s\n", who, (int)n, got);
	close(fd);
}

static int launch(
	struct rv_client *client, const char *name, rv_object *guest, struct rv_error *error)
{
	struct rv_config *config = rv_config_create();
	int result;

	if (!config)
		return -1;
	rv_config_set_kernel_type(config, RV_KERNEL_BUILTIN);
	rv_config_set_cpus(config, 1);
	rv_config_set_memory(config, 32 << 20);
	rv_config_set_device(config, RV_DEVICE_VSOCK, true);
	result = rv_host_launch(client, name, config, guest, TIMEOUT_MS, error);
	rv_config_destroy(config);
	return result;
}

/* Tells the guest's shell to connect to us, and waits until it has. */
static int called_by_guest(
	struct rv_client *client, rv_object guest, const int *ours, struct rv_error *error)
{
	char line[64];
	int serial, len = snprintf(line, sizeof(line), "vsock connect %d hello, host\n", OWN_PORT);

	if (rv_guest_serial(client, guest, &serial, TIMEOUT_MS, error))
		return -1;
	(void)!write(serial, line, (size_t)len);
	while (*ours < 0)
		if (rv_wait(client, -1, error) < 0)
			break;
	close(serial);
	return *ours < 0 ? -1 : 0;
}

static int run(struct rv_client *client, rv_object guest, const int *ours)
{
	rv_object endpoint, acceptor;
	struct rv_error error;
	int fd;

	if (rv_guest_vsock(client, guest, &endpoint, TIMEOUT_MS, &error))
		return complain("endpoint", &error);
	if (rv_vsock_connect(client, endpoint, ECHO_PORT, &fd, NULL, TIMEOUT_MS, &error))
		return complain("connecting", &error);
	talk("echo", fd, "hello, guest");
	if (rv_vsock_listen(client, endpoint, OWN_PORT, &acceptor, TIMEOUT_MS, &error))
		return complain("listening", &error);
	if (called_by_guest(client, guest, ours, &error))
		return complain("accepting", &error);
	talk("guest", *ours, "welcome");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct rv_events events = {.accept = on_accept};
	struct rv_error error = {RV_DOMAIN_SYSTEM, ENOMEM, "out of memory"};
	bool given = argc > 2 && !strcmp(argv[1], "--socket");
	const char *name = argc > (given ? 3 : 1) ? argv[given ? 3 : 1] : "example";
	int ours = -1, result;
	struct rv_client *client;
	rv_object guest;

	client = rv_connect(given ? argv[2] : NULL, &events, &ours, TIMEOUT_MS, &error);
	if (!client)
		return complain("daemon", &error);
	if (launch(client, name, &guest, &error)) {
		result = complain(name, &error);
	} else {
		result = run(client, guest, &ours);
		rv_host_force_shutdown(client, name, TIMEOUT_MS, NULL);
	}
	rv_destroy(client);
	return result;
}

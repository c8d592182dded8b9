/* SPDX-License-Identifier: Apache-2.0 */
/* Launches the embedded guest through a running daemon, copies what its serial port says to
 *standard output until a line holds the given text, and stops it again.
 *
 *	cc launch.c $(pkg-config --cflags --libs ringvisor-client) -o launch
 *	./launch [--socket PATH] [NAME [TEXT]] */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ringvisor/client.h>

#define TIMEOUT_MS 30000

static int complain(const char *what, const struct rv_error *error)
{
	fprintf(stderr, "launch: %s: %s (%s)\n", what, error->detail, rv_error_name(error));
	return 1;
}

/* 0 when `text` was seen, 1 if the guest went away or said nothing for too long. */
static int copy_until(int serial, const char *text)
{
	char line[256];
	size_t len = 0;
	struct pollfd p = {.fd = serial, .events = POLLIN};

	while (poll(&p, 1, TIMEOUT_MS) > 0) {
		char c;

		if (read(serial, &c, 1) != 1)
			break;
		putchar(c);
		if (len < sizeof(line) - 1)
			line[len++] = c;
		line[len] = '\0';
		if (strstr(line, text))
			return 0;
		if (c == '\n')
			len = 0;
	}
	fprintf(stderr, "launch: the guest never said \"%s\"\n", text);
	return 1;
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
	result = rv_host_launch(client, name, config, guest, TIMEOUT_MS, error);
	rv_config_destroy(config);
	return result;
}

static int run(struct rv_client *client, const char *name, const char *text)
{
	struct rv_error error = {RV_DOMAIN_SYSTEM, ENOMEM, "out of memory"};
	rv_object guest;
	int serial, result;

	if (launch(client, name, &guest, &error))
		return complain(name, &error);
	if (rv_guest_serial(client, guest, &serial, TIMEOUT_MS, &error)) {
		complain("serial port", &error);
		rv_host_force_shutdown(client, name, TIMEOUT_MS, NULL);
		return 1;
	}
	result = copy_until(serial, text);
	close(serial);
	if (rv_host_force_shutdown(client, name, TIMEOUT_MS, &error))
		return complain("stopping", &error);
	return result;
}

int main(int argc, char **argv)
{
	const char *socket_path = NULL;
	struct rv_client *client;
	struct rv_error error;
	int at = 1, result;

	if (argc > 2 && !strcmp(argv[1], "--socket")) {
		socket_path = argv[2];
		at = 3;
	}
	client = rv_connect(socket_path, NULL, NULL, TIMEOUT_MS, &error);
	if (!client)
		return complain("connecting", &error);
	result = run(client, argc > at ? argv[at] : "example", argc > at + 1 ? argv[at + 1] : "\n");
	rv_destroy(client);
	return result;
}

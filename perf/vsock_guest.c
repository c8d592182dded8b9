/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded guest under a daemon, with a vsock device. */
#include "perf/vsock_guest.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"

/* --- the daemon and its guest --- */

static int launch(struct vsock_guest *g, struct diag *d)
{
	struct rv_config *config = served_config(256 << 20);
	struct rv_error e;
	rv_object guest;
	int err;

	if (!config)
		return -ENOMEM;
	rv_config_set_device(config, RV_DEVICE_VSOCK, true);
	if (rv_config_set_vsock_uds_path(config, g->path, &e))
		err = served_failed(d, &e);
	else
		err = served_launch(g->client, config, &guest, d);
	rv_config_destroy(config);
	if (!err && rv_guest_serial(g->client, guest, &g->serial, SERVED_WAIT_MS, &e))
		err = served_failed(d, &e);
	return err;
}

static int serve(struct vsock_guest *g, struct diag *d)
{
	char *argv[] = {g->program, "serve", "--socket", g->socket, "--cores", g->core, NULL};

	child_path(g->program, sizeof(g->program), "RINGVISOR", "../src/main/ringvisor");
	return served_start(&g->daemon, argv, g->socket, &g->client, d);
}

/* The guest's CPU is a thread of the daemon's by the name of "vcpu". */
static void pin_vcpu(const struct vsock_guest *g, int cpu)
{
	char path[64], name[32];
	struct dirent *e;
	cpu_set_t set;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)g->daemon.pid);
	dir = cpu >= 0 ? opendir(path) : NULL;
	if (!dir)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	while ((e = readdir(dir))) {
		char comm[384];
		FILE *f;

		snprintf(comm, sizeof(comm), "%s/%s/comm", path, e->d_name);
		f = fopen(comm, "re");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && strstr(name, "vcpu"))
			sched_setaffinity(atoi(e->d_name), sizeof(set), &set);
		fclose(f);
	}
	closedir(dir);
}

int vsock_guest_start(
	struct vsock_guest *g, const struct bench_options *o, const char *start, struct diag *d)
{
	char line[128];
	int err, fd;

	*g = (struct vsock_guest){.serial = -1};
	err = served_folder_make(g->folder, d);
	if (err)
		return err;
	snprintf(g->socket, sizeof(g->socket), "%s/s", g->folder);
	snprintf(g->path, sizeof(g->path), "%s/v", g->folder);
	snprintf(g->core, sizeof(g->core), "%d", bench_cpu(o, 0) < 0 ? 0 : bench_cpu(o, 0));
	err = serve(g, d);
	if (!err)
		err = launch(g, d);
	if (err)
		return err;
	pin_vcpu(g, bench_cpu(o, 1));
	snprintf(line, sizeof(line), "vsock start %s", start ? start : "");
	err = vsock_guest_command(g, line, d);
	/* That it answers is the sign that all is there. */
	fd = err ? err : vsock_guest_dial(g, VSOCK_GUEST_DISCARD, d);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

void vsock_guest_end(struct vsock_guest *g)
{
	if (!g->folder[0])
		return;
	if (g->serial >= 0)
		close(g->serial);
	rv_destroy(g->client);
	if (g->daemon.pid)
		child_end(&g->daemon);
	served_folder_remove(g->folder);
}

/* --- its shell --- */

/* Reads until the verdict's line is complete. */
static int verdict_read(struct vsock_guest *g, struct diag *d)
{
	size_t len = 0;
	const char *verdict = NULL;

	while (!verdict || !strchr(verdict, '\n')) {
		struct pollfd p = {.fd = g->serial, .events = POLLIN};
		ssize_t n;

		if (len >= sizeof(g->said) - 1)
			len = 0;
		n = poll(&p, 1, SERVED_WAIT_MS) == 1
			    ? read(g->serial, g->said + len, sizeof(g->said) - 1 - len)
			    : 0;
		if (n <= 0)
			return diag_fail(d, -EIO, "the guest's shell says nothing");
		len += (size_t)n;
		g->said[len] = '\0';
		verdict = strstr(g->said, "VERDICT ");
	}
	return strstr(verdict, " ok") ? 0 : diag_fail(d, -EIO, "the guest: %.200s", verdict);
}

int vsock_guest_command(struct vsock_guest *g, const char *line, struct diag *d)
{
	char text[160];
	int len = snprintf(text, sizeof(text), "%s\r", line);

	if (write(g->serial, text, (size_t)len) != len)
		return diag_errno(d, -errno, "the guest's serial port");
	return verdict_read(g, d);
}

/* --- its ports --- */

int vsock_guest_dial(struct vsock_guest *g, uint32_t port, struct diag *d)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char line[32] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), len;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", g->path);
	len = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) ||
		write(fd, line, (size_t)len) != len) {
		int err = diag_errno(d, -errno, "%s", g->path);

		if (fd >= 0)
			close(fd);
		return err;
	}
	for (len = 0; len < (int)sizeof(line) - 1 && !memchr(line, '\n', (size_t)len); len++)
		if (read(fd, line + len, 1) != 1)
			break;
	if (!strncmp(line, "OK ", 3))
		return fd;
	close(fd);
	return diag_fail(d, -ECONNREFUSED, "port %u of the guest is not answered", port);
}

int vsock_guest_listen(struct vsock_guest *g, uint32_t port, struct diag *d)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s_%u", g->path, port);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1024)) {
		int err = diag_errno(d, -errno, "%s", at.sun_path);

		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

double vsock_guest_enters(struct vsock_guest *g)
{
	static const char name[] = "\nringvisor_reactor_enters_total{";
	char text[65536];
	struct rv_error e;
	const char *at;
	ssize_t n;
	int fd;

	if (rv_host_metrics(g->client, &fd, SERVED_WAIT_MS, &e))
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, name);
	at = at ? strchr(at, '}') : NULL;
	return at ? strtod(at + 1, NULL) : 0;
}

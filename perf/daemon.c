/* SPDX-License-Identifier: Apache-2.0 */
/* Starting `ringvisor serve` and talking to it, blocking. */
#include "perf/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TRIES 20000
#define CONNECT_NS    500000L

bool io_read_all(int fd, void *to, size_t len_bytes)
{
	for (uint8_t *at = to; len_bytes > 0;) {
		ssize_t n = read(fd, at, len_bytes);

		if (n <= 0)
			return false;
		at += n;
		len_bytes -= (size_t)n;
	}
	return true;
}

bool io_write_all(int fd, const void *from, size_t len_bytes)
{
	for (const uint8_t *at = from; len_bytes > 0;) {
		ssize_t n = write(fd, at, len_bytes);

		if (n <= 0)
			return false;
		at += n;
		len_bytes -= (size_t)n;
	}
	return true;
}

static int connect_to(struct daemon *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timespec pause = {.tv_nsec = CONNECT_NS};

	strcpy(addr.sun_path, d->socket);
	for (int i = 0; i < CONNECT_TRIES; i++) {
		if (connect(d->fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -errno;
}

int daemon_start(struct daemon *d, int core, struct diag *diag)
{
	char *argv[] = {d->program, "serve", "--socket", d->socket, "--cores", d->cores, NULL};
	int err;

	memset(d, 0, sizeof(*d));
	d->fd = -1;
	child_path(d->program, sizeof(d->program), "RINGVISOR", "../src/main/ringvisor");
	if (access(d->program, X_OK) || access("/dev/kvm", R_OK | W_OK))
		return diag_fail(diag, -ENOTSUP, "no %s or no /dev/kvm", d->program);
	strcpy(d->folder, "/tmp/ringbench-XXXXXX");
	if (!mkdtemp(d->folder))
		return diag_errno(diag, -errno, "%s", d->folder);
	snprintf(d->socket, sizeof(d->socket), "%s/sock", d->folder);
	snprintf(d->cores, sizeof(d->cores), "%d", core);
	if (core < 0)
		argv[4] = NULL;
	err = child_start(&d->child, argv, diag);
	if (err) {
		rmdir(d->folder);
		return err;
	}
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = connect_to(d);
	d->ready_cpu_ns = child_cpu_ns(&d->child);
	if (err) {
		daemon_end(d);
		return diag_errno(diag, err, "the daemon's socket");
	}
	return 0;
}

void daemon_end(struct daemon *d)
{
	char path[128];

	if (d->fd >= 0)
		close(d->fd);
	child_end(&d->child);
	unlink(d->socket);
	snprintf(path, sizeof(path), "%s.lock", d->socket);
	unlink(path);
	rmdir(d->folder);
}

uint32_t daemon_txid(struct daemon *d)
{
	d->txid = d->txid % 0x7fffffffu + 1;
	return d->txid;
}

int daemon_call(struct daemon *d, const struct codec_message *call, struct diag *diag)
{
	int len = codec_encode(call, d->out, sizeof(d->out));
	struct frame_header h;

	if (len < 0)
		return diag_errno(diag, len, "%s", call->message->name);
	if (!io_write_all(d->fd, d->out, (size_t)len))
		return diag_fail(
			diag, -EIO, "%s: the daemon does not take it", call->message->name);
	do {
		if (!io_read_all(d->fd, d->in, FRAME_HEADER_BYTES))
			return diag_fail(diag, -EIO, "%s: no reply", call->message->name);
		frame_header_get(&h, d->in);
		if (frame_header_check(&h, diag) || !io_read_all(d->fd, d->in + FRAME_HEADER_BYTES,
							    h.size - FRAME_HEADER_BYTES))
			return diag_fail(diag, -EIO, "%s: a bad reply", call->message->name);
	} while (h.flags & FRAME_EVENT);
	if (h.txid != call->txid || (h.flags & FRAME_ERROR))
		return diag_fail(diag, -EPROTO, "%s: refused", call->message->name);
	return (int)h.size;
}

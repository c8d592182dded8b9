/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded guest under a daemon, with a vsock device that is reached through its Unix socket.
 * Its ports: 7 echo, 9 discard, 19 an endless stream. */
#ifndef PERF_VSOCK_GUEST_H
#define PERF_VSOCK_GUEST_H

#include "perf/harness.h"
#include "perf/served.h"

#define VSOCK_GUEST_ECHO    7u
#define VSOCK_GUEST_DISCARD 9u
#define VSOCK_GUEST_SOURCE  19u

struct vsock_guest {
	struct child daemon;
	char folder[64], socket[96], path[96], program[4096], core[16];
	struct rv_client *client;
	int serial;
	char said[4096]; /* what the last command printed */
};

/* vsock_guest_start: the reactor on the first chosen CPU, beside the client, and the guest's CPU on
 * the second; `start` are the words of a "vsock start" command, NULL: none. -ENOTSUP with the
 * reason if this machine cannot run it. vsock_guest_end: kills it and removes its folder; safe on a
 * zeroed struct. */
int vsock_guest_start(
	struct vsock_guest *g, const struct bench_options *o, const char *start, struct diag *d);
void vsock_guest_end(struct vsock_guest *g);

/* vsock_guest_command: types a line and waits for its end; -EIO if it failed or nothing came. */
int vsock_guest_command(struct vsock_guest *g, const char *line, struct diag *d);

/* vsock_guest_dial: a blocking socket to a port of the guest's. -errno. */
int vsock_guest_dial(struct vsock_guest *g, uint32_t port, struct diag *d);

/* vsock_guest_listen: a listener for the guest's connections to `port`. -errno. */
int vsock_guest_listen(struct vsock_guest *g, uint32_t port, struct diag *d);

/* vsock_guest_enters: io_uring_enter calls of the daemon's only reactor so far; 0: unknown. */
double vsock_guest_enters(struct vsock_guest *g);

#endif

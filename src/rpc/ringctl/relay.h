/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes both ways between standard input and output and a guest's stream. */
#ifndef RINGCTL_RELAY_H
#define RINGCTL_RELAY_H

#include <stdbool.h>

enum relay_kind {
	RELAY_CONSOLE, /* ends with the stream; the end of the input is nothing to the guest */
	RELAY_SOCKET,  /* each direction ends by itself, and the other end is told */
};

enum relay_end {
	RELAY_LEFT,          /* the person left with Ctrl-A x */
	RELAY_STREAM_ENDED,  /* the guest, or the daemon with it */
	RELAY_INPUT_LOST,    /* RELAY_SOCKET: as above, and it has not taken all of the input */
	RELAY_DAEMON_GONE,   /* as `daemon` says */
	RELAY_OUTPUT_FAILED, /* standard output takes no more */
};

/* The connection to the daemon: when `fd` polls readable, `alive` is asked. */
struct relay_daemon {
	int fd;
	bool (*alive)(void *ctx);
	void *ctx;
};

/* relay_run: until one of the ends above. `escapes`: Ctrl-A is looked for in the input. The end of
 * the input alone does not end it: what the guest still says is shown. With RELAY_SOCKET that end
 * is passed on (SHUT_WR), and the end of what the guest says does not end it while there may be
 * input, unless the guest has closed the connection. Neither descriptor is closed; what had come
 * from the guest is printed before the return. */
enum relay_end relay_run(
	int stream_fd, const struct relay_daemon *daemon, enum relay_kind kind, bool escapes);

#endif

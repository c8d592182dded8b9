/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal while a guest has it: raw, and always restored; the keys that leave it. */
#ifndef RINGCTL_TTY_H
#define RINGCTL_TTY_H

#include <stdbool.h>
#include <stddef.h>

/* tty_make_raw: if standard input is a terminal, makes it raw and arranges that it is restored at
 * exit and on SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT and SIGPIPE, which then end the process as
 * they always do. While SIGTSTP stops the process the terminal is as it was, and raw again when the
 * process goes on. False if it is none. */
bool tty_make_raw(void);

/* tty_make_cbreak: the same, but output and the keys' signals stay as they are; only single keys
 * come at once, unseen. */
bool tty_make_cbreak(void);

/* tty_restore: the terminal's own settings again; harmless at any time; async-signal-safe. */
void tty_restore(void);

/* Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A; any other byte behind a Ctrl-A is sent as both. */
struct tty_escape {
	bool pending; /* the last byte was a Ctrl-A */
};

/* tty_escape_feed: what is to be sent of `len` typed bytes, to `out`, which has room for len + 1.
 * Returns true if the person leaves; what was typed before is in `out` all the same. */
bool tty_escape_feed(struct tty_escape *e, const char *in, size_t len, char *out, size_t *out_len);

#endif

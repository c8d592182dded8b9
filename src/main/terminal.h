/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal of `ringvisor run`: raw while the guest has it, restored whatever happens. */
#ifndef MAIN_TERMINAL_H
#define MAIN_TERMINAL_H

#include <stdbool.h>

#include "core/io_op.h"
#include "core/reactor.h"

#define TERMINAL_ESCAPE 0x01 /* Ctrl-A */

struct terminal {
	struct reactor *home;
	struct io_file tty;
	struct io_op poll_op;
	int to_guest; /* our end of the socket that the guest's serial port reads; -1: none */
	bool escape;  /* the last byte was Ctrl-A */
	bool stopping;
	void (*quit)(void *ctx);
	void (*button)(void *ctx);
	void *ctx;
};

/* terminal_start: if standard input is a terminal, makes it raw and begins to pass on what is
 * typed, but for the escape (Ctrl-A x: quit;
 * Ctrl-A p: power button; Ctrl-A Ctrl-A: one Ctrl-A). Returns the descriptor for
 * the serial port to read (owned by the caller), or -errno. */
int terminal_start(struct terminal *t, struct reactor *home, void (*quit)(void *ctx),
	void (*button)(void *ctx), void *ctx);
/* terminal_stop: cancels; terminal_restore is separate, so that it may run at any time. Safe if not
 * started. */
void terminal_stop(struct terminal *t);

/* terminal_restore: the terminal's own settings again. Async-signal-safe; harmless without
 * terminal_start; also runs at exit. */
void terminal_restore(void);

/* terminal_suspend, terminal_resume: the same for the time that the process is stopped, and raw
 * again. Reactor's thread; harmless without terminal_start and behind terminal_restore. */
void terminal_suspend(void);
void terminal_resume(void);

#endif

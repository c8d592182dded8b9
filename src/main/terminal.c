/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode, the escape key, and the way back. */
#include "main/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "core/check.h"

/* Process-wide, since a terminal is: what to put back, and whether to; and what it is meanwhile. */
static struct termios saved, ours;
static volatile int raw;

void terminal_restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = 0;
}

void terminal_suspend(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

void terminal_resume(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &ours);
}

static void restore_and_die(int sig)
{
	terminal_restore();
	raise(sig); /* its action is the default one again */
}

/* A failed CHECK does not run what is registered for the exit. */
static void restore_at_abort(void)
{
	struct sigaction sa = {.sa_handler = restore_and_die, .sa_flags = SA_RESETHAND};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGABRT, &sa, NULL);
}

static int terminal_make_raw(void)
{
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return -errno;
	ours = saved;
	cfmakeraw(&ours);
	raw = 1;
	atexit(terminal_restore);
	restore_at_abort();
	return tcsetattr(STDIN_FILENO, TCSANOW, &ours) < 0 ? -errno : 0;
}

/* Copies what was typed, without escapes; true if the person wants to leave. */
static bool terminal_filter(
	struct terminal *t, const char *in, ssize_t len, char *out, size_t *out_len)
{
	for (ssize_t i = 0; i < len; i++) {
		if (t->escape) {
			t->escape = false;
			if (in[i] == 'x')
				return true;
			if (in[i] == 'p')
				t->button(t->ctx);
			if (in[i] == TERMINAL_ESCAPE)
				out[(*out_len)++] = in[i];
		} else if (in[i] == TERMINAL_ESCAPE) {
			t->escape = true;
		} else {
			out[(*out_len)++] = in[i];
		}
	}
	return false;
}

static bool terminal_readable(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static void terminal_typed(struct io_op *op, int res, uint32_t flags)
{
	struct terminal *t = container_of(op, struct terminal, poll_op);
	char in[256], out[256];
	bool quit = false;

	while (res > 0 && !t->stopping && !quit && terminal_readable()) {
		size_t len = 0;
		ssize_t n = read(STDIN_FILENO, in, sizeof(in));

		if (n <= 0) {
			quit = n == 0 || (errno != EAGAIN && errno != EINTR); /* hung up */
			break;
		}
		quit = terminal_filter(t, in, n, out, &len);
		/* A guest that takes no input loses it here, as on a real line. */
		if (len)
			(void)!send(t->to_guest, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (quit)
		t->quit(t->ctx);
	if (flags & IO_MORE)
		return;
	if (t->stopping || res < 0) {
		io_file_close(t->home, &t->tty);
		close(t->to_guest);
		t->to_guest = -1;
	} else {
		io_poll(t->home, &t->poll_op, &t->tty, POLLIN);
	}
}

int terminal_start(struct terminal *t, struct reactor *home, void (*quit)(void *ctx),
	void (*button)(void *ctx), void *ctx)
{
	int pair[2], fd, err;

	*t = (struct terminal){.home = home,
		.tty = IO_FILE_NONE,
		.to_guest = -1,
		.quit = quit,
		.button = button,
		.ctx = ctx};
	t->poll_op.done = terminal_typed;
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	err = terminal_make_raw();
	if (err) {
		close(fd);
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	t->to_guest = pair[0];
	io_file_open(home, &t->tty, fd);
	io_poll(home, &t->poll_op, &t->tty, POLLIN);
	return pair[1];
}

void terminal_stop(struct terminal *t)
{
	if (t->to_guest < 0 || t->stopping)
		return;
	t->stopping = true;
	io_cancel(t->home, &t->poll_op);
}

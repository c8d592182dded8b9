/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode and the way back. */
#include "rpc/ringctl/tty.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "core/check.h"

#define ESCAPE 0x01 /* Ctrl-A */

/* Process-wide, as the terminal is: what to put back, and whether to; what it is to be meanwhile,
 * and whether it is to be that. */
static struct termios saved, ours;
static volatile sig_atomic_t changed, wanted;

void tty_restore(void)
{
	wanted = 0; /* first: a SIGCONT that comes now must not change it any more */
	if (changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	changed = 0;
}

static void on_signal(int number)
{
	tty_restore();
	signal(number, SIG_DFL);
	raise(number);
}

static void take_again(void)
{
	int error = errno;

	if (wanted)
		tcsetattr(STDIN_FILENO, TCSANOW, &ours);
	errno = error;
}

/* Also behind a SIGSTOP, during which the shell may have changed the terminal. */
static void on_continue(int number)
{
	(void)number;
	take_again();
}

/* Stops as the default action would have, with the terminal as it was. */
static void on_stop(int number)
{
	struct sigaction standard = {.sa_handler = SIG_DFL}, own;
	int error = errno;
	sigset_t set, old;

	if (changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	sigemptyset(&set);
	sigaddset(&set, number);
	sigemptyset(&standard.sa_mask);
	sigaction(number, &standard, &own);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, &old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	sigaction(number, &own, NULL);
	errno = error;
	take_again(); /* where no shell looks after this process, it was not stopped at all */
}

static void on(const int *signals, size_t count, void (*handler)(int number), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < count; i++)
		sigaction(signals[i], &action, NULL);
}

/* Everything that puts the terminal back is in place before it is changed. */
static bool tty_set(const struct termios *t)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGPIPE};
	static const int stop[] = {SIGTSTP}, go_on[] = {SIGCONT};

	ours = *t;
	on(ends, ARRAY_SIZE(ends), on_signal, 0);
	on(stop, ARRAY_SIZE(stop), on_stop, SA_RESTART);
	on(go_on, ARRAY_SIZE(go_on), on_continue, SA_RESTART);
	atexit(tty_restore);
	changed = wanted = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, t) < 0) {
		changed = wanted = 0;
		return false;
	}
	return true;
}

bool tty_make_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return false;
	t = saved;
	cfmakeraw(&t);
	return tty_set(&t);
}

bool tty_make_cbreak(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return false;
	t = saved;
	t.c_lflag &= ~(ICANON | ECHO);
	return tty_set(&t);
}

bool tty_escape_feed(struct tty_escape *e, const char *in, size_t len, char *out, size_t *out_len)
{
	*out_len = 0;
	for (size_t i = 0; i < len; i++) {
		if (!e->pending && in[i] == ESCAPE) {
			e->pending = true;
			continue;
		}
		if (e->pending && (in[i] == 'x' || in[i] == 'X'))
			return true;
		if (e->pending && in[i] != ESCAPE)
			out[(*out_len)++] = ESCAPE;
		e->pending = false;
		out[(*out_len)++] = in[i];
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode and the way back. */
#include "rpc/ringctl/tty.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "core/check.h"

#define ESCAPE 0x01 /* Ctrl-A */

/* Process-wide, as the terminal is: what to put back, and whether to. */
static struct termios saved;
static volatile sig_atomic_t raw;

void tty_restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = 0;
}

static void on_signal(int number)
{
	tty_restore();
	signal(number, SIG_DFL);
	raise(number);
}

/* Everything that puts the terminal back is in place before it is changed. */
static bool tty_set(const struct termios *t)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGPIPE};
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	atexit(tty_restore);
	raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, t) < 0) {
		raw = 0;
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

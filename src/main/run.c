/* SPDX-License-Identifier: Apache-2.0 */
/* `ringvisor run`: one guest in the foreground, no daemon; the reactor runs on the main thread. */
#include "main/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/check.h"
#include "core/controllers.h"
#include "main/terminal.h"

/* Main thread, which is the reactor's. */
struct run {
	struct run_options options;
	struct reactor *reactor;
	struct guest *guest;
	struct terminal terminal;
	struct guest_call create, start, stop;
	struct reactor_msg begin;

	struct io_file signals;
	struct io_op signal_op;
	struct signalfd_siginfo signal_info;
	int signal; /* that ended the guest; 0: none */

	struct stream_loss serial_loss, console_loss;

	bool quitting, stop_pending, over;
	int status;
};

static void run_finish_if_over(struct run *r)
{
	if (!r->over || r->stop_pending)
		return;
	terminal_stop(&r->terminal);
	io_cancel(r->reactor, &r->signal_op);
	reactor_stop(r->reactor);
}

static void run_over(struct run *r, int status)
{
	r->over = true;
	r->status = status;
	run_finish_if_over(r);
}

/* --- leaving early
 * ----------------------------------------------------------------------------------------- */

static void run_stopped(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct run *r = container_of(call, struct run, stop);

	(void)err;
	(void)detail;
	r->stop_pending = false;
	run_finish_if_over(r);
}

static void run_quit(void *ctx)
{
	struct run *r = ctx;

	if (r->quitting || r->over)
		return;
	r->quitting = true;
	r->stop_pending = true;
	guest_stop(r->guest, &r->stop);
}

static void run_button(void *ctx)
{
	struct run *r = ctx;

	if (r->guest->machine)
		power_press_button(&r->guest->machine->power);
}

static void run_resize_console(struct run *r);

/* Stops the process as SIGTSTP would if it were not read from a descriptor, vCPUs and all. */
static void run_stop_process(void)
{
	sigset_t set, old;

	terminal_suspend();
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &set, &old);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	terminal_resume(); /* where no shell looks after this process, it was not stopped at all */
}

static void run_take_signal(struct run *r, int signal)
{
	switch (signal) {
	case SIGWINCH:
		run_resize_console(r);
		return;
	case SIGTSTP:
		run_stop_process();
		return;
	case SIGCONT: /* also behind a SIGSTOP, during which the shell may have changed it */
		terminal_resume();
		return;
	default:
		break;
	}
	if (!r->signal)
		r->signal = signal;
	run_quit(r);
}

static void run_signalled(struct io_op *op, int res, uint32_t flags)
{
	struct run *r = container_of(op, struct run, signal_op);

	(void)flags;
	if (res == (int)sizeof(r->signal_info)) {
		run_take_signal(r, (int)r->signal_info.ssi_signo);
	}
	if (r->over || res == -ECANCELED)
		return;
	io_read(r->reactor, op, &r->signals, &r->signal_info, sizeof(r->signal_info), (uint64_t)-1);
}

static int run_catch_signals(struct run *r, struct diag *d)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTSTP);
	sigaddset(&set, SIGCONT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return diag_errno(d, -errno, "signalfd");
	r->signals = (struct io_file){.fd = fd, .slot = -1};
	return 0;
}

/* --- the guest's life
 * ----------------------------------------------------------------------------------------- */

static void run_ended(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct run *r = container_of(call, struct run, start);

	terminal_restore();
	if (err == GUEST_CONTROLLER_FORCED_HALT && r->quitting) {
		run_over(r, r->signal ? 128 + r->signal : EXIT_OK);
		return;
	}
	if (err) {
		complain("%s: %s", guest_error_name(err), detail);
		run_over(r, EXIT_FAILED);
		return;
	}
	if (!strcmp(guest_end_name(r->guest), "reboot"))
		complain("the guest asked for a reboot; run it again to start it anew");
	run_over(r, EXIT_OK);
}

/* The terminal, or whatever standard input and output are. */
static int run_open_stdio(struct run *r, const char *option, int *in, int *out, struct diag *d)
{
	*out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	if (*out < 0)
		return diag_errno(d, -errno, "%s: standard output", option);
	if (!isatty(STDIN_FILENO)) {
		*in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0); /* closed: no input */
		return 0;
	}
	*in = terminal_start(&r->terminal, r->reactor, run_quit, run_button, r);
	if (*in >= 0)
		return 0;
	close(*out);
	return diag_errno(d, *in, "%s: the terminal", option);
}

/* The descriptors for `where`; both -1 for "none". */
static int run_open(
	struct run *r, const char *option, const char *where, int *in, int *out, struct diag *d)
{
	*in = *out = -1;
	if (!strcmp(where, "none"))
		return 0;
	if (!strcmp(where, "stdio"))
		return run_open_stdio(r, option, in, out, d);
	/* A FIFO without a reader would block the open for ever. */
	*out = open(where, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
	if (*out >= 0)
		fcntl(*out, F_SETFL, O_WRONLY);
	else if (errno == ENXIO)
		return diag_errno(d, -ENXIO, "%s: %s: nobody reads from it", option, where);
	return *out < 0 ? diag_errno(d, -errno, "%s: %s", option, where) : 0;
}

static int run_open_serial(struct run *r, struct diag *d)
{
	int in, out, err = run_open(r, "--serial", r->options.serial, &in, &out, d);

	if (!err && out >= 0)
		stream_open_files(&r->guest->machine->serial, in, out, &r->serial_loss);
	return err;
}

/* The console's window is the terminal. */
static void run_resize_console(struct run *r)
{
	struct machine *m = r->guest->machine;
	struct device *dev = m ? machine_console(m) : NULL;
	struct winsize size;

	if (dev && !strcmp(r->options.console, "stdio") && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		dev->class->console->resize(dev, size.ws_col, size.ws_row);
}

static int run_open_console(struct run *r, struct diag *d)
{
	struct device *dev = machine_console(r->guest->machine);
	int in, out, err = run_open(r, "--console", r->options.console, &in, &out, d);

	if (err || out < 0)
		return err;
	CHECK(dev); /* choose_terminal has asked for one */
	dev->class->console->open_files(dev, in, out, &r->console_loss);
	run_resize_console(r);
	return 0;
}

/* A log that is not whole is a failure, whatever the guest did. A reader who had enough is none,
 * nor is a standard output that was closed from the start. */
static void run_report_loss(
	struct run *r, const char *option, const char *where, const struct stream_loss *loss)
{
	if (!loss->error || loss->error == EPIPE || loss->error == EBADF)
		return;
	complain("%s: %s: %s; %llu bytes of output were lost", option,
		strcmp(where, "stdio") ? where : "standard output", strerrordesc_np(loss->error),
		(unsigned long long)loss->bytes);
	if (r->status == EXIT_OK)
		r->status = EXIT_FAILED;
}

static void run_created(struct guest_call *call, enum guest_error err, const char *detail)
{
	struct run *r = container_of(call, struct run, create);
	struct diag d;

	if (err) {
		complain("%s: %s", guest_error_name(err), detail);
		run_over(r, err == GUEST_BAD_CONFIG ? EXIT_USAGE : EXIT_FAILED);
		return;
	}
	if (r->quitting)
		return run_over(r, r->signal ? 128 + r->signal : EXIT_OK);
	if (run_open_serial(r, &d) || run_open_console(r, &d)) {
		terminal_restore();
		complain("%s", d.text);
		r->quitting = r->stop_pending = true;
		guest_stop(r->guest, &r->stop);
		return run_over(r, EXIT_FAILED);
	}
	guest_run(r->guest, &r->start);
}

static void run_begin(struct reactor_msg *msg)
{
	struct run *r = container_of(msg, struct run, begin);

	io_read(r->reactor, &r->signal_op, &r->signals, &r->signal_info, sizeof(r->signal_info),
		(uint64_t)-1);
	guest_create(r->guest, &r->create, &r->options.config);
}

static int run_guest(struct run *r, struct diag *d)
{
	struct reactor_params params = {.core = r->options.core,
		.poll_us = r->options.poll_us,
		.sq_entries = 64,
		.file_slots = 64};
	struct vm_host host;
	struct guest_env env;
	int err = env_open(&env, &host, 1, d);

	if (err)
		return err;
	env.huge_pages = r->options.huge_pages;
	err = run_catch_signals(r, d);
	if (!err) {
		r->reactor = reactor_create(&params, d);
		err = r->reactor ? 0 : -EIO;
	}
	if (!err) {
		r->guest = guest_new("run", r->reactor, &env);
		err = r->guest ? 0 : diag_fail(d, -ENOMEM, "out of memory");
	}
	if (!err) {
		reactor_post(r->reactor, &r->begin);
		reactor_run(r->reactor);
	}
	run_report_loss(r, "--serial", r->options.serial, &r->serial_loss);
	run_report_loss(r, "--console", r->options.console, &r->console_loss);
	guest_free(r->guest);
	reactor_destroy(r->reactor);
	if (r->signals.fd >= 0)
		close(r->signals.fd);
	env_close(&env);
	return err;
}

int run_main(int argc, char **argv)
{
	struct run r = {.signals = IO_FILE_NONE, .terminal = {.to_guest = -1}};
	struct diag d;
	int err = run_options_parse(&r.options, argc, argv, &d);

	r.create.done = run_created;
	r.start.done = run_ended;
	r.stop.done = run_stopped;
	r.begin.run = run_begin;
	r.signal_op.done = run_signalled;
	if (err == RUN_HELP) {
		run_print_help();
	} else if (err) {
		complain("%s", d.text);
		r.status = EXIT_USAGE;
	} else {
		err = run_guest(&r, &d);
		if (err) {
			complain("%s", d.text);
			r.status = EXIT_FAILED;
		}
	}
	config_finish(&r.options.config);
	return r.status;
}

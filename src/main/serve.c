/* SPDX-License-Identifier: Apache-2.0 */
/* `ringvisor serve`: the daemon. Reactor 0, with the control channel, runs on the main thread. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/check.h"
#include "main/main.h"
#include "main/options.h"
#include "rpc/reclaim.h"
#include "rpc/sd_notify.h"
#include "rpc/server.h"

static const char usage[] =
	"Usage: ringvisor serve [OPTION]...\n"
	"Hosts guests for ringctl and other clients until it is told to stop.\n"
	"\n"
	"  --socket PATH     where clients connect (default: /run/ringvisor.sock for root, else\n"
	"                    $XDG_RUNTIME_DIR/ringvisor.sock); a socket handed over by the\n"
	"                    service manager (LISTEN_FDS) goes first\n"
	"  --cores LIST      CPUs of the host for the event loops, such as 0,2-3; one loop each\n"
	"                    (default: one loop, on any CPU)\n"
	"  --allow-uid N     let this user's processes connect as well, besides root's and the\n"
	"                    daemon's own; may be given several times\n"
	"  --poll-us N       poll so long before sleeping while there is traffic (default 50,\n"
	"                    0: never)\n"
	"  --reclaim WHEN    take memory that guests can spare by their balloons: off (the\n"
	"                    default), or pressure: while tasks wait for memory here\n"
	"  -h, --help        this text\n"
	"\n"
	"SIGTERM and SIGINT stop all guests, then the daemon; SIGHUP is ignored.\n"
	"\n"
	"Exit status: 0 after such a stop; 1 if it could not serve; 2 for a mistake on the "
	"command\n"
	"line.\n";

enum { OPT_SOCKET = 256, OPT_CORES, OPT_ALLOW_UID, OPT_POLL, OPT_RECLAIM };

static const struct option options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"cores", required_argument, NULL, OPT_CORES},
	{"allow-uid", required_argument, NULL, OPT_ALLOW_UID},
	{"poll-us", required_argument, NULL, OPT_POLL},
	{"reclaim", required_argument, NULL, OPT_RECLAIM},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

struct serve {
	const char *socket; /* NULL: the default */
	int cores[CORES_MAX];
	unsigned int core_count; /* 0: one, anywhere */
	uid_t uids[SERVER_UIDS_MAX];
	unsigned int uid_count;
	unsigned int poll_us;
	bool reclaims;
	bool help;

	struct reactor *reactors[CORES_MAX];
	unsigned int reactor_count;
	struct vm_host host;
	struct guest_env env;
	struct listener listener;
	struct server server;
	struct reclaim reclaim;
	struct reactor_msg begin;

	struct io_file signals;
	struct io_op signal_op;
	struct signalfd_siginfo signal_info;
};

/* --- command line --- */

static int apply_reclaim(struct serve *s, const char *value, struct diag *d)
{
	s->reclaims = !strcmp(value, "pressure");
	if (s->reclaims || !strcmp(value, "off"))
		return 0;
	return diag_fail(d, -EINVAL, "--reclaim %s: off or pressure is expected", value);
}

static int apply(struct serve *s, int opt, const char *value, struct diag *d)
{
	unsigned long n;
	int err;

	switch (opt) {
	case OPT_SOCKET:
		s->socket = value;
		return *value ? 0 : diag_fail(d, -EINVAL, "--socket: the path is empty");
	case OPT_CORES:
		err = parse_cores(value, s->cores, CORES_MAX, d);
		s->core_count = err > 0 ? (unsigned int)err : 0;
		return err < 0 ? err : 0;
	case OPT_ALLOW_UID:
		if (s->uid_count == SERVER_UIDS_MAX)
			return diag_fail(d, -EINVAL, "--allow-uid: at most %d", SERVER_UIDS_MAX);
		err = parse_number("--allow-uid", value, UINT32_MAX - 1, &n, d);
		if (!err)
			s->uids[s->uid_count++] = (uid_t)n;
		return err;
	case OPT_RECLAIM:
		return apply_reclaim(s, value, d);
	default:
		CHECK(opt == OPT_POLL);
		err = parse_number("--poll-us", value, POLL_US_MAX, &n, d);
		s->poll_us = (unsigned int)n;
		return err;
	}
}

static int parse(struct serve *s, int argc, char **argv, struct diag *d)
{
	int opt, err;

	opterr = 0;
	optind = 0; /* GNU: start anew */
	for (int at = 1; (opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1; at = optind) {
		if (opt == 'h') {
			s->help = true;
			return 0;
		}
		if (opt == '?' || opt == ':')
			return bad_option(options, opt, argv[at], "ringvisor serve --help", d);
		err = apply(s, opt, optarg, d);
		if (err)
			return err;
	}
	if (optind < argc)
		return diag_fail(d, -EINVAL,
			"\"%s\" is left over; `ringvisor serve --help` tells the options",
			argv[optind]);
	return 0;
}

/* --- signals --- */

static void serve_wait_signal(struct serve *s)
{
	io_read(s->reactors[0], &s->signal_op, &s->signals, &s->signal_info, sizeof(s->signal_info),
		(uint64_t)-1);
}

static void serve_signalled(struct io_op *op, int res, uint32_t flags)
{
	struct serve *s = container_of(op, struct serve, signal_op);

	(void)flags;
	if (res == -ECANCELED)
		return;
	if (res == (int)sizeof(s->signal_info) && s->signal_info.ssi_signo != SIGHUP) {
		sd_notify_send("STOPPING=1");
		server_stop(&s->server);
	}
	serve_wait_signal(s);
}

static int serve_catch_signals(struct serve *s, struct diag *d)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return diag_errno(d, -errno, "signalfd");
	s->signals = (struct io_file){.fd = fd, .slot = -1};
	return 0;
}

/* --- running --- */

static void serve_stopped(struct server *server)
{
	struct serve *s = server->params.ctx;

	io_cancel(s->reactors[0], &s->signal_op);
	reactor_stop(s->reactors[0]);
}

static void serve_begin(struct reactor_msg *msg)
{
	struct serve *s = container_of(msg, struct serve, begin);

	serve_wait_signal(s);
	server_start(&s->server);
	sd_notify_send("READY=1");
}

/* A guest takes a dozen descriptors and more: as many as may be had. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve_open(struct serve *s, struct diag *d)
{
	struct reactor_params params[CORES_MAX] = {{0}};
	int err;

	s->reactor_count = s->core_count ? s->core_count : 1;
	raise_file_limit();
	err = env_open(&s->env, &s->host, s->reactor_count, d);
	if (err)
		return err;
	err = serve_catch_signals(s, d);
	if (!err)
		err = listener_open(&s->listener, s->socket, d);
	if (!err && s->reclaims)
		err = reclaim_open(&s->reclaim, d);
	if (err)
		return err;
	for (unsigned int i = 0; i < s->reactor_count; i++)
		params[i] = (struct reactor_params){
			.index = i,
			.core = s->core_count ? s->cores[i] : -1,
			.poll_us = s->poll_us,
		};
	return reactors_start(s->reactors, params, s->reactor_count, d);
}

static int serve_guests(struct serve *s, struct diag *d)
{
	int err = serve_open(s, d);

	if (!err) {
		server_init(&s->server, &(struct server_params){
						.reactors = s->reactors,
						.reactor_count = s->reactor_count,
						.env = &s->env,
						.listener = &s->listener,
						.uids = s->uids,
						.uid_count = s->uid_count,
						.reclaim = s->reclaims ? &s->reclaim : NULL,
						.stopped = serve_stopped,
						.ctx = s,
					});
		reactor_post(s->reactors[0], &s->begin);
		reactor_run(s->reactors[0]);
		reactors_stop(s->reactors, s->reactor_count);
	}
	listener_close(&s->listener);
	if (s->signals.fd >= 0)
		close(s->signals.fd);
	if (s->env.host)
		env_close(&s->env);
	return err;
}

int serve_main(int argc, char **argv)
{
	struct serve *s = calloc(1, sizeof(*s));
	int status = EXIT_OK;
	struct diag d;

	if (!s) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	s->signals = IO_FILE_NONE;
	s->poll_us = POLL_US_DEFAULT;
	s->signal_op.done = serve_signalled;
	s->begin.run = serve_begin;
	s->listener = (struct listener){.fd = -1, .lock_fd = -1};
	if (parse(s, argc, argv, &d)) {
		complain("%s", d.text);
		status = EXIT_USAGE;
	} else if (s->help) {
		fputs(usage, stdout);
	} else if (serve_guests(s, &d)) {
		complain("%s", d.text);
		status = EXIT_FAILED;
	}
	free(s);
	return status;
}

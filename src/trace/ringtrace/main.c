/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace: shows where the time of a daemon's guests goes. Options and the way to a command. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "trace/host.h"
#include "trace/ringtrace/ringtrace.h"

static const char usage[] =
	"Usage: ringtrace [OPTION]... COMMAND\n"
	"Shows where the time of a running daemon's guests goes.\n"
	"\n"
	"  hist KIND...        histograms, when the trace ends; of exits, kick, irq, depth,\n"
	"                      vsock, console, rpc, turn, ring, sched, kvm\n"
	"  top                 a table of rates and times, again and again\n"
	"  events [PROBE]...   each event, or those of these probes, as it happens\n"
	"  timeline [MS]       the guest's last milliseconds (1000) as JSON for Perfetto\n"
	"  flame               where reactors spend their time, as folded stacks\n"
	"\n"
	"  -p, --pid PID           the daemon's process (default: the only one that runs)\n"
	"  -g, --guest NAME        this guest only\n"
	"  -d, --duration SECONDS  end after this time (default: at Ctrl-C)\n"
	"  -i, --interval SECONDS  of top (default: 1)\n"
	"  -j, --json              for programs\n"
	"      --plot FILE.svg|png  of hist: a picture as well, by gnuplot\n"
	"  -h, --help, --version\n"
	"\n"
	"Exit status: 0; 1 for a failure; 2 for a mistake on the command line; 3 if there is no\n"
	"such daemon; 4 if a capability or the kernel's BTF is missing.\n";

static const struct {
	const char *name;
	enum ringtrace_exit (*main)(struct ringtrace *t);
} commands[] = {
	{"hist", hist_main},
	{"top", top_main},
	{"events", events_main},
	{"flame", flame_main},
	{"timeline", timeline_main},
};

void complain(const char *fmt, ...)
{
	va_list ap;

	fputs("ringtrace: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void say_attached(const struct ringtrace *t, const struct trace_session *s)
{
	complain("attached to process %d: %u programs at probes, %u at the kernel's tracepoints",
		t->pid, s->probe_count, s->link_count - s->probe_count);
}

void say_notes(const struct trace_session *s, uint64_t lost, const char *what)
{
	for (unsigned int i = 0; i < s->notes.count; i++)
		complain("%s", s->notes.text[i]);
	if (lost)
		complain("%llu %s lost", (unsigned long long)lost, what);
}

static bool parse_seconds(const char *text, double *to)
{
	char *end;

	*to = strtod(text, &end);
	return end != text && !*end && *to > 0 && *to < 1e9;
}

static bool parse_pid(const char *text, pid_t *to)
{
	char *end;
	long n = strtol(text, &end, 10);

	*to = (pid_t)n;
	return end != text && !*end && n > 0 && n <= 1 << 22;
}

static bool parse_guest(struct ringtrace *t, const char *name)
{
	t->guest = name;
	return *name && strlen(name) < TRACE_GUEST_MAX;
}

/* -1: go on; else the exit status. */
static int apply(struct ringtrace *t, int opt)
{
	bool good = true;

	switch (opt) {
	case 'p':
		good = parse_pid(optarg, &t->pid);
		break;
	case 'g':
		good = parse_guest(t, optarg);
		break;
	case 'd':
		good = parse_seconds(optarg, &t->duration_s);
		break;
	case 'i':
		good = parse_seconds(optarg, &t->interval_s);
		break;
	case 'j':
		t->json = true;
		break;
	case 'P':
		t->plot = optarg;
		break;
	case 'h':
		fputs(usage, stdout);
		return RINGTRACE_OK;
	case 'V':
		puts("ringtrace " RINGVISOR_VERSION);
		return RINGTRACE_OK;
	default:
		return RINGTRACE_USAGE; /* getopt has said why */
	}
	if (good)
		return -1;
	complain("\"%s\" is no value for that option; see `ringtrace --help`", optarg);
	return RINGTRACE_USAGE;
}

static int parse(struct ringtrace *t, int argc, char **argv)
{
	static const struct option options[] = {
		{"pid", required_argument, NULL, 'p'},
		{"guest", required_argument, NULL, 'g'},
		{"duration", required_argument, NULL, 'd'},
		{"interval", required_argument, NULL, 'i'},
		{"json", no_argument, NULL, 'j'},
		{"plot", required_argument, NULL, 'P'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int opt, status;

	while ((opt = getopt_long(argc, argv, "p:g:d:i:jh", options, NULL)) != -1) {
		status = apply(t, opt);
		if (status >= 0)
			return status;
	}
	return -1;
}

static int find_daemon(struct ringtrace *t, struct diag *d)
{
	int err = t->pid ? 0 : trace_find_daemon(&t->pid, d);

	return err ? err : trace_check_daemon(t->pid, d);
}

int main(int argc, char **argv)
{
	struct ringtrace t = {.interval_s = 1};
	int status = parse(&t, argc, argv);
	struct diag d;

	if (status >= 0)
		return status;
	t.words = argv + optind + 1;
	t.word_count = argc - optind - 1;
	for (size_t i = 0; optind < argc && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[optind], commands[i].name) != 0)
			continue;
		if (t.plot && commands[i].main != hist_main) {
			complain("--plot is for hist only");
			return RINGTRACE_USAGE;
		}
		if (trace_host_check(&d)) {
			complain("%s", d.text);
			return RINGTRACE_NOT_POSSIBLE;
		}
		if (find_daemon(&t, &d)) {
			complain("%s", d.text);
			return RINGTRACE_NO_DAEMON;
		}
		return commands[i].main(&t);
	}
	if (optind < argc)
		complain("there is no command \"%s\"; `ringtrace --help` lists them", argv[optind]);
	else
		fputs(usage, stderr);
	return RINGTRACE_USAGE;
}

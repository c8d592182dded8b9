/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of ringctl share: one invocation, its exit statuses, the table of commands. */
#ifndef RINGCTL_CTL_H
#define RINGCTL_CTL_H

#include <stdbool.h>

/* Documented in ringctl(1). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILURE = 1,     /* the call was refused or failed */
	CTL_USAGE = 2,       /* a mistake on the command line or in a configuration file */
	CTL_NO_GUEST = 3,    /* there is no such guest, or it is not running */
	CTL_UNREACHABLE = 4, /* no daemon answers on the socket, or it went away */
};

/* One invocation. */
struct ctl {
	const char *socket; /* NULL: the default path */
	bool json;
	bool colour_out, colour_err;
	bool colour_given, colour_always; /* --color=always|never */
	const struct command *command;
	char **args; /* what is left when the options are taken out */
	int arg_count;
};

struct option_spec;

struct command {
	const char *name;
	const char *arguments; /* as the usage line shows them */
	const char *summary;   /* one line */
	const char *details;   /* more of the help text; NULL: none */
	const struct option_spec *options;
	int args_min, args_max;
	/* argv[0] is the command's name. Returns the exit status. */
	enum ctl_exit (*run)(struct ctl *ctl, int argc, char **argv);
};

/* All there are; ends with NULL. */
extern const struct command *const ctl_commands[];

extern const struct command launch_command, stop_command, attach_command, list_command,
	info_command, top_command, balloon_command, mem_command, socat_command, vsock_perf_command,
	metrics_command, version_command;

#endif

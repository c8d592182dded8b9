/* SPDX-License-Identifier: Apache-2.0 */
/* ringctl: the table of commands and the way to one of them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/nearest.h"
#include "rpc/ringctl/ctl.h"
#include "rpc/ringctl/options.h"
#include "rpc/ringctl/output.h"

#define COMMANDS_MAX 32

const struct command *const ctl_commands[] = {
	&launch_command,
	&stop_command,
	&attach_command,
	&list_command,
	&info_command,
	&top_command,
	&balloon_command,
	&mem_command,
	&socat_command,
	&vsock_perf_command,
	&metrics_command,
	&version_command,
	NULL,
};

static const struct command *command_find(const char *name)
{
	for (const struct command *const *c = ctl_commands; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

static enum ctl_exit command_unknown(struct ctl *ctl, const char *name)
{
	const char *known[COMMANDS_MAX];
	size_t count = 0;

	for (const struct command *const *c = ctl_commands; *c; c++) {
		CHECK(count < COMMANDS_MAX);
		known[count++] = (*c)->name;
	}
	return options_usage(ctl, "unknown command \"%.64s\": did you mean %s?", name,
		nearest_word(name, known, count));
}

/* A standard descriptor that is closed would become the connection to the daemon, and get what is
 * meant for a person. What takes its place refuses reads or writes as a closed one does. */
static void standard_descriptors_open(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	enum ctl_exit status = CTL_OK;
	int at;

	standard_descriptors_open();
	at = options_parse_global(&ctl, argc, argv, &status);
	if (at < 0)
		return status;
	if (at == argc)
		return options_usage(
			&ctl, "which command? There are launch, list, attach and more");
	ctl.command = command_find(argv[at]);
	if (!ctl.command)
		return command_unknown(&ctl, argv[at]);
	return ctl.command->run(&ctl, argc - at, argv + at);
}

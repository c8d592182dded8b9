/* SPDX-License-Identifier: Apache-2.0 */
/* ringvisor: picks the subcommand. */
#include "main/main.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "guest_elf.h"

static const char usage[] = "Usage: ringvisor COMMAND [OPTION]...\n"
			    "A virtual machine monitor for Linux/KVM.\n"
			    "\n"
			    "Commands:\n"
			    "  serve    host many guests for clients such as ringctl\n"
			    "  run      run one guest in the foreground, on this terminal\n"
			    "  version  print the version and what this host's KVM offers\n"
			    "  help     print this text\n"
			    "\n"
			    "`ringvisor COMMAND --help` explains a command. To begin with:\n"
			    "  ringvisor run --builtin\n";

void complain(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "ringvisor: %s\n", text);
}

int env_open(struct guest_env *env, struct vm_host *host, unsigned int cores, struct diag *d)
{
	int err = vm_host_open(host, NULL, d);

	if (err)
		return err;
	*env = (struct guest_env){
		.host = host,
		.builtin =
			{
				.data = ringvisor_guest_elf,
				.len_bytes = ringvisor_guest_elf_len,
				.name = "the embedded guest",
				.kind = BLOB_STATIC,
			},
		.classes = device_classes(),
		.limits = {.cores = cores, .built_devices = device_bits()},
		.neighbours = neighbours_create(),
	};
	if (env->neighbours)
		return 0;
	vm_host_close(host);
	return diag_fail(d, -ENOMEM, "out of memory");
}

void env_close(struct guest_env *env)
{
	neighbours_destroy(env->neighbours);
	vm_host_close(env->host);
}

static int parse_core(const char **at, const cpu_set_t *allowed, struct diag *d)
{
	char *end;
	unsigned long core;

	errno = 0;
	core = strtoul(*at, &end, 10);
	if (end == *at || **at == '-' || **at == '+' || errno)
		return diag_fail(d, -EINVAL,
			"--cores: \"%s\" is not a CPU number; give a list such as 0,1 or 2-5", *at);
	if (core >= CPU_SETSIZE || !CPU_ISSET(core, allowed))
		return diag_fail(d, -EINVAL,
			"--cores: CPU %lu does not exist or is not allowed to this process; "
			"`nproc` and "
			"`taskset -p $$` tell which are",
			core);
	*at = end;
	return (int)core;
}

int parse_cores(const char *text, int *cores, unsigned int max, struct diag *d)
{
	unsigned int n = 0;
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return diag_errno(d, -errno, "sched_getaffinity");
	for (;;) {
		int first = parse_core(&text, &allowed, d), last = first;

		if (first < 0)
			return first;
		if (*text == '-') {
			text++;
			last = parse_core(&text, &allowed, d);
			if (last < 0)
				return last;
			if (last < first)
				return diag_fail(d, -EINVAL,
					"--cores: the range %d-%d runs backwards", first, last);
		}
		for (int core = first; core <= last; core++) {
			for (unsigned int i = 0; i < n; i++)
				if (cores[i] == core)
					return diag_fail(
						d, -EINVAL, "--cores: CPU %d is named twice", core);
			if (n == max)
				return diag_fail(d, -EINVAL, "--cores: more than %u CPUs", max);
			cores[n++] = core;
		}
		if (*text == '\0')
			return (int)n;
		if (*text != ',')
			return diag_fail(d, -EINVAL,
				"--cores: \"%s\" follows a CPU number; give a list such as 0,1 or "
				"2-5",
				text);
		text++;
	}
}

static int version_main(int argc, char **argv)
{
	struct vm_host host;
	struct diag d;

	(void)argc;
	(void)argv;
	printf("ringvisor %s\n", RINGVISOR_VERSION);
	if (vm_host_open(&host, NULL, &d)) {
		printf("no guest can run here: %s\n", d.text);
		return EXIT_OK;
	}
	printf("%s\n", vm_host_describe(&host));
	vm_host_close(&host);
	return EXIT_OK;
}

static int help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(usage, stdout);
	return EXIT_OK;
}

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{"serve", serve_main},
	{"run", run_main},
	{"version", version_main},
	{"--version", version_main},
	{"help", help_main},
	{"--help", help_main},
	{"-h", help_main},
};

/* A standard descriptor that is closed would become one of ours, which the guest's output must not
 * reach. What takes its place refuses reads or writes as a closed one does. */
static void standard_descriptors_open(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	standard_descriptors_open();
	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	complain("there is no command \"%s\"; `ringvisor help` lists them", argv[1]);
	return EXIT_USAGE;
}

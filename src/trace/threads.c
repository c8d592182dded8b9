/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's threads by their names in /proc: the first is reactor 0, "reactor-N" are the others,
 * "vcpu N" virtual CPUs, "ringvisor-help" helpers. */
#include "trace/threads.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 96
#define NAME_BYTES 32

static bool thread_read(pid_t pid, struct thread *t)
{
	char path[PATH_BYTES], name[NAME_BYTES] = "";
	bool is;
	FILE *f;

	t->kind = THREAD_REACTOR;
	t->index = 0;
	if (t->tid == pid)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, t->tid);
	f = fopen(path, "re");
	if (!f)
		return false; /* it has ended meanwhile */
	is = fgets(name, sizeof(name), f) != NULL;
	fclose(f);
	if (is && sscanf(name, "reactor-%u", &t->index) == 1)
		return true;
	t->kind = THREAD_HELPER;
	t->index = 0;
	if (is && !strcmp(name, "ringvisor-help\n"))
		return true;
	t->kind = THREAD_VCPU;
	return is && sscanf(name, "vcpu %u", &t->index) == 1;
}

int threads_list(
	pid_t pid, void (*found)(void *ctx, const struct thread *t), void *ctx, struct diag *d)
{
	char path[PATH_BYTES];
	struct dirent *entry;
	struct thread t;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks && errno == ENOENT)
		return diag_fail(d, -ESRCH, "there is no process %d", pid);
	if (!tasks)
		return diag_errno(d, -errno, "%s", path);
	while ((entry = readdir(tasks)) != NULL) {
		t.tid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (isdigit((unsigned char)entry->d_name[0]) && thread_read(pid, &t))
			found(ctx, &t);
	}
	closedir(tasks);
	return 0;
}

static void helper_take(void *ctx, const struct thread *t)
{
	pid_t *quiet = ctx;

	if (t->kind == THREAD_HELPER)
		*quiet = t->tid;
}

pid_t threads_quiet(pid_t pid)
{
	pid_t quiet = pid;
	struct diag d;

	(void)threads_list(pid, helper_take, &quiet, &d);
	return quiet;
}

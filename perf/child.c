/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program and reading what the kernel says of it. */
#include "perf/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define EXPECT_MS 60000

void child_path(char *to, size_t room, const char *env, const char *relative)
{
	const char *given = getenv(env);
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (given) {
		snprintf(to, room, "%s", given);
		return;
	}
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	snprintf(to, room, "%s/%s", self, relative);
}

int child_start(struct child *c, char *const argv[], struct diag *d)
{
	posix_spawn_file_actions_t actions;
	int in[2], out[2], err;

	if (pipe2(in, O_CLOEXEC) < 0)
		return diag_errno(d, -errno, "pipe");
	if (pipe2(out, O_CLOEXEC) < 0) {
		err = -errno;
		close(in[0]);
		close(in[1]);
		return diag_errno(d, err, "pipe");
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	err = posix_spawnp(&c->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	if (err) {
		close(in[1]);
		close(out[0]);
		return diag_errno(d, -err, "%s", argv[0]);
	}
	c->in = in[1];
	c->out = out[0];
	return 0;
}

bool child_expect(struct child *c, const char *text)
{
	struct pollfd p = {.fd = c->out, .events = POLLIN};
	size_t matched = 0, len = strlen(text);

	while (matched < len) {
		char byte;

		/* A byte at a time: nothing behind the text may be taken. The texts are short. */
		if (poll(&p, 1, EXPECT_MS) != 1 || read(c->out, &byte, 1) != 1)
			return false;
		matched = byte == text[matched] ? matched + 1 : byte == text[0];
	}
	return true;
}

void child_end(struct child *c)
{
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(c->in);
	close(c->out);
}

static bool thread_is_named(pid_t pid, const char *tid, const char *name)
{
	char path[300], is[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(is, sizeof(is), f))
		is[0] = '\0';
	fclose(f);
	is[strcspn(is, "\n")] = '\0';
	return strcmp(is, name) == 0;
}

/* The thread's id; 0: there is none of that name. */
static pid_t thread_find(pid_t pid, const char *name)
{
	struct dirent *e;
	char path[64];
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && !tid && (e = readdir(dir)))
		if (e->d_name[0] != '.' && thread_is_named(pid, e->d_name, name))
			tid = (pid_t)atoi(e->d_name);
	if (dir)
		closedir(dir);
	return tid;
}

int child_thread_pin(const struct child *c, const char *name, int cpu)
{
	cpu_set_t one;
	pid_t tid = 0;

	for (unsigned int ms = 0; !tid && ms < EXPECT_MS; ms++) {
		tid = thread_find(c->pid, name);
		if (!tid)
			poll(NULL, 0, 1);
	}
	if (!tid)
		return -ESRCH;
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	return sched_setaffinity(tid, sizeof(one), &one) ? -errno : 0;
}

bool child_memory_read(const struct child *c, const char *except, struct child_memory *m)
{
	char path[64], line[4096];
	bool counts = true;
	FILE *f;

	memset(m, 0, sizeof(*m));
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)c->pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		unsigned long long kib, start, end;

		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			counts = !strstr(line, except);
		else if (!counts)
			continue;
		else if (sscanf(line, "Private_%*[A-Za-z]: %llu kB", &kib) == 1)
			m->private_bytes += kib * 1024;
		else if (sscanf(line, "Pss: %llu kB", &kib) == 1)
			m->pss_bytes += kib * 1024;
		else if (sscanf(line, "Rss: %llu kB", &kib) == 1)
			m->rss_bytes += kib * 1024;
	}
	fclose(f);
	return true;
}

uint64_t child_cpu_ns(const struct child *c)
{
	char path[300];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)c->pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		unsigned long long ns;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)c->pid,
			e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (f && fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, BTF, and the daemon's process. */
#include "trace/host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define BTF_PATH      "/sys/kernel/btf/vmlinux"
#define PID_PATH_MAX  64
#define PIDS_TEXT_MAX 160
#define COMMAND_MAX   4096
#define PROGRAM       "ringvisor"

static bool capable(const struct __user_cap_data_struct *caps, unsigned int cap)
{
	return caps[cap / 32].effective & 1u << cap % 32;
}

static int check_capabilities(struct diag *d)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{0}};
	bool bpf, perfmon;

	if (syscall(SYS_capget, &header, caps) < 0)
		return diag_errno(d, -errno, "capget");
	if (capable(caps, CAP_SYS_ADMIN))
		return 0;
	bpf = capable(caps, CAP_BPF);
	perfmon = capable(caps, CAP_PERFMON);
	if (bpf && perfmon)
		return 0;
	return diag_fail(d, -EPERM,
		"this process lacks %s%s%s: run it as root, or: setcap cap_bpf,cap_perfmon+ep "
		"$(command -v ringtrace)",
		bpf ? "" : "CAP_BPF", bpf || perfmon ? "" : " and ", perfmon ? "" : "CAP_PERFMON");
}

/* The oldest that this is made for: what an older one lacks is not looked for one by one. */
static int check_kernel(struct diag *d)
{
	struct utsname is;
	unsigned int major, minor;

	if (uname(&is) || sscanf(is.release, "%u.%u", &major, &minor) != 2)
		return 0;
	if (major > 6 || (major == 6 && minor >= 1))
		return 0;
	return diag_fail(d, -ENOTSUP, "Linux %s is too old: 6.1 or later is needed", is.release);
}

int trace_host_check(struct diag *d)
{
	int err = check_kernel(d);

	if (!err)
		err = check_capabilities(d);

	if (err)
		return err;
	if (access(BTF_PATH, R_OK) == 0)
		return 0;
	return diag_fail(d, -ENOTSUP,
		BTF_PATH
		": %s: the kernel's BTF is needed (CONFIG_DEBUG_INFO_BTF=y, sysfs mounted)",
		strerrordesc_np(errno));
}

int trace_check_daemon(pid_t pid, struct diag *d)
{
	char path[PID_PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == ENOENT)
		return diag_fail(d, -ESRCH, "there is no process %d", pid);
	if (errno == EACCES || errno == EPERM)
		return diag_fail(d, -EACCES,
			"the program of process %d may not be read: of another user's process "
			"that takes CAP_SYS_PTRACE",
			pid);
	return diag_errno(d, -errno, "%s", path);
}

/* Is it a daemon, or a guest in the foreground? By its name and its first argument. */
static bool is_daemon(const char *pid)
{
	char path[PID_PATH_MAX], text[COMMAND_MAX];
	const char *name, *verb;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 2);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = text[n + 1] = '\0';
	name = strrchr(text, '/') ? strrchr(text, '/') + 1 : text;
	verb = text + strlen(text) + 1;
	return !strcmp(name, PROGRAM) && (!strcmp(verb, "serve") || !strcmp(verb, "run"));
}

int trace_find_daemon(pid_t *pid, struct diag *d)
{
	char found[PIDS_TEXT_MAX] = "";
	unsigned int count = 0;
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	if (!proc)
		return diag_errno(d, -errno, "/proc");
	while ((entry = readdir(proc)) != NULL) {
		size_t len = strlen(found);

		if (!isdigit((unsigned char)entry->d_name[0]) || !is_daemon(entry->d_name))
			continue;
		*pid = (pid_t)strtol(entry->d_name, NULL, 10);
		count++;
		snprintf(found + len, sizeof(found) - len, " %.20s", entry->d_name);
	}
	closedir(proc);
	if (count == 1)
		return 0;
	if (count)
		return diag_fail(
			d, -ENOTUNIQ, "%u daemons run here; say which by --pid:%s", count, found);
	return diag_fail(d, -ENOENT,
		"no daemon runs here that this process can see; start `ringvisor serve`, or name "
		"its process by --pid");
}

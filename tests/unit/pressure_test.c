/* SPDX-License-Identifier: Apache-2.0 */
/* Whose memory pressure counts, on hosts of each shape; reading what the kernel says. */
#include "rpc/pressure.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/pressure-XXXXXX", found[PRESSURE_PATH_MAX];

/* A file below the root, with all of its folders. */
static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = strchr(full + sizeof(root), '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		mkdir(full, 0700);
		*at = '/';
	}
	f = fopen(full, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void setup(void)
{
	cr_assert(mkdtemp(root));
	put("/proc/pressure/memory", "");
}

static void teardown(void)
{
	nftw(root, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(pressure, .init = setup, .fini = teardown);

/* The file, without the root. */
static const char *find(void)
{
	struct diag d;

	cr_assert_eq(pressure_find(root, found, &d), 0, "%s", d.text);
	return found + strlen(root);
}

static void host_v2(const char *group)
{
	char line[128];

	put("/proc/self/mountinfo",
		"20 1 0:5 / /proc rw - proc proc rw\n"
		"30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
	snprintf(line, sizeof(line), "0::%s\n", group);
	put("/proc/self/cgroup", line);
}

Test(pressure, no_cgroups_at_all)
{
	cr_assert_str_eq(find(), "/proc/pressure/memory");
}

Test(pressure, the_kernel_measures_none)
{
	char path[256];
	struct diag d;

	snprintf(path, sizeof(path), "%s/proc/pressure/memory", root);
	unlink(path);
	cr_assert_eq(pressure_find(root, found, &d), -ENOENT);
	cr_assert(strstr(d.text, "psi=1"), "%s", d.text);
}

Test(pressure, a_group_without_a_limit_is_the_hosts)
{
	host_v2("/system.slice/ringvisor.service");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.pressure", "");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.max", "max\n");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.high", "max\n");
	cr_assert_str_eq(find(), "/proc/pressure/memory");
}

Test(pressure, a_group_with_a_limit)
{
	host_v2("/system.slice/ringvisor.service");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.pressure", "");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.max", "max\n");
	put("/sys/fs/cgroup/system.slice/ringvisor.service/memory.high", "1073741824\n");
	cr_assert_str_eq(find(), "/sys/fs/cgroup/system.slice/ringvisor.service/memory.pressure");
}

Test(pressure, a_limit_further_up)
{
	host_v2("/vms/a/b");
	put("/sys/fs/cgroup/vms/a/b/memory.pressure", "");
	put("/sys/fs/cgroup/vms/a/b/memory.max", "max\n");
	put("/sys/fs/cgroup/vms/memory.pressure", "");
	put("/sys/fs/cgroup/vms/memory.max", "4096\n");
	cr_assert_str_eq(find(), "/sys/fs/cgroup/vms/memory.pressure");
}

static void host_hybrid(const char *memory_group, const char *unified_group)
{
	char lines[256];

	put("/proc/self/mountinfo",
		"30 1 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		"31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		"32 1 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	snprintf(lines, sizeof(lines), "5:cpu,cpuacct:/\n4:memory:%s\n0::%s\n", memory_group,
		unified_group);
	put("/proc/self/cgroup", lines);
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/vms/memory.limit_in_bytes", "536870912\n");
	put("/sys/fs/cgroup/memory/free/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/unified/vms/memory.pressure", "");
}

Test(pressure, hybrid_with_a_limit_of_version_1)
{
	host_hybrid("/vms/inner", "/vms");
	cr_assert_str_eq(find(), "/sys/fs/cgroup/unified/vms/memory.pressure");
}

Test(pressure, hybrid_without_a_limit)
{
	host_hybrid("/free", "/vms");
	cr_assert_str_eq(find(), "/proc/pressure/memory");
}

Test(pressure, hybrid_whose_other_half_is_the_root)
{
	host_hybrid("/vms", "/");
	cr_assert_str_eq(find(), "/proc/pressure/memory");
}

Test(pressure, parse)
{
	uint64_t total = 0;

	cr_assert(pressure_parse("some avg10=0.00 avg60=1.50 avg300=0.61 total=1234567\n"
				 "full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n",
		&total));
	cr_assert_eq(total, 1234567);
	cr_assert(pressure_parse("some total=0", &total) && total == 0);
	cr_assert_not(pressure_parse("", &total));
	cr_assert_not(pressure_parse("full avg10=0.00 total=99\n", &total));
	cr_assert_not(pressure_parse("some avg10=0.00\nfull total=99\n", &total));
	cr_assert_not(pressure_parse("some total=x\n", &total));
	cr_assert_not(pressure_parse("some total=99999999999999999999999\n", &total));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor that cannot be created: each error says what to do about it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/reactor.h"
#include "core/reactor_private.h"
#include "support/run_reactor.h"

static const struct reactor_params defaults = {.core = -1};

static void expect_error(const struct reactor_params *p, int err, const char *part)
{
	struct diag d = {"(no text)"};

	cr_assert_null(reactor_create(p, &d));
	cr_assert_eq(errno, -err, "errno %d: %s", errno, d.text);
	cr_assert(strstr(d.text, part), "%s", d.text);
	cr_assert_null(reactor_create(p, NULL));
}

/* For the rest of this process io_uring_setup fails with `err`, as under a container's filter. */
static void forbid_io_uring(int err)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)-err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(filter), filter};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(reactor_setup, a_seccomp_filter_is_named)
{
	forbid_io_uring(-EPERM);
	expect_error(&defaults, -EPERM, "seccomp");
}

Test(reactor_setup, no_io_uring_is_named)
{
	forbid_io_uring(-ENOSYS);
	expect_error(&defaults, -ENOSYS, "Linux 6.1");
}

Test(reactor_setup, an_old_kernel_is_named)
{
	forbid_io_uring(-EINVAL);
	expect_error(&defaults, -EINVAL, "needed is Linux 6.1");
}

Test(reactor_setup, the_memory_limit_is_named)
{
	struct rlimit limit = {1 << 20, 1 << 20};

	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	forbid_io_uring(-ENOMEM);
	expect_error(&defaults, -ENOMEM, "1024 KiB; raise it (ulimit -l");
}

Test(reactor_setup, any_other_error_is_told)
{
	forbid_io_uring(-EBADR);
	expect_error(&defaults, -EBADR, "io_uring_setup: Invalid request descriptor");
}

Test(reactor_setup, the_sysctl_is_named)
{
	struct diag d;

	cr_assert_eq(ring_explain(&d, -EPERM, 2), -EPERM);
	cr_assert(strstr(d.text, "kernel.io_uring_disabled = 2"), "%s", d.text);
	cr_assert(strstr(d.text, "sysctl -w kernel.io_uring_disabled=0"), "%s", d.text);
	cr_assert_eq(ring_explain(&d, -EPERM, 1), -EPERM);
	cr_assert(strstr(d.text, "kernel.io_uring_group"), "%s", d.text);
	cr_assert_eq(ring_explain(&d, -EPERM, -1), -EPERM);
	cr_assert(strstr(d.text, "seccomp"), "%s", d.text);
}

/* Lets the process open `more` further descriptors; returns the limit. */
static rlim_t allow_descriptors(unsigned int more)
{
	int lowest = dup(0);
	struct rlimit limit;

	cr_assert_geq(lowest, 0);
	close(lowest);
	limit.rlim_cur = limit.rlim_max = (rlim_t)lowest + more;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return limit.rlim_cur;
}

Test(reactor_setup, the_limit_of_open_files_is_named)
{
	char part[64];

	/* 0: no ring; 1: a ring, but no eventfd. */
	for (unsigned int more = 2; more-- > 0;) {
		snprintf(part, sizeof(part), "limit of open files is %llu; raise it (ulimit -n",
			(unsigned long long)allow_descriptors(more));
		expect_error(&defaults, -EMFILE, part);
	}
}

Test(reactor_setup, a_file_table_beyond_the_limit_is_made_smaller)
{
	struct reactor_params p = {.core = -1, .file_slots = 4096};

	allow_descriptors(4);
	reactor_destroy(run_reactor_create(&p));
}

Test(reactor_setup, failures_leave_no_descriptor)
{
	int before = dup(0), after;
	struct reactor_params bad = {.core = -1, .sq_entries = 3};

	close(before);
	expect_error(&bad, -EINVAL, "powers of two");
	reactor_destroy(run_reactor_create(NULL));
	after = dup(0);
	cr_assert_eq(before, after);
}

Test(reactor_setup, odd_rings_are_refused)
{
	expect_error(&(struct reactor_params){.core = -1, .sq_entries = 65536}, -EINVAL, "65536");
	expect_error(&(struct reactor_params){.core = -1, .sq_entries = 256, .cq_entries = 128},
		-EINVAL, "not smaller");
	expect_error(&(struct reactor_params){.core = -1, .cq_entries = 1000}, -EINVAL, "1000");
}

Test(reactor_setup, an_absent_core_is_named)
{
	expect_error(&(struct reactor_params){.core = 100000}, -EINVAL, "core 100000");
}

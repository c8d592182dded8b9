/* SPDX-License-Identifier: Apache-2.0 */
/* Making a reactor's ring: flags, probing, the file table, and errors that name their remedy. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/reactor_private.h"

#define SQ_ENTRIES_DEFAULT 256u
#define FILE_SLOTS_DEFAULT 1024u
#define SQ_ENTRIES_MAX     32768u /* the kernel's IORING_MAX_ENTRIES */
#define CQ_ENTRIES_MAX     65536u
#define SYSCTL_DISABLED    "/proc/sys/kernel/io_uring_disabled"

/* Everything that io_op.c and reactor_inbox.c submit. */
static const struct {
	uint8_t opcode;
	const char *name;
} needed_ops[] = {
	{IORING_OP_READ, "READ"},
	{IORING_OP_WRITE, "WRITE"},
	{IORING_OP_READV, "READV"},
	{IORING_OP_WRITEV, "WRITEV"},
	{IORING_OP_RECV, "RECV"},
	{IORING_OP_SEND, "SEND"},
	{IORING_OP_RECVMSG, "RECVMSG"},
	{IORING_OP_SENDMSG, "SENDMSG"},
	{IORING_OP_ACCEPT, "ACCEPT"},
	{IORING_OP_CONNECT, "CONNECT"},
	{IORING_OP_POLL_ADD, "POLL_ADD"},
	{IORING_OP_FALLOCATE, "FALLOCATE"},
	{IORING_OP_MADVISE, "MADVISE"},
	{IORING_OP_FSYNC, "FSYNC"},
	{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
	{IORING_OP_MSG_RING, "MSG_RING"},
};

static int sysctl_disabled(void)
{
	char text[16] = "";
	int fd = open(SYSCTL_DISABLED, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1; /* the sysctl came with Linux 6.6 */
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? atoi(text) : -1;
}

static const char *kernel_release(struct utsname *u)
{
	return uname(u) == 0 ? u->release : "?";
}

static unsigned long long limit_soft(__rlimit_resource_t which)
{
	struct rlimit limit = {0};

	getrlimit(which, &limit);
	return limit.rlim_cur;
}

static int explain_refusal(struct diag *d, int err, int disabled)
{
	if (disabled >= 2)
		return diag_fail(d, err,
			"io_uring is switched off by the sysctl kernel.io_uring_disabled = %d; "
			"switch it on: sysctl -w kernel.io_uring_disabled=0",
			disabled);
	if (disabled == 1)
		return diag_fail(d, err,
			"the sysctl kernel.io_uring_disabled = 1 leaves io_uring to the group "
			"kernel.io_uring_group and to root; join that group, or sysctl -w "
			"kernel.io_uring_disabled=0");
	return diag_errno(d, err,
		"io_uring_setup is refused, probably by a seccomp filter (of a container or a "
		"service manager); allow io_uring_setup, io_uring_enter and io_uring_register in "
		"its profile");
}

int ring_explain(struct diag *d, int err, int disabled)
{
	struct utsname u;

	switch (err) {
	case -EPERM:
	case -EACCES:
		return explain_refusal(d, err, disabled);
	case -ENOSYS:
		return diag_fail(d, err,
			"no io_uring: kernel %s was built without it, or a seccomp filter hides "
			"it; needed is Linux 6.1 or newer with CONFIG_IO_URING",
			kernel_release(&u));
	case -EINVAL:
		return diag_fail(d, err,
			"the io_uring of kernel %s is too old (no DEFER_TASKRUN); needed is Linux "
			"6.1 or newer",
			kernel_release(&u));
	case -ENOMEM:
		return diag_fail(d, err,
			"no memory for an io_uring: the limit of locked memory is %llu KiB; raise "
			"it (ulimit -l, LimitMEMLOCK=, limits.conf)",
			limit_soft(RLIMIT_MEMLOCK) >> 10);
	case -EMFILE:
		return diag_fail(d, err,
			"no descriptor left for an io_uring: the limit of open files is %llu; "
			"raise it (ulimit -n, LimitNOFILE=)",
			limit_soft(RLIMIT_NOFILE));
	default:
		return diag_errno(d, err, "io_uring_setup");
	}
}

static bool power_of_two(unsigned int x)
{
	return x > 0 && (x & (x - 1)) == 0;
}

static int ring_setup(
	struct reactor *r, unsigned int sq_entries, unsigned int cq_entries, struct diag *d)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED |
			 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG,
		.cq_entries = cq_entries,
	};
	int err;

	if (!power_of_two(sq_entries) || sq_entries > SQ_ENTRIES_MAX || !power_of_two(cq_entries) ||
		cq_entries > CQ_ENTRIES_MAX || cq_entries < sq_entries)
		return diag_fail(d, -EINVAL,
			"a ring of %u submissions and %u completions; both must be powers of two, "
			"at most %u and %u, and the second not smaller",
			sq_entries, cq_entries, SQ_ENTRIES_MAX, CQ_ENTRIES_MAX);
	err = io_uring_queue_init_params(sq_entries, &r->ring, &p);
	if (err < 0) {
		r->ring.ring_fd = -1;
		return ring_explain(d, err, sysctl_disabled());
	}
	/* Submission order is queue order: the indirection stays as it is set here. */
	for (unsigned int i = 0; r->ring.sq.array && i < p.sq_entries; i++)
		r->ring.sq.array[i] = i;
	r->enter_flags = p.features & RING_FEAT_NO_IOWAIT ? RING_ENTER_NO_IOWAIT : 0;
	return 0;
}

static int ring_probe(struct reactor *r, struct diag *d)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&r->ring);
	char missing[200] = "";
	struct utsname u;

	if (!probe)
		return diag_fail(d, -ENOSYS,
			"io_uring_register is refused (a seccomp filter?); allow it in its "
			"profile");
	for (size_t i = 0; i < ARRAY_SIZE(needed_ops); i++) {
		size_t len = strlen(missing);

		if (!io_uring_opcode_supported(probe, needed_ops[i].opcode))
			snprintf(missing + len, sizeof(missing) - len, " %s", needed_ops[i].name);
	}
	io_uring_free_probe(probe);
	if (missing[0] == '\0')
		return 0;
	return diag_fail(d, -ENOSYS,
		"the io_uring of kernel %s lacks the operations%s; needed is Linux 6.1 or newer",
		kernel_release(&u), missing);
}

/* The message cannot arrive, for the ring is still disabled: a kernel that knows the call says so
 * by -EBADFD, any other fails earlier. */
static bool msg_call_known(struct reactor *r)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_MSG_RING, .fd = r->ring.ring_fd, .addr = RING_MSG_DATA};

	return io_uring_register((unsigned int)-1, RING_REGISTER_SEND_MSG_RING, &sqe, 1) == -EBADFD;
}

/* Whether a file that is taken out of a table is let go at once. Before Linux 6.13 it is when every
 * operation has ended that was under way on any file of the table: with one that lasts, such as a
 * poll, nothing is closed any more. `ring` is one for this question, `end` both ends of a pipe. */
static bool lets_go(struct io_uring *ring, int end[2])
{
	const int none = -1;
	struct io_uring_sqe *sqe;
	char byte;

	if (io_uring_register_files(ring, end, 2))
		return false;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_poll_add(sqe, 0, POLLIN);
	sqe->flags |= IOSQE_FIXED_FILE;
	if (io_uring_submit(ring) != 1 || io_uring_register_files_update(ring, 1, &none, 1) != 1)
		return false;
	close(end[1]);
	end[1] = -1;
	return read(end[0], &byte, 1) == 0;
}

static bool table_lets_go(void)
{
	struct io_uring ring;
	bool known = false;
	int end[2];

	if (io_uring_queue_init(2, &ring, 0))
		return false;
	if (pipe2(end, O_CLOEXEC | O_NONBLOCK) == 0) {
		known = lets_go(&ring, end);
		close(end[0]);
		if (end[1] >= 0)
			close(end[1]);
	}
	io_uring_queue_exit(&ring);
	return known;
}

static int files_init(struct reactor *r, unsigned int slots, struct diag *d)
{
	unsigned long long limit = limit_soft(RLIMIT_NOFILE);
	int err;

	/* The kernel takes no table larger than RLIMIT_NOFILE; files beyond it go unregistered. */
	if (!table_lets_go())
		slots = 0;
	else if (slots > limit)
		slots = (unsigned int)limit;
	r->files.slots = slots;
	r->files.used = calloc((slots + 63) / 64 + 1, sizeof(uint64_t));
	if (!r->files.used)
		return diag_errno(d, -ENOMEM, "a table of %u files", slots);
	if (slots == 0)
		return 0;
	err = io_uring_register_files_sparse(&r->ring, slots);
	return err < 0 ? diag_errno(d, err, "a registered table of %u files", slots) : 0;
}

int ring_init(struct reactor *r, const struct reactor_params *p, struct diag *d)
{
	unsigned int sq_entries = p->sq_entries ? p->sq_entries : SQ_ENTRIES_DEFAULT;
	unsigned int cq_entries = p->cq_entries ? p->cq_entries : 8 * sq_entries;
	int err = ring_setup(r, sq_entries, cq_entries, d);

	if (err < 0)
		return err;
	err = ring_probe(r, d);
	if (err < 0)
		return err;
	err = files_init(r, p->file_slots ? p->file_slots : FILE_SLOTS_DEFAULT, d);
	if (err < 0)
		return err;
	r->msg_call = msg_call_known(r);
	r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake_fd < 0)
		return ring_explain(d, -errno, 0);
	return 0;
}

void ring_finish(struct reactor *r)
{
	if (r->wake_fd >= 0)
		close(r->wake_fd);
	if (r->ring.ring_fd >= 0)
		io_uring_queue_exit(&r->ring);
	free(r->files.used);
	free(r->backlog.cqes);
}

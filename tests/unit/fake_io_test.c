/* SPDX-License-Identifier: Apache-2.0 */
/* The fake reactor keeps the real one's promises, and misbehaves only as it is told to. */
#include "support/fake_io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"

#define OPS 32u

/* Ops that note how they ended, and in which order. */
struct noted {
	struct io_op op;
	struct notes *all;
	int res;
	unsigned int ends, more;
	uint64_t value;
};

struct notes {
	struct reactor *r;
	struct noted ops[OPS];
	unsigned int order[OPS], ended;
};

static void noted_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct noted *n = container_of(op, struct noted, op);

	n->res = res;
	if (cqe_flags & IO_MORE) {
		cr_assert(op->in_flight);
		n->more++;
		return;
	}
	cr_assert_not(op->in_flight);
	n->ends++;
	n->all->order[n->all->ended++ % OPS] = (unsigned int)(n - n->all->ops);
}

static void notes_init(struct notes *all, uint64_t seed)
{
	memset(all, 0, sizeof(*all));
	all->r = fake_io_create(seed);
	for (unsigned int i = 0; i < OPS; i++)
		all->ops[i] = (struct noted){.op.done = noted_done, .all = all, .value = i};
}

static void pair_open(struct reactor *r, struct io_file *a, struct io_file *b)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	io_file_open(r, a, fds[0]);
	io_file_open(r, b, fds[1]);
}

Test(fake_io, sends_and_receives_when_it_is_run)
{
	struct notes n;
	struct io_file a, b;
	char buf[16];

	notes_init(&n, 1);
	pair_open(n.r, &a, &b);
	io_recv(n.r, &n.ops[0].op, &b, buf, sizeof(buf), 0);
	cr_assert_eq(fake_io_run(n.r), 0);
	cr_assert_eq(fake_io_in_flight(n.r, b.fd), 1);
	io_send(n.r, &n.ops[1].op, &a, "hello", 5, 0);
	cr_assert_eq(n.ops[1].ends, 0);
	cr_assert_eq(fake_io_in_flight(n.r, -1), 2);
	cr_assert_eq(fake_io_run(n.r), 2);
	cr_assert_eq(n.ops[0].res, 5);
	cr_assert_eq(n.ops[1].res, 5);
	cr_assert_arr_eq(buf, "hello", 5);
	cr_assert_eq(fake_io_in_flight(n.r, -1), 0);
	io_file_close(n.r, &a);
	io_file_close(n.r, &b);
	fake_io_destroy(n.r);
}

/* A file's vectors may change once the turn is over. */
Test(fake_io, reads_vectors_at_the_end_of_the_turn)
{
	struct notes n;
	struct io_file f;
	char buf[4] = "";
	struct iovec iov[2] = {{"ab", 2}, {"cd", 2}};

	notes_init(&n, 1);
	io_file_open(n.r, &f, memfd_create("fake", MFD_CLOEXEC));
	fake_io_hold(n.r, f.fd, true);
	io_writev(n.r, &n.ops[0].op, &f, iov, 2, 3);
	cr_assert_eq(fake_io_run(n.r), 0);
	memset(iov, 0, sizeof(iov));
	fake_io_hold(n.r, f.fd, false);
	cr_assert_eq(fake_io_run(n.r), 1);
	cr_assert_eq(n.ops[0].res, 4);
	io_read(n.r, &n.ops[1].op, &f, buf, 4, 3);
	fake_io_run(n.r);
	cr_assert_arr_eq(buf, "abcd", 4);
	io_fallocate(n.r, &n.ops[2].op, &f, 0, 0, 8192);
	io_fsync(n.r, &n.ops[3].op, &f, false);
	fake_io_run(n.r);
	cr_assert_eq(n.ops[2].res, 0);
	cr_assert_eq(n.ops[3].res, 0);
	cr_assert_eq(lseek(f.fd, 0, SEEK_END), 8192);
	io_file_close(n.r, &f);
	fake_io_destroy(n.r);
}

static void order_of(uint64_t seed, unsigned int order[OPS])
{
	struct notes n;
	struct io_file f;

	notes_init(&n, seed);
	io_file_open(n.r, &f, eventfd(0, EFD_CLOEXEC));
	for (unsigned int i = 0; i < OPS; i++)
		io_write(n.r, &n.ops[i].op, &f, &n.ops[i].value, 8, -1ull);
	cr_assert_eq(fake_io_run(n.r), OPS);
	memcpy(order, n.order, sizeof(n.order));
	io_file_close(n.r, &f);
	fake_io_destroy(n.r);
}

Test(fake_io, the_seed_draws_the_order)
{
	unsigned int first[OPS], again[OPS], other[OPS], seen = 0;

	order_of(7, first);
	order_of(7, again);
	order_of(8, other);
	cr_assert_arr_eq(first, again, sizeof(first));
	cr_assert_arr_neq(first, other, sizeof(first));
	for (unsigned int i = 0; i < OPS; i++)
		seen |= 1u << first[i];
	cr_assert_eq(seen, UINT32_MAX);
}

Test(fake_io, transfers_fall_short_and_fail_as_told)
{
	const struct fake_io_faults shorts = {.short_percent = 100};
	const struct fake_io_faults errors = {.error_percent = 100, .error = -EIO};
	struct notes n;
	struct io_file f;
	char buf[100] = "";

	notes_init(&n, 1);
	io_file_open(n.r, &f, memfd_create("fake", MFD_CLOEXEC));
	fake_io_set_faults(n.r, &shorts);
	io_write(n.r, &n.ops[0].op, &f, buf, sizeof(buf), 0);
	fake_io_run(n.r);
	cr_assert_geq(n.ops[0].res, 1);
	cr_assert_lt(n.ops[0].res, 100);
	cr_assert_eq(lseek(f.fd, 0, SEEK_END), n.ops[0].res);
	fake_io_set_faults(n.r, &errors);
	io_write(n.r, &n.ops[1].op, &f, buf, sizeof(buf), 500);
	fake_io_run(n.r);
	cr_assert_eq(n.ops[1].res, -EIO);
	fake_io_set_faults(n.r, &(struct fake_io_faults){0});
	fake_io_fail_next(n.r, f.fd, -ENOSPC);
	for (unsigned int i = 2; i < 4; i++) {
		io_write(n.r, &n.ops[i].op, &f, buf, 10, 0);
		fake_io_run(n.r);
	}
	cr_assert_eq(n.ops[2].res, -ENOSPC);
	cr_assert_eq(n.ops[3].res, 10);
	cr_assert_lt(lseek(f.fd, 0, SEEK_END), 500);
	io_file_close(n.r, &f);
	fake_io_destroy(n.r);
}

Test(fake_io, polls_an_eventfd_once_a_write)
{
	const struct fake_io_faults ends = {.end_percent = 100};
	struct notes n;
	struct io_file f;

	notes_init(&n, 1);
	io_file_open(n.r, &f, eventfd(0, EFD_CLOEXEC));
	io_poll(n.r, &n.ops[0].op, &f, POLLIN);
	cr_assert_eq(fake_io_run(n.r), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		eventfd_write(f.fd, 1);
		cr_assert_eq(fake_io_run(n.r), 1);
		cr_assert_eq(fake_io_run(n.r), 0);
		cr_assert_eq(n.ops[0].more, i);
		cr_assert_eq(n.ops[0].res, POLLIN);
	}
	fake_io_set_faults(n.r, &ends);
	eventfd_write(f.fd, 1);
	cr_assert_eq(fake_io_run(n.r), 1);
	cr_assert_eq(n.ops[0].ends, 1);
	io_poll(n.r, &n.ops[0].op, &f, POLLIN); /* readable as it is */
	cr_assert_eq(fake_io_run(n.r), 1);
	io_file_close(n.r, &f);
	fake_io_destroy(n.r);
}

Test(fake_io, accepts_connects_and_cancels)
{
	struct notes n;
	struct io_file listener, client;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	notes_init(&n, 1);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	io_file_open(n.r, &client, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	io_connect(n.r, &n.ops[1].op, &client, (struct sockaddr *)&addr, len);
	fake_io_run(n.r);
	cr_assert_eq(n.ops[1].res, -ECONNREFUSED);
	cr_assert_eq(listen(fd, 4), 0);
	io_file_open(n.r, &listener, fd);
	io_accept(n.r, &n.ops[0].op, &listener);
	io_connect(n.r, &n.ops[1].op, &client, (struct sockaddr *)&addr, len);
	cr_assert_eq(fake_io_run(n.r), 2);
	cr_assert_eq(n.ops[1].res, 0);
	cr_assert_eq(n.ops[0].more, 1);
	cr_assert(fcntl(n.ops[0].res, F_GETFD) & FD_CLOEXEC);
	close(n.ops[0].res);
	io_cancel(n.r, &n.ops[0].op);
	io_cancel(n.r, &n.ops[1].op); /* not in flight */
	cr_assert_eq(n.ops[0].ends, 0);
	cr_assert_eq(fake_io_run(n.r), 1);
	cr_assert_eq(n.ops[0].ends, 1);
	cr_assert_eq(n.ops[0].res, -ECANCELED);
	io_file_close(n.r, &client);
	io_file_close(n.r, &listener);
	fake_io_destroy(n.r);
}

struct day {
	struct reactor *r;
	struct reactor_timer early, late;
	struct reactor_task task, hook;
	struct reactor_msg msg;
	struct reactor_job job;
	uint64_t early_ns, late_ns;
	unsigned int tasks, hooks, messages, worked, jobs;
};

static void early_fired(struct reactor_timer *t)
{
	struct day *d = container_of(t, struct day, early);

	d->early_ns = reactor_now_ns(d->r);
	reactor_defer(d->r, &d->task);
}

static void late_fired(struct reactor_timer *t)
{
	struct day *d = container_of(t, struct day, late);

	cr_assert_eq(d->tasks, 3); /* of `early`, in its own time */
	d->late_ns = reactor_now_ns(d->r);
}

static bool task_run(struct reactor_task *t)
{
	struct day *d = container_of(t, struct day, task);

	reactor_at_turn_end(d->r, &d->hook);
	return ++d->tasks < 3;
}

static bool hook_run(struct reactor_task *t)
{
	struct day *d = container_of(t, struct day, hook);

	cr_assert_eq(++d->hooks, d->tasks);
	return true;
}

static void msg_run(struct reactor_msg *m)
{
	container_of(m, struct day, msg)->messages++;
}

static void job_work(struct reactor_job *j)
{
	cr_assert_null(reactor_current());
	container_of(j, struct day, job)->worked++;
}

static void job_done(struct reactor_job *j)
{
	struct day *d = container_of(j, struct day, job);

	cr_assert_eq(reactor_current(), d->r);
	d->jobs++;
}

Test(fake_io, time_passes_only_when_told)
{
	struct day d = {.r = fake_io_create(3), .msg.run = msg_run};
	uint64_t start_ns = reactor_now_ns(d.r);

	d.job = (struct reactor_job){.work = job_work, .done = job_done};
	reactor_timer_init(&d.early, early_fired);
	reactor_timer_init(&d.late, late_fired);
	reactor_task_init(&d.task, task_run);
	reactor_task_init(&d.hook, hook_run);
	reactor_timer_start(d.r, &d.late, 5000);
	reactor_timer_start(d.r, &d.early, 2000);
	reactor_post(d.r, &d.msg);
	reactor_offload(d.r, &d.job);
	cr_assert_eq(fake_io_in_flight(d.r, -1), 1);
	fake_io_run(d.r);
	cr_assert_eq(d.messages, 1);
	cr_assert_eq(d.worked, 1);
	cr_assert_eq(d.jobs, 1);
	cr_assert_eq(d.early_ns, 0);
	fake_io_advance_ns(d.r, 1999);
	cr_assert_eq(d.early_ns, 0);
	fake_io_advance_ns(d.r, 10000);
	cr_assert_eq(d.early_ns, start_ns + 2000);
	cr_assert_eq(d.late_ns, start_ns + 5000);
	cr_assert_eq(d.hooks, 3);
	cr_assert_eq(reactor_now_ns(d.r), start_ns + 11999);
	fake_io_destroy(d.r);
}

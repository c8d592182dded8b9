/* SPDX-License-Identifier: Apache-2.0 */
/* Every verb of io_op.h on a real ring. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"
#include "core/reactor.h"
#include "support/run_reactor.h"

/* A test is a list of steps; the completion of one starts the next. */
struct script {
	struct reactor *r;
	struct io_op op;
	struct io_file f, g;
	void (*const *steps)(struct script *s, int res);
	unsigned int at;
	char buf[64];
	struct iovec iov[2];
	struct msghdr msg;
};

static void script_next(struct script *s, int res)
{
	if (s->steps[s->at]) {
		s->steps[s->at++](s, res);
		return;
	}
	io_file_close(s->r, &s->f);
	io_file_close(s->r, &s->g);
	reactor_stop(s->r);
}

static void script_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct script *s = container_of(op, struct script, op);

	cr_assert_not(op->in_flight);
	cr_assert_eq(cqe_flags & IO_MORE, 0);
	script_next(s, res);
}

static void script_start(struct reactor *r, void *ctx)
{
	struct script *s = ctx;

	s->r = r;
	s->op.done = script_done;
	s->f = s->g = IO_FILE_NONE;
	script_next(s, 0);
	cr_assert(s->op.in_flight); /* never inside the verb */
}

static void script_run(void (*const *steps)(struct script *, int), unsigned int file_slots)
{
	struct reactor_params p = {.core = -1, .file_slots = file_slots};
	struct script s = {.steps = steps};

	run_reactor(&p, script_start, &s, NULL);
	cr_assert_null(steps[s.at]);
	cr_assert_eq(s.f.fd, -1);
}

static void file_open(struct script *s, int res)
{
	(void)res;
	io_file_open(s->r, &s->f, memfd_create("io", MFD_CLOEXEC));
	cr_assert_geq(s->f.fd, 0);
	io_write(s->r, &s->op, &s->f, "hello, world", 12, 100);
}

static void file_written(struct script *s, int res)
{
	cr_assert_eq(res, 12);
	io_read(s->r, &s->op, &s->f, s->buf, 5, 107);
}

static void file_read(struct script *s, int res)
{
	cr_assert_eq(res, 5);
	cr_assert_arr_eq(s->buf, "world", 5);
	s->iov[0] = (struct iovec){"ab", 2};
	s->iov[1] = (struct iovec){"cde", 3};
	io_writev(s->r, &s->op, &s->f, s->iov, 2, 0);
}

static void file_written_vector(struct script *s, int res)
{
	cr_assert_eq(res, 5);
	s->iov[0] = (struct iovec){s->buf, 1};
	s->iov[1] = (struct iovec){s->buf + 10, 3};
	io_readv(s->r, &s->op, &s->f, s->iov, 2, 1);
}

static void file_read_vector(struct script *s, int res)
{
	cr_assert_eq(res, 4);
	cr_assert_eq(s->buf[0], 'b');
	cr_assert_arr_eq(s->buf + 10, "cde", 3);
	io_fsync(s->r, &s->op, &s->f, true);
}

static void file_synced(struct script *s, int res)
{
	cr_assert_eq(res, 0);
	io_fallocate(s->r, &s->op, &s->f, 0, 5ull << 30, 4096);
}

static void file_allocated(struct script *s, int res)
{
	struct stat st;

	cr_assert_eq(res, 0);
	cr_assert_eq(fstat(s->f.fd, &st), 0);
	cr_assert_eq(st.st_size, (5ll << 30) + 4096);
	io_read(s->r, &s->op, &s->f, s->buf, 8, (5ull << 30) + 4096);
}

static void file_at_end(struct script *s, int res)
{
	cr_assert_eq(res, 0);
	io_fallocate(s->r, &s->op, &s->f, 0, 0, 0);
}

static void file_refused(struct script *s, int res)
{
	cr_assert_eq(res, -EINVAL);
	script_next(s, 0);
}

static void (*const file_steps[])(struct script *, int) = {file_open, file_written, file_read,
	file_written_vector, file_read_vector, file_synced, file_allocated, file_at_end,
	file_refused, NULL};

Test(reactor_io, reads_and_writes_a_file)
{
	script_run(file_steps, 0);
}

static void socket_open(struct script *s, int res)
{
	int pair[2];

	(void)res;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	io_file_open(s->r, &s->f, pair[0]);
	io_file_open(s->r, &s->g, pair[1]);
	io_send(s->r, &s->op, &s->f, "ping", 4, 0);
}

static void socket_sent(struct script *s, int res)
{
	cr_assert_eq(res, 4);
	io_recv(s->r, &s->op, &s->g, s->buf, sizeof(s->buf), 0);
}

static void socket_received(struct script *s, int res)
{
	cr_assert_eq(res, 4);
	cr_assert_arr_eq(s->buf, "ping", 4);
	s->iov[0] = (struct iovec){"po", 2};
	s->iov[1] = (struct iovec){"ng", 2};
	s->msg = (struct msghdr){.msg_iov = s->iov, .msg_iovlen = 2};
	io_sendmsg(s->r, &s->op, &s->g, &s->msg, 0);
}

static void socket_sent_message(struct script *s, int res)
{
	cr_assert_eq(res, 4);
	s->iov[0] = (struct iovec){s->buf, 3};
	s->iov[1] = (struct iovec){s->buf + 3, 1};
	io_recvmsg(s->r, &s->op, &s->f, &s->msg, 0);
}

static void socket_received_message(struct script *s, int res)
{
	cr_assert_eq(res, 4);
	cr_assert_arr_eq(s->buf, "pong", 4);
	io_file_close(s->r, &s->g);
	io_send(s->r, &s->op, &s->f, "x", 1, 0);
}

/* An error, not a signal. */
static void socket_refused(struct script *s, int res)
{
	cr_assert_eq(res, -EPIPE);
	io_recv(s->r, &s->op, &s->f, s->buf, 1, 0);
}

static void socket_at_end(struct script *s, int res)
{
	cr_assert_eq(res, 0);
	script_next(s, 0);
}

static void (*const socket_steps[])(struct script *, int) = {socket_open, socket_sent,
	socket_received, socket_sent_message, socket_received_message, socket_refused,
	socket_at_end, NULL};

Test(reactor_io, sends_and_receives)
{
	script_run(socket_steps, 0);
}

Test(reactor_io, files_that_do_not_fit_the_table_work_as_well)
{
	script_run(socket_steps, 1);
	script_run(file_steps, 1);
}

static void memory_drop(struct script *s, int res)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)res;
	cr_assert_neq(page, MAP_FAILED);
	page[7] = 'x';
	s->iov[0].iov_base = page;
	io_madvise(s->r, &s->op, page, 4096, MADV_DONTNEED);
}

static void memory_dropped(struct script *s, int res)
{
	char *page = s->iov[0].iov_base;

	cr_assert_eq(res, 0);
	cr_assert_eq(page[7], 0);
	munmap(page, 4096);
	script_next(s, 0);
}

static void (*const memory_steps[])(struct script *, int) = {memory_drop, memory_dropped, NULL};

Test(reactor_io, advises_on_memory)
{
	script_run(memory_steps, 0);
}

#define CLIENTS 3u

struct server {
	struct reactor *r;
	struct sockaddr_un addr;
	struct io_op accept;
	struct io_file listener;
	struct client {
		struct io_op op;
		struct io_file f;
		struct server *server;
	} clients[CLIENTS];
	unsigned int accepted, connected;
	bool cancelled;
};

static void server_check(struct server *s)
{
	if (s->accepted == CLIENTS && s->connected == CLIENTS)
		io_cancel(s->r, &s->accept);
}

static void server_accepted(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct server *s = container_of(op, struct server, accept);

	if (cqe_flags & IO_MORE) {
		cr_assert(op->in_flight);
		cr_assert_geq(res, 0);
		cr_assert(fcntl(res, F_GETFD) & FD_CLOEXEC);
		close(res);
		s->accepted++;
		server_check(s);
		return;
	}
	cr_assert_eq(res, -ECANCELED);
	cr_assert_not(op->in_flight);
	s->cancelled = true;
	io_cancel(s->r, op); /* harmless */
	for (unsigned int i = 0; i < CLIENTS; i++)
		io_file_close(s->r, &s->clients[i].f);
	io_file_close(s->r, &s->listener);
	reactor_stop(s->r);
}

static void client_connected(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct client *c = container_of(op, struct client, op);

	(void)cqe_flags;
	cr_assert_eq(res, 0);
	c->server->connected++;
	server_check(c->server);
}

static void start_server(struct reactor *r, void *ctx)
{
	struct server *s = ctx;
	socklen_t len = sizeof(s->addr);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	s->r = r;
	s->addr.sun_family = AF_UNIX;
	/* Linux picks a free abstract name. */
	cr_assert_eq(bind(fd, (struct sockaddr *)&s->addr, sizeof(sa_family_t)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&s->addr, &len), 0);
	cr_assert_eq(listen(fd, 8), 0);
	io_file_open(r, &s->listener, fd);
	s->accept.done = server_accepted;
	io_accept(r, &s->accept, &s->listener);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &s->clients[i];

		c->server = s;
		c->op.done = client_connected;
		io_file_open(r, &c->f, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
		io_connect(r, &c->op, &c->f, (struct sockaddr *)&s->addr, len);
	}
}

Test(reactor_io, accepts_many_and_cancels)
{
	struct server s = {0};

	run_reactor(NULL, start_server, &s, NULL);
	cr_assert(s.cancelled);
	cr_assert_eq(s.accepted, CLIENTS);
}

#define KICKS 20u

struct kicked {
	struct reactor *r;
	struct io_op poll;
	struct io_file f;
	struct reactor_timer idle;
	unsigned int kicks;
	bool quiet, over;
};

static void kick(struct kicked *k)
{
	cr_assert_eq(eventfd_write(k->f.fd, 1), 0);
}

static void kicked_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct kicked *k = container_of(op, struct kicked, poll);

	if (!(cqe_flags & IO_MORE)) {
		cr_assert_eq(res, -ECANCELED);
		k->over = true;
		io_file_close(k->r, &k->f);
		reactor_stop(k->r);
		return;
	}
	cr_assert(res & POLLIN);
	cr_assert_not(k->quiet);
	if (++k->kicks < KICKS) {
		kick(k);
		return;
	}
	/* Nobody writes from here on: readable as it is, it must be silent. */
	k->quiet = true;
	reactor_timer_start(k->r, &k->idle, 10000000);
}

static void kicked_idle(struct reactor_timer *t)
{
	struct kicked *k = container_of(t, struct kicked, idle);

	io_cancel(k->r, &k->poll);
}

static void start_kicked(struct reactor *r, void *ctx)
{
	struct kicked *k = ctx;

	k->r = r;
	k->poll.done = kicked_done;
	reactor_timer_init(&k->idle, kicked_idle);
	io_file_open(r, &k->f, eventfd(0, EFD_CLOEXEC));
	io_poll(r, &k->poll, &k->f, POLLIN);
	kick(k);
}

Test(reactor_io, polls_an_eventfd_once_a_write_and_does_not_spin)
{
	struct kicked k = {0};
	struct reactor_stats stats;

	run_reactor(NULL, start_kicked, &k, &stats);
	cr_assert_eq(k.kicks, KICKS);
	cr_assert(k.over);
	cr_assert_lt(stats.turns, 3 * KICKS);
}

/* --- signals --- */

static void event_signalled(struct script *s, int res)
{
	(void)res;
	io_file_open(s->r, &s->f, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	cr_assert_geq(s->f.fd, 0);
	for (unsigned int i = 0; i < 3; i++)
		io_signal(s->r, &s->f);
	io_nop(s->r, &s->op);
}

static void event_read(struct script *s, int res)
{
	uint64_t count = 0;
	struct reactor_stats stats;

	cr_assert_eq(res, 0);
	cr_assert_eq(read(s->f.fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(count, 3, "all that was signalled before the nop");
	reactor_stats_read(s->r, &stats);
	cr_assert_eq(stats.cqes, 1, "signals have no completion");
	io_nop(s->r, &s->op);
}

static void event_end(struct script *s, int res)
{
	cr_assert_eq(res, 0);
	script_next(s, 0);
}

static void (*const event_steps[])(struct script *, int) = {
	event_signalled, event_read, event_end, NULL};

Test(reactor_io, signals_an_eventfd_without_a_completion)
{
	script_run(event_steps, 8);
	script_run(event_steps, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One poll loop with a buffer each way; a side that does not take its bytes only stops its own. */
#include "rpc/ringctl/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/ringctl/tty.h"

/* As much as a pipe that polls writable takes without blocking (PIPE_BUF). */
#define CHUNK 4096

struct buffer {
	char bytes[CHUNK + 1];
	size_t at, len;
};

struct relay {
	int stream;
	const struct relay_daemon *daemon; /* NULL: gone */
	enum relay_kind kind;
	bool escapes;
	bool input_open;  /* standard input may have more */
	bool output_open; /* the guest may have more */
	bool told;        /* the guest knows that there is no more input */
	bool lost;        /* it has not taken all of it */
	struct tty_escape escape;
	struct buffer to_guest, to_person;
};

enum { INPUT, OUTPUT, STREAM, DAEMON, FDS };

enum step { GO_ON = -1 }; /* or an enum relay_end */

static bool empty(const struct buffer *b)
{
	return b->at == b->len;
}

/* A descriptor that is not waited for is -1: poll passes it over. */
static void relay_prepare(const struct relay *r, struct pollfd *p)
{
	bool read_input = r->input_open && empty(&r->to_guest);

	p[INPUT] = (struct pollfd){.fd = read_input ? STDIN_FILENO : -1, .events = POLLIN};
	p[OUTPUT] =
		(struct pollfd){.fd = empty(&r->to_person) ? -1 : STDOUT_FILENO, .events = POLLOUT};
	p[STREAM] = (struct pollfd){.fd = r->stream};
	if (empty(&r->to_person) && r->output_open)
		p[STREAM].events |= POLLIN;
	if (!empty(&r->to_guest))
		p[STREAM].events |= POLLOUT;
	/* A hang-up is always told; it is wanted when all that came before it is read. */
	if (!p[STREAM].events && (r->output_open || !empty(&r->to_person)))
		p[STREAM].fd = -1;
	p[DAEMON] = (struct pollfd){.fd = r->daemon ? r->daemon->fd : -1, .events = POLLIN};
}

static int relay_read_input(struct relay *r)
{
	char typed[CHUNK];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	bool leave = false;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return GO_ON;
	if (n <= 0) {
		r->input_open = false;
		return GO_ON;
	}
	r->to_guest.at = 0;
	if (r->escapes) {
		leave = tty_escape_feed(&r->escape, typed, n, r->to_guest.bytes, &r->to_guest.len);
	} else {
		r->to_guest.len = n;
		for (ssize_t i = 0; i < n; i++)
			r->to_guest.bytes[i] = typed[i];
	}
	return leave ? RELAY_LEFT : GO_ON;
}

static int relay_write_output(struct relay *r)
{
	struct buffer *b = &r->to_person;
	ssize_t n = write(STDOUT_FILENO, b->bytes + b->at, b->len - b->at);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? GO_ON : RELAY_OUTPUT_FAILED;
	b->at += n;
	return GO_ON;
}

/* Whoever reads what the guest said learns that it was all. What takes the place of standard output
 * takes no more, but is no other file that is opened later. */
static void relay_end_output(const struct relay *r)
{
	int fd;

	if (r->kind != RELAY_SOCKET || isatty(STDOUT_FILENO))
		return;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		dup2(fd, STDOUT_FILENO);
	if (fd >= 0)
		close(fd);
}

static int relay_read_stream(struct relay *r)
{
	ssize_t n = recv(r->stream, r->to_person.bytes, CHUNK, MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return GO_ON;
	if (n <= 0) {
		r->output_open = false;
		relay_end_output(r);
		return GO_ON;
	}
	r->to_person.at = 0;
	r->to_person.len = n;
	return GO_ON;
}

/* A stream that takes nothing any more is found out by reading it to its end. */
static void relay_write_stream(struct relay *r)
{
	struct buffer *b = &r->to_guest;
	ssize_t n = send(r->stream, b->bytes + b->at, b->len - b->at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0) {
		b->at += n;
	} else if (errno != EINTR && errno != EAGAIN) {
		b->at = b->len;
		r->lost = true;
		r->input_open = r->input_open && r->kind == RELAY_CONSOLE;
	}
}

/* Behind the last of the input. */
static void relay_tell_end(struct relay *r)
{
	if (r->kind != RELAY_SOCKET || r->told || r->input_open || !empty(&r->to_guest))
		return;
	shutdown(r->stream, SHUT_WR);
	r->told = true;
}

/* The guest has hung up: was there more to say? What is read for that is of no use any more. */
static bool relay_input_waits(const struct relay *r)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	char byte;

	if (!empty(&r->to_guest))
		return true;
	return r->input_open && !r->escapes && poll(&p, 1, 0) > 0 &&
	       read(STDIN_FILENO, &byte, 1) == 1;
}

/* Whether all is said that will be. */
static int relay_over(const struct relay *r, bool hung_up)
{
	if (r->output_open || !empty(&r->to_person))
		return GO_ON;
	if (r->kind == RELAY_CONSOLE)
		return RELAY_STREAM_ENDED;
	if (r->lost || (hung_up && relay_input_waits(r)))
		return RELAY_INPUT_LOST;
	return r->told || hung_up ? RELAY_STREAM_ENDED : GO_ON;
}

/* The stream ends with the daemon, but what it still holds comes first: it was asked for more just
 * now, and had none. */
static bool relay_is_dry(const struct relay *r, const struct pollfd *stream)
{
	if (!empty(&r->to_person))
		return false;
	return !r->output_open || ((stream->events & POLLIN) && !(stream->revents & POLLIN));
}

static int relay_step(struct relay *r, const struct pollfd *p)
{
	int end = GO_ON;

	if (p[OUTPUT].revents)
		end = relay_write_output(r);
	if (end == GO_ON && (p[STREAM].revents & POLLOUT))
		relay_write_stream(r);
	if (end == GO_ON && p[INPUT].revents)
		end = relay_read_input(r);
	if (end == GO_ON && p[STREAM].revents && empty(&r->to_person) && r->output_open)
		end = relay_read_stream(r);
	relay_tell_end(r);
	if (end == GO_ON)
		end = relay_over(r, p[STREAM].revents & POLLHUP);
	if (p[DAEMON].revents && r->daemon && !r->daemon->alive(r->daemon->ctx))
		r->daemon = NULL;
	if (end == GO_ON && !r->daemon && relay_is_dry(r, &p[STREAM]))
		end = RELAY_DAEMON_GONE;
	return end;
}

enum relay_end relay_run(
	int stream_fd, const struct relay_daemon *daemon, enum relay_kind kind, bool escapes)
{
	struct relay r = {
		.stream = stream_fd,
		.daemon = daemon,
		.kind = kind,
		.escapes = escapes,
		.input_open = true,
		.output_open = true,
	};
	struct pollfd p[FDS];
	int end = GO_ON;

	while (end == GO_ON) {
		relay_prepare(&r, p);
		/* Behind the daemon's end only the person is waited for. */
		if (poll(p, FDS, r.daemon || !empty(&r.to_person) ? -1 : 0) < 0 && errno != EINTR)
			return RELAY_OUTPUT_FAILED;
		end = relay_step(&r, p);
	}
	/* What was typed before the escape still goes out, as far as it is taken. */
	if (end == RELAY_LEFT && !empty(&r.to_guest))
		relay_write_stream(&r);
	return end;
}

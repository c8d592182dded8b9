/* SPDX-License-Identifier: Apache-2.0 */
/* Watching and reading the memory pressure of the host or of a cgroup. */
#include "rpc/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"

/* A tenth of a second of waiting within two seconds; a window that needs no privilege. */
#define TRIGGER "some 100000 2000000"

bool pressure_parse(const char *text, uint64_t *total_us)
{
	const char *total;
	char *end;

	if (strncmp(text, "some ", 5) != 0)
		return false;
	total = strstr(text, " total=");
	if (!total || total > strchrnul(text, '\n'))
		return false;
	errno = 0;
	*total_us = strtoull(total + 7, &end, 10);
	return !errno && end > total + 7 && (*end == '\n' || !*end);
}

static void poll_done(struct io_op *op, int res, uint32_t flags)
{
	struct pressure *p = container_of(op, struct pressure, poll_op);

	if (p->ending) {
		if (!(flags & IO_MORE))
			pressure_end(p);
		return;
	}
	/* A cgroup that is removed ends its trigger: then nothing comes any more. */
	if (res < 0 || res & POLLERR) {
		if (flags & IO_MORE)
			io_cancel(p->reactor, op);
		return;
	}
	if (!(flags & IO_MORE))
		io_poll(p->reactor, op, &p->trigger, POLLPRI);
	p->rose(p);
}

static void read_done(struct io_op *op, int res, uint32_t flags)
{
	struct pressure *p = container_of(op, struct pressure, read_op);
	uint64_t total_us = 0;

	(void)flags;
	if (p->ending) {
		pressure_end(p);
		return;
	}
	if (res >= 0) {
		p->text[res] = '\0';
		res = pressure_parse(p->text, &total_us) ? 0 : -EPROTO;
	}
	p->said(p, res, total_us);
}

static int trigger_set(struct pressure *p, struct diag *d)
{
	if (write(p->trigger.fd, TRIGGER, sizeof(TRIGGER)) == (ssize_t)sizeof(TRIGGER))
		return 0;
	return diag_errno(d, -errno,
		"%s: no trigger for memory pressure (it takes Linux 6.5, or CAP_SYS_RESOURCE)",
		p->path);
}

int pressure_open(struct pressure *p, const char *path, struct diag *d)
{
	snprintf(p->path, sizeof(p->path), "%s", path);
	p->poll_op = (struct io_op){.done = poll_done};
	p->read_op = (struct io_op){.done = read_done};
	p->ending = false;
	p->reactor = NULL;
	p->trigger = p->file = IO_FILE_NONE;
	p->trigger.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (p->trigger.fd < 0)
		return diag_errno(d, -errno,
			"%s: cannot watch the memory pressure (the daemon has to be allowed to "
			"write there: not with ProtectControlGroups=)",
			path);
	p->file.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->file.fd < 0)
		return diag_errno(d, -errno, "%s", path);
	return trigger_set(p, d);
}

void pressure_start(struct pressure *p, struct reactor *r)
{
	p->reactor = r;
	io_poll(r, &p->poll_op, &p->trigger, POLLPRI);
}

void pressure_read(struct pressure *p)
{
	if (!p->read_op.in_flight && !p->ending)
		io_read(p->reactor, &p->read_op, &p->file, p->text, sizeof(p->text) - 1, 0);
}

static void file_close(struct io_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	*f = IO_FILE_NONE;
}

void pressure_end(struct pressure *p)
{
	if (!p->ending && p->reactor) {
		p->ending = true;
		io_cancel(p->reactor, &p->poll_op);
		io_cancel(p->reactor, &p->read_op);
	}
	if (p->poll_op.in_flight || p->read_op.in_flight)
		return;
	file_close(&p->trigger);
	file_close(&p->file);
	if (p->ended)
		p->ended(p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Selecting, loading and attaching BPF programs. */
#include "trace/session.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "trace/threads.h"

#define PROVIDER "ringvisor"

void notes_add(struct trace_notes *n, const char *fmt, ...)
{
	va_list ap;

	if (n->count == TRACE_NOTES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(n->text[n->count++], DIAG_TEXT_MAX, fmt, ap);
	va_end(ap);
}

/* libbpf says why something failed only by printing: its last warning is kept. */
static char last_words[DIAG_TEXT_MAX];

static int keep_words(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	size_t len;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(last_words, sizeof(last_words), fmt, ap);
	len = strlen(last_words);
	while (len && (last_words[len - 1] == '\n' || last_words[len - 1] == ' '))
		last_words[--len] = '\0';
	return 0;
}

static const struct trace_program *find_program(
	const struct trace_program *programs, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(programs[i].name, name))
			return &programs[i];
	return NULL;
}

void session_select(
	struct bpf_object *o, const struct trace_program *programs, size_t count, uint32_t kinds)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, o)
	{
		const struct trace_program *p =
			find_program(programs, count, bpf_program__name(prog));

		CHECK(p);
		bpf_program__set_autoload(prog, p->kinds & kinds);
	}
}

int session_load(struct bpf_object_skeleton *skeleton, struct diag *d)
{
	int err;

	libbpf_set_print(keep_words);
	last_words[0] = '\0';
	err = bpf_object__load_skeleton(skeleton);
	if (!err)
		return 0;
	return diag_fail(d, err, "the kernel does not take the BPF programs: %s; libbpf: %s",
		strerrordesc_np(-err), last_words);
}

/* A probe's event belongs to one thread, although it is seen on all of the process: whenever that
 * one gets or leaves a CPU the kernel switches the event on or off. Most of what an attached probe
 * costs is this, so `quiet` is a thread that sleeps. */
static int attach_probe(struct trace_session *s, struct bpf_program *prog, pid_t pid, pid_t quiet,
	const char *probe, struct diag *d)
{
	char path[64];
	struct bpf_link *link;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	last_words[0] = '\0';
	link = bpf_program__attach_usdt(prog, quiet, path, PROVIDER, probe, NULL);
	if (link) {
		CHECK(s->link_count < TRACE_LINKS_MAX);
		s->links[s->link_count++] = link;
		s->probe_count++;
		return 0;
	}
	err = -errno;
	if (err == -ENOENT)
		return diag_fail(d, err,
			"the program of process %d has no probe " PROVIDER
			":%s; it was built without probes (RINGVISOR_PROBES=OFF), or is no daemon",
			pid, probe);
	return diag_fail(d, err, "attaching to the probe %s of process %d: %s; libbpf: %s", probe,
		pid, strerrordesc_np(-err), last_words);
}

static void attach_tracepoint(
	struct trace_session *s, struct bpf_program *prog, const struct trace_program *p)
{
	struct bpf_link *link = bpf_program__attach(prog);
	int err = errno;

	/* Until Linux 6.3 it was called so. */
	if (!link && !strcmp(p->name, "ring_submit"))
		link = bpf_program__attach_tracepoint(prog, "io_uring", "io_uring_submit_sqe");
	if (!link) {
		notes_add(&s->notes, "%s cannot be attached (%s): %s is not shown",
			bpf_program__section_name(prog), strerrordesc_np(err), p->shows);
		return;
	}
	CHECK(s->link_count < TRACE_LINKS_MAX);
	s->links[s->link_count++] = link;
}

int session_attach(struct trace_session *s, struct bpf_object *o, pid_t pid,
	const struct trace_program *programs, size_t count, struct diag *d)
{
	pid_t quiet = threads_quiet(pid);
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, o)
	{
		const struct trace_program *p =
			find_program(programs, count, bpf_program__name(prog));
		int err = 0;

		if (!bpf_program__autoload(prog))
			continue;
		if (p->probe)
			err = attach_probe(s, prog, pid, quiet, p->probe, d);
		else
			attach_tracepoint(s, prog, p);
		if (err)
			return err;
	}
	return 0;
}

void session_detach(struct trace_session *s)
{
	for (unsigned int i = 0; i < s->link_count; i++)
		bpf_link__destroy(s->links[i]);
	s->link_count = s->probe_count = 0;
}

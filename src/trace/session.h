/* SPDX-License-Identifier: Apache-2.0 */
/* One BPF object in the kernel: which of its programs are loaded, and what they are attached to.
 * With histograms (hist.h) and events (events.h) the only users of libbpf. One thread. */
#ifndef TRACE_SESSION_H
#define TRACE_SESSION_H

#include <stdint.h>
#include <sys/types.h>

#include "core/diag.h"

struct bpf_link;
struct bpf_object;
struct bpf_object_skeleton;

/* One program: attached to a probe of the daemon, or to a tracepoint of the kernel that its section
 * names and that a host may lack: then what it would show is said to be missing. */
struct trace_program {
	const char *name;  /* of the program */
	const char *probe; /* of the daemon; NULL: a tracepoint */
	const char *shows; /* of a tracepoint: what is missing without it */
	uint32_t kinds;    /* loaded if one of these bits is asked for */
};

#define TRACE_LINKS_MAX 64
#define TRACE_NOTES_MAX 24

/* What a person should know about what is shown. */
struct trace_notes {
	char text[TRACE_NOTES_MAX][DIAG_TEXT_MAX];
	unsigned int count;
};

struct trace_session {
	struct bpf_link *links[TRACE_LINKS_MAX];
	unsigned int link_count, probe_count;
	struct trace_notes notes;
};

__attribute__((format(printf, 2, 3))) void notes_add(struct trace_notes *n, const char *fmt, ...);

/* session_select: of an object that is open, only the programs of these kinds are to be loaded.
 * session_load: the object, and its variables as members of the skeleton; errors with the last
 * words of libbpf.
 * session_attach: to the process. -ENOENT: it lacks a probe; -errno. What was attached stays so.
 * session_detach: everything; the kernel does the same if the process is killed. */
void session_select(
	struct bpf_object *o, const struct trace_program *programs, size_t count, uint32_t kinds);
int session_load(struct bpf_object_skeleton *skeleton, struct diag *d);
int session_attach(struct trace_session *s, struct bpf_object *o, pid_t pid,
	const struct trace_program *programs, size_t count, struct diag *d);
void session_detach(struct trace_session *s);

#endif

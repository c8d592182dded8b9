/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms that BPF programs keep in the kernel. One thread. */
#ifndef TRACE_HIST_H
#define TRACE_HIST_H

#include <linux/types.h>
#include <stddef.h>

#include "bpf/layout.h"
#include "trace/session.h"

struct hist_bpf;

struct trace_hists {
	struct hist_bpf *skel;
	struct trace_session session;
};

struct trace_row {
	struct trace_key key;
	struct trace_hist hist;
};

/* All rows at one time, sorted by kind, guest, what and index, then by count, most first. */
struct trace_rows {
	struct trace_row *row;
	size_t count;
};

#define TRACE_KIND(kind) (1u << (kind))
/* What belongs together. */
#define TRACE_KINDS_EXITS (TRACE_KIND(TRACE_EXITS) | TRACE_KIND(TRACE_KVM_EXITS))
#define TRACE_KINDS_TURN                                                                           \
	(TRACE_KIND(TRACE_TURN) | TRACE_KIND(TRACE_OFF_CPU) | TRACE_KIND(TRACE_BATCH))
#define TRACE_KINDS_DEPTH (TRACE_KIND(TRACE_QUEUE_DEPTH) | TRACE_KIND(TRACE_RING_DEPTH))
#define TRACE_KINDS_VSOCK                                                                          \
	(TRACE_KIND(TRACE_VSOCK_OPEN) | TRACE_KIND(TRACE_VSOCK_SEND) |                             \
		TRACE_KIND(TRACE_VSOCK_REPLY) | TRACE_KIND(TRACE_VSOCK_STALL) |                    \
		TRACE_KIND(TRACE_VSOCK_BYTES))
#define TRACE_KINDS_CONSOLE (TRACE_KIND(TRACE_CONSOLE) | TRACE_KIND(TRACE_CONSOLE_BYTES))

/* hists_open: loads the programs for these TRACE_KIND bits and attaches them to the process.
 * `guest`: only this one, NULL for all. Errors as session_load and session_attach; hists_close is
 * safe after them, and on a zeroed struct. */
int hists_open(struct trace_hists *h, pid_t pid, uint32_t kinds, const char *guest, struct diag *d);
void hists_close(struct trace_hists *h);

/* hists_stop: detaches; what was counted can still be read.
 * hists_lost: values that no map had room for. */
void hists_stop(struct trace_hists *h);
uint64_t hists_lost(const struct trace_hists *h);

/* hists_note_silent: adds notes about tracepoints that were attached and never fired although they
 * should have. For the end of a trace. */
void hists_note_silent(struct trace_hists *h, uint32_t kinds);

/* hists_read: a snapshot; counts that change meanwhile are in it or not. -ENOMEM, -errno. The rows
 * are the caller's until rows_finish. */
int hists_read(const struct trace_hists *h, struct trace_rows *rows, struct diag *d);
void rows_finish(struct trace_rows *rows);
/* rows_find: NULL if there is none with this key. */
const struct trace_row *rows_find(const struct trace_rows *rows, const struct trace_key *key);

/* hist_quantile: the middle of the slot in which this share (0 to 1) of the values is reached, at
 * most the maximum; 0 if there are none. */
uint64_t hist_quantile(const struct trace_hist *h, double share);

#endif

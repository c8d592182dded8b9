/* SPDX-License-Identifier: Apache-2.0 */
/* Where the reactors' time goes: samples of their stacks by the CPU clock. One thread. */
#ifndef TRACE_FLAME_H
#define TRACE_FLAME_H

#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bpf/layout.h"
#include "trace/session.h"
#include "trace/threads.h"

struct flame_bpf;

#define FLAME_THREADS_MAX 64 /* reactors */

struct flame {
	struct flame_bpf *skel;
	struct trace_session session;
	pid_t pid;
	struct thread threads[FLAME_THREADS_MAX];
	unsigned int thread_count;
	unsigned int frequency_hz;
};

/* flame_open: samples each reactor `frequency_hz` times a second of its time on a CPU, from now on.
 * -ENOTSUP: this host has no such events; errors as hists_open. flame_close is safe after them. */
int flame_open(struct flame *f, pid_t pid, unsigned int frequency_hz, struct diag *d);
void flame_close(struct flame *f);
/* flame_stop: no more samples. */
void flame_stop(struct flame *f);
/* flame_write: a line for each stack, "reactor-0;main;…;leaf COUNT", the kernel's frames behind the
 * program's, with "_[k]" at their end. The daemon is still there. *samples: how many in all. */
int flame_write(struct flame *f, FILE *to, uint64_t *samples, struct diag *d);
/* flame_lost: samples that no map had room for. */
uint64_t flame_lost(const struct flame *f);

#endif

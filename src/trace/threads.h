/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a daemon's threads are reactors and virtual CPUs. */
#ifndef TRACE_THREADS_H
#define TRACE_THREADS_H

#include <sys/types.h>

#include "core/diag.h"

enum thread_kind { THREAD_REACTOR, THREAD_VCPU, THREAD_HELPER };

/* One thread; of a virtual CPU it is not known whose guest's it is. */
struct thread {
	pid_t tid;
	enum thread_kind kind;
	unsigned int index;
};

/* threads_list: calls `found` with each reactor's, virtual CPU's and helper's thread that is there
 * now. All reactors are there when the daemon answers. Any thread; -ESRCH: the process is gone;
 * -errno. */
int threads_list(
	pid_t pid, void (*found)(void *ctx, const struct thread *t), void *ctx, struct diag *d);

/* threads_quiet: the thread that sleeps most: a helper of the daemon's, of which there is one since
 * its first guest was launched; else the process itself. */
pid_t threads_quiet(pid_t pid);

#endif

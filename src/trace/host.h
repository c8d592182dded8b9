/* SPDX-License-Identifier: Apache-2.0 */
/* What tracing needs of the host and of the daemon: says exactly what is missing. */
#ifndef TRACE_HOST_H
#define TRACE_HOST_H

#include <sys/types.h>

#include "core/diag.h"

/* trace_host_check: may this process load and attach BPF programs here? -EPERM (a capability is
 * missing), -ENOTSUP (the kernel is too old or has no BTF), with the remedy in `d`. Any thread. */
int trace_host_check(struct diag *d);

/* trace_find_daemon: the process id of the one daemon (`ringvisor serve`, or `run`) on this host.
 * -ENOENT: none runs; -ENOTUNIQ: several, which the text lists. */
int trace_find_daemon(pid_t *pid, struct diag *d);

/* trace_check_daemon: is `pid` there, and may its program be read? -ESRCH, -EACCES, -errno. */
int trace_check_daemon(pid_t pid, struct diag *d);

#endif

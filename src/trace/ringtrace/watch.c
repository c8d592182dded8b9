/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the end of a trace: a signal, the daemon's own end, or the time. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "trace/ringtrace/ringtrace.h"

#define NS_PER_S 1000000000ULL

uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int watch_open(struct watch *w, const struct ringtrace *t, struct diag *d)
{
	sigset_t end;

	w->end_ns = UINT64_MAX;
	sigemptyset(&end);
	sigaddset(&end, SIGINT);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	w->signals = signalfd(-1, &end, SFD_CLOEXEC);
	if (w->signals < 0)
		return diag_errno(d, -errno, "signalfd");
	w->process = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (w->process < 0)
		return diag_errno(d, -errno, "process %d", t->pid);
	return 0;
}

void watch_begin(struct watch *w, const struct ringtrace *t)
{
	if (t->duration_s > 0)
		w->end_ns = clock_now_ns() + (uint64_t)(t->duration_s * (double)NS_PER_S);
}

enum watch_event watch_wait(struct watch *w, int fd, uint64_t until_ns)
{
	struct pollfd fds[] = {{w->signals, POLLIN, 0}, {w->process, POLLIN, 0}, {fd, POLLIN, 0}};
	uint64_t due_ns = until_ns < w->end_ns ? until_ns : w->end_ns, now_ns = clock_now_ns();
	struct timespec left = {0};
	int n;

	if (due_ns > now_ns) {
		left.tv_sec = (time_t)((due_ns - now_ns) / NS_PER_S);
		left.tv_nsec = (long)((due_ns - now_ns) % NS_PER_S);
	}
	n = ppoll(fds, 3, due_ns == UINT64_MAX ? NULL : &left, NULL);
	if (fds[0].revents || fds[1].revents)
		return WATCH_OVER;
	if (n > 0)
		return WATCH_READABLE;
	return clock_now_ns() >= w->end_ns ? WATCH_OVER : WATCH_TIME;
}

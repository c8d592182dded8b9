/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line: drawn over itself, gone when the wait is over. */
#include "rpc/ringctl/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* What takes less is no wait. */
#define SHOW_AFTER_NS 200000000ULL

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void progress_start(struct progress *p, const struct ctl *ctl, const char *what)
{
	*p = (struct progress){
		.what = what, .start_ns = now_ns(), .wanted = !ctl->json && isatty(STDERR_FILENO)};
}

void progress_tick(struct progress *p)
{
	static const char marks[] = "|/-\\";
	uint64_t waited = now_ns() - p->start_ns;

	if (!p->wanted || waited < SHOW_AFTER_NS)
		return;
	p->shown = true;
	fprintf(stderr, "\r\033[K%c %s, %.1f s", marks[waited / 100000000 % 4], p->what,
		waited / 1e9);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

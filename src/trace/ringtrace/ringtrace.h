/* SPDX-License-Identifier: Apache-2.0 */
/* ringtrace: what its commands share. */
#ifndef RINGTRACE_H
#define RINGTRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "trace/hist.h"

enum ringtrace_exit {
	RINGTRACE_OK,
	RINGTRACE_FAILURE,
	RINGTRACE_USAGE,
	RINGTRACE_NO_DAEMON = 3,
	RINGTRACE_NOT_POSSIBLE = 4, /* a capability or the kernel's BTF is missing */
};

struct ringtrace {
	pid_t pid; /* of the daemon */
	const char *guest;
	double duration_s, interval_s; /* duration: 0: until a signal */
	bool json;
	const char *plot; /* the picture's path; NULL: none */
	char **words;     /* after the command's name */
	int word_count;
};

/* What a command waits for: a signal that ends it, the daemon's end, a time, a descriptor. */
struct watch {
	int signals, process;
	uint64_t end_ns; /* UINT64_MAX: none */
};

enum watch_event { WATCH_TIME, WATCH_READABLE, WATCH_OVER };

/* watch_open: from now on SIGINT and SIGTERM end the wait, not the program; before anything is
 * attached. */
int watch_open(struct watch *w, const struct ringtrace *t, struct diag *d);
/* watch_begin: the duration starts now. */
void watch_begin(struct watch *w, const struct ringtrace *t);
/* watch_wait: until `until_ns` (CLOCK_MONOTONIC), or `fd` (-1: none) is readable; OVER if the whole
 * trace is. */
enum watch_event watch_wait(struct watch *w, int fd, uint64_t until_ns);
uint64_t clock_now_ns(void);

/* complain: to standard error, "ringtrace: …". */
__attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...);
/* say_attached: so that one who started this knows from when on everything is seen. */
void say_attached(const struct ringtrace *t, const struct trace_session *s);
void say_notes(const struct trace_session *s, uint64_t lost, const char *what);

/* label_row: "KVM_EXIT_IO write 0x3f8", "virtio-console queue 1". label_time: "12.3us". */
void label_row(char *to, size_t room, const struct trace_key *key);
void label_time(char *to, size_t room, uint64_t ns);
const char *kind_title(unsigned int kind);
bool kind_is_time(unsigned int kind);

/* print_rows: tables with a histogram each. print_rows_json: one object on one line. */
void print_rows(const struct trace_rows *rows);
void print_rows_json(const struct ringtrace *t, const struct trace_hists *h,
	const struct trace_rows *rows, uint64_t elapsed_ns);

/* plot_check: can gnuplot draw a picture of this name? Otherwise it says why. plot_rows: draws the
 * histograms; -EIO, -errno. */
bool plot_check(const char *path);
int plot_rows(const char *path, const struct trace_rows *rows, struct diag *d);

enum ringtrace_exit hist_main(struct ringtrace *t);
enum ringtrace_exit top_main(struct ringtrace *t);
enum ringtrace_exit events_main(struct ringtrace *t);
enum ringtrace_exit flame_main(struct ringtrace *t);
enum ringtrace_exit timeline_main(struct ringtrace *t);

#endif

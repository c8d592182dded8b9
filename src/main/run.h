/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `ringvisor run`. */
#ifndef MAIN_RUN_H
#define MAIN_RUN_H

#include "main/main.h"

struct run_options {
	struct guest_config config;
	bool builtin, kernel;
	/* "stdio", "none" or a path; at most one has the terminal. */
	const char *serial, *console;
	int core; /* -1: any */
	unsigned int poll_us;
	bool huge_pages;
};

#define RUN_HELP 1 /* the person wants the help text */

/* run_options_parse: 0, RUN_HELP, or a negative errno with text. o->config is the caller's to
 * finish. */
int run_options_parse(struct run_options *o, int argc, char **argv, struct diag *d);
void run_print_help(void);

#endif

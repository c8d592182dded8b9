/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands' command lines have in common. */
#ifndef MAIN_OPTIONS_H
#define MAIN_OPTIONS_H

#include <getopt.h>

#include "core/diag.h"

/* parse_number: `text` as a number from 0 to `max`; -EINVAL with a text that names the option. */
int parse_number(
	const char *option, const char *text, unsigned long max, unsigned long *to, struct diag *d);

/* bad_option: what getopt_long's '?' or ':' (`opt`) for argv[at] was about: -EINVAL with the
 * option, the nearest known one, and `help`, which prints the command's help. */
int bad_option(
	const struct option *options, int opt, const char *arg, const char *help, struct diag *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a command: one table gives getopt_long's, the help text and what each value sets. */
#ifndef RINGCTL_OPTIONS_H
#define RINGCTL_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "core/diag.h"
#include "rpc/ringctl/ctl.h"

/* A table ends with a name of NULL. */
struct option_spec {
	const char *name;
	char letter;          /* its short form; 0: none */
	const char *argument; /* what it takes, as the help shows it; NULL: nothing */
	const char *help;
	/* Sets what is at `to`; 0 or -errno with the text in `d`. `value` is NULL without argument.
	 */
	int (*set)(const struct option_spec *spec, void *to, const char *value, struct diag *d);
	size_t offset; /* of `to` in the struct given to options_parse */
};

#define OPTIONS_MAX 48

/* options_parse: takes the command's options and the global ones out of argv, in any order, and
 * leaves the rest in ctl->args. Returns true to go on; false if there is nothing more to do, with
 * the exit status in *status (help was printed; or a mistake was, with a suggestion). */
bool options_parse(struct ctl *ctl, const struct command *command, int argc, char **argv, void *to,
	enum ctl_exit *status);

/* options_parse_global: those before the command. Returns the index of the command in argv, argc if
 * there is none; or -1 with *status. */
int options_parse_global(struct ctl *ctl, int argc, char **argv, enum ctl_exit *status);

/* Setters for tables: a bool becomes true; a char * borrows the value; a uint64_t takes a size with
 * a unit; an unsigned number. */
int option_set_flag(const struct option_spec *s, void *to, const char *value, struct diag *d);
int option_set_text(const struct option_spec *s, void *to, const char *value, struct diag *d);
int option_set_u32(const struct option_spec *s, void *to, const char *value, struct diag *d);

/* option_parse_number: decimal digits, min..max; -EINVAL with the option's name in `d`. */
int option_parse_number(const struct option_spec *s, const char *value, uint64_t min, uint64_t max,
	uint64_t *number, struct diag *d);

/* options_usage: to stderr, "ringctl: <text>" and how to get help; returns CTL_USAGE. */
__attribute__((format(printf, 2, 3))) enum ctl_exit options_usage(
	struct ctl *ctl, const char *fmt, ...);

#endif

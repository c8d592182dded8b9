/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and mistakes on command lines. */
#include "main/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/nearest.h"

#define OPTIONS_MAX 32

int parse_number(
	const char *option, const char *text, unsigned long max, unsigned long *to, struct diag *d)
{
	char *end;

	errno = 0;
	*to = strtoul(text, &end, 10);
	if (end == text || *end || errno || text[0] == '-' || *to > max)
		return diag_fail(
			d, -EINVAL, "%s: \"%s\" is not a number from 0 to %lu", option, text, max);
	return 0;
}

/* getopt's own words would not name the nearest option. */
static int unknown_option(
	const struct option *options, const char *arg, const char *help, struct diag *d)
{
	const char *names[OPTIONS_MAX];
	const char *near;
	size_t n = 0;

	for (const struct option *o = options; o->name && n < OPTIONS_MAX; o++)
		names[n++] = o->name;
	near = !strncmp(arg, "--", 2) ? nearest_word(arg + 2, names, n) : NULL;
	if (near)
		return diag_fail(
			d, -EINVAL, "unknown option \"%s\"; did you mean --%s?", arg, near);
	return diag_fail(d, -EINVAL, "unknown option \"%s\"; `%s` lists them", arg, help);
}

int bad_option(
	const struct option *options, int opt, const char *arg, const char *help, struct diag *d)
{
	for (const struct option *o = options; o->name; o++) {
		if (o->val != optopt || optopt == 0)
			continue;
		if (opt == ':')
			return diag_fail(
				d, -EINVAL, "--%s needs a value; `%s` explains it", o->name, help);
		return diag_fail(d, -EINVAL, "--%s takes no value", o->name);
	}
	return unknown_option(options, arg, help, d);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* getopt_long driven by a table, with help texts and suggestions. */
#include "rpc/ringctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/nearest.h"
#include "rpc/ringctl/output.h"

/* getopt_long returns this plus the index of the option in the joined table. */
#define FIRST 1000
#define HELP  'h'

static int set_colour(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	struct ctl *ctl = to;

	(void)s;
	if (strcmp(value, "always") && strcmp(value, "never") && strcmp(value, "auto"))
		return diag_fail(d, -EINVAL,
			"--color: \"%.64s\" is unknown: use auto, always or never", value);
	ctl->colour_given = strcmp(value, "auto") != 0;
	ctl->colour_always = !strcmp(value, "always");
	return 0;
}

/* Their `to` is the struct ctl. */
static const struct option_spec global_options[] = {
	{"socket", 0, "PATH", "the daemon's socket", option_set_text, offsetof(struct ctl, socket)},
	{"json", 0, NULL, "print JSON", option_set_flag, offsetof(struct ctl, json)},
	{"color", 0, "WHEN", "auto (only on a terminal), always or never", set_colour, 0},
	{"help", HELP, NULL, "print this help", NULL, 0},
	{0},
};

/* The joined table: the command's own options, then the global ones. */
struct joined {
	const struct option_spec *specs[OPTIONS_MAX];
	size_t own, count;
	struct option longs[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 3];
};

static void join_spec(struct joined *j, const struct option_spec *s, size_t *letters)
{
	CHECK(j->count < OPTIONS_MAX);
	j->longs[j->count] = (struct option){s->name, s->argument ? required_argument : no_argument,
		NULL, FIRST + (int)j->count};
	if (s->letter) {
		j->letters[(*letters)++] = s->letter;
		if (s->argument)
			j->letters[(*letters)++] = ':';
	}
	j->specs[j->count++] = s;
}

/* `first` is "+:" to stop at the first word that is no option, or ":". */
static void join(struct joined *j, const struct option_spec *own, const char *first)
{
	size_t letters = strlen(first);

	*j = (struct joined){0};
	memcpy(j->letters, first, letters);
	for (; own && own->name; own++)
		join_spec(j, own, &letters);
	j->own = j->count;
	for (const struct option_spec *s = global_options; s->name; s++)
		join_spec(j, s, &letters);
}

enum ctl_exit options_usage(struct ctl *ctl, const char *fmt, ...)
{
	struct diag d;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d.text, sizeof(d.text), fmt, ap);
	va_end(ap);
	output_error(ctl, "usage", CTL_USAGE, d.text);
	fprintf(stderr, "Try 'ringctl %s%s--help'.\n", ctl->command ? ctl->command->name : "",
		ctl->command ? " " : "");
	return CTL_USAGE;
}

/* A long option that is none, or that begins several. */
static enum ctl_exit option_unknown(struct ctl *ctl, const struct joined *j, const char *word)
{
	const char *known[OPTIONS_MAX];
	char typed[64];
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < j->count; i++)
		known[i] = j->specs[i]->name;
	if (strncmp(word, "--", 2))
		return options_usage(ctl, "unknown option %s", word);
	snprintf(typed, sizeof(typed), "%.*s", (int)(len < 66 ? len - 2 : 63), word + 2);
	return options_usage(ctl, "unknown option --%s: did you mean --%s?", typed,
		nearest_word(typed, known, j->count));
}

static enum ctl_exit option_mistake(struct ctl *ctl, const struct joined *j, int got, char **argv)
{
	char letter[3] = {'-', (char)optopt, '\0'};

	if (got == ':')
		return options_usage(ctl, "%s needs a value: %s %s", argv[optind - 1],
			argv[optind - 1],
			optopt >= FIRST ? j->specs[optopt - FIRST]->argument : "VALUE");
	if (optopt >= FIRST)
		return options_usage(ctl, "--%s takes no value", j->specs[optopt - FIRST]->name);
	return option_unknown(ctl, j, optopt ? letter : argv[optind - 1]);
}

static const struct option_spec *spec_of_letter(const struct joined *j, int letter)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->specs[i]->letter == letter)
			return j->specs[i];
	return NULL;
}

static void print_options(const struct option_spec *s)
{
	for (; s && s->name; s++) {
		char left[64];
		int len = 0;

		if (s->letter)
			len = snprintf(left, sizeof(left), "-%c, ", s->letter);
		snprintf(left + len, sizeof(left) - len, "--%s%s%s", s->name,
			s->argument ? " " : "", s->argument ? s->argument : "");
		printf("  %-34s %s\n", left, s->help);
	}
}

static void print_help(const struct command *c)
{
	if (!c) {
		printf("Usage: ringctl [OPTION]... COMMAND [ARGUMENT]...\n"
		       "Starts, stops and watches the guests of a ringvisor "
		       "daemon.\n\nCommands:\n");
		for (size_t i = 0; ctl_commands[i]; i++)
			printf("  %-10s %s\n", ctl_commands[i]->name, ctl_commands[i]->summary);
		printf("\nOptions of every command:\n");
		print_options(global_options);
		printf("\nExit status: 0 success, 1 failure, 2 usage, 3 no such guest or not "
		       "running,"
		       "\n4 no daemon.  'ringctl COMMAND --help' tells more about a command.\n");
		return;
	}
	printf("Usage: ringctl %s%s%s%s\n%s.\n", c->name, c->options ? " [OPTION]..." : "",
		*c->arguments ? " " : "", c->arguments, c->summary);
	if (c->options)
		printf("\nOptions:\n");
	print_options(c->options);
	printf("\nOptions of every command:\n");
	print_options(global_options);
	if (c->details)
		printf("\n%s", c->details);
}

/* One option that getopt_long gave. Returns true to go on. */
static bool option_apply(struct ctl *ctl, const struct joined *j, const struct option_spec *s,
	void *to, enum ctl_exit *status)
{
	bool own = false;
	struct diag d;

	for (size_t i = 0; i < j->own; i++)
		own = own || j->specs[i] == s;
	if (!s->set) {
		print_help(ctl->command);
		*status = CTL_OK;
		return false;
	}
	if (!s->set(s, (char *)(own ? to : (void *)ctl) + s->offset, optarg, &d))
		return true;
	*status = options_usage(ctl, "%s", d.text);
	return false;
}

/* True when all options are taken. */
static bool options_take(struct ctl *ctl, const struct joined *j, int argc, char **argv, void *to,
	enum ctl_exit *status)
{
	int got;

	opterr = 0;
	optind = 0; /* glibc: start anew */
	while ((got = getopt_long(argc, argv, j->letters, j->longs, NULL)) != -1) {
		const struct option_spec *s =
			got >= FIRST ? j->specs[got - FIRST] : spec_of_letter(j, got);

		if (got == '?' || got == ':' || !s) {
			*status = option_mistake(ctl, j, got, argv);
			return false;
		}
		if (!option_apply(ctl, j, s, to, status))
			return false;
	}
	output_colours(ctl);
	return true;
}

bool options_parse(struct ctl *ctl, const struct command *command, int argc, char **argv, void *to,
	enum ctl_exit *status)
{
	struct joined j;

	join(&j, command->options, ":");
	if (!options_take(ctl, &j, argc, argv, to, status))
		return false;
	ctl->args = argv + optind;
	ctl->arg_count = argc - optind;
	if (ctl->arg_count >= command->args_min && ctl->arg_count <= command->args_max)
		return true;
	if (ctl->arg_count < command->args_min)
		*status = options_usage(ctl, "something is missing: ringctl %s %s", command->name,
			command->arguments);
	else
		*status = options_usage(
			ctl, "unexpected argument \"%.64s\"", ctl->args[command->args_max]);
	return false;
}

int options_parse_global(struct ctl *ctl, int argc, char **argv, enum ctl_exit *status)
{
	struct joined j;

	join(&j, NULL, "+:");
	return options_take(ctl, &j, argc, argv, NULL, status) ? optind : -1;
}

int option_set_flag(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	(void)s, (void)value, (void)d;
	*(bool *)to = true;
	return 0;
}

int option_set_text(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	(void)s, (void)d;
	*(const char **)to = value;
	return 0;
}

int option_parse_number(const struct option_spec *s, const char *value, uint64_t min, uint64_t max,
	uint64_t *number, struct diag *d)
{
	char *end;

	errno = 0;
	*number = strtoull(value, &end, 10);
	if (*value >= '0' && *value <= '9' && !*end && !errno && *number >= min && *number <= max)
		return 0;
	return diag_fail(d, -EINVAL, "--%s: \"%.64s\" is not a number from %" PRIu64 " to %" PRIu64,
		s->name, value, min, max);
}

int option_set_u32(const struct option_spec *s, void *to, const char *value, struct diag *d)
{
	uint64_t number;
	int err = option_parse_number(s, value, 0, UINT32_MAX, &number, d);

	if (!err)
		*(uint32_t *)to = number;
	return err;
}

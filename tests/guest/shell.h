/* SPDX-License-Identifier: Apache-2.0 */
/* The shell on the serial console, and what a command looks like. */
#ifndef GUEST_SHELL_H
#define GUEST_SHELL_H

#include <stdbool.h>
#include <stdint.h>

#define SHELL_ARGS_MAX 16

/* A command line cut into words; words[0] is the command's name, words[count] is "". */
struct args {
	unsigned count;
	const char *words[SHELL_ARGS_MAX + 1];
	const char *rest; /* all that follows the name, uncut */
};

/*
 * A command prints what it has to say and returns whether it succeeded; then the shell prints a
 * line for tests: "VERDICT name ok" or "VERDICT name failed: reason".
 */
struct command {
	const char *name, *usage, *summary;
	bool (*run)(const struct args *args);
};

/* Every command of the guest (commands.c). */
extern const struct command commands[];
extern const unsigned command_count;

/* Sets the reason of the verdict and returns false, for `return fail(...)`. */
bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What fail() was last told; "" at the start of a command. */
const char *fail_reason(void);

/* Parses word `index`; an absent one is `fallback`. Calls fail() for what is no number. */
bool args_number(const struct args *args, unsigned index, uint64_t fallback, uint64_t *value);

/* Runs the commands, separated by ';', of the "run=" which ends the loader's command line, if any.
 */
void shell_run_script(const char *command_line);

/* Prompts, reads and runs, for ever. */
void shell_run(void) __attribute__((noreturn));

#endif

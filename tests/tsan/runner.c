/* SPDX-License-Identifier: Apache-2.0 */
/* Runs Criterion tests where Criterion itself cannot: its sandbox wants a mapping at an address
 * that lies in the thread sanitizer's shadow. The tests are compiled and registered as ever; this
 * file takes the place of the runner and of the functions that the assertions report to. Each test
 * runs in a child of its own, one at a time. */
#include <criterion/criterion.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_PER_TEST 100
#define EXIT_FAILED      97
#define EXIT_SKIPPED     98

/* The linker's bounds of the sections that the Test and TestSuite macros fill. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

static _Thread_local const char *running = "";
static bool failed;

void criterion_send_assert(struct criterion_assert_stats *stats)
{
	if (stats->passed)
		return;
	failed = true;
	fprintf(stderr, "%s:%u: assertion failed\n  %s\n", stats->file, stats->line,
		stats->message);
}

void criterion_abort_test(void)
{
	exit(EXIT_FAILED);
}

void criterion_continue_test(void)
{
}

void criterion_skip_test(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "[SKIP] %s: ", running);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EXIT_SKIPPED);
}

void criterion_internal_test_setup(void)
{
}

void criterion_internal_test_main(void (*fn)(void))
{
	fn();
}

void criterion_internal_test_teardown(void)
{
}

static const struct criterion_test_extra_data *suite_data(const char *category)
{
	static const struct criterion_test_extra_data none;

	for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
		if (*s && !strcmp((*s)->name, category))
			return (*s)->data;
	return &none;
}

static void call(void (*fn)(void))
{
	if (fn)
		fn();
}

/* In the child. */
static _Noreturn void test_run(const struct criterion_test *t, const char *name)
{
	const struct criterion_test_extra_data *suite = suite_data(t->category);

	alarm(SECONDS_PER_TEST);
	running = name;
	call(suite->init);
	call(t->data->init);
	t->test();
	call(t->data->fini);
	call(suite->fini);
	exit(failed ? EXIT_FAILED : 0);
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict verdict_of(const struct criterion_test *t, const char *name, int status)
{
	const struct criterion_test_extra_data *suite = suite_data(t->category);
	int expected_signal = t->data->signal ? t->data->signal : suite->signal;
	int expected_exit = t->data->exit_code ? t->data->exit_code : suite->exit_code;

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		return SKIPPED;
	if (expected_signal ? WIFSIGNALED(status) && WTERMSIG(status) == expected_signal
			    : WIFEXITED(status) && WEXITSTATUS(status) == expected_exit)
		return PASSED;
	if (WIFSIGNALED(status))
		fprintf(stderr, "[FAIL] %s: killed by signal %d\n", name, WTERMSIG(status));
	else
		fprintf(stderr, "[FAIL] %s: exit status %d\n", name, WEXITSTATUS(status));
	return FAILED;
}

static enum verdict test_fork(const struct criterion_test *t, const char *name)
{
	int status;
	pid_t pid;

	if (t->data->kind_ != CR_TEST_NORMAL) {
		fprintf(stderr, "[FAIL] %s: parameterized tests do not run here\n", name);
		return FAILED;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		test_run(t, name);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fork");
		return FAILED;
	}
	return verdict_of(t, name, status);
}

/* Takes Criterion's `--filter SUITE/NAME` and passes over its other options. */
int main(int argc, char **argv)
{
	const char *filter = "*";
	unsigned int counts[3] = {0};

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--filter") && i + 1 < argc)
			filter = argv[++i];
	for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
		char name[256];

		if (!*t)
			continue;
		snprintf(name, sizeof(name), "%s/%s", (*t)->category, (*t)->name);
		if (!(*t)->data->disabled && !fnmatch(filter, name, 0))
			counts[test_fork(*t, name)]++;
	}
	fprintf(stderr, "[====] Passing: %u | Failing: %u | Skipped: %u\n", counts[PASSED],
		counts[FAILED], counts[SKIPPED]);
	return counts[FAILED] || !(counts[PASSED] + counts[SKIPPED]);
}

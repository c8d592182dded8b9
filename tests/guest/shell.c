/* SPDX-License-Identifier: Apache-2.0 */
/* Line editing, cutting lines into words, and the verdict of each command. */
#include "shell.h"

#include "boot.h"
#include "lib.h"
#include "trap.h"
#include "uart.h"
#include "vsock.h"

#define LINE_SIZE 512

static char reason[160];

bool fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	format_text(reason, sizeof(reason), format, args);
	va_end(args);
	return false;
}

const char *fail_reason(void)
{
	return reason;
}

bool args_number(const struct args *args, unsigned index, uint64_t fallback, uint64_t *value)
{
	*value = fallback;
	if (index >= args->count || number_parse(args->words[index], value))
		return true;
	return fail("%s is not a number", args->words[index]);
}

static const char *skip_spaces(const char *text)
{
	while (*text == ' ')
		text++;
	return text;
}

/* Cuts `line` in place; `copy` is the same text, for args->rest. */
static void args_parse(struct args *args, char *line, const char *copy)
{
	char *at = line;
	args->count = 0;
	args->rest = "";
	for (;;) {
		at = (char *)skip_spaces(at);
		if (args->count == 1)
			args->rest = copy + (at - line);
		if (!*at || args->count == SHELL_ARGS_MAX)
			break;
		args->words[args->count++] = at;
		while (*at && *at != ' ')
			at++;
		if (*at)
			*at++ = 0;
	}
	for (unsigned i = args->count; i <= SHELL_ARGS_MAX; i++)
		args->words[i] = "";
}

static const struct command *command_find(const char *name)
{
	for (unsigned i = 0; i < command_count; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void shell_execute(const char *line)
{
	char cut[LINE_SIZE];
	struct args args;
	text_copy(cut, sizeof(cut), line);
	args_parse(&args, cut, line);
	if (!args.count)
		return;

	const struct command *command = command_find(args.words[0]);
	reason[0] = 0;
	bool ok = command ? command->run(&args) : fail("no such command, try help");
	if (ok)
		print("VERDICT %s ok\n", args.words[0]);
	else
		print("VERDICT %s failed: %s\n", args.words[0], reason);
}

/*
 * The next byte; meanwhile the vsock services are served, and without work for them the CPU halts.
 * While they are busy the UART is looked at only if it has raised its interrupt: looking is an
 * exit.
 */
static int byte_read(void)
{
	static uint64_t uart_seen = UINT64_MAX;
	for (;;) {
		uint64_t seen = irq_any, uart_now = irq_count[boot_info.uart_vector];
		if (uart_now != uart_seen) {
			int byte = uart_poll();
			if (byte >= 0)
				return byte;
			uart_seen = uart_now; /* none left of what that interrupt was for */
		}
		if (!vsock_serve())
			cpu_wait(&irq_any, seen);
	}
}

/* Echoes what is typed, as it comes; backspace takes back a byte. The line ends with CR or LF. */
static void line_read(char *line, size_t size)
{
	static bool after_cr;
	size_t len = 0;
	for (;;) {
		int byte = byte_read();
		bool is_crlf = byte == '\n' && after_cr;
		after_cr = byte == '\r';
		if (is_crlf)
			continue;
		if (byte == '\r' || byte == '\n')
			break;
		if ((byte == '\b' || byte == 0x7f) && len) {
			len--;
			print("\b \b");
		} else if (byte >= ' ' && byte != 0x7f && len + 1 < size) {
			line[len++] = (char)byte;
			uart_write(&line[len - 1], 1);
		}
	}
	line[len] = 0;
	print("\n");
}

void shell_run_script(const char *command_line)
{
	const char *at = command_line;
	while (*at && strncmp(at, "run=", 4)) {
		while (*at && *at != ' ')
			at++;
		at = skip_spaces(at);
	}
	for (at = *at ? at + 4 : at; *at; at = *at ? at + 1 : at) {
		char line[LINE_SIZE];
		size_t len = 0;
		for (; *at && *at != ';'; at++)
			if (len + 1 < sizeof(line))
				line[len++] = *at;
		line[len] = 0;
		print("> %s\n", skip_spaces(line));
		shell_execute(line);
	}
}

void shell_run(void)
{
	char line[LINE_SIZE];
	for (;;) {
		print("> ");
		line_read(line, sizeof(line));
		shell_execute(line);
	}
}

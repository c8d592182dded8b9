/* SPDX-License-Identifier: Apache-2.0 */
/* help, echo and spin. */
#include "clock.h"
#include "commands.h"
#include "lib.h"
#include "uart.h"
#include "x86.h"

bool cmd_help(const struct args *args)
{
	(void)args;
	for (unsigned i = 0; i < command_count; i++)
		print("%s%s%s - %s\n", commands[i].name, *commands[i].usage ? " " : "",
			commands[i].usage, commands[i].summary);
	return true;
}

bool cmd_echo(const struct args *args)
{
	uart_write(args->rest, strlen(args->rest));
	uart_write("\n", 1);
	return true;
}

static bool spin_turns(const char *number)
{
	uint64_t turns;
	if (!number_parse(number, &turns))
		return fail("%s is not a number of turns", number);
	uint64_t start = rdtsc();
	for (uint64_t i = 0; i < turns; i++)
		__asm__ volatile("");
	print("%lu turns in %lu us\n", turns, clock_ns(rdtsc() - start) / 1000);
	return true;
}

bool cmd_spin(const struct args *args)
{
	char number[32];
	size_t len = text_copy(number, sizeof(number), args->words[1]);
	if (len && number[len - 1] == 'x') {
		number[len - 1] = 0;
		return spin_turns(number);
	}
	uint64_t seconds;
	if (!args_number(args, 1, 1, &seconds))
		return false;
	if (seconds > 1000000)
		return fail("%lu seconds are more than 1000000", seconds);
	uint64_t start = rdtsc(), ticks = seconds * clock_tsc_khz() * 1000;
	while (rdtsc() - start < ticks)
		cpu_relax();
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The command table. */
#include "commands.h"

#include "lib.h"

const struct command commands[] = {
	{.name = "help", .usage = "", .summary = "this list", .run = cmd_help},
	{.name = "cpu", .usage = "", .summary = "CPUs, hypervisor, TSC rate", .run = cmd_cpu},
	{.name = "mem",
		.usage = "[KIB]",
		.summary = "memory map, and a check of one page in so many KiB",
		.run = cmd_mem},
	{.name = "echo", .usage = "TEXT", .summary = "say TEXT", .run = cmd_echo},
	{.name = "spin",
		.usage = "SECONDS | Nx",
		.summary = "keep the CPU busy for a time, or for N turns",
		.run = cmd_spin},
	{.name = "smp", .usage = "", .summary = "run a function on each other CPU", .run = cmd_smp},
	{.name = "exits",
		.usage = "pio-write|pio-read|mmio-write|mmio-read N [PORT|ADDRESS]",
		.summary = "N accesses in a loop, and the time of each",
		.run = cmd_exits},
	{.name = "power", .usage = "", .summary = "wait for the power button", .run = cmd_power},
	{.name = "halt", .usage = "", .summary = "power off by ACPI", .run = cmd_halt},
	{.name = "reboot", .usage = "", .summary = "reset the machine", .run = cmd_reboot},
	{.name = "crash",
		.usage = "[mmio-exec|triple|ud]",
		.summary = "execute where there is no memory, fault thrice, or trap",
		.run = cmd_crash},
	{.name = "pci", .usage = "", .summary = "PCI functions and their BARs", .run = cmd_pci},
	{.name = "virtio", .usage = "", .summary = "virtio devices", .run = cmd_virtio},
	{.name = "rng",
		.usage = "[BYTES] [OPTION]...",
		.summary = "draw random bytes; options: split|packed, poll|irq, indirect, noevent, "
			   "queue=N",
		.run = cmd_rng},
	{.name = "stamps",
		.usage = "[gap=US] [spin=US] [OPTION]...",
		.summary = "exchange times with a benchmark's device; options as of rng",
		.run = cmd_stamps},
	{.name = "console",
		.usage = "send N|echo [N]|ping N SIZE|pingpong N SIZE|source BYTES [PATTERN]|"
			 "sink BYTES [PATTERN] [OPTION]...",
		.summary = "drive the virtio console; options as of rng, buf=BYTES, port=N, "
			   "spin=US",
		.run = cmd_console},
	{.name = "balloon",
		.usage = "inflate N [up|down|mixed]|deflate N|report N|serve|stop [OPTION]...",
		.summary = "drive the virtio balloon, in pages; options as of rng, as-is, untold",
		.run = cmd_balloon},
	{.name = "hotplug",
		.usage = "info|plug|unplug|state|zero|fill|check|gone FIRST N|all|serve|stop "
			 "[OPTION]...",
		.summary = "drive virtio-mem, in blocks; options as of rng",
		.run = cmd_hotplug},
	{.name = "wild",
		.usage = "balloon|mem [REQUESTS [SEED]]",
		.summary = "say whatever to the balloon or virtio-mem, and reset it meanwhile",
		.run = cmd_wild},
	{.name = "vsock",
		.usage = "connect PORT TEXT|listen PORT [TEXT]|stat|ping PORT SIZE COUNT|"
			 "send PORT BYTES SIZE [STREAMS]|storm PORT COUNT [PARALLEL [BYTES]]|"
			 "start [buf=BYTES] [spin=US] [OPTION]...|stop|reset",
		.summary = "stream sockets to the host; ports 7, 9, 19 listen while a key is "
			   "waited for",
		.run = cmd_vsock},
	{.name = "hostile",
		.usage = "list|all|CASE [rng|console|vsock] [OPTION]...",
		.summary = "do what a driver must not do, and see what the device makes of it",
		.run = cmd_hostile},
};

const unsigned command_count = ARRAY_SIZE(commands);

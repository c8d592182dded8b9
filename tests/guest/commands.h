/* SPDX-License-Identifier: Apache-2.0 */
/* The commands' functions, each in the cmd_*.c of its subject; the table is in commands.c. */
#ifndef GUEST_COMMANDS_H
#define GUEST_COMMANDS_H

#include "shell.h"

bool cmd_help(const struct args *args);
bool cmd_echo(const struct args *args);
bool cmd_spin(const struct args *args);
bool cmd_cpu(const struct args *args);
bool cmd_smp(const struct args *args);
bool cmd_mem(const struct args *args);
bool cmd_exits(const struct args *args);
bool cmd_halt(const struct args *args);
bool cmd_reboot(const struct args *args);
bool cmd_crash(const struct args *args);
bool cmd_power(const struct args *args);
bool cmd_pci(const struct args *args);
bool cmd_virtio(const struct args *args);
bool cmd_rng(const struct args *args);
bool cmd_stamps(const struct args *args);
bool cmd_balloon(const struct args *args);
bool cmd_console(const struct args *args);
bool cmd_hotplug(const struct args *args);
bool cmd_vsock(const struct args *args);
bool cmd_wild(const struct args *args);
bool cmd_hostile(const struct args *args);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a port other than 0. Private to console*.c. */
#ifndef GUEST_CONSOLE_PORTS_H
#define GUEST_CONSOLE_PORTS_H

#include <stdbool.h>

#include "console.h"

#define CONSOLE_F_MULTIPORT (1UL << 1)

/* Opens `port` of a started device with MULTIPORT, and waits until the host has opened it too. */
bool console_port_open(struct console *console, unsigned port);

#endif

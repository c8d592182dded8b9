/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a process's functions (libdw) and of the kernel's (/proc/kallsyms). One thread. */
#ifndef TRACE_SYMBOLS_H
#define TRACE_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/diag.h"

struct Dwfl;

/* An address of the kernel's, and the function that it is in; "" if it has none that may be read.
 */
struct kernel_symbol {
	uint64_t address, start;
	char name[64];
};

struct symbols {
	struct Dwfl *dwfl;
	struct kernel_symbol *kernel; /* sorted */
	size_t kernel_count;
};

/* symbols_open: for this process, as it is mapped now. symbols_close: safe after an error. */
int symbols_open(struct symbols *s, pid_t pid, struct diag *d);
void symbols_close(struct symbols *s);
/* symbols_kernel_read: these addresses (copied) get names, in one walk over the kernel's list. */
int symbols_kernel_read(struct symbols *s, const uint64_t *addresses, size_t count, struct diag *d);
/* symbols_user, symbols_kernel: the function's name, or that of the library in [], or "[unknown]".
 * Valid until symbols_close. */
const char *symbols_user(struct symbols *s, uint64_t address);
const char *symbols_kernel(const struct symbols *s, uint64_t address);

#endif

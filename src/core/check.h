/* SPDX-License-Identifier: Apache-2.0 */
/* CHECK: our own bugs end the process here; never a guest's or a client's fault. */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#include <stddef.h>

/* Prints file, line and expression to stderr and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *expr);

/* Always compiled in. `x` has no side effects. */
#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (__builtin_expect(!(x), 0))                                                     \
			check_failed(__FILE__, __LINE__, #x);                                      \
	} while (0)

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Names of functions: libdw reads the mapped files' symbol tables, /proc/kallsyms is the kernel's.
 */
#include "trace/symbols.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KALLSYMS "/proc/kallsyms"
#define UNKNOWN  "[unknown]"

int symbols_open(struct symbols *s, pid_t pid, struct diag *d)
{
	static char *debuginfo_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.debuginfo_path = &debuginfo_path,
	};

	*s = (struct symbols){0};
	s->dwfl = dwfl_begin(&callbacks);
	if (s->dwfl && !dwfl_linux_proc_report(s->dwfl, pid) &&
		!dwfl_report_end(s->dwfl, NULL, NULL))
		return 0;
	diag_fail(d, -ESRCH, "the mapped files of process %d: %s", pid, dwfl_errmsg(-1));
	symbols_close(s);
	return -ESRCH;
}

void symbols_close(struct symbols *s)
{
	if (s->dwfl)
		dwfl_end(s->dwfl);
	free(s->kernel);
	*s = (struct symbols){0};
}

/* "/usr/lib/…/libc.so.6" → "[libc.so.6]"; the memory is the module's own. */
static const char *module_name(Dwfl_Module *module)
{
	void **userdata;
	const char *path = dwfl_module_info(module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : UNKNOWN;
}

const char *symbols_user(struct symbols *s, uint64_t address)
{
	Dwfl_Module *module = dwfl_addrmodule(s->dwfl, address);
	const char *name = module ? dwfl_module_addrname(module, address) : NULL;

	if (name)
		return name;
	return module ? module_name(module) : UNKNOWN;
}

/* --- the kernel --- */

static int by_address(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/* The first of those that are not below this address. */
static size_t kernel_from(const struct symbols *s, uint64_t address)
{
	size_t low = 0, high = s->kernel_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->kernel[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first address behind a function's start takes it if it is the best so far; the addresses
 * after that one get theirs by kernel_inherit. */
static void kernel_offer(struct symbols *s, uint64_t start, const char *name)
{
	size_t i = kernel_from(s, start);
	struct kernel_symbol *k = &s->kernel[i];

	if (i == s->kernel_count || k->start >= start)
		return;
	k->start = start;
	snprintf(k->name, sizeof(k->name), "%s", name);
}

static void kernel_inherit(struct symbols *s)
{
	for (size_t i = 1; i < s->kernel_count; i++) {
		struct kernel_symbol *k = &s->kernel[i], *before = k - 1;

		if (k->start >= before->start)
			continue;
		k->start = before->start;
		memcpy(k->name, before->name, sizeof(k->name));
	}
}

int symbols_kernel_read(struct symbols *s, const uint64_t *addresses, size_t count, struct diag *d)
{
	char line[256], type, name[64];
	uint64_t start;
	FILE *f;

	if (!count)
		return 0;
	s->kernel = calloc(count, sizeof(*s->kernel));
	if (!s->kernel)
		return diag_errno(d, -ENOMEM, "the kernel's symbols");
	s->kernel_count = count;
	for (size_t i = 0; i < count; i++)
		s->kernel[i].address = addresses[i];
	qsort(s->kernel, count, sizeof(*s->kernel), by_address);
	f = fopen(KALLSYMS, "re");
	if (!f)
		return 0; /* they stay unknown */
	while (fgets(line, sizeof(line), f))
		/* Zeroes: addresses are hidden from this process. */
		if (sscanf(line, "%" SCNx64 " %c %63s", &start, &type, name) == 3 && start &&
			(type == 't' || type == 'T' || type == 'w' || type == 'W'))
			kernel_offer(s, start, name);
	fclose(f);
	kernel_inherit(s);
	return 0;
}

const char *symbols_kernel(const struct symbols *s, uint64_t address)
{
	size_t i = kernel_from(s, address);

	if (i < s->kernel_count && s->kernel[i].address == address && *s->kernel[i].name)
		return s->kernel[i].name;
	return UNKNOWN;
}

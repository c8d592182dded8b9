/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts, and the end of the process when we are at fault ourselves. */
#include "core/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "core/utf8.h"

void check_failed(const char *file, int line, const char *expr)
{
	fprintf(stderr, "ringvisor: bug at %s:%d: CHECK(%s) failed\n", file, line, expr);
	abort();
}

static void diag_vset(struct diag *d, const char *fmt, va_list ap)
{
	vsnprintf(d->text, sizeof(d->text), fmt, ap);
	utf8_scrub(d->text);
}

int diag_fail(struct diag *d, int err, const char *fmt, ...)
{
	va_list ap;

	if (!d)
		return err;
	va_start(ap, fmt);
	diag_vset(d, fmt, ap);
	va_end(ap);
	return err;
}

int diag_errno(struct diag *d, int err, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!d)
		return err;
	va_start(ap, fmt);
	diag_vset(d, fmt, ap);
	va_end(ap);
	len = strlen(d->text);
	snprintf(d->text + len, sizeof(d->text) - len, ": %s", strerror(-err));
	return err;
}

int diag_prefix(struct diag *d, int err, const char *fmt, ...)
{
	struct diag old;
	va_list ap;
	size_t len;

	if (!d)
		return err;
	old = *d;
	va_start(ap, fmt);
	diag_vset(d, fmt, ap);
	va_end(ap);
	len = strlen(d->text);
	snprintf(d->text + len, sizeof(d->text) - len, ": %s", old.text);
	utf8_scrub(d->text);
	return err;
}

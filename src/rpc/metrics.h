/* SPDX-License-Identifier: Apache-2.0 */
/* Host.Metrics: the daemon's and the guests' figures as OpenMetrics text. Control reactor. */
#ifndef RPC_METRICS_H
#define RPC_METRICS_H

#include <stdio.h>

#include "core/diag.h"
#include "rpc/slots.h"

struct server;

/* metrics_file: a sealed memfd with the text, at offset 0; the caller's. -errno with text. */
int metrics_file(const struct server *s, struct guest_snapshot *const *guests, unsigned int count,
	struct diag *d);

/* --- private to metrics*.c --- */
struct reclaim;

/* metrics_head: what comes before a family's samples; unit NULL: none. metrics_has_vmm: whether it
 * has figures of a VMM. */
void metrics_head(FILE *f, const char *name, const char *type, const char *unit, const char *help);
bool metrics_has_vmm(const struct guest_snapshot *g);
void metrics_memory(FILE *f, struct guest_snapshot *const *guests, unsigned int count);
void metrics_reclaim(FILE *f, const struct reclaim *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Host.Metrics: the daemon's and the guests' figures as OpenMetrics text. Control reactor. */
#ifndef RPC_METRICS_H
#define RPC_METRICS_H

#include "core/diag.h"
#include "rpc/slots.h"

struct server;

/* metrics_file: a sealed memfd with the text, at offset 0; the caller's. -errno with text. */
int metrics_file(const struct server *s, struct guest_snapshot *const *guests, unsigned int count,
	struct diag *d);

#endif

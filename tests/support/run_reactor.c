/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a real reactor on the test's own thread. */
#include "support/run_reactor.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/check.h"

struct starter {
	struct reactor_msg msg;
	struct reactor *reactor;
	void (*start)(struct reactor *r, void *ctx);
	void *ctx;
};

static void starter_run(struct reactor_msg *msg)
{
	struct starter *s = container_of(msg, struct starter, msg);

	s->start(s->reactor, s->ctx);
}

struct reactor *run_reactor_create(const struct reactor_params *p)
{
	static const struct reactor_params defaults = {.core = -1};
	struct diag d;
	struct reactor *r = reactor_create(p ? p : &defaults, &d);

	if (!r)
		fprintf(stderr, "reactor_create: %s\n", d.text);
	CHECK(r);
	return r;
}

void run_reactor(const struct reactor_params *p, void (*start)(struct reactor *r, void *ctx),
	void *ctx, struct reactor_stats *stats)
{
	struct reactor *r = run_reactor_create(p);
	struct starter s = {.msg.run = starter_run, .reactor = r, .start = start, .ctx = ctx};

	reactor_post(r, &s.msg);
	reactor_run(r);
	if (stats)
		reactor_stats_read(r, stats);
	reactor_destroy(r);
}

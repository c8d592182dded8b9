/* SPDX-License-Identifier: Apache-2.0 */
/* A real reactor's turns, each with as many operations as a turn of a vsock round trip has: for
 * counting instructions with probes and without (ringbench trace-instructions).
 *
 * usage: trace_turns TURNS */
#include <stdio.h>
#include <stdlib.h>

#include "core/check.h"
#include "core/io_op.h"
#include "core/reactor.h"

#define OPS 2 /* of one turn */

static struct load {
	struct reactor *reactor;
	struct reactor_msg start;
	struct io_op ops[OPS];
	unsigned int in_flight;
	unsigned long turns; /* still to come */
} load;

static void ops_start(void)
{
	for (unsigned int i = 0; i < OPS; i++)
		io_nop(load.reactor, &load.ops[i]);
	load.in_flight = OPS;
}

static void op_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	(void)op;
	(void)cqe_flags;
	CHECK(res == 0);
	if (--load.in_flight)
		return;
	if (--load.turns)
		ops_start();
	else
		reactor_stop(load.reactor);
}

static void load_start(struct reactor_msg *msg)
{
	(void)msg;
	ops_start();
}

int main(int argc, char **argv)
{
	const struct reactor_params params = {.core = -1};
	struct diag d;

	load.turns = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	if (!load.turns) {
		fputs("usage: trace_turns TURNS\n", stderr);
		return 2;
	}
	load.reactor = reactor_create(&params, &d);
	if (!load.reactor) {
		fprintf(stderr, "trace_turns: %s\n", d.text);
		return 1;
	}
	for (unsigned int i = 0; i < OPS; i++)
		load.ops[i].done = op_done;
	load.start.run = load_start;
	reactor_post(load.reactor, &load.start);
	reactor_run(load.reactor);
	reactor_destroy(load.reactor);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The host's memory pressure, as the kernel measures it (PSI): for how long tasks have waited for
 * memory, and a descriptor that tells when it is much. Linux, Documentation/accounting/psi.rst.
 *
 * Whose pressure: if a limit of a memory cgroup applies to the daemon, that of the cgroup with the
 * limit, since the guests' memory is charged there; else that of the whole host. */
#ifndef RPC_PRESSURE_H
#define RPC_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/io_op.h"
#include "core/reactor.h"

#define PRESSURE_PATH_MAX 512
#define PRESSURE_TEXT_MAX 256

/* Control reactor, but for pressure_find and pressure_parse. */
struct pressure {
	struct reactor *reactor;
	char path[PRESSURE_PATH_MAX];
	struct io_file trigger, file; /* one watches, the other is read */
	struct io_op poll_op, read_op;
	char text[PRESSURE_TEXT_MAX];
	bool ending;
	/* There has been much pressure within the last seconds. */
	void (*rose)(struct pressure *p);
	/* The answer to pressure_read: microseconds of waiting, ever; or -errno. */
	void (*said)(struct pressure *p, int err, uint64_t total_us);
	/* The answer to pressure_end. */
	void (*ended)(struct pressure *p);
};

/* pressure_find: the file to watch, below `root` ("" but in tests). -ENOENT with the remedy in `d`:
 * this kernel measures no pressure. Reads files: before the reactor runs. */
int pressure_find(const char *root, char path[PRESSURE_PATH_MAX], struct diag *d);

/* pressure_parse: the "some" line's total, in microseconds; false: it is no such file. */
bool pressure_parse(const char *text, uint64_t *total_us);

/* pressure_open: opens `path` and asks for the trigger; nothing is watched yet. Errors with the
 * remedy in `d`. pressure_start: on the reactor. pressure_end: closes everything; `ended` follows,
 * perhaps from inside; also for one that was opened and never started. */
int pressure_open(struct pressure *p, const char *path, struct diag *d);
void pressure_start(struct pressure *p, struct reactor *r);
void pressure_read(struct pressure *p);
void pressure_end(struct pressure *p);

#endif

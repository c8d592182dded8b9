/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon of a benchmark's own and its guest, by the client library. Everything is below a folder
 * of its own. */
#ifndef PERF_SERVED_H
#define PERF_SERVED_H

#include "perf/child.h"
#include "ringvisor/client.h"

#define SERVED_WAIT_MS 20000 /* for any answer of the daemon or of its guest */

/* served_folder_make: a new folder below /tmp. -errno. served_folder_remove: with all the files in
 * it, also those of a daemon that was killed; safe on "". */
int served_folder_make(char folder[64], struct diag *d);
void served_folder_remove(const char *folder);

/* served_start: runs argv, a `ringvisor serve` at that socket, and connects to it. -ENOTSUP with
 * the reason if there is no such program or no KVM. On an error *client is NULL; *c may have to be
 * ended. */
int served_start(struct child *c, char *const argv[], const char *socket, struct rv_client **client,
	struct diag *d);

/* served_config: the embedded guest with one CPU; NULL: out of memory. served_launch: as "bench".
 */
struct rv_config *served_config(uint64_t memory_bytes);
int served_launch(
	struct rv_client *client, const struct rv_config *config, rv_object *guest, struct diag *d);

/* served_failed: what a call said, as a benchmark's error: -EIO. */
int served_failed(struct diag *d, const struct rv_error *e);

#endif

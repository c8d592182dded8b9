/* SPDX-License-Identifier: Apache-2.0 */
/* Starting `ringvisor serve` and a guest, and leaving nothing of it. */
#include "perf/served.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRY_MS 10

int served_folder_make(char folder[64], struct diag *d)
{
	snprintf(folder, 64, "/tmp/ringbench-XXXXXX");
	if (mkdtemp(folder))
		return 0;
	folder[0] = '\0';
	return diag_errno(d, -errno, "a folder for sockets");
}

void served_folder_remove(const char *folder)
{
	DIR *dir = folder[0] ? opendir(folder) : NULL;
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

int served_failed(struct diag *d, const struct rv_error *e)
{
	return diag_fail(d, -EIO, "ringvisor serve: %s", e->detail);
}

int served_start(struct child *c, char *const argv[], const char *socket, struct rv_client **client,
	struct diag *d)
{
	struct rv_error e;
	int err;

	*client = NULL;
	if (access(argv[0], X_OK) || access("/dev/kvm", R_OK | W_OK))
		return diag_fail(d, -ENOTSUP, "no %s or no /dev/kvm", argv[0]);
	err = child_start(c, argv, d);
	for (unsigned int i = 0; !err && !*client && i < SERVED_WAIT_MS / TRY_MS; i++) {
		*client = rv_connect(socket, NULL, NULL, SERVED_WAIT_MS, &e);
		if (!*client)
			poll(NULL, 0, TRY_MS);
	}
	return !err && !*client ? served_failed(d, &e) : err;
}

struct rv_config *served_config(uint64_t memory_bytes)
{
	struct rv_config *config = rv_config_create();

	if (!config)
		return NULL;
	rv_config_set_kernel_type(config, RV_KERNEL_BUILTIN);
	rv_config_set_cpus(config, 1);
	rv_config_set_memory(config, memory_bytes);
	return config;
}

int served_launch(
	struct rv_client *client, const struct rv_config *config, rv_object *guest, struct diag *d)
{
	struct rv_error e;

	if (rv_host_launch(client, "bench", config, guest, SERVED_WAIT_MS, &e))
		return served_failed(d, &e);
	return 0;
}

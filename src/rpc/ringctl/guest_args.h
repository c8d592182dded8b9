/* SPDX-License-Identifier: Apache-2.0 */
/* The guest that `ringctl launch` is told to start: a configuration file, and options on top. */
#ifndef RINGCTL_GUEST_ARGS_H
#define RINGCTL_GUEST_ARGS_H

#include "core/config.h"
#include "ringvisor/client.h"
#include "rpc/ringctl/options.h"

#define GUEST_ARGS_LIST_MAX 64

/* What the options gave; texts are argv's. */
struct guest_args {
	const char *config, *kernel, *initrd, *cmdline, *vsock_uds_path;
	const char *cmdline_add[GUEST_ARGS_LIST_MAX], *disks[GUEST_ARGS_LIST_MAX];
	const char *nets[GUEST_ARGS_LIST_MAX];
	unsigned int cmdline_add_count, disk_count, net_count;
	uint64_t memory, mem_block_size, mem_region_size, mem_region_alignment;
	uint32_t cpus, guest_cid, home_core;
	bool builtin, detach;
	bool balloon, console, rng, vsock, mem, default_net;
	uint64_t given; /* CONFIG_BIT of each field that an option set */
};

/* For options_parse, over a zeroed struct guest_args. */
extern const struct option_spec guest_args_options[];

/* guest_args_config: reads the file, if any, and puts the options on top. With neither file nor
 * kernel it is the embedded guest; without a file, one CPU and 256 MiB unless told otherwise. Paths
 * become absolute, as the daemon has its own working directory. What is wrong by itself is found
 * here, before any daemon is asked. The caller's, or NULL with the text in `d`. */
struct rv_config *guest_args_config(const struct guest_args *a, struct diag *d);

#endif

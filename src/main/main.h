/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the ringvisor program share. */
#ifndef MAIN_MAIN_H
#define MAIN_MAIN_H

#include <stdint.h>

#include "core/guest.h"

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

const struct device_class *const *device_classes(void);
/* CONFIG_BIT of each device in the table. */
uint64_t device_bits(void);

/* env_open: the host's KVM, the embedded guest and the devices, for `cores` reactors. */
int env_open(struct guest_env *env, struct vm_host *host, unsigned int cores, struct diag *d);
void env_close(struct guest_env *env);

/* How long an event loop polls before it sleeps while there is traffic: as long as a guest's or a
 * client's answer takes, when both are there at once. */
#define POLL_US_DEFAULT 50
#define POLL_US_MAX     10000

/* parse_cores: "0,2-3" into CPU numbers that this process may run on; returns how many, or -EINVAL.
 */
int parse_cores(const char *text, int *cores, unsigned int max, struct diag *d);

/* The subcommands: argv[0] is the subcommand's name. */
int run_main(int argc, char **argv);
int serve_main(int argc, char **argv);

/* complain: one line "ringvisor: …" on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...);

#define CORES_MAX 64

#endif

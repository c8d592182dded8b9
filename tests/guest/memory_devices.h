/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that comes and goes by the balloon and virtio-mem, for who wants to be without it. CPU 0
 * only; all of it false with fail(). */
#ifndef GUEST_MEMORY_DEVICES_H
#define GUEST_MEMORY_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

/* The host takes these pages, whatever they are used for; then the balloon's driver ends, and they
 * are the guest's again, if with nothing in them. Not while `balloon` is started. */
bool balloon_take(void *start, uint64_t pages);

/* Takes the pages of its own queue and of the request in it; the device need not answer. */
bool balloon_take_own(void);

/* Plugs the last block, which the host must have asked for; unplugs it. The driver stays started.
 */
bool hotplug_block_plug(uint64_t *start, uint64_t *len_bytes);
bool hotplug_block_unplug(void);

#endif

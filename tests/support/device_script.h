/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile driver from a fuzzer's bytes: chains of any shape and place, ring memory overwritten,
 * resets at any time, on a device rig with the fake reactor. */
#ifndef SUPPORT_DEVICE_SCRIPT_H
#define SUPPORT_DEVICE_SCRIPT_H

#include "support/device_rig.h"

struct device_script {
	struct device_rig *rig;
	struct reactor *reactor;
	const uint8_t *at, *end;
	uint64_t features; /* the device's own, which it may get */
	uint64_t base;     /* chains lie here by preference; DEVICE_RIG_BUFFERS, or another place */
	/* One step of what only this device has. */
	void (*special)(struct device_script *s, uint8_t choice);
};

/* device_script_next: the next `size_bytes` bytes as a number; 0 behind the end. */
uint64_t device_script_next(struct device_script *s, unsigned int size_bytes);

/* device_script_run: all steps, then a reset, which has to end. */
void device_script_run(struct device_script *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of the devices that this build has, in conformance.md's order of creation. */
#include "main/main.h"

#include <stddef.h>

#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/mem.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

static const struct device_class *const classes[] = {
	&mem_device_class,
	&balloon_device_class,
	&console_class,
	&rng_class,
	&vsock_class,
	NULL,
};

const struct device_class *const *device_classes(void)
{
	return classes;
}

uint64_t device_bits(void)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; classes[i]; i++)
		bits |= classes[i]->config_bit;
	return bits;
}

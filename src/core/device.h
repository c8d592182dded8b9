/* SPDX-License-Identifier: Apache-2.0 */
/* A device of a machine as the machine sees it: made on a helper thread, then alive on the home
 * reactor. The classes come from above core in one explicit table (struct guest_env). */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/list.h"

struct balloon_controller;
struct console_controller;
struct device;
struct mem_controller;
struct machine;
struct vsock_controller;

struct device_class {
	const char *name;    /* "virtio-console": as GuestInfo lists it */
	uint64_t config_bit; /* of the field that asks for it: this build has it (config_limits) */

	/* How many of them the config wants. */
	unsigned int (*wanted)(const struct guest_config *c);
	/* Makes number `index`; adds itself to the machine's buses. Helper thread: may block.
	 * Returns GUEST_OK or the error of conformance.md with text in `d`. May take what it needs
	 * out of the config. */
	enum guest_error (*create)(struct device **dev, struct machine *m, struct guest_config *c,
		unsigned int index, struct diag *d);
	/* Takes the names on the host that the config gives it, when all else of the machine has
	 * been made. Helper thread: may block. Returns as create does. NULL: nothing to do. */
	enum guest_error (*publish)(
		struct device *dev, const struct guest_config *c, struct diag *d);
	/* The machine has its home reactor now: descriptors may be registered. Home reactor. NULL:
	 * nothing to do. */
	void (*attach)(struct device *dev);
	/* The first vCPU is about to run. Home reactor. NULL: nothing to do. */
	enum guest_error (*start)(struct device *dev, struct diag *d);
	/* No vCPU runs any more: cancel everything, then call device_stopped, now or later. Home
	 * reactor. */
	void (*stop)(struct device *dev);
	/* Some guest memory was unplugged: rings that were there are gone. Home reactor. NULL: it
	 * keeps nothing of guest memory. */
	void (*memory_changed)(struct device *dev);
	/* Chains that the driver has given and not got back, all queues. Home reactor. NULL: no
	 * queues. */
	uint32_t (*queue_depth)(const struct device *dev);
	/* Frees it. Nothing is in flight. Helper thread. */
	void (*destroy)(struct device *dev);

	/* What control calls can ask of it (controllers.h). NULL: it is no such device. */
	const struct console_controller *console;
	const struct vsock_controller *vsock;
	const struct balloon_controller *balloon;
	const struct mem_controller *mem;
};

/* Embedded in the device. */
struct device {
	const struct device_class *class;
	struct machine *machine;
	struct list link;
};

/* device_stopped: the answer to class->stop; may come from within it. Home reactor. */
void device_stopped(struct device *dev);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a control call can ask of devices whose files core and rpc do not know; reached through
 * device_class. All on the device's home reactor. */
#ifndef CORE_CONTROLLERS_H
#define CORE_CONTROLLERS_H

#include <stdint.h>

#include "core/diag.h"

struct device;

struct console_controller {
	/* Another handle on the console's one stream: a SOCK_STREAM descriptor, close-on-exec,
	 * owned by the caller; -errno with text. */
	int (*client)(struct device *dev, struct diag *d);
	/* Uses these descriptors instead of clients (ownership passes; either may be -1), for a
	 * terminal or a file. Once, and before any client. */
	void (*open_files)(struct device *dev, int in, int out);
	/* The size of the window that shows it; 0 × 0: unknown. */
	void (*resize)(struct device *dev, uint16_t cols, uint16_t rows);
	/* For how long output has waited for a reader to take it; 0: it has not. */
	uint64_t (*blocked_ns)(const struct device *dev);
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's console or serial port on this terminal: what `attach` and `launch` share. */
#ifndef RINGCTL_ATTACH_H
#define RINGCTL_ATTACH_H

#include "rpc/ringctl/session.h"

/* attach_guest: the stream of the guest object until the person leaves or the guest ends; then says
 * how it ended. Without `serial_only` the console if the guest has one, else the serial port. */
enum ctl_exit attach_guest(struct ctl *ctl, struct rv_client *client, const char *name,
	rv_object guest, bool serial_only);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The socket's default path, for the daemon and its clients alike. */
#include "rpc/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int endpoint_address(struct sockaddr_un *address, const char *path, struct diag *d)
{
	const char *folder = geteuid() ? getenv("XDG_RUNTIME_DIR") : "/run";
	int len;

	if (!path && (!folder || !*folder))
		return diag_fail(d, -ENOENT,
			"XDG_RUNTIME_DIR is not set, so there is no default socket: name one");
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (path)
		len = snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
	else
		len = snprintf(
			address->sun_path, sizeof(address->sun_path), "%s/ringvisor.sock", folder);
	if (len <= 0 || (size_t)len >= sizeof(address->sun_path))
		return diag_fail(d, -ENAMETOOLONG,
			"the socket's path is %d bytes; the limit is 1 to %zu", len,
			sizeof(address->sun_path) - 1);
	return 0;
}

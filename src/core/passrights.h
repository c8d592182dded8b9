/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets over which nobody can send descriptors. Any thread. */
#ifndef CORE_PASSRIGHTS_H
#define CORE_PASSRIGHTS_H

#include <sys/socket.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

/* passrights_refuse: who sends a descriptor to this Unix socket gets -EPERM from here on; a
 * listener's connections inherit that. Whoever reads a byte that a descriptor came with closes it,
 * and closing can take as long as its sender likes: a TCP socket with SO_LINGER, a file of a FUSE
 * file system. Older kernels cannot refuse; nothing changes there. */
static inline void passrights_refuse(int fd)
{
	const int no = 0;

	(void)!setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
}

#endif

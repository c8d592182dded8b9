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

/* What a guest that connects tells the acceptor; given back with the answer as it is. */
struct vsock_accept {
	uint32_t src_cid, src_port, port;
	uint64_t serial; /* which of all connections; for the device */
};

/* Who listens on a port. Embedded in its owner, which keeps it until unlisten or `closed`. */
struct vsock_acceptor {
	/* The guest asks for a connection; the answer is vsock_controller.accepted, now or later,
	 * in any order, or never. */
	void (*accept)(struct vsock_acceptor *a, const struct vsock_accept *request);
	/* The device goes away, and the listener with it. */
	void (*closed)(struct vsock_acceptor *a);
};

/* One connection that is being made from here. Embedded in its owner, which keeps it until `done`
 * or connect_cancel. */
struct vsock_connect {
	/* Once, never from within `connect`. err 0: `fd` is the client's end, a SOCK_STREAM socket,
	 * close-on-exec, owned by the callee from now on. -ECONNREFUSED; -ETIMEDOUT: the guest did
	 * not answer for 5 s; -EMFILE and the like: no socket (`fd` is -1). */
	void (*done)(struct vsock_connect *c, int err, uint32_t host_port, int fd);
	void *conn; /* private */
};

struct vsock_figures {
	uint32_t connections, listeners;
	uint64_t accepted, connected, forced; /* since the start; forced: closed by force */
	uint64_t bytes_to_guest, bytes_from_guest, packets_to_guest, packets_from_guest;
	uint64_t packets_dropped; /* without a whole header */
	uint64_t rx_starved_ns;   /* for how long something has waited for a receive buffer */
};

struct vsock_controller {
	/* 0; -EADDRINUSE: somebody listens on it already; -ENOSPC, -ENOMEM. */
	int (*listen)(struct device *dev, uint32_t port, struct vsock_acceptor *a);
	/* Takes over a port of the configuration's vsock_listeners that has no acceptor yet: 0;
	 * -EADDRINUSE: it has; -ENOENT: no such listener. */
	int (*adopt)(struct device *dev, uint32_t port, struct vsock_acceptor *a);
	/* Ends the listener if it is this acceptor's; what it has not answered is refused, what it
	 * has accepted lives on. */
	void (*unlisten)(struct device *dev, uint32_t port, struct vsock_acceptor *a);
	/* The answer to `accept`. fd ≥ 0: the end that the device is to use, a SOCK_STREAM socket;
	 * ownership passes in any case. fd < 0: refused. A request that is over by now is ignored.
	 */
	void (*accepted)(struct device *dev, const struct vsock_accept *request, int fd);
	/* 0: `done` will come. -ENOSPC: no port or no connection is left; -ENOMEM;
	 * -ECONNREFUSED: the device is going away. */
	int (*connect)(struct device *dev, uint32_t guest_port, struct vsock_connect *c);
	/* Nobody wants it any more; `done` does not come. Only before `done`. */
	void (*connect_cancel)(struct device *dev, struct vsock_connect *c);
	void (*figures)(struct device *dev, struct vsock_figures *to);
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a control call can ask of devices whose files core and rpc do not know; reached through
 * device_class. All on the device's home reactor. */
#ifndef CORE_CONTROLLERS_H
#define CORE_CONTROLLERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"
#include "core/guest_error.h"
#include "core/list.h"

struct device;
struct stream_loss;

struct console_controller {
	/* Another handle on the console's one stream: a SOCK_STREAM descriptor, close-on-exec,
	 * owned by the caller; -errno with text. */
	int (*client)(struct device *dev, struct diag *d);
	/* Uses these descriptors instead of clients (ownership passes; either may be -1), for a
	 * terminal or a file. Once, and before any client. `loss`: what was not written, complete
	 * when the VMM is gone; NULL: nobody asks. */
	void (*open_files)(struct device *dev, int in, int out, struct stream_loss *loss);
	/* The size of the window that shows it; 0 × 0: unknown. */
	void (*resize)(struct device *dev, uint16_t cols, uint16_t rows);
	/* For how long output has waited for a reader to take it; 0: it has not. */
	uint64_t (*blocked_ns)(const struct device *dev);
};

/* What a guest that connects tells the acceptor; given back with the answer as it is. */
struct vsock_accept {
	uint32_t src_cid, src_port, port;
	uint16_t type;   /* 1 STREAM, 2 SEQPACKET: what the socket of the answer must be */
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
	uint32_t quarantined;                 /* keys that rest after a forced close */
	uint64_t accepted, connected, forced; /* since the start; forced: closed by force */
	uint64_t refused;       /* requests and packets that were answered with a reset */
	uint64_t credit_stalls; /* times that a client had data and the guest gave no credit */
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
	/* The answer to `accept`. fd ≥ 0: the end that the device is to use, SOCK_STREAM or
	 * SOCK_SEQPACKET; if that is not what the guest asked for, it is refused. Ownership passes
	 * in any case. fd < 0: refused. A request that is over by now is ignored. */
	void (*accepted)(struct device *dev, const struct vsock_accept *request, int fd);
	/* 0: `done` will come. -ENOSPC: no port or no connection is left; -ENOMEM;
	 * -ECONNREFUSED: the device is going away. */
	int (*connect)(struct device *dev, uint32_t guest_port, struct vsock_connect *c);
	/* Nobody wants it any more; `done` does not come. Only before `done`. */
	void (*connect_cancel)(struct device *dev, struct vsock_connect *c);
	void (*figures)(struct device *dev, struct vsock_figures *to);
};

#define BALLOON_STATS_MAX 32 /* more of a guest's statistics are not passed on */

struct balloon_stat_value {
	uint16_t tag; /* as the guest has it: virtio 1.2 §5.5.6.4 */
	uint64_t value;
};

/* One question for the guest's memory statistics; the asker's, until `done`. */
struct balloon_stats_call {
	/* OK with the values; NOT_SUPPORTED: the guest's driver has none; INTERNAL: the device was
	 * reset or stopped; TIMED_OUT: no answer within 5 s. Home reactor, perhaps from inside of
	 * `stats`. */
	void (*done)(struct balloon_stats_call *call, enum status status);
	struct balloon_stat_value values[BALLOON_STATS_MAX];
	unsigned int count;
	/* Private. */
	struct list link;
	uint64_t deadline_ns;
};

/* As the virtio-mem device's configuration has them, in bytes. */
struct mem_size {
	uint64_t block_size, region_size, usable_region_size, plugged_size, requested_size;
};

struct mem_figures {
	uint64_t requests, refusals,
		failures;                   /* of the guest; failures: the kernel had no memory */
	uint64_t discards, discarded_bytes; /* ranges of blocks given to the host, ever */
};

struct mem_controller {
	void (*size)(struct device *dev, struct mem_size *size);
	void (*figures)(const struct device *dev, struct mem_figures *to);
	/* Asks the guest to plug or unplug blocks until it has so much. -EINVAL with text: not a
	 * multiple of the block size, or more than the region has. */
	int (*request)(struct device *dev, uint64_t requested_size, struct diag *d);
};

#define BALLOON_STAT_NONE UINT64_MAX /* the guest has not said */

/* Pages are of 4096 bytes. */
struct balloon_figures {
	uint32_t actual_pages;   /* what the guest's driver says that it has given */
	uint32_t target_pages;   /* what it is asked to give: the next two together */
	uint32_t baseline_pages; /* by clients */
	uint32_t reclaim_pages;  /* by the reclaim policy */
	uint32_t ram_pages;
	uint64_t requests;   /* of clients, ever */
	bool has_statistics; /* the driver gives them */
	/* Of the last statistics, in bytes, or BALLOON_STAT_NONE; when they came, 0: never. */
	uint64_t free_bytes, available_bytes, statistics_ns;
	uint64_t reported_bytes;                              /* by free page reporting, ever */
	uint64_t discards, discarded_bytes, discard_failures; /* runs given to the host, ever */
};

struct balloon_controller {
	/* What the guest's driver says that it has given, and what it was asked to give. */
	void (*size)(struct device *dev, uint32_t *current_pages, uint32_t *requested_pages);
	/* Asks for so many; more than the guest's RAM has is clamped. Ends what `reclaim` asked. */
	void (*request)(struct device *dev, uint32_t pages);
	/* Asks for so many besides those of `request`; not a client's wish. */
	void (*reclaim)(struct device *dev, uint32_t pages);
	void (*stats)(struct device *dev, struct balloon_stats_call *call);
	void (*figures)(const struct device *dev, struct balloon_figures *to);
};

#endif

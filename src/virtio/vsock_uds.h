/* SPDX-License-Identifier: Apache-2.0 */
/* Vsock over Unix sockets (vsock_uds_path), as other monitors and systemd's ssh proxy have it.
 *
 *   host → guest: connect to <path>, write "CONNECT <port>\n", read "OK <host_port>\n", talk; if
 *     the guest refuses, the socket is closed
 *   guest → host: a REQUEST for port P, on which nobody listens, becomes a connection to <path>_P,
 *     of the same type as the guest's socket
 *
 * The handshake may come in pieces, and what the peer writes behind it is the guest's. Nothing here
 * waits for a peer. Home reactor, but for init and finish. */
#ifndef VIRTIO_VSOCK_UDS_H
#define VIRTIO_VSOCK_UDS_H

#include <sys/types.h>
#include <sys/un.h>

#include "core/guest_error.h"
#include "virtio/vsock.h"

#define UDS_LINE_MAX 32u /* of "CONNECT 4294967295\n" and some */
/* Handshakes and dials at a time; more are closed, or refused. */
#define UDS_HANDSHAKES_MAX 256u
#define UDS_DIALS_MAX      256u
/* For the first line to be complete. */
#define UDS_LINE_NS 5000000000ULL
/* A listener whose backlog is full is tried again, so often. */
#define UDS_RETRY_NS 20000000ULL
#define UDS_TRIES    100u

/* Embedded in the device. */
struct vsock_uds {
	struct vsock *v;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": off */
	int fd;                                                 /* until attached */
	dev_t dev;
	ino_t ino; /* of the name in the file system */
	bool near; /* that is local: looking a name up there waits for nobody */
	struct io_file listener;
	struct io_op accept;
	struct reactor_timer accept_again; /* after an error such as EMFILE */
	struct list handshakes, dials;
	unsigned int handshake_count, dial_count;
	struct vsock_acceptor acceptor;
	struct reactor_task end_task;
	void (*stopped)(struct vsock_uds *u);
};

/* vsock_uds_init: makes the socket, which only this user may connect to. `path` NULL: off. A socket
 * that nobody listens on any more is replaced. Returns GUEST_OK, GUEST_DUPLICATE_PUBLIC_SERVICES
 * (somebody listens on it) or GUEST_FAILED_SERVICE_CONNECT, with text. Helper thread.
 * vsock_uds_finish: removes it; stopped, or never attached; safe on a zeroed struct. */
enum guest_error vsock_uds_init(
	struct vsock_uds *u, struct vsock *v, const char *path, struct diag *d);
void vsock_uds_finish(struct vsock_uds *u);

/* vsock_uds_attach: peers are served from now on. vsock_uds_stop: ends handshakes and dials, then
 * calls `stopped`, not from within. Before vsock_close. */
void vsock_uds_attach(struct vsock_uds *u);
void vsock_uds_stop(struct vsock_uds *u, void (*stopped)(struct vsock_uds *u));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* HostVsockAcceptor: lives on the client's side; here it is what holds the listener. Control
 * reactor. */
#ifndef RPC_OBJECT_ACCEPTOR_H
#define RPC_OBJECT_ACCEPTOR_H

#include "rpc/object.h"
#include "rpc/slot_vsock.h"

/* acceptor_object_open: answers a Listen, whose child holds the listener from now on.
 * acceptor_objects_open: the same for the acceptors of a configuration, of which a Create has just
 * succeeded; the call itself (NULL: nobody waits for it) is still to be answered. */
void acceptor_object_open(struct call *call, struct slot_listener *l);
void acceptor_objects_open(struct call *call, struct slot_op *op);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The Guest object: made by Bind, Connect and Launch. Control reactor. */
#ifndef RPC_OBJECT_GUEST_H
#define RPC_OBJECT_GUEST_H

#include "rpc/object.h"
#include "rpc/slots.h"

/* guest_object_bind: binds call->child to the slot's VMM and answers the call; without a VMM it is
 * refused as the call's method has it (Closed; NOT_RUNNING). */
void guest_object_bind(struct call *call, struct slot *slot);

/* guest_object_link: a link for guest_object_open; NULL: out of memory.
 * guest_object_open: the link is bound: answers the call, whose child holds it from now on. */
struct guest_link *guest_object_link(struct slot *slot);
void guest_object_open(struct call *call, struct guest_link *l);

#endif

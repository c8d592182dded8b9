/* SPDX-License-Identifier: Apache-2.0 */
/* The MemController object: made by Guest.GetMemController. Control reactor. */
#ifndef RPC_OBJECT_MEM_H
#define RPC_OBJECT_MEM_H

#include "rpc/object.h"

/* mem_object_open: the call is Guest.GetMemController; its child becomes the controller, or the
 * call is refused. */
void mem_object_open(struct call *call);

#endif

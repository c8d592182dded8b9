/* SPDX-License-Identifier: Apache-2.0 */
/* What the objects for a device of a VMM have in common: each holds a link to the VMM that its
 * Guest was bound to. Control reactor. */
#ifndef RPC_OBJECT_DEVICE_H
#define RPC_OBJECT_DEVICE_H

#include "rpc/object.h"
#include "rpc/slots.h"

/* One of the slot_*_open of rpc/slots.h. */
typedef bool (*device_open_call)(
	struct guest_link *l, struct guest_link *child, slot_done done, void *ctx);

/* device_object_open: answers a call on a Guest that opens such an object: DEVICE_NOT_PRESENT if
 * the VMM has no such device. device_object_release: for object_class.release. */
void device_object_open(struct call *call, device_open_call open);
void device_object_release(void *held);

/* Both answer the call. device_no_memory: a slot_* call returned false. device_failed: op->err is
 * set; op->ctx is the call. */
void device_no_memory(struct call *call);
void device_failed(struct slot_op *op);

#endif

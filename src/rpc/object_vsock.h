/* SPDX-License-Identifier: Apache-2.0 */
/* HostVsockEndpoint: a guest's vsock. Control reactor. */
#ifndef RPC_OBJECT_VSOCK_H
#define RPC_OBJECT_VSOCK_H

#include "rpc/object.h"

/* vsock_object_open: answers a GetHostVsockEndpoint. */
void vsock_object_open(struct call *call);

#endif

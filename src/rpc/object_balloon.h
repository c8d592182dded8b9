/* SPDX-License-Identifier: Apache-2.0 */
/* The BalloonController object: made by Guest.GetBalloonController. Control reactor. */
#ifndef RPC_OBJECT_BALLOON_H
#define RPC_OBJECT_BALLOON_H

#include "rpc/object.h"

/* balloon_object_open: the call is Guest.GetBalloonController; its child becomes the controller, or
 * the call is refused. */
void balloon_object_open(struct call *call);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of one invocation, and what its errors mean for the exit status. */
#ifndef RINGCTL_SESSION_H
#define RINGCTL_SESSION_H

#include "ringvisor/client.h"
#include "rpc/ringctl/ctl.h"

/* A daemon that does not answer a short call within this is stuck, and the person is told. */
#define SESSION_CALL_MS 30000

/* session_open: connects; NULL after a failure, which is reported, with the status in *status. The
 * caller ends it with rv_destroy. session_open_events: the same, with rv_connect's events. */
struct rv_client *session_open(const struct ctl *ctl, enum ctl_exit *status);
struct rv_client *session_open_events(
	const struct ctl *ctl, const struct rv_events *events, void *user, enum ctl_exit *status);

/* session_fail: reports the error of a call and gives the exit status that belongs to it. */
enum ctl_exit session_fail(const struct ctl *ctl, const struct rv_error *error);

/* session_guest_error: the name of a guest's stop_error; session_status: of its status, "running".
 */
const char *session_guest_error(uint32_t stop_error);
const char *session_status(uint32_t guest_status);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the service manager how the daemon is, by the datagram protocol of sd_notify(3). */
#ifndef RPC_SD_NOTIFY_H
#define RPC_SD_NOTIFY_H

/* sd_notify_send: sends `state` ("READY=1") to the socket that NOTIFY_SOCKET names. 0: sent, or
 * there is no such socket; -errno. Never waits. Any thread. */
int sd_notify_send(const char *state);

#endif

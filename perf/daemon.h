/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon that a benchmark starts on a socket of its own, and one connection to it. */
#ifndef PERF_DAEMON_H
#define PERF_DAEMON_H

#include "perf/child.h"
#include "rpc/codec.h"

struct daemon {
	struct child child;
	char folder[64], socket[96];
	char program[4096], cores[16];
	int fd; /* the connection, blocking */
	uint32_t txid;
	uint8_t out[4096], in[FRAME_SIZE_MAX];
	uint64_t ready_cpu_ns; /* CPU time of the daemon when the first connection was made */
};

/* daemon_start: serves on CPU `core` (-1: anywhere) and is connected. -ENOTSUP with the reason if
 * this machine has no KVM. daemon_end: kills it and removes its folder. */
int daemon_start(struct daemon *d, int core, struct diag *diag);
void daemon_end(struct daemon *d);

/* daemon_call: sends one call and waits for its reply, whose message it checks. The message is
 * built by codec_call_init with daemon_txid. -EPROTO for an ERROR reply. */
uint32_t daemon_txid(struct daemon *d);
int daemon_call(struct daemon *d, const struct codec_message *call, struct diag *diag);

/* io_all: exactly len_bytes, by read or write. False at an end or an error. */
bool io_read_all(int fd, void *to, size_t len_bytes);
bool io_write_all(int fd, const void *from, size_t len_bytes);

#endif

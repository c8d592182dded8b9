/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio console, one port (virtio 1.2 §5.3): the guest's bytes go straight from its pages to the
 * client's socket and back.
 *
 *   transmitq ─▶ batch of chains ─▶ one sendmsg ─▶ ┌────────┐
 *                                                  │ socket │ ◀─▶ clients, who compete
 *   receiveq  ◀─ batch of chains ◀─ one readv   ◀─ └────────┘
 *
 * Short output is copied, so that its chain goes back at once; the rest is sent from its pages.
 * Before there is a reader, output is copied and kept; what does not fit is counted. From then on
 * a socket that is full blocks the transmitq, and input that the guest has no buffers for waits in
 * the socket. Home reactor, but for init and finish. */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "core/device.h"
#include "core/stream_end.h"
#include "virtio/chain_batch.h"
#include "virtio/device.h"

#define CONSOLE_F_SIZE        (1ULL << 0)
#define CONSOLE_F_EMERG_WRITE (1ULL << 2)

#define CONSOLE_RX         0 /* receiveq */
#define CONSOLE_TX         1 /* transmitq */
#define CONSOLE_QUEUES     2
#define CONSOLE_QUEUE_SIZE 256

#define CONSOLE_KEPT_BYTES  65536
#define CONSOLE_SMALL_BYTES 512 /* up to which output is copied rather than sent from its pages */

/* One direction: a queue, what has been taken from it, and the transfer in flight. */
struct console_flow {
	struct chain_batch batch;
	struct io_op op;
};

/* Embedded in its device. */
struct console {
	struct virtio_device dev;
	uint8_t config[12]; /* struct virtio_console_config */
	struct stream_end end;
	struct console_flow rx, tx;
	uint8_t *kept; /* output before the first reader, and of emergency writes; NULL: none */
	uint32_t kept_start, kept_end;
	bool writing_kept; /* tx.op is about `kept` */
	bool in_ended;     /* the clients have shut their end down */
	bool out_broken;   /* nobody will ever read */
	bool linger;       /* the end waits for a slow file */
	uint64_t write_start_ns;
	bool giving_up; /* the end has waited long enough */
	struct reactor_timer drain_timer;
	struct reactor_timer retry_timer; /* armed after an -EAGAIN */
	void (*drained)(struct console *c);
	uint64_t bytes_out, bytes_in, dropped_bytes; /* figures */
};

/* console_init: env as virtio_device_init; -ENOMEM. console_finish: reset and closed, or never
 * attached. Any thread. */
int console_init(struct console *c, struct virtio_env *env, struct diag *d);
void console_finish(struct console *c);

/* console_client, console_open_files, console_resize, console_blocked_ns: see console_controller.
 */
int console_client(struct console *c, struct diag *d);
void console_open_files(struct console *c, int in, int out, struct stream_loss *loss);
void console_resize(struct console *c, uint16_t cols, uint16_t rows);
uint64_t console_blocked_ns(const struct console *c);

/* console_drain: no vCPU runs any more: lets the reader have what the guest has sent, as long as it
 * takes it; then calls `drained`, not from within. Once. console_close: the device has been reset
 * and drained. */
void console_drain(struct console *c, void (*drained)(struct console *c));
void console_close(struct console *c);

extern const struct device_class console_class;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The device code on a fake driver and a fake reactor, the same work each time: for counting
 * instructions with probes and without (ringbench trace-instructions).
 *
 * usage: trace_load vsock|console ROUNDS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/device_rig.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"
#include "virtio/console.h"

#define PORT          80u
#define GUEST_PORT    1022u
#define MESSAGE_BYTES 64
#define CHAIN_BYTES   4096
#define CHAINS        8 /* at once */
#define RING          16

/* A message of the guest's to the client, and its answer. */
static void vsock_load(unsigned long rounds)
{
	static struct vrig rig;
	static struct vrig_packet packet;
	static uint8_t bytes[MESSAGE_BYTES];
	struct vrig_conn c;

	vrig_init(&rig, 3);
	vrig_start(&rig, 32, 4096);
	vrig_listen(&rig, PORT);
	c = vrig_guest_connects(&rig, PORT, GUEST_PORT);
	for (unsigned long i = 0; i < rounds; i++) {
		c.fwd_cnt = (uint32_t)i * MESSAGE_BYTES;
		vrig_data(&rig, &c, bytes, sizeof(bytes));
		vrig_run(&rig);
		CHECK(vrig_read(&rig, c.fd, bytes, sizeof(bytes)) == MESSAGE_BYTES);
		CHECK(send(c.fd, bytes, sizeof(bytes), 0) == MESSAGE_BYTES);
		vrig_expect(&rig, &c, VSOCK_OP_RW, &packet);
	}
	close(c.fd);
	vrig_finish(&rig);
}

/* Some chains of the guest's output. */
static void console_load(unsigned long rounds)
{
	static struct device_rig rig;
	static struct console console;
	static uint8_t got[CHAINS * CHAIN_BYTES];
	struct reactor *r = fake_io_create(3);
	struct fake_used used;
	struct diag d;
	int fd;

	device_rig_init(&rig, r);
	CHECK(console_init(&console, &rig.env, &d) == 0);
	device_rig_attach(&rig, &console.dev);
	fd = console_client(&console, &d);
	CHECK(fd >= 0 && device_rig_start(&rig, 0, RING));
	for (unsigned long i = 0; i < rounds; i++) {
		for (unsigned int k = 0; k < CHAINS; k++)
			CHECK(device_rig_offer(&rig, CONSOLE_TX,
				DEVICE_RIG_BUFFERS + k * CHAIN_BYTES, CHAIN_BYTES, false));
		fake_io_run(r);
		CHECK(recv(fd, got, sizeof(got), MSG_WAITALL) == sizeof(got));
		fake_io_run(r);
		while (fake_take(&rig.queues[CONSOLE_TX], &used))
			;
	}
	_exit(0); /* what would free it is no part of the load */
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (!rounds) {
		fputs("usage: trace_load vsock|console ROUNDS\n", stderr);
		return 2;
	}
	(strcmp(argv[1], "console") ? vsock_load : console_load)(rounds);
	return 0;
}

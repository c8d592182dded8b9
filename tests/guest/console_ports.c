/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's further ports (virtio 1.2 §5.3.6.2): the control queues, as far as it takes to open
 * one. For the comparison with monitors whose port 0 drops what its reader is too slow for.
 */
#include "console.h"
#include "console_ports.h"
#include "lib.h"
#include "shell.h"

#define CONTROL_RX   2
#define CONTROL_TX   3
#define BUFFERS      8
#define BUFFER_BYTES 64 /* a port's name may be in it */
#define TIMEOUT_US   10000000
#define NO_PORT      UINT32_MAX
#define EVENTS_MAX   1000

enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6 };

struct control {
	uint32_t id;
	uint16_t event, value;
};

static bool control_send(struct console *console, uint32_t id, uint16_t event, uint16_t value)
{
	static struct control message;
	struct virtio_queue *queue = &console->dev.queues[CONTROL_TX];
	struct vring_segment segment = {(uint64_t)&message, sizeof(message)};
	uint64_t token;
	message = (struct control){.id = id, .event = event, .value = value};
	if (!vring_add(&queue->ring, &segment, 1, 0, 0))
		return fail("no room in the control queue");
	if (vring_show(&queue->ring))
		virtio_kick(queue);
	if (!virtio_wait(queue, TIMEOUT_US) || !vring_take(&queue->ring, &token, NULL))
		return fail("control event %u was not taken", event);
	return true;
}

static bool control_receive(struct console *console, struct control *message)
{
	struct virtio_queue *queue = &console->dev.queues[CONTROL_RX];
	uint64_t token;
	uint32_t written;
	if (!virtio_wait(queue, TIMEOUT_US) || !vring_take(&queue->ring, &token, &written) ||
		written < sizeof(*message))
		return fail("no control event came");
	memcpy(message, (const void *)token, sizeof(*message));
	struct vring_segment segment = {token, BUFFER_BYTES};
	vring_add(&queue->ring, &segment, 0, 1, token);
	if (vring_show(&queue->ring))
		virtio_kick(queue);
	return true;
}

static void control_start(struct console *console)
{
	static uint8_t buffers[BUFFERS][BUFFER_BYTES] __attribute__((aligned(64)));
	struct virtio_queue *queue = &console->dev.queues[CONTROL_RX];
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct vring_segment segment = {(uint64_t)buffers[i], BUFFER_BYTES};
		vring_add(&queue->ring, &segment, 0, 1, (uint64_t)buffers[i]);
	}
	if (vring_show(&queue->ring))
		virtio_kick(queue);
}

bool console_port_open(struct console *console, unsigned port)
{
	control_start(console);
	if (!control_send(console, NO_PORT, DEVICE_READY, 1))
		return false;
	for (unsigned i = 0; i < EVENTS_MAX; i++) {
		struct control message;
		if (!control_receive(console, &message))
			return false;
		if (message.id != port)
			continue;
		if (message.event == PORT_OPEN && message.value)
			return true; /* the other end is there, too */
		if (message.event == PORT_ADD &&
			(!control_send(console, port, PORT_READY, 1) ||
				!control_send(console, port, PORT_OPEN, 1)))
			return false;
	}
	return fail("port %u did not open", port);
}

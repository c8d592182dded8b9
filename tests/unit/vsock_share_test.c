/* SPDX-License-Identifier: Apache-2.0 */
/* What streams may have on their way to their clients: alone much, among many little, all the same.
 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"
#include "virtio/vsock_conn.h"

#define PORT       80u
#define GUEST_PORT 1022u
#define STREAMS    48u
#define PIECE      32768u

static struct vrig rig;
static struct vrig_packet packet;
static uint8_t bytes[PIECE], got[PIECE];
static uint32_t told[STREAMS]; /* buf_alloc in the last header */

static void setup(void)
{
	vrig_init(&rig, 7);
	vrig_start(&rig, 32, 4096);
	vrig_listen(&rig, PORT);
}

static void teardown(void)
{
	vrig_finish(&rig);
	cr_assert_eq(rig.vsock.pledged_bytes, 0u);
}

TestSuite(vsock_share, .init = setup, .fini = teardown, .timeout = 60);

static void connect_all(struct vrig_conn *c, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		c[i] = vrig_guest_connects(&rig, PORT, GUEST_PORT + i);
}

static void close_all(struct vrig_conn *c, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		close(c[i].fd);
}

static void headers_take(void)
{
	while (vrig_take(&rig, &packet))
		if (packet.h.op == VSOCK_OP_CREDIT_UPDATE)
			told[packet.h.dst_port - GUEST_PORT] = packet.h.buf_alloc;
}

/* Each of the first `count` sends that much and has it read, in turns. */
static void send_all(struct vrig_conn *c, unsigned int count, uint32_t each)
{
	for (uint32_t sent = 0; sent < each; sent += PIECE) {
		for (unsigned int i = 0; i < count; i++) {
			vrig_data(&rig, &c[i], bytes, PIECE);
			vrig_run(&rig);
			cr_assert_eq(vrig_read(&rig, c[i].fd, got, PIECE), (int)PIECE);
			headers_take();
		}
	}
}

static int send_buffer(unsigned int i)
{
	struct list *pos = rig.vsock.conns.next;
	socklen_t size = sizeof(int);
	int value = 0;

	while (i--)
		pos = pos->next;
	getsockopt(container_of(pos, struct vsock_conn, link)->file.fd, SOL_SOCKET, SO_SNDBUF,
		&value, &size);
	return value;
}

Test(vsock_share, many_get_little_and_the_same)
{
	struct vrig_conn c[STREAMS];

	connect_all(c, STREAMS);
	cr_assert_eq(send_buffer(STREAMS - 1), (int)VSOCK_BUF_ALLOC_MANY);
	send_all(c, STREAMS, 3 * VSOCK_BUF_ALLOC);
	for (unsigned int i = 0; i < STREAMS; i++) {
		cr_assert_eq(told[i], VSOCK_BUF_ALLOC_MANY, "connection %u: %u", i, told[i]);
		cr_assert_eq(send_buffer(i), (int)VSOCK_BUF_ALLOC_MANY);
	}
	cr_assert_eq(rig.vsock.pledged_bytes, STREAMS * VSOCK_BUF_ALLOC_MANY);
	close_all(c, STREAMS);
}

Test(vsock_share, one_that_is_left_gets_much)
{
	struct vrig_conn c[STREAMS];

	connect_all(c, STREAMS);
	send_all(c, STREAMS, 3 * VSOCK_BUF_ALLOC);
	fake_io_advance_ns(rig.reactor, 100000000);
	send_all(c, 1, VSOCK_BUF_ALLOC_MANY);
	cr_assert_eq(told[0], VSOCK_BUF_ALLOC);
	cr_assert_gt(send_buffer(0), (int)VSOCK_BUF_ALLOC_MANY);
	cr_assert_eq(told[1], VSOCK_BUF_ALLOC_MANY);
	close_all(c, STREAMS);
}

Test(vsock_share, the_guests_whole_promise_is_limited)
{
	const uint64_t others = VSOCK_PLEDGE_MAX - VSOCK_BUF_ALLOC_MANY;
	struct vrig_conn c[2];

	rig.vsock.pledged_bytes += others;
	connect_all(c, 2);
	cr_assert_eq(rig.vsock.pledged_bytes, VSOCK_PLEDGE_MAX + VSOCK_BUF_ALLOC_SMALL);
	send_all(c, 1, VSOCK_BUF_ALLOC_MANY);
	cr_assert_eq(told[0], VSOCK_BUF_ALLOC_MANY, "alone, but there is no more");
	rig.vsock.pledged_bytes -= others;
	close_all(c, 2);
}

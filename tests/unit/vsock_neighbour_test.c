/* SPDX-License-Identifier: Apache-2.0 */
/* Guest to guest: two devices on one reactor, each with a driver of its own, and neighbours that
 * are missing, slow, full or hostile. vsock_reactor_test has them on two reactors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"
#include "virtio/vsock_neighbour.h"

#define A    VRIG_CID
#define B    4u
#define PORT 80u

static struct vrig a, b;
static struct vsock_guests ga, gb;
static struct neighbours *all;
static struct vrig_packet packet;
static uint8_t bytes[1 << 16];
static bool stopped;

static void setup(void)
{
	struct diag d;

	all = neighbours_create();
	vrig_init(&a, 7);
	vrig_init_beside(&b, &a, B);
	cr_assert_eq(vsock_guests_init(&ga, &a.vsock, all, &d), 0);
	cr_assert_eq(vsock_guests_init(&gb, &b.vsock, all, &d), 0);
	vsock_guests_attach(&ga);
	vsock_guests_attach(&gb);
	a.features = b.features = VSOCK_F_SEQPACKET;
	vrig_start(&a, 32, 4096);
	vrig_start(&b, 32, 4096);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
}

static void guests_stopped(struct vsock_guests *g)
{
	(void)g;
	stopped = true;
}

static void guest_leaves(struct vsock_guests *g)
{
	stopped = false;
	vsock_guests_stop(g, guests_stopped);
	vrig_run(&a);
	cr_assert(stopped);
}

static void teardown(void)
{
	if (gb.all) {
		guest_leaves(&gb);
		vrig_finish(&b);
		vsock_guests_finish(&gb);
	}
	guest_leaves(&ga);
	cr_assert_eq(ga.call_count, 0u);
	vrig_finish(&a);
	vsock_guests_finish(&ga);
	neighbours_destroy(all);
}

TestSuite(vsock_neighbour, .init = setup, .fini = teardown, .timeout = 60);

/* The ends of one connection from A's port to B's PORT. */
struct pair {
	struct vrig_conn a, b;
};

static struct pair requested(uint32_t port, uint16_t type)
{
	struct pair p = {
		.a = {PORT, port, VRIG_BUF_ALLOC, 0, -1, type, B},
		.b = {port, PORT, VRIG_BUF_ALLOC, 0, -1, type, A},
	};

	vrig_op(&a, &p.a, VSOCK_OP_REQUEST, 0);
	vrig_expect(&b, &p.b, VSOCK_OP_REQUEST, &packet);
	return p;
}

static struct pair connected(uint32_t port, uint16_t type)
{
	struct pair p = requested(port, type);

	vrig_op(&b, &p.b, VSOCK_OP_RESPONSE, 0);
	vrig_expect(&b, &p.b, VSOCK_OP_CREDIT_UPDATE, &packet);
	vrig_expect(&a, &p.a, VSOCK_OP_RESPONSE, &packet);
	vrig_expect(&a, &p.a, VSOCK_OP_CREDIT_UPDATE, &packet);
	return p;
}

/* B gives no answer that A waits for. */
static void refused(const struct vrig_conn *c)
{
	vrig_op(&a, c, VSOCK_OP_REQUEST, 0);
	vrig_expect(&a, c, VSOCK_OP_RST, &packet);
}

Test(vsock_neighbour, bytes_go_both_ways)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM);

	vrig_data(&a, &p.a, bytes, 1000);
	vrig_expect(&b, &p.b, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 1000u);
	cr_assert_arr_eq(packet.data, bytes, 1000);
	vrig_data(&b, &p.b, bytes + 9, 500);
	vrig_expect(&a, &p.a, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 500u);
	cr_assert_arr_eq(packet.data, bytes + 9, 500);
	cr_assert_eq(a.vsock.neighbour_conns, 1u);
	cr_assert_eq(b.vsock.neighbour_conns, 1u);
}

Test(vsock_neighbour, messages_keep_their_boundaries)
{
	struct pair p = connected(1022, VSOCK_TYPE_SEQPACKET);

	vrig_piece(&a, &p.a, bytes, 10, 0);
	vrig_piece(&a, &p.a, bytes + 10, 10, VSOCK_SEQ_EOM);
	vrig_piece(&a, &p.a, bytes + 20, 5, VSOCK_SEQ_EOM);
	vrig_expect(&b, &p.b, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 20u);
	cr_assert_eq(packet.h.flags, VSOCK_SEQ_EOM);
	vrig_expect(&b, &p.b, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 5u);
}

Test(vsock_neighbour, half_closes_and_ends)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM);

	vrig_data(&a, &p.a, bytes, 10);
	vrig_op(&a, &p.a, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_SEND);
	vrig_expect(&b, &p.b, VSOCK_OP_RW, &packet);
	vrig_expect(&b, &p.b, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_SEND);
	vrig_data(&b, &p.b, bytes, 20);
	vrig_op(&b, &p.b, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	vrig_expect(&b, &p.b, VSOCK_OP_RST, &packet);
	vrig_expect(&a, &p.a, VSOCK_OP_RW, &packet);
	cr_assert_eq(packet.h.len, 20u);
	vrig_expect(&a, &p.a, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&a, &p.a, VSOCK_OP_RST, 0);
	vrig_run(&a);
	cr_assert_eq(a.vsock.count, 0u);
	cr_assert_eq(b.vsock.count, 0u);
	cr_assert_eq(a.vsock.neighbour_conns + b.vsock.neighbour_conns, 0u);
}

Test(vsock_neighbour, a_reset_is_the_end_for_the_other)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM);

	vrig_op(&a, &p.a, VSOCK_OP_RST, 0);
	vrig_expect(&b, &p.b, VSOCK_OP_SHUTDOWN, &packet);
	cr_assert_eq(packet.h.flags, VSOCK_SHUTDOWN_BOTH);
	vrig_op(&b, &p.b, VSOCK_OP_RST, 0);
}

/* Its credit is the bound: after that the sender gets no more, and its other connections go on. */
Test(vsock_neighbour, one_that_does_not_read_stops_only_that_connection)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM), q = connected(1023, VSOCK_TYPE_STREAM);
	uint64_t sent = 0, room;
	uint32_t told = 0;

	b.rx_again = false;
	do {
		room = VSOCK_BUF_ALLOC - (sent - told);
		for (; room >= 4096; room -= 4096, sent += 4096) {
			vrig_data(&a, &p.a, bytes, 4096);
			vrig_run(&a);
		}
		room = VSOCK_BUF_ALLOC - (sent - told);
		while (vrig_take(&a, &packet))
			told = packet.h.fwd_cnt;
	} while (VSOCK_BUF_ALLOC - (sent - told) > room);
	cr_assert_leq(sent, 2u << 20, "the socket between them, and twice the credit");
	cr_assert_gt(sent, VSOCK_BUF_ALLOC);
	b.rx_again = true;
	while (vrig_take(&b, &packet))
		;
	vrig_rx_add(&b, 32);
	vrig_data(&a, &q.a, bytes + 5, 70);
	do
		cr_assert(vrig_take(&b, &packet));
	while (packet.h.src_port != q.b.host_port);
	cr_assert_eq(packet.h.op, VSOCK_OP_RW);
	cr_assert_arr_eq(packet.data, bytes + 5, 70);
	vrig_op(&a, &p.a, VSOCK_OP_RST, 0);
}

Test(vsock_neighbour, refused_by_the_other_guest)
{
	struct pair p = requested(1022, VSOCK_TYPE_STREAM);

	vrig_op(&b, &p.b, VSOCK_OP_RST, 0);
	vrig_expect(&a, &p.a, VSOCK_OP_RST, &packet);
	/* Nor does the key rest. */
	requested(1022, VSOCK_TYPE_STREAM);
}

Test(vsock_neighbour, nobody_has_that_address)
{
	const struct vrig_conn nobody = {PORT, 1022, VRIG_BUF_ALLOC, 0, -1, 0, 77},
			       myself = {PORT, 1022, VRIG_BUF_ALLOC, 0, -1, 0, A};

	refused(&nobody);
	refused(&myself);
	cr_assert_eq(a.vsock.count, 0u);
}

Test(vsock_neighbour, only_between_guests_that_allow_it)
{
	const struct vrig_conn c = {PORT, 1022, VRIG_BUF_ALLOC, 0, -1, 0, B};

	guest_leaves(&gb);
	refused(&c);
	vrig_finish(&b);
	vsock_guests_finish(&gb);
	refused(&c);
	/* Nor may one that does not allow it send to others. */
	a.vsock.guests = NULL;
	refused(&c);
	a.vsock.guests = &ga;
}

Test(vsock_neighbour, an_address_is_taken_once)
{
	struct vsock_guests again;
	struct diag d;

	cr_assert_eq(vsock_guests_init(&again, &b.vsock, all, &d), -EADDRINUSE);
	cr_assert(strstr(d.text, "guest_cid 4"), "%s", d.text);
	cr_assert_eq(b.vsock.guests, &gb);
}

Test(vsock_neighbour, a_guest_that_never_answers_is_given_up)
{
	struct pair p = requested(1022, VSOCK_TYPE_STREAM);

	fake_io_advance_ns(a.reactor, VSOCK_ANSWER_NS + 1);
	vrig_run(&a);
	vrig_expect(&a, &p.a, VSOCK_OP_RST, &packet);
	vrig_expect(&b, &p.b, VSOCK_OP_RST, &packet);
}

Test(vsock_neighbour, a_flood_of_requests_waits_for_no_more_than_its_share)
{
	unsigned int seen = 0, refusals = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		const struct vrig_conn c = {PORT, 2000 + i, VRIG_BUF_ALLOC, 0, -1, 0, B};

		vrig_op(&a, &c, VSOCK_OP_REQUEST, 0);
		while (vrig_take(&a, &packet))
			refusals += packet.h.op == VSOCK_OP_RST;
	}
	while (vrig_take(&b, &packet))
		seen += packet.h.op == VSOCK_OP_REQUEST;
	cr_assert_eq(seen, VSOCK_CALLS_MAX);
	cr_assert_eq(refusals, 1000 - VSOCK_CALLS_MAX);
	cr_assert_eq(b.vsock.count, VSOCK_CALLS_MAX);
	cr_assert_eq(ga.call_count, VSOCK_CALLS_MAX);
}

Test(vsock_neighbour, connections_to_others_have_a_limit)
{
	struct vrig_conn c = {PORT, 1, VRIG_BUF_ALLOC, 0, -1, 0, B};

	const uint32_t others = VSOCK_NEIGHBOUR_CONNS_MAX - 3;

	/* As if most of them were there. */
	a.vsock.neighbour_conns += others;
	for (uint32_t i = 0; i < 3; i++)
		connected(1000 + i, VSOCK_TYPE_STREAM);
	refused(&c);
	cr_assert_eq(a.vsock.neighbour_conns, VSOCK_NEIGHBOUR_CONNS_MAX);
	a.vsock.neighbour_conns -= others;
	/* The one that is asked has the same limit. */
	b.vsock.neighbour_conns += others;
	refused(&c);
	b.vsock.neighbour_conns -= others;
}

Test(vsock_neighbour, one_that_leaves_cancels_what_it_waits_for)
{
	struct pair p = requested(1022, VSOCK_TYPE_STREAM);

	connected(1023, VSOCK_TYPE_STREAM);
	guest_leaves(&ga);
	vrig_expect(&b, &p.b, VSOCK_OP_RST, &packet);
	cr_assert_eq(ga.call_count, 0u);
}

/* It leaves in the middle of the call: before the message has come, and before its answer has. */
Test(vsock_neighbour, both_leave_at_once)
{
	struct pair p = {.a = {PORT, 1022, VRIG_BUF_ALLOC, 0, -1, 0, B}};

	vrig_op(&a, &p.a, VSOCK_OP_REQUEST, 0);
	vsock_guests_stop(&ga, guests_stopped);
	guest_leaves(&gb);
	cr_assert_eq(ga.call_count, 0u);
}

Test(vsock_neighbour, a_driver_reset_ends_the_others_connection)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM);

	virtio_device_reset(&a.vsock.dev);
	vrig_expect(&b, &p.b, VSOCK_OP_SHUTDOWN, &packet);
	vrig_op(&b, &p.b, VSOCK_OP_RST, 0);
	cr_assert_not(a.vsock.dev.resetting);
	vrig_start(&a, 32, 4096);
	connected(1022, VSOCK_TYPE_STREAM);
}

/* A packet to an address that is right in its lower 32 bits only. */
Test(vsock_neighbour, addresses_have_64_bits)
{
	struct pair p = connected(1022, VSOCK_TYPE_STREAM);
	const struct vsock_header h = {.src_cid = A,
		.dst_cid = 1ULL << 32 | B,
		.src_port = 1022,
		.dst_port = PORT,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_SHUTDOWN,
		.flags = 3};

	cr_assert(vrig_send(&a, &h, NULL, 0));
	cr_assert(vrig_take(&a, &packet));
	cr_assert_eq(packet.h.op, VSOCK_OP_RST);
	cr_assert_eq(packet.h.src_cid, 1ULL << 32 | B);
	vrig_data(&a, &p.a, bytes, 10);
	vrig_expect(&b, &p.b, VSOCK_OP_RW, &packet);
}

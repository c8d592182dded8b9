/* SPDX-License-Identifier: Apache-2.0 */
/* What a step costs does not grow with the number of connections: the vsock files are compiled a
 * second time, for this program only, so that each basic block that runs is counted. No time is
 * measured. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/check.h"
#include "support/fake_io.h"
#include "support/vsock_rig.h"

#define PORT 80u
#define FEW  1024u
#define MANY VSOCK_CONNS_MAX

static uint64_t blocks;

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
	blocks++;
}

static struct vrig rig;
static struct vrig_packet packet;
static uint32_t asked;

/* Whoever asks waits for ever: a connection without a descriptor. */
static void accept_never(struct vsock_acceptor *a, const struct vsock_accept *request)
{
	(void)a;
	(void)request;
	asked++;
}

static void never_closed(struct vsock_acceptor *a)
{
	(void)a;
}

static struct vsock_acceptor acceptor = {.accept = accept_never, .closed = never_closed};

static void setup(void)
{
	vrig_init(&rig, 9);
	vrig_start(&rig, 32, 4096);
	cr_assert_eq(vsock_listen(&rig.vsock, PORT, &acceptor), 0);
}

static void teardown(void)
{
	cr_assert_eq(fake_io_in_flight(rig.reactor, -1), 0u);
	vrig_finish(&rig);
}

TestSuite(vsock_count, .init = setup, .fini = teardown, .timeout = 300);

/* Each of the guest's ports [first, end) sends this; how many blocks one takes, on average. */
static uint64_t each_sends(uint32_t first, uint32_t end, uint16_t op, uint32_t flags)
{
	uint64_t before = blocks;

	for (uint32_t port = first; port < end; port++) {
		const struct vrig_conn c = {PORT, port, VRIG_BUF_ALLOC, 0, -1, 0, 0};

		vrig_op(&rig, &c, op, flags);
		if (port % 16 == 0)
			while (vrig_take(&rig, &packet))
				;
	}
	while (vrig_take(&rig, &packet))
		;
	return (blocks - before) / (end - first);
}

/* The first FEW and the last FEW of MANY, with a table that grows meanwhile. */
static void expect_equal(uint64_t first, uint64_t last, const char *what)
{
	cr_assert_gt(first, 10u, "%s: is anything counted?", what);
	cr_assert_leq(last, first + first / 2 + 10, "%s: %lu blocks at first, %lu at last", what,
		first, last);
}

Test(vsock_count, connections_come_and_go_at_one_price)
{
	uint64_t first, last;

	first = each_sends(0, FEW, VSOCK_OP_REQUEST, 0);
	each_sends(FEW, MANY - FEW, VSOCK_OP_REQUEST, 0);
	last = each_sends(MANY - FEW, MANY, VSOCK_OP_REQUEST, 0);
	expect_equal(first, last, "REQUEST");
	cr_assert_eq(asked, MANY);
	cr_assert_eq(rig.vsock.count, MANY);
	last = each_sends(MANY, MANY + FEW, VSOCK_OP_REQUEST, 0);
	cr_assert_eq(asked, MANY, "there is no room for more");
	expect_equal(first, last, "REQUEST beyond the limit");
	first = each_sends(0, FEW, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	each_sends(FEW, MANY - FEW, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	last = each_sends(MANY - FEW, MANY, VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	expect_equal(last, first, "SHUTDOWN among many, and among few");
	cr_assert_eq(rig.vsock.count, 0u);
}

Test(vsock_count, forced_closes_rest_at_one_price)
{
	uint64_t first, last;

	each_sends(0, MANY, VSOCK_OP_REQUEST, 0);
	first = each_sends(0, FEW, VSOCK_OP_RW, 0);
	each_sends(FEW, MANY - FEW, VSOCK_OP_RW, 0);
	last = each_sends(MANY - FEW, MANY, VSOCK_OP_RW, 0);
	expect_equal(first, last, "a forced close");
	cr_assert_eq(rig.vsock.count, 0u);
	/* Everything rests: a flood of requests is refused at the same price. */
	last = each_sends(0, FEW, VSOCK_OP_REQUEST, 0);
	expect_equal(first, last, "REQUEST while all rest");
	cr_assert_eq(asked, MANY);
}

static uint64_t reset_cost(uint32_t count)
{
	uint64_t before;

	each_sends(0, count, VSOCK_OP_REQUEST, 0);
	cr_assert_eq(rig.vsock.count, count);
	before = blocks;
	virtio_device_reset(&rig.vsock.dev);
	vrig_run(&rig);
	before = blocks - before;
	cr_assert_eq(rig.vsock.count, 0u);
	vrig_start(&rig, 32, 4096);
	return before / count;
}

Test(vsock_count, a_driver_reset_costs_as_much_a_connection_as_with_few)
{
	uint64_t few = reset_cost(FEW);

	expect_equal(few, reset_cost(MANY), "a connection's part of a reset");
}

/* The ephemeral ports are all in use but one, which is sought again and again. */
Test(vsock_count, the_last_free_port_is_found_without_asking_each)
{
	struct vsock_ports *p = &rig.vsock.ports;
	struct vsock_key key = {.host_cid = VSOCK_CID_HOST};
	uint64_t before;

	for (uint32_t i = 0; i < VSOCK_EPHEMERAL_COUNT; i++) {
		key.host_port = VSOCK_EPHEMERAL_FIRST + i;
		vsock_ports_use(p, &key);
	}
	key.host_port = 60000;
	vsock_ports_unuse(p, &key);
	before = blocks;
	for (unsigned int i = 0; i < 100; i++)
		cr_assert_eq(vsock_ports_pick(p, 0, &key.host_port), 0);
	cr_assert_eq(key.host_port, 60000u);
	cr_assert_leq(blocks - before, 100u * 4 * VSOCK_EPHEMERAL_COUNT / 64);
}

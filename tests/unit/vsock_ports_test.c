/* SPDX-License-Identifier: Apache-2.0 */
/* Ports: listeners, ephemeral ports, quarantine. */
#include <errno.h>

#include <criterion/criterion.h>

#include "virtio/vsock_ports.h"

#define FIRST VSOCK_EPHEMERAL_FIRST
#define LAST  VSOCK_EPHEMERAL_LAST

static struct vsock_ports ports;

static void setup(void)
{
	cr_assert_eq(vsock_ports_init(&ports, NULL), 0);
}

static void teardown(void)
{
	vsock_ports_finish(&ports);
}

TestSuite(vsock_ports, .init = setup, .fini = teardown);

static uint32_t pick(uint64_t now_ns)
{
	uint32_t port = 0;

	cr_assert_eq(vsock_ports_pick(&ports, now_ns, &port), 0);
	return port;
}

Test(vsock_ports, find_ephemeral_ports)
{
	struct vsock_listener *l;
	const struct vsock_key resting = {2, FIRST + 3, 3, 9}, connected = {2, FIRST + 2, 3, 9};

	cr_assert_eq(pick(0), FIRST);
	cr_assert_eq(vsock_ports_listen(&ports, FIRST + 1, &l), 0);
	vsock_ports_use(&ports, &connected);
	vsock_ports_rest(&ports, &resting, 0);
	cr_assert_eq(pick(0), FIRST + 4, "a listener, a connection, a resting key are skipped");
	ports.last = LAST - 1;
	cr_assert_eq(pick(0), LAST);
	cr_assert_eq(pick(0), FIRST, "rotates");
	vsock_ports_unlisten(&ports, l);
	vsock_ports_unuse(&ports, &connected);
	cr_assert_eq(pick(0), FIRST + 1);
	cr_assert_eq(pick(0), FIRST + 2);
	cr_assert_eq(pick(VSOCK_QUARANTINE_NS), FIRST + 3);
}

Test(vsock_ports, ports_of_other_guests_are_none_of_the_hosts)
{
	const struct vsock_key resting = {4, FIRST + 1, 3, 9}, connected = {4, FIRST, 3, 9};

	vsock_ports_use(&ports, &connected);
	vsock_ports_rest(&ports, &resting, 0);
	cr_assert(vsock_ports_is_resting(&ports, &resting, 0));
	cr_assert_eq(pick(0), FIRST);
	cr_assert_eq(pick(0), FIRST + 1);
}

Test(vsock_ports, no_unused_ports_in_range)
{
	struct vsock_key key = {.host_cid = 2};

	for (uint32_t i = 0; i < VSOCK_EPHEMERAL_COUNT; i++) {
		key.host_port = pick(0);
		cr_assert_eq(key.host_port, FIRST + i);
		vsock_ports_use(&ports, &key);
	}
	cr_assert_eq(vsock_ports_pick(&ports, 0, &key.host_port), -ENOSPC);
	key.host_port = 60000;
	vsock_ports_unuse(&ports, &key);
	cr_assert_eq(pick(0), 60000u);
}

Test(vsock_ports, connection_pair_recycled_after_quarantine)
{
	const struct vsock_key key = {2, 80, 3, 1024}, other = {2, 80, 3, 1025};

	cr_assert_not(vsock_ports_is_resting(&ports, &key, 0));
	vsock_ports_rest(&ports, &key, 5);
	cr_assert(vsock_ports_is_resting(&ports, &key, 5));
	cr_assert_not(vsock_ports_is_resting(&ports, &other, 5));
	cr_assert(vsock_ports_is_resting(&ports, &key, VSOCK_QUARANTINE_NS + 4));
	cr_assert_eq(vsock_ports_resting(&ports, VSOCK_QUARANTINE_NS + 4), 1u);
	cr_assert_not(vsock_ports_is_resting(&ports, &key, VSOCK_QUARANTINE_NS + 5));
	cr_assert_eq(vsock_ports_resting(&ports, VSOCK_QUARANTINE_NS + 5), 0u);
}

Test(vsock_ports, resting_again_starts_anew)
{
	const struct vsock_key key = {2, FIRST, 3, 1024};

	vsock_ports_rest(&ports, &key, 0);
	vsock_ports_rest(&ports, &key, 100);
	cr_assert(vsock_ports_is_resting(&ports, &key, VSOCK_QUARANTINE_NS + 99));
	cr_assert_eq(vsock_ports_resting(&ports, 100), 1u);
	cr_assert_not(vsock_ports_forget(&ports, UINT32_MAX));
	cr_assert_not(vsock_ports_is_resting(&ports, &key, 100));
	cr_assert_eq(ports.uses[0], 0u);
}

Test(vsock_ports, one_listener_a_port)
{
	struct vsock_listener *a, *b;

	cr_assert_eq(vsock_ports_listen(&ports, UINT32_MAX, &a), 0);
	cr_assert_eq(vsock_ports_listen(&ports, UINT32_MAX, &b), -EADDRINUSE);
	cr_assert_eq(vsock_ports_listener(&ports, UINT32_MAX), a);
	cr_assert_eq(vsock_ports_listen(&ports, 0, &b), 0);
	vsock_ports_unlisten(&ports, a);
	cr_assert_null(vsock_ports_listener(&ports, UINT32_MAX));
	cr_assert_eq(vsock_ports_listener(&ports, 0), b);
	cr_assert_eq(vsock_ports_listen(&ports, UINT32_MAX, &a), 0, "no quarantine");
}

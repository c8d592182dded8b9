/* SPDX-License-Identifier: Apache-2.0 */
/* Credit: saturation, shrinking, wrapping, both ways; checks of the header. */
#include <criterion/criterion.h>

#include "core/check.h"
#include "virtio/vsock_credit.h"
#include "virtio/vsock_packet.h"

Test(vsock_credit, free_is_what_the_guest_allows)
{
	struct vsock_credit c = {0};

	cr_assert_eq(credit_free(&c), 0u);
	credit_peer(&c, 1000, 0);
	cr_assert_eq(credit_free(&c), 1000u);
	credit_sent(&c, 1000);
	cr_assert_eq(credit_free(&c), 0u);
	credit_peer(&c, 1000, 300);
	cr_assert_eq(credit_free(&c), 300u);
}

Test(vsock_credit, shrinking_buf_alloc_saturates)
{
	struct vsock_credit c = {0};

	credit_peer(&c, 1000, 0);
	credit_sent(&c, 600);
	credit_peer(&c, 10, 0);
	cr_assert_eq(credit_free(&c), 0u);
	credit_peer(&c, 0, 600);
	cr_assert_eq(credit_free(&c), 0u);
	credit_peer(&c, 10, 600);
	cr_assert_eq(credit_free(&c), 10u);
}

Test(vsock_credit, fwd_cnt_ahead_gives_nothing)
{
	struct vsock_credit c = {0};

	credit_peer(&c, UINT32_MAX, 0);
	credit_sent(&c, 100);
	credit_peer(&c, UINT32_MAX, 101);
	cr_assert_eq(credit_free(&c), 0u);
	/* Nor does going backwards. */
	credit_peer(&c, UINT32_MAX, 50);
	cr_assert_eq(credit_free(&c), UINT32_MAX - 50);
	credit_peer(&c, UINT32_MAX, 49);
	cr_assert_eq(credit_free(&c), 0u);
	credit_peer(&c, UINT32_MAX, 100);
	cr_assert_eq(credit_free(&c), UINT32_MAX);
}

Test(vsock_credit, towards_the_guest_wraps_at_32_bits)
{
	struct vsock_credit c = {.tx_cnt = UINT32_MAX - 9, .peer_fwd_cnt = UINT32_MAX - 9};

	credit_peer(&c, 100, UINT32_MAX - 9);
	cr_assert_eq(credit_free(&c), 100u);
	credit_sent(&c, 60);
	cr_assert_eq(c.tx_cnt, 50u);
	cr_assert_eq(credit_free(&c), 40u);
	credit_peer(&c, 100, 20);
	cr_assert_eq(credit_free(&c), 70u);
	credit_peer(&c, 100, 51);
	cr_assert_eq(credit_free(&c), 0u);
}

Test(vsock_credit, from_the_guest_wraps_at_32_bits)
{
	struct vsock_credit c = {.buf_alloc = 100,
		.rx_cnt = UINT32_MAX - 9,
		.fwd_cnt = UINT32_MAX - 9,
		.told_fwd_cnt = UINT32_MAX - 9};

	cr_assert(credit_received(&c, 100));
	cr_assert_eq(c.rx_cnt, 90u);
	cr_assert_not(credit_received(&c, 1));
	credit_forwarded(&c, 30);
	cr_assert_eq(credit_room(&c), 30u);
	cr_assert_not(credit_received(&c, 31));
	cr_assert(credit_received(&c, 30));
	cr_assert_not(credit_received(&c, UINT32_MAX));
}

Test(vsock_credit, update_is_due_when_little_is_left_and_space_appeared)
{
	struct vsock_credit c = {
		.buf_alloc = 800, .told_buf_alloc = 800, .peer_buf_alloc = UINT32_MAX};

	cr_assert(credit_received(&c, 300));
	credit_forwarded(&c, 300);
	cr_assert_not(credit_update_due(&c), "the guest still believes in 500");
	cr_assert(credit_received(&c, 400));
	cr_assert(credit_update_due(&c));
	credit_told(&c);
	cr_assert_not(credit_update_due(&c), "nothing appeared since");
	cr_assert(credit_received(&c, 400));
	credit_forwarded(&c, 99);
	cr_assert_not(credit_update_due(&c), "too little for a packet, and more will follow");
	credit_forwarded(&c, 1);
	cr_assert(credit_update_due(&c));
	credit_told(&c);
	credit_forwarded(&c, 690);
	cr_assert(credit_update_due(&c));
}

/* Linux sends no more at once than it would take itself. */
Test(vsock_credit, update_is_due_when_the_guest_uses_less_than_it_has)
{
	struct vsock_credit c = {
		.buf_alloc = 100000, .told_buf_alloc = 100000, .peer_buf_alloc = 800};

	cr_assert(credit_received(&c, 400));
	credit_forwarded(&c, 400);
	cr_assert_not(credit_update_due(&c), "half of what it uses is left");
	cr_assert(credit_received(&c, 400));
	credit_forwarded(&c, 50);
	cr_assert(credit_update_due(&c));
	credit_told(&c);
	credit_peer(&c, 0, 0);
	cr_assert_not(credit_update_due(&c), "nothing new");
	credit_forwarded(&c, 1);
	cr_assert(credit_update_due(&c), "it waits for each byte");
}

/* What the guest, by the last header, may have sent stays within the credit. */
Test(vsock_credit, less_credit_never_takes_back_what_was_told)
{
	struct vsock_credit c = {.buf_alloc = 1000,
		.told_buf_alloc = 1000,
		.rx_cnt = UINT32_MAX - 99,
		.fwd_cnt = UINT32_MAX - 99,
		.told_fwd_cnt = UINT32_MAX - 99};

	credit_resize(&c, 100);
	cr_assert_eq(c.buf_alloc, 1000u, "it may have sent all of it");
	cr_assert(credit_received(&c, 600));
	credit_forwarded(&c, 250);
	credit_resize(&c, 100);
	cr_assert_eq(c.buf_alloc, 750u);
	credit_resize(&c, 100);
	cr_assert_eq(c.buf_alloc, 750u, "not once more for the same");
	cr_assert_eq(credit_room(&c), 400u, "as the guest believes");
	credit_told(&c);
	cr_assert(credit_received(&c, 400));
	credit_forwarded(&c, 750);
	credit_resize(&c, 100);
	cr_assert_eq(c.buf_alloc, 100u);
	credit_told(&c);
	credit_resize(&c, 5000);
	cr_assert_eq(credit_room(&c), 5000u);
}

Test(vsock_packet, accepts_only_what_a_guest_may_send)
{
	const struct vsock_rules rules = {.guest_cid = 3}, other = {.guest_cid = 4};
	const struct vsock_header good = {
		.src_cid = 3, .dst_cid = 2, .len = 5, .type = 1, .op = VSOCK_OP_RW};
	struct vsock_header h = good;

	cr_assert(vsock_header_ok(&good, &rules, 5));
	cr_assert_not(vsock_header_ok(&good, &other, 5));
	cr_assert_not(vsock_header_ok(&good, &rules, 4));
	cr_assert_not(vsock_header_ok(&good, &rules, 5 + (1ULL << 32)));
	h.src_cid |= 1ULL << 32;
	cr_assert_not(vsock_header_ok(&h, &rules, 5));
	h = good;
	h.dst_cid = 1;
	cr_assert_not(vsock_header_ok(&h, &rules, 5));
	h = good;
	h.type = 3;
	cr_assert_not(vsock_header_ok(&h, &rules, 5));
	h = good;
	h.flags = 1;
	cr_assert_not(vsock_header_ok(&h, &rules, 5));
	h.op = VSOCK_OP_SHUTDOWN;
	cr_assert(vsock_header_ok(&h, &rules, 5));
	h.flags = 4;
	cr_assert_not(vsock_header_ok(&h, &rules, 5));
	for (unsigned int op = 0; op < 300; op++) {
		h = good;
		h.op = (uint16_t)op;
		cr_assert_eq(vsock_header_ok(&h, &rules, 5), op >= 1 && op <= 7, "op %u", op);
	}
}

Test(vsock_packet, messages_only_if_the_driver_knows_them)
{
	const struct vsock_rules streams = {.guest_cid = 3},
				 both = {.guest_cid = 3, .seqpacket = true};
	struct vsock_header h = {.src_cid = 3, .dst_cid = 2, .type = 2, .op = VSOCK_OP_RW};

	for (uint32_t flags = 0; flags < 8; flags++) {
		h.flags = flags;
		cr_assert_not(vsock_header_ok(&h, &streams, 0));
		cr_assert_eq(vsock_header_ok(&h, &both, 0), flags < 4, "flags %u", flags);
	}
	h.flags = VSOCK_SEQ_EOM;
	h.type = VSOCK_TYPE_STREAM;
	cr_assert_not(vsock_header_ok(&h, &both, 0), "a stream has no messages");
	h.type = VSOCK_TYPE_SEQPACKET;
	h.op = VSOCK_OP_REQUEST;
	cr_assert_not(vsock_header_ok(&h, &both, 0));
}

Test(vsock_packet, to_other_guests_only_where_that_is_allowed)
{
	const struct vsock_rules alone = {.guest_cid = 3},
				 among = {.guest_cid = 3, .neighbours = true};
	static const uint64_t refused[] = {
		0, 1, 3, UINT32_MAX, 1ULL << 32 | 2, 1ULL << 32 | 4, UINT64_MAX};
	struct vsock_header h = {.src_cid = 3, .dst_cid = 4, .type = 1, .op = VSOCK_OP_REQUEST};

	cr_assert_not(vsock_header_ok(&h, &alone, 0));
	cr_assert(vsock_header_ok(&h, &among, 0));
	h.dst_cid = 0xfffffffe;
	cr_assert(vsock_header_ok(&h, &among, 0));
	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++) {
		h.dst_cid = refused[i];
		cr_assert_not(vsock_header_ok(&h, &among, 0), "CID %#lx", refused[i]);
	}
}

Test(vsock_packet, reset_comes_from_where_the_packet_went)
{
	const struct vsock_header h = {.src_cid = 77,
		.dst_cid = 99,
		.src_port = 5,
		.dst_port = 6,
		.len = 9,
		.type = 4,
		.op = VSOCK_OP_RW,
		.flags = 8,
		.buf_alloc = 1,
		.fwd_cnt = 2};
	struct vsock_header r = vsock_header_reset(&h, 3);

	cr_assert_eq(r.src_cid, 99u);
	cr_assert_eq(r.dst_cid, 3u);
	cr_assert_eq(r.src_port, 6u);
	cr_assert_eq(r.dst_port, 5u);
	cr_assert_eq(r.op, VSOCK_OP_RST);
	cr_assert_eq(r.type, 4u);
	cr_assert(r.len == 0 && r.flags == 0);
}

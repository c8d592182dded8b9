/* SPDX-License-Identifier: Apache-2.0 */
/* The table of four-tuples: found while it grows, and no step of the growth is long. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "virtio/vsock_table.h"

#define NODES 65536u

static struct vsock_key key_of(uint32_t i)
{
	return (struct vsock_key){2, i % 7, 3, i};
}

static unsigned int longest_chain(const struct vsock_buckets *b)
{
	unsigned int longest = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		unsigned int n = 0;

		for (const struct vsock_node *at = b->heads[i]; at; at = at->next)
			n++;
		longest = n > longest ? n : longest;
	}
	return longest;
}

Test(vsock_table, finds_all_of_65536_while_it_grows)
{
	struct vsock_node *nodes = calloc(NODES, sizeof(*nodes));
	struct vsock_table t;
	struct vsock_key key;

	cr_assert_eq(vsock_table_init(&t, NULL), 0);
	for (uint32_t i = 0; i < NODES; i++) {
		nodes[i].key = key_of(i);
		vsock_table_add(&t, &nodes[i]);
		key = key_of(i / 2);
		cr_assert_eq(vsock_table_find(&t, &key), &nodes[i / 2]);
		key = key_of(i + 1);
		cr_assert_null(vsock_table_find(&t, &key));
		/* The old buckets are gone long before the next growth. */
		cr_assert(!t.old.heads || t.count <= t.now.count);
	}
	cr_assert_eq(t.count, NODES);
	cr_assert_leq(longest_chain(&t.now), 16u);
	for (uint32_t i = 0; i < NODES; i++) {
		vsock_table_remove(&t, &nodes[i]);
		key = key_of(i);
		cr_assert_null(vsock_table_find(&t, &key));
	}
	cr_assert_eq(t.count, 0u);
	vsock_table_finish(&t);
	free(nodes);
}

Test(vsock_table, each_part_of_the_key_counts)
{
	struct vsock_node a = {.key = {2, 10, 3, 20}};
	const struct vsock_key others[] = {
		{3, 10, 2, 20}, {2, 20, 3, 10}, {2, 10, 4, 20}, {2, 11, 3, 20}, {2, 10, 3, 21}};
	struct vsock_table t;

	cr_assert_eq(vsock_table_init(&t, NULL), 0);
	vsock_table_add(&t, &a);
	cr_assert_eq(vsock_table_find(&t, &a.key), &a);
	for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_assert_null(vsock_table_find(&t, &others[i]));
	vsock_table_finish(&t);
}

Test(vsock_table, hash_is_keyed)
{
	struct vsock_node a = {.key = {2, 10, 3, 20}}, b = a;
	struct vsock_table t, u;

	cr_assert_eq(vsock_table_init(&t, NULL), 0);
	cr_assert_eq(vsock_table_init(&u, NULL), 0);
	vsock_table_add(&t, &a);
	vsock_table_add(&u, &b);
	cr_assert_neq(a.hash, b.hash);
	vsock_table_finish(&t);
	vsock_table_finish(&u);
}

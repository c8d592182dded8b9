/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of four-tuples that grows a few buckets at a time. */
#include "virtio/vsock_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/check.h"

#define BUCKETS_FIRST 16u
#define BUCKETS_MAX   (1u << 20)
#define MOVES_A_STEP  4u /* buckets; growth is over long before the next one is due */

/* --- hash: SipHash-1-3 of the key's 16 bytes --- */

static uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

static uint64_t key_hash(const struct vsock_table *t, const struct vsock_key *key)
{
	uint64_t v[4] = {
		t->secret[0] ^ 0x736f6d6570736575ULL,
		t->secret[1] ^ 0x646f72616e646f6dULL,
		t->secret[0] ^ 0x6c7967656e657261ULL,
		t->secret[1] ^ 0x7465646279746573ULL,
	};

	sip_word(v, (uint64_t)key->host_cid << 32 | key->host_port);
	sip_word(v, (uint64_t)key->guest_cid << 32 | key->guest_port);
	sip_word(v, 16ULL << 56);
	v[2] ^= 0xff;
	for (unsigned int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool keys_equal(const struct vsock_key *a, const struct vsock_key *b)
{
	return a->host_port == b->host_port && a->guest_port == b->guest_port &&
	       a->host_cid == b->host_cid && a->guest_cid == b->guest_cid;
}

/* --- buckets --- */

static bool buckets_init(struct vsock_buckets *b, uint32_t count)
{
	b->heads = calloc(count, sizeof(struct vsock_node *));
	b->count = b->heads ? count : 0;
	return b->heads;
}

static struct vsock_node **bucket_of(const struct vsock_buckets *b, uint64_t hash)
{
	return &b->heads[hash & (b->count - 1)];
}

/* Where a node with this hash is, if it is anywhere. */
static struct vsock_node **home_of(const struct vsock_table *t, uint64_t hash)
{
	if (t->old.heads && (hash & (t->old.count - 1)) >= t->moved)
		return bucket_of(&t->old, hash);
	return bucket_of(&t->now, hash);
}

static void move_bucket(struct vsock_table *t, struct vsock_node *first)
{
	struct vsock_node *next;

	for (struct vsock_node *n = first; n; n = next) {
		struct vsock_node **head = bucket_of(&t->now, n->hash);

		next = n->next;
		n->next = *head;
		*head = n;
	}
}

static void move_some(struct vsock_table *t)
{
	for (unsigned int i = 0; i < MOVES_A_STEP && t->old.heads; i++) {
		move_bucket(t, t->old.heads[t->moved]);
		t->old.heads[t->moved++] = NULL;
		if (t->moved == t->old.count) {
			free(t->old.heads);
			t->old = (struct vsock_buckets){0};
		}
	}
}

static void grow_start(struct vsock_table *t)
{
	struct vsock_buckets bigger;

	if (t->old.heads || t->count <= t->now.count || t->now.count >= BUCKETS_MAX)
		return;
	if (!buckets_init(&bigger, 2 * t->now.count))
		return;
	t->old = t->now;
	t->now = bigger;
	t->moved = 0;
}

/* --- the table --- */

int vsock_table_init(struct vsock_table *t, struct diag *d)
{
	*t = (struct vsock_table){0};
	if (getrandom(t->secret, sizeof(t->secret), 0) != (ssize_t)sizeof(t->secret))
		return diag_errno(d, -errno, "getting random bytes");
	if (!buckets_init(&t->now, BUCKETS_FIRST))
		return diag_fail(d, -ENOMEM, "no memory for a table of %u buckets", BUCKETS_FIRST);
	return 0;
}

void vsock_table_finish(struct vsock_table *t)
{
	free(t->now.heads);
	free(t->old.heads);
	*t = (struct vsock_table){0};
}

struct vsock_node *vsock_table_find(struct vsock_table *t, const struct vsock_key *key)
{
	uint64_t hash = key_hash(t, key);
	struct vsock_node *n;

	move_some(t);
	for (n = *home_of(t, hash); n; n = n->next)
		if (n->hash == hash && keys_equal(&n->key, key))
			return n;
	return NULL;
}

void vsock_table_add(struct vsock_table *t, struct vsock_node *node)
{
	struct vsock_node **head;

	node->hash = key_hash(t, &node->key);
	move_some(t);
	head = home_of(t, node->hash);
	node->next = *head;
	*head = node;
	t->count++;
	grow_start(t);
}

void vsock_table_remove(struct vsock_table *t, struct vsock_node *node)
{
	struct vsock_node **at;

	move_some(t);
	at = home_of(t, node->hash);
	while (*at && *at != node)
		at = &(*at)->next;
	CHECK(*at == node);
	*at = node->next;
	node->next = NULL;
	t->count--;
}

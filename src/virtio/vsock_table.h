/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of four-tuples that grows a few buckets at a time.
 *
 *   now   |  |  |  |  |  |  |  |  |   what is new goes here
 *   old   |..|..|->|->|               half as many; the dotted ones have been moved already
 *                ^ moved
 *
 * The guest chooses most of a key, so the hash is keyed with a secret (SipHash): it cannot make
 * long chains on purpose. Nodes are embedded in their owners. Home reactor, but for init and
 * finish. */
#ifndef VIRTIO_VSOCK_TABLE_H
#define VIRTIO_VSOCK_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/diag.h"

struct vsock_key {
	uint32_t host_cid, host_port, guest_cid, guest_port;
};

/* vsock_is_neighbour: the other end is a guest, not the host. */
static inline bool vsock_is_neighbour(const struct vsock_key *key)
{
	return key->host_cid != 2;
}

struct vsock_node {
	struct vsock_key key;
	uint64_t hash; /* private from here on */
	struct vsock_node *next;
};

struct vsock_buckets {
	struct vsock_node **heads; /* NULL: none */
	uint32_t count;            /* a power of two */
};

struct vsock_table {
	uint64_t secret[2];
	struct vsock_buckets now, old;
	uint32_t moved; /* of old */
	uint32_t count; /* nodes */
};

/* vsock_table_init: empty; -ENOMEM, -errno of getrandom. vsock_table_finish: frees the buckets; the
 * nodes are their owners'; safe on a zeroed struct. */
int vsock_table_init(struct vsock_table *t, struct diag *d);
void vsock_table_finish(struct vsock_table *t);

/* vsock_table_find: the node with this key, or NULL. */
struct vsock_node *vsock_table_find(struct vsock_table *t, const struct vsock_key *key);
/* vsock_table_add: node->key is set and not in the table. Never fails: without memory the chains
 * get longer. */
void vsock_table_add(struct vsock_table *t, struct vsock_node *node);
void vsock_table_remove(struct vsock_table *t, struct vsock_node *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The host's vsock ports. */
#include "virtio/vsock_ports.h"

#include <errno.h>
#include <stdlib.h>

#include "core/check.h"

struct rest {
	struct vsock_node node;
	struct list link;
	uint64_t until_ns;
};

int vsock_ports_init(struct vsock_ports *p, struct diag *d)
{
	int err;

	*p = (struct vsock_ports){.last = VSOCK_EPHEMERAL_LAST};
	list_init(&p->listening);
	list_init(&p->resting);
	err = vsock_table_init(&p->listeners, d);
	if (!err)
		err = vsock_table_init(&p->quarantine, d);
	if (err)
		goto out;
	p->uses = calloc(VSOCK_EPHEMERAL_COUNT, sizeof(*p->uses));
	if (!p->uses)
		err = diag_fail(d, -ENOMEM, "no memory for %u ports", VSOCK_EPHEMERAL_COUNT);
out:
	if (err)
		vsock_ports_finish(p);
	return err;
}

void vsock_ports_finish(struct vsock_ports *p)
{
	if (!p->listening.next)
		return;
	vsock_ports_forget(p, UINT32_MAX);
	while (!list_empty(&p->listening))
		vsock_ports_unlisten(p, list_first(&p->listening, struct vsock_listener, link));
	vsock_table_finish(&p->listeners);
	vsock_table_finish(&p->quarantine);
	free(p->uses);
	*p = (struct vsock_ports){0};
}

/* --- uses --- */

static bool is_ephemeral(const struct vsock_key *key)
{
	uint32_t port = key->host_port;

	return !vsock_is_neighbour(key) && port >= VSOCK_EPHEMERAL_FIRST &&
	       port <= VSOCK_EPHEMERAL_LAST;
}

void vsock_ports_use(struct vsock_ports *p, const struct vsock_key *key)
{
	uint32_t at = key->host_port - VSOCK_EPHEMERAL_FIRST;

	if (!is_ephemeral(key))
		return;
	p->uses[at]++;
	p->taken[at / 64] |= 1ULL << at % 64;
}

void vsock_ports_unuse(struct vsock_ports *p, const struct vsock_key *key)
{
	uint32_t at = key->host_port - VSOCK_EPHEMERAL_FIRST;

	if (!is_ephemeral(key))
		return;
	CHECK(p->uses[at]);
	if (!--p->uses[at])
		p->taken[at / 64] &= ~(1ULL << at % 64);
}

/* --- quarantine --- */

static void rest_end(struct vsock_ports *p, struct rest *r)
{
	vsock_table_remove(&p->quarantine, &r->node);
	vsock_ports_unuse(p, &r->node.key);
	list_del(&r->link);
	free(r);
}

/* All rest equally long, so the oldest is the first to go. */
static void rest_expire(struct vsock_ports *p, uint64_t now_ns)
{
	while (!list_empty(&p->resting)) {
		struct rest *r = list_first(&p->resting, struct rest, link);

		if (r->until_ns > now_ns)
			return;
		rest_end(p, r);
	}
}

bool vsock_ports_forget(struct vsock_ports *p, uint32_t max)
{
	for (; max && !list_empty(&p->resting); max--)
		rest_end(p, list_first(&p->resting, struct rest, link));
	return !list_empty(&p->resting);
}

void vsock_ports_rest(struct vsock_ports *p, const struct vsock_key *key, uint64_t now_ns)
{
	struct vsock_node *n = vsock_table_find(&p->quarantine, key);
	struct rest *r = n ? container_of(n, struct rest, node) : calloc(1, sizeof(*r));

	if (!r)
		return;
	if (n) {
		list_del(&r->link);
	} else {
		r->node.key = *key;
		vsock_table_add(&p->quarantine, &r->node);
		vsock_ports_use(p, key);
	}
	r->until_ns = now_ns + VSOCK_QUARANTINE_NS;
	list_add_tail(&p->resting, &r->link);
}

bool vsock_ports_is_resting(struct vsock_ports *p, const struct vsock_key *key, uint64_t now_ns)
{
	rest_expire(p, now_ns);
	return vsock_table_find(&p->quarantine, key);
}

uint32_t vsock_ports_resting(struct vsock_ports *p, uint64_t now_ns)
{
	rest_expire(p, now_ns);
	return p->quarantine.count;
}

/* --- listeners --- */

static struct vsock_key listener_key(uint32_t port)
{
	return (struct vsock_key){.host_cid = 2, .host_port = port};
}

struct vsock_listener *vsock_ports_listener(struct vsock_ports *p, uint32_t port)
{
	const struct vsock_key key = listener_key(port);
	struct vsock_node *n = vsock_table_find(&p->listeners, &key);

	return n ? container_of(n, struct vsock_listener, node) : NULL;
}

int vsock_ports_listen(struct vsock_ports *p, uint32_t port, struct vsock_listener **out)
{
	struct vsock_listener *l;

	if (vsock_ports_listener(p, port))
		return -EADDRINUSE;
	if (p->listeners.count >= VSOCK_LISTENERS_MAX)
		return -ENOSPC;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->node.key = listener_key(port);
	list_init(&l->pending);
	list_add_tail(&p->listening, &l->link);
	vsock_table_add(&p->listeners, &l->node);
	vsock_ports_use(p, &l->node.key);
	*out = l;
	return 0;
}

void vsock_ports_unlisten(struct vsock_ports *p, struct vsock_listener *l)
{
	CHECK(list_empty(&l->pending));
	vsock_table_remove(&p->listeners, &l->node);
	vsock_ports_unuse(p, &l->node.key);
	list_del(&l->link);
	free(l);
}

/* --- ephemeral ports --- */

/* The first port of [from, to) that nobody has, or `to`: a word at a time. */
static uint32_t free_find(const struct vsock_ports *p, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint64_t word = ~p->taken[from / 64] >> from % 64;

		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			return from < to ? from : to;
		}
		from += 64 - from % 64;
	}
	return to;
}

int vsock_ports_pick(struct vsock_ports *p, uint64_t now_ns, uint32_t *port)
{
	uint32_t next = (p->last + 1 - VSOCK_EPHEMERAL_FIRST) % VSOCK_EPHEMERAL_COUNT, at;

	rest_expire(p, now_ns);
	at = free_find(p, next, VSOCK_EPHEMERAL_COUNT);
	if (at == VSOCK_EPHEMERAL_COUNT) {
		at = free_find(p, 0, next);
		if (at == next)
			return -ENOSPC;
	}
	p->last = *port = VSOCK_EPHEMERAL_FIRST + at;
	return 0;
}

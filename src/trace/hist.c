/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the histograms' programs and reading their map. */
#include "trace/hist.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "hist.skel.h"

#define KINDS_EXITS (TRACE_KIND(TRACE_EXITS) | TRACE_KIND(TRACE_KVM_EXITS))
#define KINDS_TURN  (TRACE_KIND(TRACE_TURN) | TRACE_KIND(TRACE_OFF_CPU) | TRACE_KIND(TRACE_BATCH))

static const struct trace_program programs[] = {
	{"count_vcpu_exit", "vcpu_exit", NULL, KINDS_EXITS},
	{"count_vcpu_entry", "vcpu_entry", NULL, KINDS_EXITS},
	{"kvm_userspace_exit", NULL, "the kernel's own count of exits", KINDS_EXITS},
	{"kvm_exit", NULL, "what exits within the kernel", KINDS_EXITS},
	{"kvm_entry", NULL, "how long exits within the kernel take", KINDS_EXITS},
	{"count_kick", "kick", NULL, TRACE_KIND(TRACE_KICK)},
	{"end_kick", "vq_push", NULL, TRACE_KIND(TRACE_KICK)},
	{"mark_push", "vq_push", NULL, TRACE_KIND(TRACE_IRQ)},
	{"count_irq", "irq", NULL, TRACE_KIND(TRACE_IRQ)},
	{"count_pop", "vq_pop", NULL, TRACE_KIND(TRACE_QUEUE_DEPTH)},
	{"count_ring", "turn_end", NULL, TRACE_KIND(TRACE_RING_DEPTH)},
	{"count_rpc_begin", "rpc_begin", NULL, TRACE_KIND(TRACE_RPC)},
	{"count_rpc_end", "rpc_end", NULL, TRACE_KIND(TRACE_RPC)},
	{"count_turn_begin", "turn_begin", NULL, KINDS_TURN},
	{"count_turn_end", "turn_end", NULL, KINDS_TURN},
	{"sched_switch", NULL, "time off the CPU", KINDS_TURN},
};

int hists_open(struct trace_hists *h, pid_t pid, uint32_t kinds, const char *guest, struct diag *d)
{
	int err;

	*h = (struct trace_hists){.skel = hist_bpf__open()};
	if (!h->skel)
		return diag_errno(d, -errno, "opening the BPF object");
	if (guest)
		snprintf((char *)h->skel->rodata->only_guest, TRACE_GUEST_MAX, "%s", guest);
	session_select(h->skel->obj, programs, ARRAY_SIZE(programs), kinds);
	err = session_load(h->skel->skeleton, d);
	if (!err)
		err = session_attach(
			&h->session, h->skel->obj, pid, programs, ARRAY_SIZE(programs), d);
	return err;
}

void hists_stop(struct trace_hists *h)
{
	session_detach(&h->session);
}

void hists_close(struct trace_hists *h)
{
	hists_stop(h);
	hist_bpf__destroy(h->skel);
	h->skel = NULL;
}

uint64_t hists_lost(const struct trace_hists *h)
{
	return __atomic_load_n(&h->skel->bss->lost, __ATOMIC_RELAXED);
}

void hists_note_silent(struct trace_hists *h, uint32_t kinds)
{
	uint64_t user = h->skel->bss->kvm_userspace_exits;

	if (!(kinds & KINDS_EXITS) || !user)
		return;
	notes_add(&h->session.notes,
		"kvm:kvm_userspace_exit fired %llu times on the same threads, returns for signals "
		"included",
		(unsigned long long)user);
	if (!h->skel->bss->kvm_exits_seen)
		notes_add(&h->session.notes,
			"kvm:kvm_exit is silent: this KVM has no VMX/SVM, so exits within the "
			"kernel are not shown");
}

static int row_order(const void *a, const void *b)
{
	const struct trace_row *x = a, *y = b;
	int diff = (int)x->key.kind - (int)y->key.kind;

	if (!diff)
		diff = strcmp(x->key.guest, y->key.guest);
	if (!diff)
		diff = strcmp(x->key.what, y->key.what);
	if (!diff)
		diff = (x->key.index > y->key.index) - (x->key.index < y->key.index);
	return diff ? diff : (x->hist.count < y->hist.count) - (x->hist.count > y->hist.count);
}

static int rows_add(struct trace_rows *rows, size_t *room, const struct trace_row *row)
{
	if (rows->count == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct trace_row *grown = realloc(rows->row, more * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		rows->row = grown;
		*room = more;
	}
	rows->row[rows->count++] = *row;
	return 0;
}

int hists_read(const struct trace_hists *h, struct trace_rows *rows, struct diag *d)
{
	int fd = bpf_map__fd(h->skel->maps.hists), err = 0;
	struct trace_key *previous = NULL, key;
	struct trace_row row;
	size_t room = 0;

	*rows = (struct trace_rows){0};
	/* Nothing is ever deleted from this map, so that the walk meets each key once. */
	while (!err && bpf_map_get_next_key(fd, previous, &row.key) == 0) {
		key = row.key;
		previous = &key;
		if (bpf_map_lookup_elem(fd, &row.key, &row.hist) == 0)
			err = rows_add(rows, &room, &row);
	}
	if (err) {
		rows_finish(rows);
		return diag_errno(d, err, "reading the histograms");
	}
	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), row_order);
	return 0;
}

void rows_finish(struct trace_rows *rows)
{
	free(rows->row);
	*rows = (struct trace_rows){0};
}

const struct trace_row *rows_find(const struct trace_rows *rows, const struct trace_key *key)
{
	for (size_t i = 0; i < rows->count; i++)
		if (!memcmp(&rows->row[i].key, key, sizeof(*key)))
			return &rows->row[i];
	return NULL;
}

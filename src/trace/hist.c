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
#include "trace/threads.h"

static const struct trace_program programs[] = {
	{"count_vcpu_exit", "vcpu_exit", NULL, TRACE_KINDS_EXITS},
	{"count_vcpu_entry", "vcpu_entry", NULL, TRACE_KINDS_EXITS},
	{"kvm_userspace_exit", NULL, "the kernel's own count of exits", TRACE_KINDS_EXITS},
	{"kvm_exit", NULL, "what exits within the kernel", TRACE_KINDS_EXITS},
	{"kvm_entry", NULL, "how long exits within the kernel take", TRACE_KINDS_EXITS},
	{"learn_vcpu", "vcpu_entry", NULL, TRACE_KIND(TRACE_RUN_WAIT) | TRACE_KIND(TRACE_KVM)},
	{"count_kvm_userspace_exit", NULL, "how often KVM_RUN returned", TRACE_KIND(TRACE_KVM)},
	{"count_kvm_pio", NULL, "accesses to ports", TRACE_KIND(TRACE_KVM)},
	{"count_kvm_mmio", NULL, "accesses to emulated memory", TRACE_KIND(TRACE_KVM)},
	{"count_kvm_fast_mmio", NULL, "doorbells without emulation", TRACE_KIND(TRACE_KVM)},
	{"count_kvm_inj_virq", NULL, "interrupts that the guest has got", TRACE_KIND(TRACE_KVM)},
	{"count_kvm_msi_set_irq", NULL, "messages that the reactor's interrupts become",
		TRACE_KIND(TRACE_KVM)},
	{"count_kvm_vcpu_wakeup", NULL, "wake-ups after a halt", TRACE_KIND(TRACE_KVM)},
	{"ring_submit", NULL, "the time of operations in the kernel", TRACE_KIND(TRACE_RING_OP)},
	{"ring_complete", NULL, "the end of operations in the kernel", TRACE_KIND(TRACE_RING_OP)},
	{"run_wait_wakeup", NULL, "the wait for a CPU after a wake-up", TRACE_KIND(TRACE_RUN_WAIT)},
	{"run_wait_switch", NULL, "the wait for a CPU", TRACE_KIND(TRACE_RUN_WAIT)},
	{"count_vsock_connect", "vsock_connect", NULL, TRACE_KINDS_VSOCK},
	{"count_vsock_accept", "vsock_accept", NULL, TRACE_KINDS_VSOCK},
	{"end_vsock_open", "vsock_state", NULL, TRACE_KINDS_VSOCK},
	{"count_vsock_stall", "vsock_stall", NULL, TRACE_KINDS_VSOCK},
	{"mark_vsock_kick", "kick", NULL, TRACE_KINDS_VSOCK},
	{"count_vsock_data", "vsock_data", NULL, TRACE_KINDS_VSOCK},
	{"count_console_write", "console_write", NULL, TRACE_KINDS_CONSOLE},
	{"end_console_write", "console_written", NULL, TRACE_KINDS_CONSOLE},
	{"count_kick", "kick", NULL, TRACE_KIND(TRACE_KICK)},
	{"end_kick", "vq_push", NULL, TRACE_KIND(TRACE_KICK)},
	{"mark_push", "vq_push", NULL, TRACE_KIND(TRACE_IRQ)},
	{"count_irq", "irq", NULL, TRACE_KIND(TRACE_IRQ)},
	{"count_pop", "vq_pop", NULL, TRACE_KIND(TRACE_QUEUE_DEPTH)},
	{"count_ring", "turn_end", NULL, TRACE_KIND(TRACE_RING_DEPTH)},
	{"count_rpc_begin", "rpc_begin", NULL, TRACE_KIND(TRACE_RPC)},
	{"count_rpc_end", "rpc_end", NULL, TRACE_KIND(TRACE_RPC)},
	{"count_turn_begin", "turn_begin", NULL, TRACE_KINDS_TURN},
	{"count_turn_end", "turn_end", NULL, TRACE_KINDS_TURN},
	{"sched_switch", NULL, "time off the CPU", TRACE_KINDS_TURN},
};

static void thread_put(void *ctx, const struct thread *t)
{
	const struct trace_hists *h = ctx;
	struct trace_key whose = {.guest = "?", .what = "vcpu", .index = t->index};
	uint32_t tid = (uint32_t)t->tid, index = t->index;

	if (t->kind == THREAD_REACTOR)
		bpf_map_update_elem(bpf_map__fd(h->skel->maps.reactors), &tid, &index, BPF_ANY);
	else if (t->kind == THREAD_VCPU && !*h->skel->rodata->only_guest)
		bpf_map_update_elem(bpf_map__fd(h->skel->maps.vcpus), &tid, &whose, BPF_ANY);
}

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
		err = threads_list(pid, thread_put, h, d);
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

static bool kvm_fired(const struct trace_rows *rows, const char *event)
{
	for (size_t i = 0; i < rows->count; i++)
		if (rows->row[i].key.kind == TRACE_KVM && !strcmp(rows->row[i].key.what, event))
			return true;
	return false;
}

static void note_silent_kvm(struct trace_hists *h)
{
	struct trace_rows rows;
	struct diag d;

	if (hists_read(h, &rows, &d))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		const char *event = programs[i].name + strlen("count_");

		if (programs[i].kinds == TRACE_KIND(TRACE_KVM) && !kvm_fired(&rows, event))
			notes_add(&h->session.notes, "kvm:%s has not fired: %s: no such row", event,
				programs[i].shows);
	}
	rows_finish(&rows);
}

void hists_note_silent(struct trace_hists *h, uint32_t kinds)
{
	uint64_t user = h->skel->bss->kvm_userspace_exits;

	if (kinds & TRACE_KIND(TRACE_KVM))
		note_silent_kvm(h);
	if (!(kinds & TRACE_KINDS_EXITS) || !user)
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

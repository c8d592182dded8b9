/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling by the kernel's software clock of each reactor's thread, and folding the stacks. */
#include "trace/flame.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"
#include "flame.skel.h"
#include "trace/symbols.h"

#define DEPTH_MAX 127 /* of the stack map */

static void thread_put(void *ctx, const struct thread *t)
{
	struct flame *f = ctx;

	if (t->kind == THREAD_REACTOR && f->thread_count < FLAME_THREADS_MAX)
		f->threads[f->thread_count++] = *t;
}

/* The clock ticks only while the thread has a CPU: an idle reactor costs nothing. */
static int sample_thread(struct flame *f, const struct thread *t, struct diag *d)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.freq = 1,
		.sample_freq = f->frequency_hz,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, t->tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct bpf_link *link;

	if (fd < 0)
		return diag_fail(d, -ENOTSUP,
			"sampling thread %d by the CPU clock: %s; the kernel needs "
			"CONFIG_PERF_EVENTS, and this process CAP_PERFMON",
			t->tid, strerrordesc_np(errno));
	link = bpf_program__attach_perf_event(f->skel->progs.flame_sample, fd);
	if (!link) {
		close(fd);
		return diag_errno(d, -errno, "a BPF program at the samples of thread %d", t->tid);
	}
	f->session.links[f->session.link_count++] = link;
	return 0;
}

int flame_open(struct flame *f, pid_t pid, unsigned int frequency_hz, struct diag *d)
{
	int err;

	*f = (struct flame){.pid = pid, .frequency_hz = frequency_hz};
	f->skel = flame_bpf__open();
	if (!f->skel)
		return diag_errno(d, -errno, "opening the BPF object");
	err = session_load(f->skel->skeleton, d);
	if (!err)
		err = threads_list(pid, thread_put, f, d);
	for (unsigned int i = 0; i < f->thread_count && !err; i++)
		err = sample_thread(f, &f->threads[i], d);
	return err;
}

void flame_stop(struct flame *f)
{
	session_detach(&f->session);
}

void flame_close(struct flame *f)
{
	flame_stop(f);
	flame_bpf__destroy(f->skel);
	f->skel = NULL;
}

uint64_t flame_lost(const struct flame *f)
{
	return __atomic_load_n(&f->skel->bss->lost, __ATOMIC_RELAXED);
}

/* --- folding --- */

static unsigned int stack_read(const struct flame *f, int id, uint64_t frames[DEPTH_MAX])
{
	uint32_t key = (uint32_t)id;
	unsigned int n = 0;

	memset(frames, 0, DEPTH_MAX * sizeof(*frames));
	if (id < 0 || bpf_map_lookup_elem(bpf_map__fd(f->skel->maps.stacks), &key, frames))
		return 0;
	while (n < DEPTH_MAX && frames[n])
		n++;
	return n;
}

/* Semicolons and spaces would be the format's own. */
static void put_name(FILE *to, const char *name)
{
	for (; *name; name++)
		fputc(*name == ';' || *name == ' ' ? '_' : *name, to);
}

static unsigned int reactor_of(const struct flame *f, uint32_t tid)
{
	for (unsigned int i = 0; i < f->thread_count; i++)
		if ((uint32_t)f->threads[i].tid == tid)
			return f->threads[i].index;
	return 0;
}

/* A frame above the leaf is where a call returns to, which may be behind its function's end. */
static uint64_t call_of(const uint64_t *frames, unsigned int i)
{
	return i ? frames[i] - 1 : frames[i];
}

static void put_stack(const struct flame *f, FILE *to, struct symbols *s,
	const struct flame_key *key, uint64_t count)
{
	uint64_t frames[DEPTH_MAX];
	unsigned int n = stack_read(f, key->user, frames);

	fprintf(to, "reactor-%u", reactor_of(f, key->tid));
	if (!n)
		fputs(";[no_stack]", to);
	for (unsigned int i = n; i > 0; i--) {
		fputc(';', to);
		put_name(to, symbols_user(s, call_of(frames, i - 1)));
	}
	n = stack_read(f, key->kernel, frames);
	for (unsigned int i = n; i > 0; i--) {
		fputc(';', to);
		put_name(to, symbols_kernel(s, call_of(frames, i - 1)));
		fputs("_[k]", to);
	}
	fprintf(to, " %llu\n", (unsigned long long)count);
}

struct addresses {
	uint64_t *at;
	size_t count, room;
};

static int addresses_add(struct addresses *a, const uint64_t *frames, unsigned int n)
{
	if (a->room - a->count < n) {
		size_t more = 2 * a->room + DEPTH_MAX;
		uint64_t *grown = realloc(a->at, more * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		a->at = grown;
		a->room = more;
	}
	for (unsigned int i = 0; i < n; i++)
		a->at[a->count++] = call_of(frames, i);
	return 0;
}

/* Walks over the samples: collects the kernel's addresses (to NULL), or writes the lines. */
static int walk(
	const struct flame *f, struct symbols *s, struct addresses *a, FILE *to, uint64_t *samples)
{
	int fd = bpf_map__fd(f->skel->maps.samples), err = 0;
	struct flame_key *previous = NULL, key, last;
	uint64_t frames[DEPTH_MAX], count;

	*samples = 0;
	while (!err && bpf_map_get_next_key(fd, previous, &key) == 0) {
		last = key;
		previous = &last;
		if (bpf_map_lookup_elem(fd, &key, &count))
			continue;
		*samples += count;
		if (to)
			put_stack(f, to, s, &key, count);
		else
			err = addresses_add(a, frames, stack_read(f, key.kernel, frames));
	}
	return err;
}

int flame_write(struct flame *f, FILE *to, uint64_t *samples, struct diag *d)
{
	struct addresses a = {0};
	struct symbols s;
	int err = symbols_open(&s, f->pid, d);

	if (err)
		return err;
	err = walk(f, &s, &a, NULL, samples);
	if (err)
		diag_errno(d, err, "reading the stacks");
	else
		err = symbols_kernel_read(&s, a.at, a.count, d);
	if (!err)
		err = walk(f, &s, NULL, to, samples);
	free(a.at);
	symbols_close(&s);
	return err;
}

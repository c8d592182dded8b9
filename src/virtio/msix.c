/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X of one function: table, pending bits, irqfds. */
#include "virtio/msix.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"

static void barrier_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct msix *m = container_of(op, struct msix, barrier);

	(void)res;
	(void)cqe_flags;
	m->stopped(m);
}

static int vector_init(struct msix_vector *v, struct msix *m, struct diag *d)
{
	int fd;

	v->msix = m;
	v->masked = true;
	v->gsi = m->env->ops->gsi_alloc(m->env->ctx);
	if (v->gsi < 0)
		return diag_fail(d, v->gsi, "no interrupt route is left for an MSI-X vector");
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return diag_errno(d, -errno, "an eventfd for an MSI-X vector");
	v->event.fd = fd;
	return 0;
}

int msix_init(struct msix *m, struct virtio_env *env, unsigned int count, struct diag *d)
{
	int err = 0;

	CHECK(count && count <= MSIX_VECTORS_MAX);
	*m = (struct msix){.env = env, .count = count, .barrier = {.done = barrier_done}};
	m->vectors = calloc(count, sizeof(*m->vectors));
	if (!m->vectors)
		return diag_fail(d, -ENOMEM, "no memory for %u MSI-X vectors", count);
	for (unsigned int i = 0; i < count; i++) {
		m->vectors[i].event = IO_FILE_NONE;
		m->vectors[i].gsi = -1;
	}
	for (unsigned int i = 0; i < count && !err; i++)
		err = vector_init(&m->vectors[i], m, d);
	if (err)
		msix_finish(m);
	return err;
}

void msix_finish(struct msix *m)
{
	CHECK(!m->barrier.in_flight);
	for (unsigned int i = 0; m->vectors && i < m->count; i++) {
		struct msix_vector *v = &m->vectors[i];

		if (v->attached)
			m->env->ops->irqfd(m->env->ctx, false, v->gsi, v->event.fd);
		if (v->event.fd >= 0)
			close(v->event.fd);
		if (v->gsi >= 0)
			m->env->ops->gsi_free(m->env->ctx, v->gsi);
	}
	free(m->vectors);
	*m = (struct msix){0};
}

void msix_stop(struct msix *m, void (*stopped)(struct msix *m))
{
	m->stopping = true;
	m->stopped = stopped;
	if (m->signalled)
		io_nop(m->env->reactor, &m->barrier);
	else
		stopped(m);
}

/* --- raising --- */

static void vector_fire(struct msix_vector *v)
{
	struct msix *m = v->msix;

	if (m->stopping)
		return;
	m->signalled = true;
	io_signal(m->env->reactor, &v->event);
}

static bool vector_open(const struct msix_vector *v)
{
	return v->msix->enabled && !v->msix->masked && !v->masked;
}

/* The route and the irqfd follow the table as soon as the vector is unmasked; what is pending goes
 * out then. A route that KVM refuses (the guest wrote an address that is no MSI's) leaves the
 * vector without effect. */
static void vector_follow(struct msix_vector *v)
{
	struct virtio_env *env = v->msix->env;

	if (!vector_open(v) || v->msix->stopping)
		return;
	if (env->ops->msi_route(env->ctx, v->gsi, v->addr, v->data))
		return;
	if (!v->attached && env->ops->irqfd(env->ctx, true, v->gsi, v->event.fd))
		return;
	v->attached = true;
	if (v->pending) {
		v->pending = false;
		vector_fire(v);
	}
}

void msix_raise(struct msix *m, unsigned int vector)
{
	struct msix_vector *v;

	if (vector >= m->count || !m->enabled)
		return;
	v = &m->vectors[vector];
	if (!vector_open(v))
		v->pending = true;
	else if (v->attached)
		vector_fire(v);
}

void msix_control(struct msix *m, bool enabled, bool masked)
{
	bool was_open = m->enabled && !m->masked;

	m->enabled = enabled;
	m->masked = masked;
	if (was_open || !enabled || masked)
		return;
	for (unsigned int i = 0; i < m->count; i++)
		vector_follow(&m->vectors[i]);
}

/* --- accesses --- */

static uint32_t entry_dword(const struct msix_vector *v, unsigned int i)
{
	switch (i) {
	case 0:
		return (uint32_t)v->addr;
	case 1:
		return (uint32_t)(v->addr >> 32);
	case 2:
		return v->data;
	default:
		return v->masked;
	}
}

static void entry_dword_write(struct msix_vector *v, unsigned int i, uint32_t value)
{
	switch (i) {
	case 0:
		v->addr = (v->addr & ~0xffffffffULL) | (value & ~3u);
		break;
	case 1:
		v->addr = (v->addr & 0xffffffff) | (uint64_t)value << 32;
		break;
	case 2:
		v->data = value;
		break;
	default:
		v->masked = value & 1;
	}
}

uint64_t msix_table_read(struct msix *m, uint64_t offset, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes; i++) {
		uint64_t at = offset + i;
		uint64_t entry = at / MSIX_ENTRY_BYTES;
		uint32_t dword;

		if (entry >= m->count)
			break;
		dword = entry_dword(&m->vectors[entry], at / 4 % 4);
		value |= (uint64_t)(dword >> 8 * (at % 4) & 0xff) << 8 * i;
	}
	return value;
}

/* Only aligned dwords and qwords are allowed (§6.8.2); all else is dropped. A change takes effect
 * at the end of the access, so that a qword is one change. */
void msix_table_write(struct msix *m, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	uint64_t entry = offset / MSIX_ENTRY_BYTES;
	struct msix_vector *v;

	if (entry >= m->count || (size_bytes != 4 && size_bytes != 8) || offset % size_bytes)
		return;
	v = &m->vectors[entry];
	for (unsigned int i = 0; i < size_bytes / 4; i++)
		entry_dword_write(v, (offset / 4 + i) % 4, (uint32_t)(value >> 32 * i));
	vector_follow(v);
}

uint64_t msix_pending_read(struct msix *m, uint64_t offset, unsigned int size_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size_bytes * 8; i++) {
		uint64_t vector = offset * 8 + i;

		if (vector < m->count && m->vectors[vector].pending)
			value |= 1ULL << i;
	}
	return value;
}

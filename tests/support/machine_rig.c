/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM for device tests. */
#include "support/machine_rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/check.h"
#include "core/layout.h"

/* --- the host --- */

static int host_ioeventfd(void *ctx, bool assign, uint64_t gpa, int fd, struct diag *d)
{
	struct rig_host *h = ctx;

	if (assign && h->fail_ioeventfd)
		return diag_fail(d, h->fail_ioeventfd, "as the test wants");
	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++) {
		struct rig_ioeventfd *e = &h->ioeventfds[i];

		CHECK(!assign || e->gpa != gpa);
		if (assign ? e->gpa : e->gpa != gpa)
			continue;
		CHECK(assign || e->fd == fd);
		*e = (struct rig_ioeventfd){assign ? gpa : 0, fd};
		return 0;
	}
	CHECK(assign);
	return -ENOSPC;
}

static int host_gsi_alloc(void *ctx)
{
	struct rig_host *h = ctx;

	for (int i = 0; i < RIG_HOST_GSIS && !h->fail_gsi; i++) {
		if (h->gsis[i].used)
			continue;
		h->gsis[i] = (struct rig_gsi){.used = true, .fd = -1};
		return i;
	}
	return -ENOSPC;
}

static void host_gsi_free(void *ctx, int gsi)
{
	struct rig_host *h = ctx;

	CHECK(h->gsis[gsi].used && h->gsis[gsi].fd < 0);
	h->gsis[gsi].used = false;
}

static int host_msi_route(void *ctx, int gsi, uint64_t addr, uint32_t data)
{
	struct rig_host *h = ctx;
	struct rig_gsi *g = &h->gsis[gsi];

	CHECK(g->used);
	if (h->fail_route)
		return h->fail_route;
	g->routed = true;
	g->addr = addr;
	g->data = data;
	h->routes_set++;
	return 0;
}

static int host_irqfd(void *ctx, bool assign, int gsi, int fd)
{
	struct rig_gsi *g = &((struct rig_host *)ctx)->gsis[gsi];

	CHECK(g->used && (assign ? g->routed && g->fd < 0 : g->fd == fd));
	g->fd = assign ? fd : -1;
	return 0;
}

static void host_drain(void *ctx)
{
	((struct rig_host *)ctx)->drains++;
}

static const struct virtio_host_ops host_ops = {
	.ioeventfd = host_ioeventfd,
	.gsi_alloc = host_gsi_alloc,
	.gsi_free = host_gsi_free,
	.msi_route = host_msi_route,
	.irqfd = host_irqfd,
	.drain = host_drain,
};

static void host_line(void *ctx, unsigned int gsi, bool level)
{
	((struct rig_host *)ctx)->lines[gsi] = level;
}

/* --- life --- */

static void *reactor_main(void *arg)
{
	reactor_run(arg);
	return NULL;
}

void machine_rig_start(struct machine_rig *m, uint64_t ram_bytes, const struct reactor_params *p)
{
	const struct reactor_params defaults = {.core = -1};
	const struct gmem_params mem = {.ram_bytes = ram_bytes, .name = "test"};

	memset(m, 0, sizeof(*m));
	CHECK(!gmem_init(&m->mem, &mem, NULL));
	bus_init(&m->bus);
	CHECK(!pci_init(&m->pci, &m->bus, NULL));
	m->pci.irq = host_line;
	m->pci.irq_ctx = &m->host;
	m->reactor = reactor_create(p ? p : &defaults, NULL);
	CHECK(m->reactor);
	m->env = (struct virtio_env){.ops = &host_ops,
		.ctx = &m->host,
		.mem = &m->mem,
		.pci = &m->pci,
		.reactor = m->reactor};
	CHECK(!pthread_create(&m->thread, NULL, reactor_main, m->reactor));
}

void machine_rig_stop(struct machine_rig *m)
{
	reactor_stop(m->reactor);
	pthread_join(m->thread, NULL);
	reactor_destroy(m->reactor);
	pci_finish(&m->pci);
	bus_finish(&m->bus);
	gmem_finish(&m->mem);
	for (unsigned int i = 0; i < RIG_HOST_GSIS; i++)
		CHECK(!m->host.gsis[i].used);
	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++)
		CHECK(!m->host.ioeventfds[i].gpa);
}

/* --- calls across threads --- */

struct call {
	struct reactor_msg msg;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void call_run(struct reactor_msg *msg)
{
	struct call *c = container_of(msg, struct call, msg);

	c->fn(c->arg);
	sem_post(&c->done);
}

void machine_rig_call(struct machine_rig *m, void (*fn)(void *arg), void *arg)
{
	struct call c = {.msg.run = call_run, .fn = fn, .arg = arg};

	CHECK(!sem_init(&c.done, 0, 0));
	reactor_post(m->reactor, &c.msg);
	while (sem_wait(&c.done) < 0)
		CHECK(errno == EINTR);
	sem_destroy(&c.done);
}

struct load {
	const void *at;
	uint64_t value;
	unsigned int size_bytes;
};

static void load_run(void *arg)
{
	struct load *l = arg;

	memcpy(&l->value, l->at, l->size_bytes);
}

uint64_t machine_rig_load(struct machine_rig *m, const void *at, unsigned int size_bytes)
{
	struct load l = {.at = at, .size_bytes = size_bytes};

	machine_rig_call(m, load_run, &l);
	return l.value;
}

/* --- a vCPU's accesses --- */

struct access {
	struct machine_rig *m;
	uint64_t addr, value;
	unsigned int size_bytes;
	bool write;
};

static void access_run(void *arg)
{
	struct access *a = arg;

	if (a->write)
		bus_write(&a->m->bus, BUS_MMIO, a->addr, a->size_bytes, a->value);
	else
		a->value = bus_read(&a->m->bus, BUS_MMIO, a->addr, a->size_bytes);
}

uint64_t machine_rig_read(struct machine_rig *m, uint64_t addr, unsigned int size_bytes)
{
	struct access a = {.m = m, .addr = addr, .size_bytes = size_bytes};

	machine_rig_call(m, access_run, &a);
	return a.value;
}

void machine_rig_write(
	struct machine_rig *m, uint64_t addr, unsigned int size_bytes, uint64_t value)
{
	struct access a = {
		.m = m, .addr = addr, .value = value, .size_bytes = size_bytes, .write = true};
	const uint64_t one = 1;

	for (unsigned int i = 0; i < RIG_HOST_IOEVENTFDS; i++) {
		if (m->host.ioeventfds[i].gpa != addr || !addr)
			continue;
		CHECK(write(m->host.ioeventfds[i].fd, &one, sizeof(one)) == sizeof(one));
		return;
	}
	machine_rig_call(m, access_run, &a);
}

uint64_t machine_rig_config_read(
	struct machine_rig *m, unsigned int devfn, unsigned int reg, unsigned int size_bytes)
{
	return machine_rig_read(m, LAYOUT_ECAM + (devfn << 12) + reg, size_bytes);
}

void machine_rig_config_write(struct machine_rig *m, unsigned int devfn, unsigned int reg,
	unsigned int size_bytes, uint64_t value)
{
	machine_rig_write(m, LAYOUT_ECAM + (devfn << 12) + reg, size_bytes, value);
}

static uint64_t msi_take(struct machine_rig *m, uint32_t data, int timeout_ms)
{
	for (unsigned int i = 0; i < RIG_HOST_GSIS; i++) {
		struct rig_gsi *g = &m->host.gsis[i];
		struct pollfd p = {.fd = g->fd, .events = POLLIN};
		uint64_t count = 0;

		if (!g->used || !g->routed || g->fd < 0 || g->data != data)
			continue;
		if (poll(&p, 1, timeout_ms) != 1)
			return 0;
		CHECK(read(g->fd, &count, sizeof(count)) == sizeof(count));
		return count;
	}
	return 0;
}

uint64_t machine_rig_wait_msi(struct machine_rig *m, uint32_t data)
{
	return msi_take(m, data, 60000);
}

static void nothing(void *arg)
{
	(void)arg;
}

uint64_t machine_rig_has_msi(struct machine_rig *m, uint32_t data)
{
	/* Two turns: what the first one queued has been submitted, and eventfd writes are done at
	 * submission. */
	machine_rig_call(m, nothing, NULL);
	machine_rig_call(m, nothing, NULL);
	return msi_take(m, data, 0);
}

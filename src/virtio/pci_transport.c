/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio over PCI: capabilities, the BAR, doorbells, interrupts. Virtio 1.2 §4.1. */
#include "virtio/pci_transport.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"
#include "trace/probe.h"

#define ISR_QUEUE  1u
#define ISR_CONFIG 2u

#define CAP_VENDOR 0x09
#define CAP_MSIX   0x11

#define MSIX_CONTROL_ENABLE 0x80u /* in the control word's upper byte */
#define MSIX_CONTROL_MASK   0x40u

enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4, CFG_PCI = 5 };

/* struct virtio_pci_cap, §4.1.4. */
struct cap {
	uint8_t id, next, len, type, bar, padding[3];
	uint32_t offset, length;
};

/* Of CFG_PCI: where its parts lie from the capability's start. */
enum { PCI_CFG_BAR = 4, PCI_CFG_OFFSET = 8, PCI_CFG_LENGTH = 12, PCI_CFG_DATA = 16 };
#define PCI_CFG_BYTES 20u

/* --- the BAR --- */

static void count_kick(struct virtio_pci *p, unsigned int queue)
{
	const struct virtqueue *vq = &p->dev->queues[queue].vq;

	PROBE(kick, probe_string(vq->guest), probe_string(vq->owner), queue, vq);
	p->kicks_seen++;
	if (p->dev->env->kicks)
		++*p->dev->env->kicks;
}

static void kick_write(struct virtio_pci *p, uint64_t offset)
{
	uint64_t q = offset / VIRTIO_PCI_NOTIFY_STEP;

	if (offset % VIRTIO_PCI_NOTIFY_STEP || q >= p->dev->queue_count)
		return;
	count_kick(p, (unsigned int)q);
	virtio_queue_kick(&p->dev->queues[q]);
}

static uint64_t isr_read(struct virtio_pci *p, uint64_t offset)
{
	uint8_t isr = p->isr;

	if (offset)
		return 0;
	p->isr = 0;
	pci_intx_set(&p->function, false);
	return isr;
}

static uint64_t registers_read(struct virtio_pci *p, uint64_t offset, unsigned int size_bytes)
{
	uint64_t in_region = offset % VIRTIO_PCI_REGION_BYTES;

	switch (offset - in_region) {
	case VIRTIO_PCI_COMMON:
		return virtio_common_read(p, in_region, size_bytes);
	case VIRTIO_PCI_ISR:
		return isr_read(p, in_region);
	case VIRTIO_PCI_DEVICE:
		return virtio_config_read(p->dev, in_region, size_bytes);
	case VIRTIO_PCI_MSIX_TABLE:
		return msix_table_read(&p->msix, in_region, size_bytes);
	case VIRTIO_PCI_MSIX_PENDING:
		return msix_pending_read(&p->msix, in_region, size_bytes);
	default:
		return 0;
	}
}

static void registers_write(
	struct virtio_pci *p, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	uint64_t in_region = offset % VIRTIO_PCI_REGION_BYTES;

	switch (offset - in_region) {
	case VIRTIO_PCI_COMMON:
		virtio_common_write(p, in_region, size_bytes, value);
		break;
	case VIRTIO_PCI_DEVICE:
		virtio_config_write(p->dev, in_region, size_bytes, value);
		break;
	case VIRTIO_PCI_NOTIFY:
		kick_write(p, in_region);
		break;
	case VIRTIO_PCI_MSIX_TABLE:
		msix_table_write(&p->msix, in_region, size_bytes, value);
		break;
	default:
		break;
	}
}

static struct virtio_pci *pci_of_range(struct bus_range *range)
{
	return container_of(range, struct virtio_pci, function.bars[VIRTIO_PCI_BAR].range);
}

static uint64_t bar_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	return registers_read(pci_of_range(range), offset, size_bytes);
}

static void bar_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	registers_write(pci_of_range(range), offset, size_bytes, value);
}

/* --- doorbells --- */

/* Puts the ioeventfd of queue `i` where the BAR is mapped now. Only queues that are enabled get
 * one: while an operating system sizes and places BARs there are none to move, and taking one off
 * waits for a grace period in KVM. It stays when the queue is reset. A kick without ioeventfd (KVM
 * may refuse it) arrives as an exit. */
static void kick_follow(struct virtio_pci *p, unsigned int i)
{
	const struct pci_bar *bar = &p->function.bars[VIRTIO_PCI_BAR];
	struct virtio_env *env = p->dev->env;
	struct virtio_pci_kick *k = &p->kicks[i];
	uint64_t at = bar->range.start + VIRTIO_PCI_NOTIFY + i * VIRTIO_PCI_NOTIFY_STEP;

	if (bar->mapped && k->assigned == at)
		return;
	if (k->assigned)
		env->ops->ioeventfd(env->ctx, false, k->assigned, k->event.fd, NULL);
	k->assigned = 0;
	if (bar->mapped && p->dev->queues[i].vq.enabled &&
		!env->ops->ioeventfd(env->ctx, true, at, k->event.fd, NULL))
		k->assigned = at;
}

static void function_bar_moved(struct pci_function *f, unsigned int bar)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);

	(void)bar;
	for (unsigned int i = 0; i < p->dev->queue_count; i++)
		kick_follow(p, i);
}

static void kick_poll(struct virtio_pci_kick *k)
{
	k->pci->polling++;
	io_poll(k->pci->dev->env->reactor, &k->poll, &k->event, POLLIN);
}

static void stop_check(struct virtio_pci *p);

static void kick_done(struct io_op *op, int res, uint32_t cqe_flags)
{
	struct virtio_pci_kick *k = container_of(op, struct virtio_pci_kick, poll);
	struct virtio_pci *p = k->pci;
	struct virtio_env *env = p->dev->env;

	if (!(cqe_flags & IO_MORE))
		p->polling--;
	if (p->stopping) {
		stop_check(p);
		return;
	}
	if (!(cqe_flags & IO_MORE))
		kick_poll(k);
	if (res < 0)
		return;
	count_kick(p, (unsigned int)(k - p->kicks));
	if (env->ops->drain)
		env->ops->drain(env->ctx);
	virtio_queue_kick(&p->dev->queues[k - p->kicks]);
}

/* --- interrupts --- */

/* What a probe shows: the queue that wants the interrupt, NULL for the configuration. */
static const struct virtqueue *interrupt_queue(const struct virtio_pci *p, unsigned int index)
{
	return index < p->dev->queue_count ? &p->dev->queues[index].vq : NULL;
}

static void interrupt(struct virtio_pci *p, unsigned int vector_index, uint8_t isr)
{
	PROBE(irq, probe_string(p->dev->env->guest), probe_string(p->dev->name), vector_index,
		interrupt_queue(p, vector_index), p->msix.enabled);
	p->interrupts++;
	if (p->dev->env->irqs)
		++*p->dev->env->irqs;
	if (p->msix.enabled) {
		msix_raise(&p->msix, p->vectors[vector_index]);
		return;
	}
	p->isr |= isr;
	pci_intx_set(&p->function, true);
}

static struct virtio_pci *pci_of_device(struct virtio_device *dev);

static void transport_queue_interrupt(struct virtio_queue *q)
{
	interrupt(pci_of_device(q->dev), q->index, ISR_QUEUE);
}

static void transport_config_interrupt(struct virtio_device *dev)
{
	interrupt(pci_of_device(dev), dev->queue_count, ISR_CONFIG);
}

static void transport_queue_enabled(struct virtio_queue *q)
{
	kick_follow(pci_of_device(q->dev), q->index);
}

static void vectors_clear(struct virtio_pci *p)
{
	for (unsigned int i = 0; i <= p->dev->queue_count; i++)
		p->vectors[i] = MSIX_NO_VECTOR;
}

static void transport_reset_done(struct virtio_device *dev)
{
	struct virtio_pci *p = pci_of_device(dev);

	vectors_clear(p);
	p->device_feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	p->isr = 0;
	pci_intx_set(&p->function, false);
	if (p->stopping)
		stop_check(p);
}

/* --- configuration space --- */

static uint32_t config_load(const struct virtio_pci *p, unsigned int at)
{
	uint32_t value;

	memcpy(&value, p->function.config + at, 4);
	return value;
}

/* What CFG_PCI's window points at: a BAR access of 1, 2 or 4 bytes (§4.1.4.9). */
static bool window_open(const struct virtio_pci *p, uint64_t *offset, unsigned int *size_bytes)
{
	uint32_t length = config_load(p, p->cfg_cap + PCI_CFG_LENGTH);

	*offset = config_load(p, p->cfg_cap + PCI_CFG_OFFSET);
	*size_bytes = length;
	return p->function.config[p->cfg_cap + PCI_CFG_BAR] == VIRTIO_PCI_BAR &&
	       (length == 1 || length == 2 || length == 4) && *offset % length == 0 &&
	       *offset <= VIRTIO_PCI_BAR_BYTES - length;
}

static bool touches_window(const struct virtio_pci *p, unsigned int offset, unsigned int size_bytes)
{
	unsigned int data = p->cfg_cap + PCI_CFG_DATA;

	return offset < data + 4 && data < offset + size_bytes;
}

static void function_config_reading(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);
	uint64_t at;
	unsigned int size;
	uint32_t value;

	if (!touches_window(p, offset, size_bytes) || !window_open(p, &at, &size))
		return;
	value = (uint32_t)registers_read(p, at, size);
	memcpy(f->config + p->cfg_cap + PCI_CFG_DATA, &value, 4);
}

static void function_config_written(
	struct pci_function *f, unsigned int offset, unsigned int size_bytes, uint32_t value)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, function);
	uint8_t control = f->config[p->msix_cap + 3];
	uint64_t at;
	unsigned int size;

	(void)value;
	msix_control(&p->msix, control & MSIX_CONTROL_ENABLE, control & MSIX_CONTROL_MASK);
	/* The line is MSI-X's or the ISR's. */
	pci_intx_set(f, !p->msix.enabled && p->isr);
	if (!touches_window(p, offset, size_bytes) || !window_open(p, &at, &size))
		return;
	registers_write(p, at, size,
		config_load(p, p->cfg_cap + PCI_CFG_DATA) & (uint32_t)((1ULL << 8 * size) - 1));
}

static const struct pci_function_ops function_ops = {
	.config_written = function_config_written,
	.config_reading = function_config_reading,
	.bar_moved = function_bar_moved,
};

static const struct virtio_transport_ops transport_ops = {
	.queue_interrupt = transport_queue_interrupt,
	.config_interrupt = transport_config_interrupt,
	.queue_enabled = transport_queue_enabled,
	.reset_done = transport_reset_done,
};

static struct virtio_pci *pci_of_device(struct virtio_device *dev)
{
	CHECK(dev->transport == &transport_ops);
	return dev->transport_ctx;
}

/* --- capabilities --- */

static void cap_add(struct virtio_pci *p, uint8_t type, uint32_t offset, uint32_t length)
{
	const struct cap cap = {.len = sizeof(cap),
		.type = type,
		.bar = VIRTIO_PCI_BAR,
		.offset = offset,
		.length = length};

	pci_cap_add(&p->function, CAP_VENDOR, &cap, sizeof(cap));
}

static void cap_add_notify(struct virtio_pci *p)
{
	const struct {
		struct cap cap;
		uint32_t step;
	} notify = {
		.cap = {.len = sizeof(notify),
			.type = CFG_NOTIFY,
			.bar = VIRTIO_PCI_BAR,
			.offset = VIRTIO_PCI_NOTIFY,
			.length = p->dev->queue_count * VIRTIO_PCI_NOTIFY_STEP},
		.step = VIRTIO_PCI_NOTIFY_STEP,
	};

	pci_cap_add(&p->function, CAP_VENDOR, &notify, sizeof(notify));
}

static void cap_add_window(struct virtio_pci *p)
{
	const uint8_t cap[PCI_CFG_BYTES] = {[2] = PCI_CFG_BYTES, [3] = CFG_PCI};
	uint8_t *mask = p->function.write_mask;

	p->cfg_cap = pci_cap_add(&p->function, CAP_VENDOR, cap, sizeof(cap));
	mask[p->cfg_cap + PCI_CFG_BAR] = 0xff;
	memset(mask + p->cfg_cap + PCI_CFG_OFFSET, 0xff, PCI_CFG_BYTES - PCI_CFG_OFFSET);
}

static void cap_add_msix(struct virtio_pci *p)
{
	const struct {
		uint8_t id, next;
		uint16_t control;
		uint32_t table, pending;
	} cap = {
		.control = (uint16_t)(p->msix.count - 1),
		.table = VIRTIO_PCI_MSIX_TABLE | VIRTIO_PCI_BAR,
		.pending = VIRTIO_PCI_MSIX_PENDING | VIRTIO_PCI_BAR,
	};

	p->msix_cap = pci_cap_add(&p->function, CAP_MSIX, &cap, sizeof(cap));
	p->function.write_mask[p->msix_cap + 3] = MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK;
}

static void function_init(struct virtio_pci *p, const struct virtio_pci_params *params)
{
	const struct pci_ids ids = {.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)VIRTIO_PCI_DEVICE_ID(params->type),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = 0x1100,
		.class_code = params->class_code,
		.revision = 1};
	struct bus_range *range = &p->function.bars[VIRTIO_PCI_BAR].range;

	pci_function_init(&p->function, &function_ops, &ids);
	range->read = bar_read;
	range->write = bar_write;
	range->name = p->dev->name;
	pci_bar_set(&p->function, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_BYTES, false);
	cap_add(p, CFG_COMMON, VIRTIO_PCI_COMMON, VIRTIO_PCI_COMMON_BYTES);
	cap_add(p, CFG_ISR, VIRTIO_PCI_ISR, 1);
	if (p->dev->config_bytes)
		cap_add(p, CFG_DEVICE, VIRTIO_PCI_DEVICE, p->dev->config_bytes);
	cap_add_notify(p);
	cap_add_window(p);
	cap_add_msix(p);
}

/* --- life --- */

static int kicks_init(struct virtio_pci *p, struct diag *d)
{
	unsigned int count = p->dev->queue_count;

	p->kicks = calloc(count, sizeof(*p->kicks));
	p->vectors = calloc(count + 1, sizeof(*p->vectors));
	if (!p->kicks || !p->vectors)
		return diag_fail(d, -ENOMEM, "no memory for %u doorbells", count);
	vectors_clear(p);
	for (unsigned int i = 0; i < count; i++)
		p->kicks[i] = (struct virtio_pci_kick){
			.pci = p, .event = IO_FILE_NONE, .poll = {.done = kick_done}};
	for (unsigned int i = 0; i < count; i++) {
		p->kicks[i].event.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (p->kicks[i].event.fd < 0)
			return diag_errno(d, -errno, "an eventfd for a doorbell");
	}
	return 0;
}

int virtio_pci_init(struct virtio_pci *p, struct virtio_device *dev,
	const struct virtio_pci_params *params, struct diag *d)
{
	int err;

	CHECK(dev->config_bytes <= VIRTIO_PCI_REGION_BYTES);
	memset(p, 0, sizeof(*p));
	p->dev = dev;
	dev->transport = &transport_ops;
	dev->transport_ctx = p;
	err = kicks_init(p, d);
	if (!err)
		err = msix_init(&p->msix, dev->env, dev->queue_count + 1, d);
	if (!err) {
		function_init(p, params);
		err = pci_add(dev->env->pci, &p->function, d);
	}
	if (err)
		virtio_pci_finish(p);
	return err;
}

void virtio_pci_finish(struct virtio_pci *p)
{
	if (!p->dev)
		return;
	CHECK(!p->polling);
	if (p->function.bus)
		pci_remove(p->dev->env->pci, &p->function);
	msix_finish(&p->msix);
	for (unsigned int i = 0; p->kicks && i < p->dev->queue_count; i++) {
		if (p->kicks[i].event.fd >= 0)
			close(p->kicks[i].event.fd);
	}
	free(p->kicks);
	free(p->vectors);
	memset(p, 0, sizeof(*p));
}

void virtio_pci_attach(struct virtio_pci *p)
{
	struct reactor *r = p->dev->env->reactor;

	CHECK(reactor_is_current(r) && !p->attached);
	p->attached = true;
	for (unsigned int i = 0; i < p->dev->queue_count; i++)
		kick_poll(&p->kicks[i]);
}

static void msix_stopped(struct msix *m)
{
	stop_check(container_of(m, struct virtio_pci, msix));
}

static void stop_check(struct virtio_pci *p)
{
	void (*stopped)(struct virtio_pci *) = p->stopped;

	if (p->polling || p->dev->resetting || p->msix.barrier.in_flight || !p->msix.stopping ||
		!stopped)
		return;
	p->stopped = NULL;
	stopped(p);
}

void virtio_pci_stop(struct virtio_pci *p, void (*stopped)(struct virtio_pci *p))
{
	CHECK(!p->stopping);
	p->stopping = true;
	for (unsigned int i = 0; i < p->dev->queue_count; i++) {
		if (p->kicks[i].poll.in_flight)
			io_cancel(p->dev->env->reactor, &p->kicks[i].poll);
	}
	virtio_device_reset(p->dev);
	p->stopped = stopped;
	msix_stop(&p->msix, msix_stopped);
}

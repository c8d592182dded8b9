/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device that measures doorbells and interrupts. */
#include "perf/stamps_device.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/check.h"

#define VIRTIO_ID_RNG   4 /* the guest looks for that */
#define CLASS_OTHER     0x00ff00
#define QUEUE_SIZE      16
#define PLAUSIBLE_TICKS (1ULL << 34) /* some seconds */

/* What the guest says, as tests/guest/cmd_stamps.c has it. */
struct said {
	uint64_t kicked, seen;
};

static struct stamps_device *device_of(struct device *dev)
{
	return container_of(virtio_function_of(dev), struct stamps_device, function);
}

/* --- the guest's clock --- */

/* Before the vCPU runs: while it does, KVM answers nothing. */
static enum guest_error stamps_start(struct device *dev, struct diag *d)
{
	struct stamps_device *s = device_of(dev);
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&s->kvm_offset};

	(void)d;
	ioctl(dev->machine->vcpus[0].fd, KVM_GET_DEVICE_ATTR, &attr); /* else it stays 0 */
	return GUEST_OK;
}

/* Where there is no hardware virtualization the guest reads the counter itself, in spite of what
 * KVM says of it. */
static void clock_compare(struct stamps_device *s, uint64_t now, uint64_t kicked)
{
	s->guest_offset = s->kvm_offset;
	if (now + (uint64_t)s->guest_offset - kicked > PLAUSIBLE_TICKS)
		s->guest_offset = 0;
}

/* --- chains --- */

static void chain_count(struct stamps_device *s, uint64_t now, const struct said *said)
{
	uint64_t kicked = said->kicked - (uint64_t)s->guest_offset;
	uint64_t seen = said->seen - (uint64_t)s->guest_offset;

	if (!s->has_last || s->count == STAMPS_MAX || now - kicked > PLAUSIBLE_TICKS ||
		seen - s->last_pushed > PLAUSIBLE_TICKS)
		return;
	s->kick[s->count] = now - kicked;
	s->push[s->count] = seen - s->last_pushed;
	__atomic_store_n(&s->count, s->count + 1, __ATOMIC_RELEASE);
}

static void interrupt_now(struct stamps_device *s, struct virtio_queue *q)
{
	static const uint64_t one = 1;
	struct virtio_pci *p = &s->function.pci;

	if (vq_publish(&q->vq) && p->vectors[q->index] < p->msix.count)
		CHECK(write(p->msix.vectors[p->vectors[q->index]].event.fd, &one, sizeof(one)) ==
			sizeof(one));
}

static void chain_give_back(struct stamps_device *s, struct virtio_queue *q)
{
	s->has_last = s->open;
	s->last_pushed = stamps_clock();
	vq_push(&q->vq, &s->chain, 0);
	if (s->bare)
		interrupt_now(s, q);
	else
		virtio_queue_flush(q);
}

static enum virtio_serve stamps_serve(struct virtio_queue *q)
{
	struct stamps_device *s = container_of(q->dev, struct stamps_device, dev);

	if (s->held)
		return VIRTIO_SERVE_BLOCKED;
	while (vq_pop(&q->vq, &s->chain)) {
		uint64_t now = stamps_clock();
		struct said said = {0};

		chain_read(&s->chain, 0, &said, sizeof(said));
		if (!s->open) {
			clock_compare(s, now, said.kicked);
			s->held = true;
			return VIRTIO_SERVE_BLOCKED;
		}
		chain_count(s, now, &said);
		chain_give_back(s, q);
	}
	return VIRTIO_SERVE_IDLE;
}

void stamps_open(struct stamps_device *s)
{
	s->open = true;
	s->has_last = false;
	__atomic_store_n(&s->count, 0, __ATOMIC_RELAXED);
	if (!s->held)
		return;
	s->held = s->open = false; /* the guest has slept over this one: it does not count */
	chain_give_back(s, &s->dev.queues[0]);
	s->open = true;
	virtio_queue_wake(&s->dev.queues[0]);
}

void stamps_close(struct stamps_device *s)
{
	s->open = false;
}

/* --- the class --- */

static void stamps_reset(struct virtio_device *dev)
{
	container_of(dev, struct stamps_device, dev)->held = false;
	virtio_reset_done(dev);
}

static const struct virtio_device_ops stamps_ops = {.serve = stamps_serve, .reset = stamps_reset};

static unsigned int stamps_wanted(const struct guest_config *c)
{
	return c->rng;
}

static void stamps_destroy(struct device *dev)
{
	struct stamps_device *s = device_of(dev);

	virtio_function_finish(&s->function);
	virtio_device_finish(&s->dev);
	free(s);
}

static enum guest_error stamps_create(struct device **dev, struct machine *m,
	struct guest_config *c, unsigned int index, struct diag *d)
{
	static const struct virtio_pci_params params = {
		.type = VIRTIO_ID_RNG, .class_code = CLASS_OTHER};
	static const uint16_t sizes[] = {QUEUE_SIZE};
	struct stamps_device *s = calloc(1, sizeof(*s));
	enum guest_error err = GUEST_DEVICE_INITIALIZATION_FAILURE;

	(void)c;
	(void)index;
	if (!s) {
		diag_fail(d, -ENOMEM, "out of memory for a device");
		return err;
	}
	s->chain = (struct vq_chain){.iov = s->iov, .iov_max = ARRAY_SIZE(s->iov)};
	virtio_function_init(&s->function, m);
	if (!virtio_device_init(&s->dev, &stamps_ops, &s->function.env, "stamps", 0, 1, sizes, d))
		err = virtio_function_add(&s->function, &s->dev, &params, d);
	if (err)
		stamps_destroy(&s->function.base);
	else
		*dev = &s->function.base;
	return err;
}

const struct device_class stamps_class = {
	.name = "stamps",
	.config_bit = CONFIG_BIT(CONFIG_RNG),
	.wanted = stamps_wanted,
	.create = stamps_create,
	.attach = virtio_function_attach,
	.start = stamps_start,
	.stop = virtio_function_stop,
	.memory_changed = virtio_function_memory_changed,
	.queue_depth = virtio_function_queue_depth,
	.destroy = stamps_destroy,
};

struct stamps_device *stamps_of(struct machine *m)
{
	struct device *dev = machine_find(m, &stamps_class);

	return dev ? device_of(dev) : NULL;
}

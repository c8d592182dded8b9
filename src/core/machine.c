/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's life: built, attached, started, stopped, destroyed. */
#include "core/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/acpi.h"
#include "core/check.h"

#define KERNEL_FILE_MAX (1ULL << 30)

/* --- building: helper thread
 * --------------------------------------------------------------------------- */

static enum guest_error build_vm(struct machine *m, const struct machine_params *p, struct diag *d)
{
	const struct guest_config *c = p->config;
	struct gmem_params mem = {
		.ram_bytes = c->guest_memory,
		.name = m->name,
		.huge_pages = p->huge_pages,
	};

	if (c->mem) {
		mem.hotplug_bytes = c->mem_region_size;
		mem.hotplug_block = c->mem_block_size;
		mem.hotplug_align = c->mem_region_alignment;
	}
	if (gmem_init(&m->mem, &mem, d) || vm_create(&m->vm, p->host, d) ||
		vm_map_gmem(&m->vm, &m->mem, d))
		return GUEST_INITIALIZATION_FAILURE;
	m->memory_bytes = c->guest_memory;
	m->vcpus = calloc(c->cpus, sizeof(*m->vcpus));
	if (!m->vcpus) {
		diag_fail(d, -ENOMEM, "out of memory for %u vCPUs", c->cpus);
		return GUEST_INITIALIZATION_FAILURE;
	}
	for (; m->cpus < c->cpus; m->cpus++)
		if (vcpu_create(&m->vcpus[m->cpus], &m->vm, &m->mem, m->cpus, c->cpus, d))
			return GUEST_INITIALIZATION_FAILURE;
	m->wakeup_mailbox = m->cpus > 1 && !vm_host_init_sipi(p->host);
	return machine_io_init(m, d);
}

static enum guest_error build_devices(
	struct machine *m, const struct machine_params *p, struct diag *d)
{
	for (unsigned int i = 0; p->classes && p->classes[i]; i++) {
		const struct device_class *class = p->classes[i];

		for (unsigned int n = class->wanted(p->config), k = 0; k < n; k++) {
			struct device *dev = NULL;
			enum guest_error err = class->create(&dev, m, p->config, k, d);

			if (err)
				return err;
			dev->class = class;
			dev->machine = m;
			list_add_tail(&m->devices, &dev->link);
		}
	}
	return GUEST_OK;
}

/* The bus keeps devices off each other; memory is not on the bus. */
static enum guest_error check_overlap(const struct machine *m, struct diag *d)
{
	const struct bus_map *map = &m->bus.maps[BUS_MMIO];

	for (unsigned int i = 0; i < map->count; i++)
		for (unsigned int k = 0; k < m->mem.count; k++) {
			const struct bus_range *range = map->ranges[i];
			const struct gmem_region *mem = &m->mem.regions[k];

			if (range->start >= mem->start.v + mem->size_bytes ||
				mem->start.v >= range->start + range->len_bytes)
				continue;
			diag_fail(d, -EEXIST,
				"%s at 0x%llx..0x%llx overlaps guest memory at 0x%llx..0x%llx",
				range->name, (unsigned long long)range->start,
				(unsigned long long)(range->start + range->len_bytes - 1),
				(unsigned long long)mem->start.v,
				(unsigned long long)(mem->start.v + mem->size_bytes - 1));
			return GUEST_DEVICE_MEMORY_OVERLAP;
		}
	return GUEST_OK;
}

/* Last, so that who finds a name finds a machine behind it. */
static enum guest_error publish_devices(
	struct machine *m, const struct guest_config *c, struct diag *d)
{
	enum guest_error err = GUEST_OK;

	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (!err && dev->class->publish)
			err = dev->class->publish(dev, c, d);
	}
	return err;
}

static int load_files(struct machine *m, const struct machine_params *p, struct blob *kernel,
	struct blob *initrd, char *cmdline, struct diag *d)
{
	const struct guest_config *c = p->config;
	struct loader_params load = {.cpus = m->cpus, .cmdline = cmdline, .kernel = kernel};
	int err;

	if (c->kernel_type == KERNEL_BUILTIN) {
		load.kernel = p->builtin;
	} else {
		err = blob_open(kernel, c->kernel.path, c->kernel.fd, KERNEL_FILE_MAX, d);
		if (err)
			return diag_prefix(d, err, "kernel");
	}
	if (c->ramdisk.path || c->ramdisk.fd >= 0) {
		/* It is read as a whole: no more than could be of use. */
		err = blob_open(initrd, c->ramdisk.path, c->ramdisk.fd, m->memory_bytes, d);
		if (err)
			return diag_prefix(d, err, "%s",
				err == -EFBIG ? "initrd, for the guest's memory" : "initrd");
		load.initrd = initrd;
	}
	err = acpi_build(&m->mem,
		&(struct acpi_params){.cpus = m->cpus, .wakeup_mailbox = m->wakeup_mailbox},
		&load.rsdp, d);
	return err ? err : loader_load(&m->mem, &load, &m->boot, d);
}

static enum guest_error build_kernel(
	struct machine *m, const struct machine_params *p, struct diag *d)
{
	struct blob kernel = {0}, initrd = {0};
	char *cmdline = config_cmdline(p->config);
	int err;

	if (!cmdline) {
		diag_fail(d, -ENOMEM, "out of memory for the command line");
		return GUEST_KERNEL_LOAD_FAILURE;
	}
	err = load_files(m, p, &kernel, &initrd, cmdline, d);
	free(cmdline);
	blob_finish(&kernel);
	blob_finish(&initrd);
	if (!err)
		err = vcpu_set_boot(&m->vcpus[0], &m->boot, d);
	return err ? GUEST_KERNEL_LOAD_FAILURE : GUEST_OK;
}

enum guest_error machine_build(struct machine **out, const struct machine_params *p, struct diag *d)
{
	struct machine *m = calloc(1, sizeof(*m));
	enum guest_error err;

	*out = NULL;
	if (!m) {
		diag_fail(d, -ENOMEM, "out of memory for a machine");
		return GUEST_INITIALIZATION_FAILURE;
	}
	list_init(&m->devices);
	m->mem.memfd = -1;
	m->vm.fd = -1;
	m->neighbours = p->neighbours;
	strncpy(m->name, p->name, sizeof(m->name) - 1);
	err = build_vm(m, p, d);
	if (!err)
		err = build_devices(m, p, d);
	if (!err)
		err = check_overlap(m, d);
	if (!err)
		err = build_kernel(m, p, d);
	if (!err)
		err = publish_devices(m, p->config, d);
	if (err)
		machine_destroy(m);
	else
		*out = m;
	return err;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	CHECK(m->live == 0 && m->devices_live == 0);
	list_for_each_safe (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		list_del(&dev->link);
		dev->class->destroy(dev);
	}
	/* The first vCPU's mapping holds the VM's coalesced ring: it goes last. */
	for (unsigned int i = m->cpus; i-- > 0;)
		vcpu_finish(&m->vcpus[i]);
	free(m->vcpus);
	if (m->pci.bus)
		pci_finish(&m->pci);
	bus_finish(&m->bus);
	vm_destroy(&m->vm);
	gmem_finish(&m->mem);
	free(m);
}

/* --- running: home reactor
 * ------------------------------------------------------------------------------ */

void machine_attach(struct machine *m, struct reactor *home)
{
	m->home = home;
	machine_io_attach(m);
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->attach)
			dev->class->attach(dev);
	}
}

void machine_came_to_end(struct machine *m, enum machine_end end)
{
	if (m->end != MACHINE_RUNNING)
		return; /* the first result wins */
	m->end = end;
	if (!m->stopping && m->ended)
		m->ended(m);
}

static void machine_stop_devices(struct machine *m);

static void machine_vcpu_ended(struct vcpu *v)
{
	struct machine *m = v->owner;

	vcpu_join(v);
	mailbox_drain(&v->box);
	m->live--;
	if (m->stopping) {
		if (m->live == 0)
			machine_stop_devices(m);
		return;
	}
	if (v->end == VCPU_FAILED && m->end == MACHINE_RUNNING)
		m->diag = v->diag;
	if (v->end == VCPU_FAILED)
		machine_came_to_end(m, MACHINE_VCPU_FAILED);
	else if (v->end == VCPU_TRIPLE_FAULT)
		machine_came_to_end(m, MACHINE_REBOOT);
}

static int machine_start_vcpu(struct machine *m, struct vcpu *v, struct diag *d)
{
	int err;

	v->owner = m;
	v->ended = machine_vcpu_ended;
	err = vcpu_start(v, m->home, d);
	if (!err)
		m->live++;
	return err;
}

int machine_wake_ap(struct machine *m, uint32_t apic_id, gpa_t vector)
{
	struct vcpu *v;
	int err;

	if (!m->wakeup_mailbox || apic_id == 0 || apic_id >= m->cpus || m->stopping ||
		m->vcpus[apic_id].started || m->vcpus[apic_id].end != VCPU_RUNNING) {
		m->unexpected_wakeups++;
		return -EINVAL;
	}
	v = &m->vcpus[apic_id];
	err = vcpu_set_wakeup(v, vector, &m->diag);
	if (!err)
		err = machine_start_vcpu(m, v, &m->diag);
	if (err)
		machine_came_to_end(m, MACHINE_VCPU_FAILED);
	return err;
}

enum guest_error machine_start(struct machine *m, struct diag *d)
{
	unsigned int now = m->wakeup_mailbox ? 1 : m->cpus;

	CHECK(!m->started);
	m->started = true;
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);
		enum guest_error err = dev->class->start ? dev->class->start(dev, d) : GUEST_OK;

		if (err)
			return err;
	}
	for (unsigned int i = 0; i < now; i++)
		if (machine_start_vcpu(m, &m->vcpus[i], d))
			return GUEST_VCPU_START_FAILURE;
	return GUEST_OK;
}

static void machine_serial_closed(struct stream *s)
{
	struct machine *m = container_of(s, struct machine, serial);

	m->stopped(m);
}

void device_stopped(struct device *dev)
{
	struct machine *m = dev->machine;

	CHECK(m->devices_live > 0);
	if (--m->devices_live == 0)
		stream_close(&m->serial, machine_serial_closed);
}

static void machine_stop_devices(struct machine *m)
{
	/* One for this function itself, so that devices that stop at once do not end it early. */
	struct device own = {.machine = m};

	machine_io_stop(m);
	m->devices_live = 1;
	list_for_each (l, &m->devices)
		m->devices_live++;
	list_for_each_safe (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		dev->class->stop(dev);
	}
	device_stopped(&own);
}

void machine_stop(struct machine *m, void (*stopped)(struct machine *m))
{
	CHECK(!m->stopping && m->home);
	m->stopping = true;
	m->stopped = stopped;
	if (m->end == MACHINE_RUNNING)
		m->end = MACHINE_FORCED;
	for (unsigned int i = 0; i < m->cpus; i++)
		vcpu_stop(&m->vcpus[i]);
	if (m->live == 0)
		machine_stop_devices(m);
}

uint64_t machine_exits(const struct machine *m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < m->cpus; i++)
		sum += __atomic_load_n(&m->vcpus[i].stats.total, __ATOMIC_RELAXED);
	return sum;
}

struct device *machine_find(struct machine *m, const struct device_class *class)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class == class)
			return dev;
	}
	return NULL;
}

struct device *machine_console(struct machine *m)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->console)
			return dev;
	}
	return NULL;
}

struct device *machine_vsock(struct machine *m)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->vsock)
			return dev;
	}
	return NULL;
}

struct device *machine_balloon(struct machine *m)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->balloon)
			return dev;
	}
	return NULL;
}

struct device *machine_mem(struct machine *m)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->mem)
			return dev;
	}
	return NULL;
}

void machine_memory_changed(struct machine *m)
{
	list_for_each (l, &m->devices) {
		struct device *dev = list_entry(l, struct device, link);

		if (dev->class->memory_changed)
			dev->class->memory_changed(dev);
	}
}

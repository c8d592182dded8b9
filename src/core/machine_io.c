/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's accesses on the home reactor: mailboxes to buses, and the devices that every machine
 * has. */
#include "core/machine.h"

#include <string.h>

#include "core/check.h"

#define COALESCE_AFTER   16 /* bytes in one tick, each an exit: keep them in the kernel */
#define COALESCE_TICK_NS 4000000ULL
#define COALESCE_QUIET   4 /* ticks without output: back to exits */

/* --- serial output kept in the kernel
 * ---------------------------------------------------------------------- */

/* While a guest writes to its serial port by polling, KVM keeps the writes in its ring and the vCPU
 * does not exit for them. They are taken before any later exit is handled (by its mark), and by a
 * timer. */
static void coalesced_take(struct machine *m, uint64_t mark)
{
	struct vm_coalesced w;

	while (vm_coalesced_pop(&m->vm, mark, &w)) {
		m->quiet_ticks = 0;
		bus_write(&m->bus, BUS_PIO, w.addr, w.size_bytes, w.data);
	}
}

static void coalesce_set(struct machine *m, bool on)
{
	if (on == m->vm.coalescing)
		return;
	if (vm_coalesce(&m->vm, on, LAYOUT_PORT_UART, 1))
		return;
	m->quiet_ticks = 0;
	/* What is left in the ring may lie behind exits that wait in a mailbox: the tick takes them
	 * in their order. */
	if (!on)
		reactor_timer_start(m->home, &m->coalesce_timer, 0);
}

static void coalesce_tick(struct reactor_timer *t)
{
	struct machine *m = container_of(t, struct machine, coalesce_timer);
	uint64_t mark = vm_coalesced_mark(&m->vm);

	/* The mark first: what a mailbox brings was posted after what lies before the mark, or
	 * brings its own. */
	machine_drain(m);
	coalesced_take(m, mark);
	m->burst = 0;
	if (!m->vm.coalescing)
		return;
	if (++m->quiet_ticks > COALESCE_QUIET)
		coalesce_set(m, false);
	else
		reactor_timer_start(m->home, &m->coalesce_timer, COALESCE_TICK_NS);
}

static void coalesce_count(struct machine *m)
{
	if (m->stopping || m->vm.coalescing)
		return;
	if (!reactor_timer_armed(&m->coalesce_timer))
		reactor_timer_start(m->home, &m->coalesce_timer, COALESCE_TICK_NS);
	if (++m->burst >= COALESCE_AFTER && !uart_wants_thre(&m->uart))
		coalesce_set(m, true);
}

/* --- accesses
 * ------------------------------------------------------------------------------------------------
 */

void machine_access(void *ctx, struct mailbox_exit *e)
{
	struct machine *m = ctx;

	coalesced_take(m, e->mark);
	if (!e->is_write) {
		e->data = bus_read(&m->bus, e->kind, e->addr, e->size_bytes);
		return;
	}
	bus_write(&m->bus, e->kind, e->addr, e->size_bytes, e->data);
	if (e->kind != BUS_PIO)
		return;
	if (e->addr == LAYOUT_PORT_UART)
		coalesce_count(m);
	else if (e->addr == LAYOUT_PORT_UART + 1 && uart_wants_thre(&m->uart))
		coalesce_set(m, false); /* it waits for the interrupt that its write brings */
}

void machine_drain(struct machine *m)
{
	for (unsigned int i = 0; i < m->cpus; i++)
		if (m->vcpus[i].started)
			mailbox_drain(&m->vcpus[i].box);
}

/* --- serial port
 * ------------------------------------------------------------------------------------------------
 */

static void serial_irq(void *ctx, bool level)
{
	struct machine *m = ctx;

	vm_irq_line(&m->vm, LAYOUT_GSI_UART, level);
}

static void serial_output(void *ctx, uint8_t byte)
{
	struct machine *m = ctx;

	stream_write(&m->serial, &byte, 1);
}

static void serial_input_ready(void *ctx)
{
	struct machine *m = ctx;

	stream_input_ready(&m->serial);
}

static uint32_t serial_input(void *ctx, const uint8_t *data, uint32_t len_bytes)
{
	struct machine *m = ctx;
	uint32_t taken = 0;

	while (taken < len_bytes && uart_input(&m->uart, data[taken]))
		taken++;
	return taken;
}

/* --- power
 * ----------------------------------------------------------------------------------------------------------
 */

static void power_ended(void *ctx, enum power_event event)
{
	machine_came_to_end(ctx, event == POWER_OFF ? MACHINE_POWER_OFF : MACHINE_REBOOT);
}

static void power_pulse(void *ctx)
{
	struct machine *m = ctx;

	vm_irq_pulse(&m->vm, LAYOUT_GSI_EVENT);
}

static void pci_line(void *ctx, unsigned int gsi, bool level)
{
	struct machine *m = ctx;

	vm_irq_line(&m->vm, gsi, level);
}

static void pci_reset(void *ctx)
{
	machine_came_to_end(ctx, MACHINE_REBOOT);
}

/* --- the multiprocessor wakeup mailbox: ACPI 6.4 §5.2.12.19
 * ---------------------------------------------------------- */

/* It lies where there is no memory, so that the write of the command comes here and the AP, until
 * then no more than a few registers in KVM, starts right at its vector: no stub in guest memory,
 * nothing that polls. The command always reads 0: acknowledged. */
enum { WAKEUP_COMMAND = 0, WAKEUP_APIC_ID = 4, WAKEUP_VECTOR = 8 };

static uint64_t wakeup_read(struct bus_range *range, uint64_t offset, unsigned int size_bytes)
{
	struct machine *m = container_of(range, struct machine, wakeup);
	uint64_t value = 0;

	if (offset + size_bytes <= sizeof(m->wakeup_bytes))
		memcpy(&value, m->wakeup_bytes + offset, size_bytes);
	return value;
}

static void wakeup_write(
	struct bus_range *range, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct machine *m = container_of(range, struct machine, wakeup);
	uint16_t command;
	uint32_t apic_id;
	uint64_t vector;

	if (offset + size_bytes > sizeof(m->wakeup_bytes))
		return;
	memcpy(m->wakeup_bytes + offset, &value, size_bytes);
	memcpy(&command, m->wakeup_bytes + WAKEUP_COMMAND, sizeof(command));
	if (command != 1)
		return;
	memcpy(&apic_id, m->wakeup_bytes + WAKEUP_APIC_ID, sizeof(apic_id));
	memcpy(&vector, m->wakeup_bytes + WAKEUP_VECTOR, sizeof(vector));
	memset(m->wakeup_bytes + WAKEUP_COMMAND, 0, sizeof(command));
	machine_wake_ap(m, apic_id, GPA(vector));
}

/* --- all of it
 * ----------------------------------------------------------------------------------------------------------
 */

enum guest_error machine_io_init(struct machine *m, struct diag *d)
{
	bus_init(&m->bus);
	m->uart.set_irq = serial_irq;
	m->uart.output = serial_output;
	m->uart.input_ready = serial_input_ready;
	m->uart.ctx = m;
	uart_init(&m->uart, LAYOUT_PORT_UART);
	m->power.ended = power_ended;
	m->power.pulse_irq = power_pulse;
	m->power.ctx = m;
	m->wakeup = (struct bus_range){
		.start = LAYOUT_WAKEUP_MAILBOX,
		.len_bytes = GMEM_PAGE,
		.read = wakeup_read,
		.write = wakeup_write,
		.name = "multiprocessor wakeup mailbox",
	};
	if (bus_add(&m->bus, BUS_PIO, &m->uart.range, d) || power_init(&m->power, &m->bus, d) ||
		pci_init(&m->pci, &m->bus, d) ||
		(m->wakeup_mailbox && bus_add(&m->bus, BUS_MMIO, &m->wakeup, d)))
		return GUEST_INITIALIZATION_FAILURE;
	m->pci.reset = pci_reset;
	m->pci.reset_ctx = m;
	m->pci.irq = pci_line;
	m->pci.irq_ctx = m;
	return GUEST_OK;
}

void machine_io_attach(struct machine *m)
{
	stream_init(&m->serial, m->home, serial_input, m);
	reactor_timer_init(&m->coalesce_timer, coalesce_tick);
	for (unsigned int i = 0; i < m->cpus; i++) {
		struct vcpu *v = &m->vcpus[i];

		mailbox_init(&v->box, m->home, machine_access, m);
		v->guest = v->box.guest = m->name;
		v->box.vcpu = v->id;
	}
}

void machine_io_stop(struct machine *m)
{
	reactor_timer_stop(m->home, &m->coalesce_timer);
	coalesced_take(m, vm_coalesced_mark(&m->vm));
}

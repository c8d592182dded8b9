/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC (xAPIC, at its architectural address) and I/O APIC. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Masks the legacy interrupt controllers and enables CPU 0's local APIC. */
void apic_init(void);

/* Enables the calling CPU's local APIC, its local interrupt lines masked. */
void lapic_enable(void);

/* The calling CPU's APIC ID. */
uint32_t lapic_id(void);

/* Sends the interrupt `vector` to the CPU with this APIC ID. */
void lapic_send(uint32_t apic_id, uint8_t vector);

/* INIT, then a start-up IPI that runs the page-aligned real-mode code at `address` below 1 MiB. */
void lapic_send_init(uint32_t apic_id);
void lapic_send_startup(uint32_t apic_id, uint32_t address);

/* Ticks that the local APIC's timer takes in the time that the TSC takes `tsc_ticks`. */
uint32_t lapic_timer_measure(uint64_t tsc_ticks);

/* Raises `vector` on the calling CPU each time so many ticks of its timer have passed. */
void lapic_timer_start(unsigned vector, uint32_t ticks);
void lapic_timer_stop(void);

/* MSI address and data that raise `vector` on a CPU, edge-triggered (for virtio's MSI-X tables). */
uint64_t msi_address(uint32_t apic_id);
uint32_t msi_data(uint8_t vector);

/* Routes an ISA interrupt, or a GSI that is edge-triggered and active high, to `vector` on CPU 0.
 */
void ioapic_route_isa(unsigned irq, unsigned vector);
void ioapic_route_edge(unsigned gsi, unsigned vector);

/* Stops the GSI from raising interrupts. */
void ioapic_mask(unsigned gsi);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, selectors and limits shared by C and assembly.
 *
 *   0            first MiB: the loader's data and ACPI tables; never allocated
 *   0x8000         real-mode start of the other CPUs
 *   0x10_0000    the image: vectors, code, data (GDT, IDT, page tables, TSS), stacks
 *   image_end    free pages (page_alloc)
 *   0xc000_0000  devices, uncached: BARs, ECAM, I/O APIC, mailbox, local APIC
 *   4 GiB        more RAM, mapped at start; BARs up there are mapped by paging_map
 *   LAPIC_ALIAS  3 GiB to 4 GiB once more
 *
 * Virtual addresses are physical ones, and all of them are open to ring 3.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

/* Also in guest.ld; the interrupt vectors are the first thing there. */
#define IMAGE_BASE 0x100000

/* A page below 1 MiB for the real-mode start of the other CPUs. */
#define TRAMPOLINE 0x8000

#define CPU_MAX 64

/* Where every local APIC is after reset, and its second mapping (see entry.S). */
#define LAPIC_BASE  0xfee00000
#define LAPIC_ALIAS 0xfffffffffee00000

#define SEL_CODE32    0x08
#define SEL_CODE64    0x10
#define SEL_DATA      0x18
#define SEL_USER_DATA 0x2b
#define SEL_USER_CODE 0x33
#define SEL_TSS       0x40

/* A task state segment, and behind it the I/O permission bitmap with its closing byte. */
#define TSS_RSP0       4
#define TSS_BITMAP_REF 102
#define TSS_BITMAP     104
#define TSS_SIZE       (TSS_BITMAP + 0x10000 / 8 + 1)

#define VECTOR_SIZE 32

#define VECTOR_DEVICE_FIRST 0x20
#define VECTOR_DEVICE_LAST  0xef
#define VECTOR_WAKE         0xf0
#define VECTOR_SPURIOUS     0xff

#endif

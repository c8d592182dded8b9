/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's map: every fixed guest-physical address, port and interrupt line, in one place. */
#ifndef CORE_LAYOUT_H
#define CORE_LAYOUT_H

/* Low memory, in the order of the addresses. [LOW_RESERVED, 1 MiB) is reserved in the memory map.
 */
#define LAYOUT_PVH_START_INFO 0x6000ULL
#define LAYOUT_ZERO_PAGE      0x7000ULL /* Linux boot_params */
#define LAYOUT_BOOT_STACK     0x8ff0ULL
#define LAYOUT_CMDLINE        0x20000ULL /* at most 2048 bytes, NUL included */
#define LAYOUT_LOW_RESERVED   0x90000ULL
#define LAYOUT_BOOT_GDT       0x90000ULL /* survives boot: AP wake-up uses the next two as well */
#define LAYOUT_BOOT_PAGE_TABLES                                                                    \
	0x91000ULL /* PML4, PDPT, 4 PDs: 4 GiB identity-mapped by 2 MiB pages */
#define LAYOUT_BOOT_PAGE_TABLES_END 0x97000ULL
#define LAYOUT_ACPI                 0xe0000ULL /* RSDP and tables, up to 1 MiB */
#define LAYOUT_ACPI_END             0x100000ULL
#define LAYOUT_KERNEL_MIN           0x100000ULL

/* The 32-bit hole, [3 GiB, 4 GiB). */
#define LAYOUT_PCI_MMIO       0xc0000000ULL /* window for BARs */
#define LAYOUT_PCI_MMIO_END   0xe0000000ULL
#define LAYOUT_PCI_MMIO_LAST  0xdfffffffULL /* for dsdt.asl, which cannot subtract there */
#define LAYOUT_PCI_MMIO_BYTES 0x20000000ULL
#define LAYOUT_ECAM           0xe0000000ULL
#define LAYOUT_ECAM_BYTES     0x100000ULL /* one bus: 32 slots × 8 functions × 4 KiB */
#define LAYOUT_IOAPIC         0xfec00000ULL
#define LAYOUT_WAKEUP_MAILBOX                                                                      \
	0xfed40000ULL /* ACPI multiprocessor wakeup, one page, where it is used */
#define LAYOUT_LAPIC        0xfee00000ULL
#define LAYOUT_KVM_IDENTITY 0xfeffc000ULL /* identity map page, then the TSS's three (VMX only) */
#define LAYOUT_KVM_TSS      0xfeffd000ULL

/* Ports. */
#define LAYOUT_PORT_KBD_RESET    0x64  /* 0xfe written: reset, as an 8042 does */
#define LAYOUT_PORT_UART         0x3f8 /* COM1, 8 ports */
#define LAYOUT_PORT_SLEEP        0x600 /* ACPI sleep control: (type << 2) | 0x20; type 5 is S5 */
#define LAYOUT_PORT_SLEEP_STATUS 0x601
#define LAYOUT_PORT_RESET        0x602 /* ACPI reset register: 1 resets */
#define LAYOUT_PORT_EVENT        0x603 /* generic event device: bit 0 power button; read clears */
#define LAYOUT_PORT_PCI_ADDRESS  0xcf8
#define LAYOUT_PORT_PCI_RESET    0xcf9 /* byte: 0x06 or 0x0e resets, as a PIIX/ICH does */
#define LAYOUT_PORT_PCI_DATA     0xcfc

#define LAYOUT_SLEEP_TYPE_S5 5
#define LAYOUT_RESET_VALUE   1

/* Interrupt lines (GSIs of the I/O APIC). */
#define LAYOUT_GSI_UART  4
#define LAYOUT_GSI_EVENT 9
#define LAYOUT_GSI_INTX  16 /* PCI INTx of slot s, pin p: 16 + (s + p) % 4 */
#define LAYOUT_GSI_LINES 24 /* pins of the I/O APIC; MSIs are routed from here on */

#define LAYOUT_CPUS_MAX 64

#endif

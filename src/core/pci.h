/* SPDX-License-Identifier: Apache-2.0 */
/* PCI: the host bridge, configuration space by ECAM and by ports 0xCF8/0xCFC, and BARs that move.
 * One bus; function 0 of slot 0 is the host bridge. Home reactor only (but while the machine is
 * built). */
#ifndef CORE_PCI_H
#define CORE_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/diag.h"

#define PCI_CONFIG_BYTES  256 /* conventional space; the rest of the 4 KiB of ECAM reads 0 */
#define PCI_FUNCTIONS_MAX 256
#define PCI_BARS_MAX      6

struct pci_bus;
struct pci_function;

struct pci_bar {
	uint64_t size_bytes; /* power of two ≥ 16; 0: no such BAR */
	bool is_64bit;       /* takes the next BAR's register too */
	struct bus_range
		range; /* its read and write are set by the device; start follows the guest */
	bool mapped;   /* on the bus now */
};

struct pci_function_ops {
	/* A write to config space is about to take effect at [offset, offset + size); the generic
	 * part (command, BARs, interrupt line) has been done. For capabilities: MSI-X control,
	 * virtio's cfg access. NULL: none. */
	void (*config_written)(struct pci_function *f, unsigned int offset, unsigned int size_bytes,
		uint32_t value);
	/* Before a config read: lets the device refresh f->config (virtio's pci_cfg_data). NULL:
	 * none. */
	void (*config_reading)(
		struct pci_function *f, unsigned int offset, unsigned int size_bytes);
	/* A BAR was mapped at bar->range.start, or (mapped false) is unmapped or about to move:
	 * ioeventfds follow. NULL: none. */
	void (*bar_moved)(struct pci_function *f, unsigned int bar);
};

/* Embedded in its device. */
struct pci_function {
	const struct pci_function_ops *ops;
	struct pci_bus *bus;
	uint8_t devfn;                        /* slot << 3 | function; given by pci_add */
	uint8_t config[PCI_CONFIG_BYTES];     /* what reads see, little-endian */
	uint8_t write_mask[PCI_CONFIG_BYTES]; /* bits that the guest may change */
	uint8_t cap_end;  /* first free byte for capabilities; pci_function_init: 0x40 */
	uint8_t cap_last; /* offset of the last capability; 0: none */
	struct pci_bar bars[PCI_BARS_MAX];
	bool intx;       /* the function wants its INTA asserted */
	bool intx_drawn; /* and it is: not switched off by the command register */
};

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
};

struct pci_bus {
	struct bus *bus;
	struct pci_function *functions[PCI_FUNCTIONS_MAX]; /* by devfn */
	struct pci_function bridge;
	struct bus_range ecam, address_port, data_port;
	uint32_t address;         /* of 0xCF8 */
	uint8_t reset_control;    /* of 0xCF9: what was last written */
	void (*reset)(void *ctx); /* port 0xCF9 asked for a reset */
	void *reset_ctx;
	void (*irq)(void *ctx, unsigned int gsi, bool level); /* an INTx line changed; NULL: none */
	void *irq_ctx;
	unsigned int intx_drawn[4]; /* how many functions assert each line, which they share */
	uint64_t next_bar;          /* next free address for the BARs' first places */
};

/* pci_init: puts the host bridge, ECAM and the ports on `bus`. pci_finish: takes all off again. */
int pci_init(struct pci_bus *p, struct bus *bus, struct diag *d);
void pci_finish(struct pci_bus *p);

/* pci_function_init: a type 0 header with these ids and no BAR. */
void pci_function_init(
	struct pci_function *f, const struct pci_function_ops *ops, const struct pci_ids *ids);
/* pci_bar_set: declares BAR `i`, with range.read/write/name already set in f->bars[i]. Before
 * pci_add. */
void pci_bar_set(struct pci_function *f, unsigned int i, uint64_t size_bytes, bool is_64bit);
/* pci_cap_add: appends a capability of `len_bytes` (with its two header bytes, 4-aligned) copied
 * from `cap`; returns its offset. CHECKs that it fits. */
unsigned int pci_cap_add(
	struct pci_function *f, uint8_t id, const void *cap, unsigned int len_bytes);

/* pci_add: gives `f` the next free function (packed eight to a slot, multi-function bit set),
 * places its BARs in the window as firmware does, decoding on. -ENOSPC: no function or no address
 * space left. */
int pci_add(struct pci_bus *p, struct pci_function *f, struct diag *d);
void pci_remove(struct pci_bus *p, struct pci_function *f);

/* pci_intx_gsi: the line of this function's INTA. */
unsigned int pci_intx_gsi(const struct pci_function *f);
/* pci_intx_set: asserts INTA or no longer; levels of functions on one line are or-ed, and the
 * command register's Interrupt Disable bit and the status register's Interrupt bit are kept. */
void pci_intx_set(struct pci_function *f, bool asserted);

#endif
